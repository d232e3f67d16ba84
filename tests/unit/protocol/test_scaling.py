"""Scaling: within its bounds, quick to grow, slow to shrink, and never one way and back in no time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.protocol.scaling import Bounds, Load, Scale


class World:
    """Units that come and go as they are told, and tasks that keep them busy."""

    def __init__(self, bounds: Bounds, units: int | None = None, slots_each: int = 1) -> None:
        self.scale = Scale(bounds)
        self.units = bounds.least if units is None else units
        self.each = slots_each
        self.now = 0.0
        self.steps: list[tuple[float, int]] = []  # when it went up (1) or down (-1)
        self.sizes = [self.units]

    def look(self, tasks: int, step_s: float = 0.25) -> int:
        """So many tasks run or wait; returns how many units there are then."""
        slots = self.units * self.each
        busy = min(tasks, slots)
        wanted = self.scale.observe(Load(self.units, slots, busy, tasks - busy), self.now)
        if wanted != self.units:
            self.steps.append((self.now, 1 if wanted > self.units else -1))
        self.units = wanted
        self.sizes.append(wanted)
        self.now += step_s
        return wanted

    def run(self, tasks: int, seconds: float) -> int:
        end = self.now + seconds
        while self.now < end:
            self.look(tasks)
        return self.units


def test_a_burst_that_lasts_doubles_it_step_by_step_up_to_the_most() -> None:
    world = World(Bounds(1, 8))
    world.run(100, 5.0)
    assert world.units == 8 and sorted(set(world.sizes)) == [1, 2, 4, 8]
    assert world.steps[0][0] <= 1.0


def test_no_more_are_there_than_have_something_to_do() -> None:
    world = World(Bounds(1, 64), slots_each=4)
    world.run(20, 20.0)
    assert world.units == 5


def test_a_burst_that_is_over_at_once_changes_nothing() -> None:
    world = World(Bounds(1, 8))
    world.run(0, 2.0)
    world.look(100)
    world.run(0, 5.0)
    assert set(world.sizes) == {1}


def test_silence_shrinks_it_after_the_idle_time_and_not_before() -> None:
    world = World(Bounds(1, 8, idle_s=10.0))
    world.run(100, 5.0)
    quiet = world.now
    world.run(0, 9.0)
    assert world.units == 8
    world.run(0, 2.5)
    assert world.units == 1 and world.steps[-1][0] >= quiet + 9.0


def test_what_was_needed_now_and_then_stays() -> None:
    world = World(Bounds(1, 8, idle_s=10.0))
    for _ in range(10):
        world.run(4, 4.0)
        world.run(0, 4.0)
    assert world.units == 4 and [way for _, way in world.steps] == [1, 1]


def test_one_that_was_killed_is_replaced_and_one_too_many_goes() -> None:
    assert World(Bounds(3, 8), units=1).look(0) == 3
    assert World(Bounds(1, 4), units=9).look(0) == 4
    assert World(Bounds(0, 4), units=0).look(3) == 0
    world = World(Bounds(0, 4), units=0)
    assert world.run(3, 2.0) == 3


def test_slots_that_idle_while_others_are_called_for_are_enough() -> None:
    scale = Scale(Bounds(1, 8))
    for tick in range(40):
        assert scale.observe(Load(2, 2, 1, 50), tick / 4) == 2


loads = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 40)), max_size=12)
bounds = st.builds(
    lambda least, more, idle_s, rest_s: Bounds(least, least + more, idle_s, 0.5, rest_s),
    st.integers(0, 3), st.integers(1, 12), st.floats(0.5, 20.0), st.floats(0.5, 5.0),
)  # fmt: skip


@given(bounds, loads, st.integers(1, 3))
def test_it_stays_within_its_bounds_and_turns_at_most_once_in_the_time_of_rest(
    bounds: Bounds, loads: list[tuple[int, int]], each: int
) -> None:
    world = World(bounds, slots_each=each)
    for tasks, looks in loads:
        for _ in range(looks):
            world.look(tasks)
    assert all(bounds.least <= size <= bounds.most for size in world.sizes)
    for (before, way), (after, other) in pairwise(world.steps):
        if way != other:
            assert after - before >= bounds.rest_s
        if (way, other) == (1, -1):
            assert after - before >= bounds.idle_s


@given(bounds, loads, st.integers(2, 60))
def test_whatever_was_before_a_queue_grows_it_within_five_seconds_and_silence_shrinks_it_to_the_least(
    bounds: Bounds, loads: list[tuple[int, int]], tasks: int
) -> None:
    bounds = Bounds(bounds.least, bounds.most, bounds.idle_s, 0.5, min(bounds.rest_s, 4.0))
    world = World(bounds)
    for before, looks in loads:
        for _ in range(looks):
            world.look(before)
    units = world.units
    world.run(tasks, 5.0)
    assert world.units > units or world.units >= min(tasks, bounds.most)
    world.run(0, max(bounds.idle_s, bounds.rest_s) * (1 + 2 / 16) + 1.0)
    assert world.units == bounds.least
