"""Blame: what only a peer can mend counts against it, what a job does never; who is blamed gets nothing for a while."""

from __future__ import annotations

import pytest

from p2pcpn.protocol import events
from p2pcpn.protocol.breakers import FAILURES_MAX, OPEN_S
from p2pcpn.protocol.hardship import STALL_S
from p2pcpn.wire import messages as m
from p2pcpn.wire.statements import Lease, Outcome
from tests.unit.protocol.granting import Table, Worker


def blamed(table: Table) -> dict[bytes, int]:
    """How often each participant of whom that is known failed in a row."""
    known = table.breakers._known
    return {peer: breaker.failures for (_, peer), breaker in known.items()}


def live(worker: Worker) -> list[Lease]:
    """The leases that it holds."""
    return [lease for _, lease in worker.grants if lease.token in worker.table.grantor.leases]


def dies(worker: Worker, *, claims: bool = True) -> None:
    """The peer is lost with what it holds, and starts again."""
    worker.table.session_closed(worker.node)
    worker.table.peer_dead(worker.node)
    worker.boot += 1
    if claims:
        worker.claim()


def test_each_loss_of_a_peer_counts_once_however_much_it_held() -> None:
    table = Table(retries=100)
    table.extend(64)
    worker = table.worker(10, slots=16)
    for times in range(1, FAILURES_MAX):
        dies(worker)
        assert blamed(table) == {worker.node: times}
    dies(worker)
    assert len(worker.grants) == FAILURES_MAX, "it claims, stands by, and gets nothing"
    table.pass_time(OPEN_S + 6.0)
    assert len(worker.grants) == FAILURES_MAX + 1 and worker.last.spans[0][1] == 1, "one task, to see"
    worker.run()
    assert blamed(table) == {} and len(worker.grants) == FAILURES_MAX + 2
    assert sum(count for _, count in worker.last.spans) > 1


def test_a_probe_that_comes_back_unrun_or_that_another_peer_outruns_is_followed_by_another() -> None:
    table = Table()
    table.extend(20)
    worker = table.worker(10, slots=2)
    for _ in range(FAILURES_MAX):
        worker.give_back(worker.last, "broken")
    table.pass_time(OPEN_S + 6.0)
    for _ in range(3):
        probes = len(worker.grants)
        (lease,) = live(worker)
        worker.give_back(lease, "late")
        table.pass_time(0.1)
        assert len(worker.grants) == probes + 1 and worker.last.spans[0][1] == 1
    assert blamed(table) == {worker.node: FAILURES_MAX}


def test_a_probe_that_another_peer_outran_runs_to_its_end_and_clears_its_peer_all_the_same() -> None:
    table = Table()
    table.extend(1)
    worker, other = table.worker(10, slots=1), table.worker(11, slots=1, claims=False)
    for _ in range(FAILURES_MAX):
        worker.give_back(worker.last, "broken")
    table.pass_time(OPEN_S + 6.0)
    (lease,) = live(worker)
    other.claim()
    book = table.grantor.book
    book.participants.promote(9, [], table.now)
    book.hedge(lease.token, 0, book.participants.peers[other.node], table.now + 30.0, table.now)
    answer = worker.message(lease)
    copy = Lease(table.job, 0, max(table.grantor.leases), other.node, [(0, 1)])
    other.run(copy)
    assert table.delivered == [0] and not worker.of(m.Revoke)
    assert blamed(table) == {worker.node: FAILURES_MAX}
    worker.bring(answer)
    assert blamed(table) == {} and table.grantor.conflicts == 1


def test_a_peer_that_was_lost_with_nothing_or_leaves_or_is_late_failed_at_nothing() -> None:
    table = Table()
    table.extend(100)
    worker = table.worker(10)
    for code in ("late", "recalled", "missing", "unusable", "unreachable", "late", "leaving"):
        table.pass_time(2.0)  # who gave back what it had not begun is left alone for a second
        (lease,) = live(worker)
        worker.give_back(lease, code)
    table.extend(1)
    assert live(worker) == []
    dies(worker)
    assert blamed(table) == {}


def test_a_lease_that_ends_in_silence_counts() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    table.pass_time(31.0)
    assert blamed(table) == {worker.node: 1}


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.RAISED])
def test_a_task_that_raises_has_run_to_its_end_and_clears_its_peer(outcome: int) -> None:
    table = Table()
    table.extend(100)
    worker = table.worker(10, slots=1)
    for _ in range(FAILURES_MAX - 1):
        worker.give_back(worker.last, "broken")
    assert blamed(table) == {worker.node: FAILURES_MAX - 1}
    worker.run(outcome=outcome)
    assert blamed(table) == {}


def test_a_peer_whose_processes_always_die_is_found_although_each_task_is_tried_there_once() -> None:
    table = Table()
    table.extend(40)
    bad = table.worker(10, slots=2)
    good = table.worker(11, slots=2)
    for _ in range(200):
        for lease in live(bad):
            bad.run(lease, spans=[(lease.spans[0][0], 1)], outcome=Outcome.DIED)
            if lease in live(bad):
                bad.give_back(lease, "late")
        for lease in live(good):
            good.run(lease)
        table.pass_time(0.05)
    assert sorted(table.delivered) == list(range(40)) and not table.seen(events.GaveUp)
    assert len(bad.grants) <= FAILURES_MAX + 4


def test_a_job_full_of_tasks_that_crash_closes_nobodys_door() -> None:
    table = Table()
    table.extend(3 * FAILURES_MAX)
    workers = [table.worker(number, slots=1) for number in (10, 11, 12)]
    for _ in range(400):
        for worker in workers:
            for lease in live(worker):
                worker.run(lease, spans=[(lease.spans[0][0], 1)], outcome=Outcome.DIED)
        table.pass_time(0.1)
        if not table.grantor.ledger.open:
            break
    assert sorted(table.delivered) == list(range(3 * FAILURES_MAX)), "each died at three peers: poison"
    assert table.grantor.book.blame.shut() == []


def test_slots_of_an_open_peer_are_others_and_come_back() -> None:
    table = Table(max_workers=2)
    table.extend(100)
    bad = table.worker(10, slots=2)
    while bad.last.token in table.grantor.leases:
        bad.give_back(bad.last, "broken")
    assert not table.grantor.participants[bad.node].taken
    other = table.worker(11, slots=2)
    assert other.grants, "the two slots that the job may have are free"
    (shut,) = table.grantor.book.blame.shut()
    assert (shut.peer, shut.why) == (bad.node, "says broken")


def test_where_only_open_peers_are_left_the_owner_hears_why_nothing_goes_on() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    for _ in range(80):
        for lease in live(worker):
            worker.give_back(lease, "broken")
        table.pass_time(STALL_S / 40)
    said = table.seen(events.Stalled)[0]
    ((peer, why),) = said.reasons
    assert peer == worker.node and why.startswith("says broken (") and why.endswith("failures in a row)")


def test_what_one_job_learns_of_a_peer_another_job_of_this_node_knows() -> None:
    table, other = Table(), Table()
    other.grantor.book.blame._breakers = table.breakers
    table.extend(20)
    other.extend(20)
    worker = table.worker(10)
    while worker.last.token in table.grantor.leases:
        worker.give_back(worker.last, "broken")
    assert not other.worker(10).grants
