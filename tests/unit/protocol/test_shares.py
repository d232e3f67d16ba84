"""Shares: owners get equal parts of a peer whatever they queue; priorities and deadlines order one owner's jobs."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.shares import CREDIT_S, Shares
from p2pcpn.wire.sealing import swarm_proof
from tests.unit.protocol.leased import SWARM_KEY, Bench, Made, keypair

A, B, C = keypair(11), keypair(12), keypair(13)


def job(bench: Bench, number: int, owner: Keypair, count: int, **options: object) -> Made:
    """A job of ``owner`` with ``count`` tasks queued here."""
    proof = swarm_proof(SWARM_KEY, owner.public)
    made = bench.know(Made(number, owner=owner, swarm_proof=proof, **options), *[min(count, 250)] * -(-count // 250))
    for first in range(0, count, 250):
        bench.take(made, (first, min(250, count - first)), slots=bench.slots)
    return made


def owners_served(bench: Bench, rounds: int, task_s: dict[bytes, float]) -> Counter[bytes]:
    """Run ``rounds`` batches; the seconds that each owner's tasks took."""
    used: Counter[bytes] = Counter()
    for _ in range(rounds):
        number = min(bench.runs)
        owner = bench.worker.turns.batches[number].work.authority.owner
        takes_s = task_s[owner] * (len(bench.runs[number].arguments) - bench.at[number])
        used[owner] += takes_s  # type: ignore[assignment]
        bench.now += takes_s / bench.slots
        bench.ran(number, ran_s=task_s[owner])
    return used


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_two_owners_get_equal_time_however_long_their_tasks_are_and_however_many_they_queue(slots: int) -> None:
    bench = Bench(slots=slots)
    job(bench, 1, A, 4000)
    job(bench, 2, A, 1000)
    job(bench, 3, B, 250)
    used = owners_served(bench, 120, {A.public: 0.01, B.public: 0.04})
    assert used[A.public] == pytest.approx(used[B.public], rel=0.15)


def test_ten_tasks_of_another_owner_do_not_wait_for_a_thousand() -> None:
    bench = Bench(slots=1)
    many = job(bench, 1, A, 1000)
    owners_served(bench, 20, {A.public: 0.05})
    few = job(bench, 2, B, 10)
    order = []
    while any(batch.work.job == few.job for batch in bench.worker.turns.batches.values()) or len(order) < 4:
        number = min(bench.runs)
        order.append(bench.worker.turns.batches[number].work.job)
        bench.now += 0.05
        bench.ran(number, ran_s=0.05)
    assert order.count(few.job) == 10 and order.count(many.job) <= 3


def test_who_was_away_long_has_a_second_of_credit_and_not_more() -> None:
    bench = Bench(slots=1)
    job(bench, 1, A, 4000)
    owners_served(bench, 100, {A.public: 0.5})
    job(bench, 2, B, 250)
    used = owners_served(bench, 20, {A.public: 0.5, B.public: 0.5})
    assert 0 <= used[B.public] - used[A.public] <= CREDIT_S + 1.0


def test_who_comes_back_at_once_has_not_been_forgotten() -> None:
    bench = Bench(slots=1)
    job(bench, 1, A, 4000)
    job(bench, 2, B, 40)
    task_s = {A.public: 0.5, B.public: 0.5}
    owners_served(bench, 81, task_s)  # B has nothing left
    assert len(bench.worker.turns.shares) == 1
    job(bench, 3, B, 40)
    used = owners_served(bench, 20, task_s)
    assert used[B.public] - used[A.public] <= 1.0


def test_a_task_that_runs_for_long_counts_while_it_runs() -> None:
    bench = Bench(slots=2)
    job(bench, 1, A, 40)
    job(bench, 2, B, 40)
    bench.now += 0.5
    bench.ran(2, ran_s=0.5)  # A was alone and had both; what it has left runs for minutes
    for number in range(3, 20):
        running = [batch.work.authority.owner for batch in bench.worker.turns.batches.values()]
        assert running == [A.public, B.public]
        bench.now += 5.0
        bench.ran(number, ran_s=5.0)


def test_a_death_counts_as_what_it_took() -> None:
    bench = Bench(slots=1)
    job(bench, 1, A, 10)
    job(bench, 2, B, 10)
    first = min(bench.runs)
    owner = bench.worker.turns.batches[first].work.authority.owner
    bench.now += 30.0
    bench.died(first, 0)
    (other,) = {A.public, B.public} - {owner}
    served = owners_served(bench, 5, {A.public: 1.0, B.public: 1.0})
    assert served == {other: 5}


def test_an_owners_priorities_order_its_own_jobs_and_nobody_elses() -> None:
    bench = Bench(slots=1)
    job(bench, 1, B, 20)
    low = job(bench, 2, A, 5, priority=-10)
    plain = job(bench, 3, A, 5)
    high = job(bench, 4, A, 5, priority=10)
    order = []
    for number in range(1, 31):
        order.append(bench.worker.turns.batches[number].work.job)
        bench.now += 1.0
        bench.ran(number, ran_s=1.0)
    own = [each for each in order if each in {low.job, plain.job, high.job}]
    assert own == [high.job] * 5 + [plain.job] * 5 + [low.job] * 5
    assert 13 <= order[:28].count(own[0]) + order[:28].count(own[5]) + order[:28].count(own[10]) <= 15


def test_of_equal_priority_the_nearest_deadline_is_first() -> None:
    bench = Bench(slots=1)
    job(bench, 9, B, 1)
    made = [job(bench, n, A, 2, deadline_s=s) for n, s in ((1, 0.0), (2, 900.0), (3, 60.0))]
    order = []
    for number in range(1, 8):
        order.append(bench.worker.turns.batches[number].work.job)
        bench.ran(number, ran_s=1.0)
    none, late, soon = (each.job for each in made)
    assert order[1:] == [soon] * 2 + [late] * 2 + [none] * 2


def test_more_work_brings_an_owner_nothing_while_it_has_its_part_or_waits() -> None:
    bench = Bench(slots=4)
    shares = bench.worker.turns.shares
    assert not shares.sated(A.public, 0, 4)
    job(bench, 1, A, 40)
    assert shares.sated(A.public, 0, 4) and not shares.sated(A.public, 1, 4)  # a higher priority goes first
    assert not shares.sated(B.public, -10, 4)
    job(bench, 2, C, 1)
    job(bench, 3, B, 1)
    assert shares.sated(C.public, 0, 4) and shares.sated(B.public, 0, 4)
    assert bench.worker.sated(A.public, 0)


def test_owners_who_went_are_remembered_within_bounds() -> None:
    shares = Shares()
    shares._clock_s = 50.0
    bench = Bench(slots=1)
    for number in range(limits.OWNERS_AWAY_MAX + 5):
        shares._away[number.to_bytes(32, "big")] = 60.0
    work = bench.worker.works[bench.know(Made(1)).job]
    work.queue.append(object())  # type: ignore[arg-type]
    shares.line_up(work)
    assert len(shares) == 1 and shares.next(0.0, lambda work: 1) is work
    work.queue.clear()
    shares.line_up(work)
    assert len(shares) == 0 and len(shares._away) == limits.OWNERS_AWAY_MAX
    shares.line_up(work)
    assert shares.next(0.0, lambda work: 1) is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.integers(-2, 2)), min_size=1, max_size=6),
    st.integers(1, 3),
    st.sampled_from((0.0005, 0.02, 0.3)),
)
def test_whatever_is_queued_all_of_it_runs_and_nobody_is_left_in_line(
    queued: list[tuple[int, int, int]], slots: int, task_s: float
) -> None:
    bench = Bench(slots=slots)
    for number, (owner, count, priority) in enumerate(queued, 1):
        job(bench, number, (A, B, C)[owner], count, priority=priority)
    while bench.runs:
        bench.now += task_s
        bench.ran(max(bench.runs), ran_s=task_s)
    assert bench.worker.completed == sum(count for _, count, _ in queued)
    assert len(bench.worker.turns.shares) == 0 and bench.worker.queued == 0
