"""Pace: batches follow what is typical, grow as receipts come, and shrink at the tail."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from p2pcpn import limits
from p2pcpn.protocol.pace import GROWTH, HORIZON_S, Pace, Typical


def paced(slots: int, *receipts: tuple[int, float], rtt_s: float = 0.0) -> Pace:
    """A peer that brought receipts of (tasks, seconds)."""
    pace = Pace(slots, rtt_s)
    for count, ran_s in receipts:
        pace.ran(count, ran_s, 1.0)
    return pace


def test_a_peer_nobody_knows_gets_a_task_a_slot() -> None:
    assert Pace(4).batch(0, 1000, 4) == 4


def test_short_tasks_go_in_large_batches_and_long_ones_alone() -> None:
    assert paced(2, *[(100, 100 * 0.001)] * 5).target == 2 * 251
    assert paced(2, *[(1, 10.0)] * 5).target == 2


def test_trust_grows_fourfold_with_each_receipt_and_falls_at_once() -> None:
    pace = Pace(1)
    targets = []
    for _ in range(7):
        pace.ran(1, 1e-6, 1.0)
        targets.append(pace.target)
    assert targets == [4, 16, 64, 256, 1024, 4096, 4096]
    for _ in range(3):
        pace.ran(1, 10.0, 1.0)
    assert pace.target == 1


def test_tasks_without_measurable_length_are_bounded() -> None:
    pace = paced(1, *[(1000, 0.0)] * 9)
    assert pace.target <= limits.BATCH_TASKS_MAX
    assert pace.batch(0, 1 << 40, 1) <= limits.BATCH_TASKS_MAX


def test_one_long_task_among_short_ones_changes_nothing() -> None:
    pace = paced(1, *[(10, 0.01)] * 5)
    before = pace.target
    pace.ran(1, 100.0, 1.0)
    pace.ran(1, 100.0, 1.0)
    assert pace.target == before == 251


@pytest.mark.parametrize(("before_s", "after_s"), [(0.001, 1.0), (1.0, 0.001)])
def test_a_change_of_length_is_followed_within_three_receipts(before_s: float, after_s: float) -> None:
    pace = paced(1, *[(1, before_s)] * 9, *[(1, after_s)] * 3)
    assert pace.task_s == after_s


def test_receipts_of_nothing_say_nothing() -> None:
    assert paced(3, (0, 5.0)).task_s is None
    assert paced(3, (0, 5.0)).target == 3
    typical = Typical()
    assert typical.ran(0, 1.0) is None


def test_long_tasks_wait_at_a_slot_only_where_the_way_is_long() -> None:
    assert paced(1, (1, 1.0), rtt_s=0.1).target == 2
    assert paced(1, (1, 1.0), rtt_s=0.001).target == 1
    assert paced(1, (1, 600.0), rtt_s=0.1).target == 1


def test_nothing_more_while_it_holds_more_than_half_of_its_target() -> None:
    pace = paced(1, *[(100, 0.1)] * 5)
    assert pace.batch(126, 10_000, 1) == 0
    assert pace.batch(125, 10_000, 1) == 126


def test_who_has_work_for_a_while_gets_more_in_company_and_who_has_not_gets_it_at_once() -> None:
    pace = paced(1, *[(100, 0.1)] * 5)
    assert [pace.batch(held, 1, 2) for held in range(5)] == [1, 1, 1, 0, 0]
    assert pace.batch(8, 12, 2) == 0
    assert pace.batch(8, 16, 2) == 4
    assert (pace.batch(100, 28, 2), pace.batch(100, 32, 2)) == (0, 8)


def test_at_the_tail_the_rest_is_shared_by_all_slots() -> None:
    assert paced(1, *[(100, 0.1)] * 5).batch(0, 40, 10) == 2


def test_a_peer_is_behind_by_what_it_holds_beyond_its_slots_or_by_its_silence() -> None:
    pace = paced(2, *[(1, 0.1)] * 3)
    assert pace.behind_s(6, 1.0) == pytest.approx(0.2)
    assert pace.behind_s(2, 1.0) == 0.0
    assert pace.behind_s(6, 4.0) == pytest.approx(3.0)
    assert Pace(1).behind_s(2, 1.0) == float("inf")
    assert paced(1, (1, 0.1), rtt_s=0.5).behind_s(1, 2.0) == pytest.approx(0.5)


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.integers(1, 4096), st.floats(0, 1e10)), min_size=1, max_size=9),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.integers(0, 500),
)
def test_an_idle_peer_always_gets_something_and_nobody_too_much(
    slots: int, receipts: list[tuple[int, float]], held: int, waiting: int, others: int
) -> None:
    pace = paced(slots, *receipts)
    count = pace.batch(held, waiting, slots + others)
    assert 0 <= count <= min(waiting, limits.BATCH_TASKS_MAX)
    if held == 0 and waiting:
        assert count > 0
    assert pace.target <= slots * GROWTH ** len(receipts)
    if pace.task_s is not None and pace.task_s > HORIZON_S:
        assert pace.target == slots
