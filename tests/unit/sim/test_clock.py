"""The virtual clock: events in the order of their times, ties in the order in which they were asked for."""

from __future__ import annotations

import random

import pytest

from p2pcpn.sim.clock import EPOCH_S, FAR_S, SLICES_PER_S, WATCH_EVENTS, Clock, OwnClock


def test_events_happen_in_the_order_of_their_times_and_ties_in_the_order_of_asking() -> None:
    clock, seen = Clock(), []
    clock.at(2.0, lambda: seen.append("late"))
    clock.after(1.0, lambda: seen.append("first"))
    clock.at(1.0, lambda: seen.append("second"))
    assert not clock.run(3.0)
    assert seen == ["first", "second", "late"]
    assert (clock.now, clock.events, len(clock)) == (3.0, 3, 0)


@pytest.mark.parametrize("seed", range(5))
def test_events_that_ask_for_events_happen_in_order_wherever_slices_of_time_begin(seed: int) -> None:
    clock, rng, asked, seen = Clock(), random.Random(seed), [], []

    def ask(when: float) -> None:
        asked.append((max(when, clock.now), len(asked)))
        clock.at(when, happen, len(asked) - 1)

    def happen(number: int) -> None:
        seen.append((clock.now, number))
        for _ in range(rng.choice((0, 1, 1, 2))):
            slices = rng.choice((-1.0, 0.0, 0.1, 1.0, 9.0, 300.0)) * rng.choice((1.0, rng.random()))
            ask(clock.now + slices / SLICES_PER_S)

    for _ in range(50):
        ask(rng.random() * 3.0)
    for stop in (0.001, 0.5, 0.5, 2.0, 5.0):
        clock.run(stop)
        assert clock.now == stop
        ask(stop)  # before whatever waits for later, of a slice that may have begun
        assert all(at <= stop for at, _ in seen) and len(clock) == len(asked) - len(seen)
    clock.run(FAR_S, lambda: len(seen) > 2000)
    assert seen == sorted(asked)[: len(seen)] and len(seen) > 50


def test_what_never_happens_may_be_asked_for() -> None:
    clock, seen = Clock(), []
    clock.at(float("inf"), lambda: seen.append("never"))
    clock.at(2 * FAR_S, lambda: seen.append("late"))
    assert not clock.run(FAR_S) and not seen and len(clock) == 2
    assert not clock.run(3 * FAR_S) and seen == ["late"]


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


@pytest.mark.parametrize("rate", [1.0, 1.0001, 0.99987, 1.1])
def test_an_own_clock_drifts_and_never_rings_early(rate: float) -> None:
    world = Clock()
    own, rung = OwnClock(world, rate), []
    for number in range(1, 200):
        own.at(number * 0.1, lambda number=number: rung.append((number * 0.1, own.now)))
    own.after(25.0, lambda: rung.append((25.0, own.now)))
    world.run(40.0)
    assert len(rung) == 200 and all(wanted <= at < wanted + 1e-6 for wanted, at in rung)
    assert own.now == 40.0 * rate and own.wall() == EPOCH_S + 40.0


def test_what_is_due_while_a_computer_stands_happens_when_it_goes_on() -> None:
    world = Clock()
    own, seen = OwnClock(world), []
    own.at(1.0, lambda: seen.append(1))
    own.stop()
    own.stop()
    own.at(2.0, lambda: seen.append(2))
    own.reached(lambda: seen.append(0))
    world.run(5.0)
    assert own.standing and not seen and own.now == 5.0
    own.go()
    own.go()
    assert not own.standing and seen == [0, 1, 2]
    own.reached(lambda: seen.append(3))
    assert seen[-1] == 3
