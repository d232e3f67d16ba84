"""Turns: who is next, how much at a time, and that no process idles while tasks wait."""

from __future__ import annotations

import pytest

from p2pcpn.protocol.spans import merged
from p2pcpn.protocol.turns import HAND_OVER_BYTES
from p2pcpn.wire.pages import TaskPage
from p2pcpn.wire.statements import BlobRef
from tests.unit.protocol.leased import GRANTOR, STRANGER, Bench, Made


def sizes(bench: Bench) -> list[int]:
    return [len(run.arguments) for run in bench.runs.values()]


@pytest.mark.parametrize(
    ("task_s", "size"),
    [(1.0, 1), (0.02, 2), (0.01, 4), (0.006, 7), (0.001, 45), (0.0001, 62), (0.000001, 125), (0.0, 125)],
)
def test_the_size_of_a_batch_follows_task_length_and_is_spread_over_the_slots(task_s: float, size: int) -> None:
    bench = Bench(slots=2)
    made = bench.know(Made(), 252)
    bench.take(made, (0, 252))
    assert sizes(bench) == [1, 1]  # of unknown length: one each
    bench.ran(1, ran_s=task_s)
    assert sizes(bench)[1] == size


def test_one_long_task_among_short_ones_changes_nothing_and_three_do() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 256, 256, 256, 256)
    for page in range(4):
        bench.take(made, (256 * page, 256), slots=1)
    bench.ran(1, ran_s=0.001)
    assert sizes(bench) == [45, 45]
    bench.ran(2, 1, ran_s=1.0)
    bench.ran(2, ran_s=0.001)
    assert sizes(bench) == [45, 45]
    for _ in range(3):
        bench.ran(min(bench.runs), 1, ran_s=1.0)
    bench.ran(min(bench.runs), ran_s=1.0)
    bench.ran(min(bench.runs), ran_s=1.0)
    assert sizes(bench) == [1]


def test_where_little_is_queued_batches_are_small_so_that_results_come_soon() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 7)
    bench.take(made, (0, 7), slots=1)
    bench.ran(1, ran_s=0.01)
    assert sizes(bench) == [3, 1]
    bench.ran(2, ran_s=0.01)
    assert sizes(bench) == [1, 1]


def test_tasks_with_large_arguments_are_handed_over_together_up_to_a_bound() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made())
    blobs = [BlobRef(bytes([at]) * 32, HAND_OVER_BYTES // 4, bytes(32)) for at in range(20)]
    for blob in blobs:
        bench.worker.extended(made.segment(1, page=TaskPage([b"f"], None, [b"a"], [blob], [(0, [0])])))
    bench.take(made, (0, 20), slots=1)
    assert sizes(bench) == [1]
    bench.ran(1, ran_s=0.0001)
    assert sizes(bench) == [4, 4]


def test_long_tasks_run_one_a_slot_and_none_waits_behind_another() -> None:
    bench = Bench(slots=3)
    made = bench.know(Made(), 20)
    bench.take(made, (0, 20), slots=3)
    for number in range(1, 12):
        bench.ran(number, ran_s=0.5)
        assert sizes(bench) == [1, 1, 1]


def test_a_second_batch_of_short_tasks_waits_at_each_process() -> None:
    bench = Bench(slots=2)
    made = bench.know(Made(), 250)
    bench.take(made, (0, 250))
    bench.ran(1, ran_s=0.0005)
    bench.ran(2, ran_s=0.0005)
    assert len(bench.runs) == 4 and bench.worker.running == 2


def test_a_job_never_runs_more_than_its_slots() -> None:
    bench = Bench(slots=4)
    made = bench.know(Made(), 250)
    bench.take(made, (0, 250), slots=1)
    for number in range(1, 5):
        assert len(bench.runs) == 1  # also while its tasks are short: two batches might run at once
        bench.ran(number, ran_s=0.0001)


def test_jobs_take_turns() -> None:
    bench = Bench(slots=1)
    jobs = [bench.know(Made(number), 9) for number in (1, 2, 3)]
    for made in jobs:
        bench.take(made, (0, 9), slots=1)
    served = []
    for number in range(1, 10):
        served.append(bench.worker.turns.batches[number].work.job)
        bench.ran(number, ran_s=1.0)
    assert served == [made.job for made in jobs] * 3


def test_a_flood_of_short_tasks_does_not_keep_a_long_one_from_a_free_process() -> None:
    bench = Bench(slots=2)
    flood = bench.know(Made(1), 256, 256, 256)
    bench.take(flood, (0, 768))
    bench.ran(1, ran_s=0.0001)
    bench.ran(2, ran_s=0.0001)
    assert len(bench.runs) == 4
    late = bench.know(Made(2), 4)
    bench.take(late, (0, 4))
    waited = 0
    while not any(batch.work.job == late.job for batch in bench.worker.turns.batches.values()):
        bench.ran(min(bench.runs), ran_s=0.0001)
        waited += 1
    assert waited <= 3
    # And the flood goes on beside it.
    assert any(batch.work.job == flood.job for batch in bench.worker.turns.batches.values())


def test_what_waits_is_dropped_only_under_its_grantors_leases() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 8)
    bench.take(made, (0, 8), slots=1)
    turns, work = bench.worker.turns, bench.worker.works[made.job]
    assert turns.drop(work, merged([(0, 99)]), STRANGER.id) == []
    ((lease, count),) = turns.drop(work, merged([(2, 2), (6, 1)]), GRANTOR.id)
    assert (lease.token, count) == (1, 3)
    assert [(p.first, len(p.arguments)) for p in work.queue] == [(1, 1), (4, 2), (7, 1)]
    assert (work.queued, turns.queued) == (4, 4)
    assert [p.first for p in turns.clear(work)] == [1, 4, 7]
    assert (work.queued, turns.queued, turns.queued_bytes) == (0, 0, 0)


def test_what_is_recalled_is_taken_from_the_end_under_its_grantors_leases() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 8)
    bench.take(made, (0, 4), slots=1)
    bench.take(made, (4, 4), slots=1)
    turns, work = bench.worker.turns, bench.worker.works[made.job]
    assert turns.recall(work, 9, STRANGER.id) == []
    assert [(p.first, len(p.arguments)) for p in work.queue] == [(1, 3), (4, 4)]
    assert [(p.first, len(p.arguments)) for p in turns.recall(work, 5, GRANTOR.id)] == [(4, 4), (3, 1)]
    assert [(p.first, len(p.arguments)) for p in work.queue] == [(1, 2)]
    assert (work.queued, turns.queued) == (2, 2)


def test_a_batch_that_is_cut_leaves_pieces_that_may_wait_again_but_for_what_was_revoked() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 40)
    bench.take(made, (0, 40), slots=1)
    bench.ran(1, ran_s=0.004)
    turns, work = bench.worker.turns, bench.worker.works[made.job]
    batch = turns.batches[2]
    assert (batch.first, batch.count) == (1, 11)
    batch.revoked.update((0, 3, 7))
    pieces, revoked = turns.cut(batch, 2)
    assert [(p.first, len(p.arguments)) for p in pieces] == [(3, 1), (5, 3), (9, 3)]
    assert (batch.count, revoked) == (2, 2)
    queued = turns.queued
    turns.put_back(work, pieces[1])
    assert work.queue[0] is pieces[1] and turns.queued == work.queued == queued + 3
    turns.cut(batch, 0)
    assert 2 not in turns.batches and work.running == 1


def test_a_job_whose_queue_was_dropped_is_not_next() -> None:
    bench = Bench(slots=1)
    first, second = bench.know(Made(1), 4), bench.know(Made(2), 4)
    for made in (first, second):
        bench.take(made, (0, 4), slots=1)
    bench.worker.turns.clear(bench.worker.works[second.job])
    bench.ran(1, ran_s=1.0)
    assert bench.worker.turns.batches[2].work.job == first.job


def test_positions_the_runtime_cannot_mean_are_not_told_of() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 4)
    bench.take(made, (0, 4), slots=1)
    assert bench.worker.turns.started({1: 99, 5: 0}, bench.now + 1) == []


def test_once_the_last_task_of_each_batch_was_told_of_nothing_is_left_to_tell() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 4)
    bench.take(made, (0, 4), slots=1)
    turns = bench.worker.turns
    assert turns.untold
    for batch in turns.batches.values():
        batch.told = batch.count - 2
    assert turns.untold
    for batch in turns.batches.values():
        batch.told = batch.count - 1
    assert not turns.untold
