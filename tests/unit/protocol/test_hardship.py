"""Hardship: what becomes of tasks that nobody may have."""

from __future__ import annotations

import pytest

from p2pcpn.protocol import events
from p2pcpn.protocol import hardship as module
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.breakers import Breakers
from p2pcpn.protocol.hardship import PATIENCE_S, STALL_S, Hardship
from p2pcpn.wire.statements import Outcome
from tests.unit.protocol.granting import NoDelay, Table, keypair


def test_patience_lasts_while_somebody_may_still_run_it() -> None:
    table = Table(max_workers=2)
    table.extend(2)
    busy, standby = table.worker(10), table.worker(11)
    lease = busy.last
    busy.run(lease, spans=[(0, 1)], outcome=Outcome.DIED)
    table.pass_time(3 * PATIENCE_S)
    assert not table.seen(events.GaveUp)
    busy.run(lease, spans=[(1, 1)])
    assert standby.indices == [0]


def test_patience_ends_when_the_last_who_might_is_gone() -> None:
    table = Table()
    table.extend(1)
    first, second = table.worker(10), table.worker(11, claims=False)
    first.run(outcome=Outcome.DIED)
    second.claim()
    second.give_back(second.last, "leaving")
    table.pass_time(PATIENCE_S + 0.1)
    assert [event.died for event in table.seen(events.GaveUp)] == [True]


def test_a_task_that_was_only_declined_waits_on() -> None:
    table = Table()
    table.extend(1)
    worker = table.worker(10)
    worker.give_back(worker.last, "declined")
    table.pass_time(60.0)
    assert not table.seen(events.GaveUp)
    assert table.grantor.ledger.waiting == 1


def test_nothing_stalls_while_tasks_run_elsewhere() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10, slots=1)
    worker.give_back(worker.last, "declined")
    assert table.grantor.leases
    table.pass_time(STALL_S + 0.1)
    assert not table.seen(events.Stalled)
    worker.run()
    table.pass_time(STALL_S)
    assert len(table.seen(events.Stalled)) == 1


def test_a_peer_that_claims_again_is_asked_again() -> None:
    table = Table()
    table.extend(1)
    worker = table.worker(10)
    worker.give_back(worker.last, "declined")
    assert table.grantor.declined == {worker.node: "says declined"}
    table.session_closed(worker.node)
    worker.claim()
    assert table.grantor.declined == {}


def test_words_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DECLINED_MAX", 2)
    hardship = Hardship(b"job", Book(1, 0, runtime="function", breakers=Breakers(), rng=NoDelay(), now=0.0))
    for number in range(10, 14):
        hardship.decline(keypair(number).id, "no", 0.0)
    assert list(hardship.declined) == [keypair(12).id, keypair(13).id]


def test_without_hardship_nothing_is_due() -> None:
    hardship = Hardship(b"job", Book(1, 0, runtime="function", breakers=Breakers(), rng=NoDelay(), now=0.0))
    hardship.watch(1.0)
    assert hardship.deadline() is None
    assert hardship.expire(9.0) == []
    hardship.decline(keypair(10).id, "no", 1.0)
    assert hardship.deadline() == 1.0 + STALL_S
    assert hardship.expire(1.0 + STALL_S) == []
    assert hardship.deadline() is None


def test_both_worries_are_due_at_the_sooner() -> None:
    book = Book(1, 0, runtime="function", breakers=Breakers(), rng=NoDelay(), now=0.0)
    book.ledger.extend(1)
    book.ledger.died(0, keypair(10).id, (9, None), 1.0)
    hardship = Hardship(b"job", book)
    hardship.decline(keypair(10).id, "no", 1.0)
    hardship.watch(1.0)
    assert hardship.deadline() == 1.0 + PATIENCE_S
