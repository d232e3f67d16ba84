"""Pace: batches follow the length of tasks and shrink at the tail."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from p2pcpn import limits
from p2pcpn.protocol.pace import HORIZON_S, Pace


def test_a_peer_nobody_knows_gets_a_task_a_slot() -> None:
    assert Pace(4).batch(0, 1000, 4) == 4


def test_short_tasks_go_in_large_batches_and_long_ones_alone() -> None:
    pace = Pace(2)
    pace.ran(100, 100 * 0.001)
    assert pace.target == 2 * 101
    pace = Pace(2)
    pace.ran(1, 10.0)
    assert pace.target == 2


def test_tasks_without_measurable_length_are_bounded() -> None:
    pace = Pace(1)
    pace.ran(1000, 0.0)
    assert pace.target <= limits.BATCH_TASKS_MAX
    assert pace.batch(0, 1 << 40, 1) <= limits.BATCH_TASKS_MAX


def test_a_change_of_length_is_followed_within_a_few_batches() -> None:
    pace = Pace(1)
    pace.ran(10, 10.0)
    for _ in range(8):
        pace.ran(10, 10 * 0.01)
    assert pace.target >= HORIZON_S / 0.02
    pace.ran(0, 5.0)
    assert pace.target >= HORIZON_S / 0.02


def test_nothing_more_while_it_holds_more_than_half_of_its_target() -> None:
    pace = Pace(1)
    pace.ran(100, 0.1)
    assert pace.batch(51, 10_000, 1) == 0
    assert pace.batch(50, 10_000, 1) == 51


def test_at_the_tail_the_rest_is_shared_by_all_slots() -> None:
    pace = Pace(1)
    pace.ran(100, 0.1)
    assert pace.batch(0, 40, 10) == 2


@given(st.integers(1, 64), st.floats(0, 1e10), st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 500))
def test_an_idle_peer_always_gets_something_and_nobody_too_much(
    slots: int, ran_s: float, held: int, waiting: int, others: int
) -> None:
    pace = Pace(slots)
    pace.ran(10, ran_s)
    count = pace.batch(held, waiting, slots + others)
    assert 0 <= count <= min(waiting, limits.BATCH_TASKS_MAX)
    if held == 0 and waiting:
        assert count > 0
