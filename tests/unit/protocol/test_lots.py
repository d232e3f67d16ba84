"""Lots: whose a task is follows from job, index and epoch alone, for everybody alike; every task is in one of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.protocol.lots import DIVIDED_EPOCH, RANGE_TASKS, Lots
from p2pcpn.protocol.spans import joined, total, without

JOB = bytes(range(20))


@given(st.integers(1, 16), st.integers(0, 10_000), st.integers(1, 2_000))
def test_the_lots_share_all_tasks_out_and_no_task_is_in_two(count: int, first: int, tasks: int) -> None:
    lots = Lots(JOB, count)
    own = [without([(first, tasks)], lots.others(lot, first, tasks)) for lot in range(count)]
    assert joined(sorted(span for spans in own for span in spans)) == [(first, tasks)]
    assert lots.sizes(first, tasks) == [total(spans) for spans in own]
    for lot, spans in enumerate(own):
        assert all(lots.of(index) == lot for at, number in spans for index in (at, at + number - 1))


def test_a_range_goes_to_one_lot_and_the_hash_of_the_job_says_to_which() -> None:
    lots = Lots(JOB, 5)
    assert len({lots.of(index) for index in range(RANGE_TASKS)}) == 1
    ranges = [lots.of_range(number) for number in range(2000)]
    assert ranges == [Lots(JOB, 5).of_range(number) for number in range(2000)]
    assert ranges != [Lots(bytes(20), 5).of_range(number) for number in range(2000)]
    assert all(330 <= ranges.count(lot) <= 470 for lot in range(5)), "a fifth each, and no pattern"


def test_a_job_that_is_not_split_is_one_lot() -> None:
    lots = Lots(JOB)
    assert (lots.count, lots.split, lots.of(77), lots.of_epoch(9), lots.of_token(8)) == (1, False, 0, 0, 0)
    assert lots.others(0, 0, 1000) == [] and lots.sizes(3, 1000) == [1000]


def test_epochs_and_tokens_name_their_lot() -> None:
    lots = Lots(JOB, 3)
    assert [lots.of_epoch(epoch) for epoch in (1, 2, 3, 4, 5, 6)] == [0, 1, 2, 0, 1, 2]
    assert [lots.of_token(token) for token in (3, 4, 5, 6)] == [0, 1, 2, 0]


@pytest.mark.parametrize("slots_max", [5, 6, 7, 11, 100])
def test_the_lots_share_the_slots_of_a_bounded_job(slots_max: int) -> None:
    lots = Lots(JOB, 5)
    assert sum(lots.of_slots(slots_max, epoch) for epoch in range(1, 6)) == slots_max
    assert lots.of_slots(0, 1) == 0, "no bound"
    assert lots.of_slots(2, 1) == 1, "a lot with no slot at all would never end"


def test_of_a_divided_job_the_stem_has_what_lies_before_and_its_lots_what_lies_behind() -> None:
    lots = Lots(JOB, 3, stem=True)
    assert (lots.count, lots.split, lots.of(1000), lots.sizes(0, 64)) == (4, False, 0, [64, 0, 0, 0])
    assert lots.others(0, 0, 64) == [] and lots.others(1, 0, 64) == [(0, 64)], "nobody has anything yet"
    lots.divide(2 * RANGE_TASKS)
    assert lots.split and lots.of(2 * RANGE_TASKS - 1) == 0 and lots.of(2 * RANGE_TASKS) in (1, 2, 3)
    sizes = lots.sizes(0, 100 * RANGE_TASKS)
    assert sizes[0] == 2 * RANGE_TASKS and sum(sizes) == 100 * RANGE_TASKS and min(sizes) > 0
    assert [lots.first_epoch(lot) for lot in range(4)] == [0, DIVIDED_EPOCH, DIVIDED_EPOCH + 1, DIVIDED_EPOCH + 2]
    assert [lots.of_epoch(epoch) for epoch in (0, 7, DIVIDED_EPOCH, DIVIDED_EPOCH + 5)] == [0, 0, 1, 3]
    assert lots.is_first(0) and lots.is_first(DIVIDED_EPOCH + 1) and not lots.is_first(DIVIDED_EPOCH + 3)
    assert lots.is_stem(0) and not lots.is_stem(1)


@given(st.integers(1, 6), st.integers(0, 2_000), st.integers(1, 500))
def test_what_lies_in_no_lot_of_an_epoch_goes_astray_and_nothing_of_a_stem(count: int, first: int, tasks: int) -> None:
    plain, stemmed = Lots(JOB, count), Lots(JOB, count, stem=True)
    for lot in range(count):
        assert joined(plain.astray(1 + lot, first, tasks)) == joined(plain.others(lot, first, tasks))
        assert stemmed.astray(DIVIDED_EPOCH + lot, first, tasks) == plain.astray(1 + lot, first, tasks), "known or not"
        assert plain.holds(1 + lot, first, tasks) == (not plain.astray(1 + lot, first, tasks))
    assert stemmed.astray(0, first, tasks) == [] and stemmed.holds(0, first, tasks)


# --- lots behind a stem -----------------------------------------------------------------------------------------------


def test_a_job_with_a_stem_is_granted_as_a_whole_until_it_is_divided() -> None:
    lots = Lots(JOB, 3, stem=True)
    assert (lots.count, lots.split, lots.of(77), lots.first) == (4, False, 0, None)
    assert lots.others(0, 0, 1000) == [] and lots.others(2, 0, 1000) == [(0, 1000)]
    assert lots.sizes(0, 1000) == [1000, 0, 0, 0]
    lots.divide(2 * RANGE_TASKS)
    assert lots.split and {lots.of(index) for index in range(2 * RANGE_TASKS)} == {0}
    assert {lots.of(index) for index in range(2 * RANGE_TASKS, 1000)} == {1, 2, 3}
    assert lots.others(0, 0, 3 * RANGE_TASKS) == [(2 * RANGE_TASKS, RANGE_TASKS)]
    sizes = lots.sizes(0, 1000)
    assert sizes[0] == 2 * RANGE_TASKS and sum(sizes) == 1000 and all(sizes)


def test_the_lots_behind_a_stem_have_epochs_behind_all_of_its_own() -> None:
    lots = Lots(JOB, 3, stem=True)
    epochs = (0, 1, DIVIDED_EPOCH - 1, DIVIDED_EPOCH, DIVIDED_EPOCH + 1, DIVIDED_EPOCH + 2, DIVIDED_EPOCH + 3)
    assert [lots.of_epoch(epoch) for epoch in epochs] == [0, 0, 0, 1, 2, 3, 1]
    assert [lots.is_first(epoch) for epoch in epochs] == [True, False, False, True, True, True, False]
    assert [lots.first_epoch(lot) for lot in range(4)] == [0, DIVIDED_EPOCH, DIVIDED_EPOCH + 1, DIVIDED_EPOCH + 2]
    assert [lots.of_token(token) for token in (4, 5, 6, 7)] == [0, 1, 2, 3]
    assert lots.is_stem(0) and not lots.is_stem(1) and not Lots(JOB, 3).is_stem(0) and Lots(JOB).is_stem(0)
    assert lots.of_slots(7, 0) == 7 and sum(lots.of_slots(7, DIVIDED_EPOCH + lot) for lot in range(3)) == 7
    assert not Lots(JOB).is_first(DIVIDED_EPOCH) and Lots(JOB).of_epoch(DIVIDED_EPOCH) == 0


def test_what_a_steward_may_settle_in_a_lot_is_told_without_the_owners_word() -> None:
    unaware, lots = Lots(JOB, 3, stem=True), Lots(JOB, 3, stem=True)
    lots.divide(0)
    for epoch in (DIVIDED_EPOCH, DIVIDED_EPOCH + 4):
        astray = unaware.astray(epoch, 5, 1000)
        assert astray == lots.astray(epoch, 5, 1000) == lots.others(lots.of_epoch(epoch), 5, 1000) and astray
    assert unaware.astray(3, 0, 1000) == [] == lots.astray(0, 0, 1000), "who grants the stem may not have heard of it"


def test_one_steward_has_all_that_lies_behind_the_stem() -> None:
    lots = Lots(JOB, 1, stem=True)
    lots.divide(RANGE_TASKS)
    assert lots.sizes(0, 100) == [RANGE_TASKS, 100 - RANGE_TASKS] and lots.astray(DIVIDED_EPOCH, 0, 100) == []


def test_of_what_is_said_in_an_epoch_counts_what_is_granted_in_its_lot_as_the_job_is_divided() -> None:
    lots = Lots(JOB, 1, stem=True)
    spans = [(0, 8), (RANGE_TASKS - 4, 8), (4 * RANGE_TASKS, 2)]
    assert lots.granted_in(0, spans) == lots.granted_in(DIVIDED_EPOCH, spans) == spans
    lots.divide(RANGE_TASKS)
    assert lots.granted_in(3, spans) == [(0, 8), (RANGE_TASKS - 4, 4)]
    assert lots.granted_in(DIVIDED_EPOCH, spans) == [(RANGE_TASKS, 4), (4 * RANGE_TASKS, 2)]
    assert lots.granted_in(3, [(0, RANGE_TASKS)] * 2) == []
    assert Lots(JOB, 1).granted_in(1, spans) == spans
