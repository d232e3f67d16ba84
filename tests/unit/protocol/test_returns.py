"""Returns: each code has its own consequence, and none is charged to the tasks."""

from __future__ import annotations

import random

import pytest

from p2pcpn.protocol import events
from p2pcpn.protocol import returns as module
from p2pcpn.protocol.breakers import FAILURES_MAX
from p2pcpn.protocol.effects import Hangup
from p2pcpn.protocol.hardship import PATIENCE_S
from p2pcpn.protocol.returns import CROWDED_S, MISSING_MAX, UNREACHABLE_TIMES
from p2pcpn.wire import messages as m
from tests.unit.protocol.granting import Table, Worker


def one_worker(tasks: int = 4, *, slots: int = 2) -> tuple[Table, Worker]:
    """A job whose tasks may never lose a peer, and one peer that holds some."""
    table = Table(retries=0)
    table.extend(tasks)
    return table, table.worker(10, slots=slots)


@pytest.mark.parametrize("code", ["late", "recalled", "declined", "missing", "leaving", "a code of a newer release"])
def test_what_comes_back_unrun_waits_again_and_nothing_is_charged(code: str) -> None:
    table, worker = one_worker(2)
    for _ in range(3):
        if worker.node in table.grantor.participants and table.grantor.participants[worker.node].held:
            worker.give_back(worker.last, code)
    other = table.worker(11, slots=4)
    table.pass_time(1.0)
    assert not table.seen(events.GaveUp)
    assert sorted(set(worker.indices + other.indices)) == [0, 1]


def test_what_is_declined_goes_to_others_only() -> None:
    table, worker = one_worker(2)
    worker.give_back(worker.last, "declined", [(0, 1)])
    assert table.grantor.ledger.barred_from(0) == {worker.node} and not table.grantor.ledger.barred_from(1)
    assert table.worker(11).indices == [0]


def test_a_peer_that_lacks_everything_takes_part_no_more() -> None:
    table, worker = one_worker(100)
    count = 0
    while worker.node in table.grantor.participants:
        effects = worker.give_back(worker.last, "missing")
        count += 1
    assert count == MISSING_MAX + 1
    assert [effect.peer for effect in effects if isinstance(effect, Hangup)] == [worker.node]


@pytest.mark.parametrize("code", ["declined", "broken"])
def test_a_peer_that_can_run_nothing_is_asked_less_and_less(code: str) -> None:
    table, worker = one_worker(1000)
    grants: list[int] = []
    for _ in range(300):
        while worker.grants and worker.last.token in table.grantor.leases:
            worker.give_back(worker.last, code)
        grants.append(len(worker.grants))
        table.pass_time(1.0)
    assert grants[0] == FAILURES_MAX and grants[30] <= 12 and grants[-1] <= 20
    assert table.grantor.ledger.waiting == 1000 and not table.seen(events.GaveUp)


def test_an_input_that_nobody_can_use_fails_its_task_after_three_peers_and_names_the_cause() -> None:
    table, worker = one_worker(3, slots=3)
    peers = [worker, table.worker(11, slots=3), table.worker(12, slots=3)]
    worker.give_back(worker.last, "unusable", [(1, 1)])
    worker.run(spans=[(0, 1), (2, 1)])
    for peer in peers[1:]:
        assert not table.seen(events.GaveUp)
        table.pass_time(1.0)
        assert peer.last.spans == [(1, 1)]
        peer.give_back(peer.last, "unusable")
    (gave_up,) = table.seen(events.GaveUp)
    assert gave_up.indices == [1] and "3 peers found: says unusable" in gave_up.text
    assert table.delivered == [0, 2] and not table.grantor.ledger.troubles
    assert not table.grantor.book.blame.shut(), "it is the owner's"


def test_where_there_are_fewer_peers_an_input_that_none_of_them_can_use_fails_its_task_soon() -> None:
    table, worker = one_worker(1)
    worker.give_back(worker.last, "unusable")
    table.pass_time(PATIENCE_S + 0.1)
    (gave_up,) = table.seen(events.GaveUp)
    assert gave_up.indices == [0] and "a peer found: says unusable" in gave_up.text


def test_an_input_that_one_peer_could_not_use_may_be_good_elsewhere() -> None:
    table, worker = one_worker(1)
    worker.give_back(worker.last, "unusable")
    table.worker(11).run()
    assert table.delivered == [0] and not table.seen(events.GaveUp)


def test_an_input_that_cannot_be_had_is_sent_again_later_each_time_and_its_task_fails_in_the_end() -> None:
    table = Table(retries=0, dice=random.Random(4))
    table.extend(1)
    worker = table.worker(10)
    began, times = table.now, 0
    while not table.seen(events.GaveUp) and table.now < began + 2000.0:
        if worker.grants and worker.last.token in table.grantor.leases:
            assert len(worker.of(m.Extend)) == times + 1, "what it lacks came again"
            worker.give_back(worker.last, "unreachable")
            times += 1
        if worker.node not in table.grantor.participants:
            worker.claim()
        table.pass_time(0.5)
    (gave_up,) = table.seen(events.GaveUp)
    assert times == UNREACHABLE_TIMES and f"{times} times: says unreachable" in gave_up.text
    assert 60.0 < table.now - began < 600.0, "large inputs have time to arrive"


def test_an_input_that_arrives_late_costs_its_task_nothing() -> None:
    table, worker = one_worker(1)
    for _ in range(3):
        worker.give_back(worker.last, "unreachable")
        table.pass_time(5.0)
    worker.run()
    assert table.delivered == [0] and not table.seen(events.GaveUp)


@pytest.mark.parametrize("code", ["unusable", "unreachable"])
def test_a_task_that_runs_elsewhere_too_does_not_fail_of_an_input(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNUSABLE_PEERS", 1)
    monkeypatch.setattr(module, "UNREACHABLE_TIMES", 1)
    table, worker = one_worker(1)
    other = table.worker(11)
    book = table.grantor.book
    book.participants.promote(9, [], table.now)
    book.hedge(worker.last.token, 0, book.participants.peers[other.node], table.now + 30.0, table.now)
    worker.give_back(worker.last, code)
    assert not table.seen(events.GaveUp) and table.grantor.ledger.leased == 1


def test_a_peer_that_lacks_something_is_sent_it_again() -> None:
    _, worker = one_worker(2)
    worker.give_back(worker.last, "missing")
    assert [type(message) for message in worker.said] == [m.Introduce, m.Grant] * 2


def test_the_slots_of_a_peer_that_works_for_others_are_not_counted_on_for_a_while() -> None:
    table, worker = one_worker(2)
    worker.give_back(worker.last, "recalled")
    assert table.grantor.participants[worker.node].crowded_until == table.now + CROWDED_S


def test_a_peer_that_leaves_ends_what_it_runs() -> None:
    table, worker = one_worker(2)
    lease = worker.last
    worker.give_back(lease, "leaving", [(0, 1)])
    assert table.grantor.participants[worker.node].leaving
    worker.give_back(lease, "leaving", [(1, 1)])
    assert worker.node not in table.grantor.participants
