"""The virtual clock: events in the order of their times, ties in the order in which they were asked for."""

from __future__ import annotations

from p2pcpn.sim.clock import EPOCH_S, WATCH_EVENTS, Clock


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


def test_who_watches_is_told_now_and_then_while_events_happen() -> None:
    clock, told = Clock(), []
    clock.watch = lambda now, events: told.append((now, events))
    for number in range(2 * WATCH_EVENTS + 1):
        clock.at(number / WATCH_EVENTS, lambda: None)
    clock.run(9.0)
    assert told == [((WATCH_EVENTS - 1) / WATCH_EVENTS, WATCH_EVENTS), (2.0 - 1 / WATCH_EVENTS, 2 * WATCH_EVENTS)]
