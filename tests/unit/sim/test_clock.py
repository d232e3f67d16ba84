"""The virtual clock: events in the order of their times, ties in the order in which they were asked for."""

from __future__ import annotations

from p2pcpn.sim.clock import EPOCH_S, Clock


def test_events_happen_in_the_order_of_their_times_and_ties_in_the_order_of_asking() -> None:
    clock, seen = Clock(), []
    clock.at(2.0, lambda: seen.append("late"))
    clock.after(1.0, lambda: seen.append("first"))
    clock.at(1.0, lambda: seen.append("second"))
    assert not clock.run(3.0)
    assert seen == ["first", "second", "late"]
    assert (clock.now, clock.events, len(clock)) == (3.0, 3, 0)


def test_what_lies_in_the_past_happens_now() -> None:
    clock, seen = Clock(), []
    clock.run(5.0)
    clock.at(1.0, lambda: seen.append(clock.now))
    clock.run(5.0)
    assert seen == [5.0]


def test_a_run_ends_where_what_was_wanted_is_reached() -> None:
    clock, seen = Clock(), []
    for when in (1.0, 2.0, 3.0):
        clock.at(when, lambda when=when: seen.append(when))
    assert clock.run(9.0, lambda: len(seen) == 2)
    assert clock.now == 2.0
    assert clock.run(9.0, lambda: True)
    assert seen == [1.0, 2.0]


def test_the_wall_clock_runs_with_virtual_time() -> None:
    clock = Clock()
    clock.run(7.0)
    assert clock.wall() == EPOCH_S + 7.0
