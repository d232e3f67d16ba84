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


def test_a_task_whose_input_all_that_are_there_could_not_use_ends_with_what_they_found() -> None:
    table = Table()
    table.extend(1)
    worker = table.worker(10)
    worker.give_back(worker.last, "unusable")
    table.pass_time(PATIENCE_S + 0.1)
    (event,) = table.seen(events.GaveUp)
    assert event.text == "an input of the task cannot be used, a peer found: says unusable" and not event.died
    assert table.grantor.finished is False and table.grantor.ledger.open == 0


def test_who_ends_a_task_for_its_input_says_how_many_tried_and_how_often() -> None:
    table = Table()
    table.extend(2)
    book = table.grantor.book
    hardship = Hardship(table.job, book)
    for number in (10, 11):
        book.ledger.unusable(0, keypair(number).id, f"no {number}", 1.0)
    for _ in range(3):
        book.ledger.unreachable(1)
    ended = [hardship.unusable(0), hardship.unreachable(1, "is not here")]
    texts = [effect.event.text for effect in ended]  # type: ignore[attr-defined]
    assert texts[0] == "an input of the task cannot be used, 2 peers found: no 11"
    assert texts[1] == "an input of the task could not be had, 3 times: is not here"
    assert not book.ledger.open and not book.ledger.troubles


def test_what_only_rests_or_lacks_an_input_is_looked_at_again_and_not_given_up() -> None:
    table = Table()
    table.extend(2)
    book = table.grantor.book
    book.ledger.take(2, keypair(10).id)
    book.ledger.died(0, keypair(10).id, (9, None), 1.0)
    book.ledger.rest([(0, 1)])
    book.ledger.unreachable(1)
    hardship = Hardship(table.job, book)
    hardship.watch(1.0)
    assert hardship.expire(5.0) == [] and hardship.deadline() == 5.0 + PATIENCE_S
    book.ledger.wake([(0, 1)])
    (notify,) = hardship.expire(9.0)
    assert notify.event.indices == [0]  # type: ignore[attr-defined]


def test_a_job_that_waits_for_peers_alone_that_fail_at_everything_says_so() -> None:
    table = Table()
    table.extend(4)
    worker = table.worker(10, slots=1)
    for _ in range(5):
        worker.give_back(worker.last, "broken")
    assert table.grantor.book.blame.shut() and not table.grantor.leases
    hardship = table.grantor._hardship
    (notify,) = [effect for effect in hardship.expire(table.now + STALL_S) if hasattr(effect, "event")]
    assert notify.event.reasons == ((worker.node, "says broken (5 failures in a row)"),)
