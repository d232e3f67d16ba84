"""Acceptance: a receipt is right in everything or settles nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol import events
from p2pcpn.protocol.dependencies import Known
from p2pcpn.protocol.spans import covers
from p2pcpn.wire import messages as m
from p2pcpn.wire.pages import Print
from p2pcpn.wire.statements import BlobRef, Lease, Outcome, Receipt, Signed, signed
from tests.unit.protocol.granting import ME, Table, Worker, keypair


def leased(*counts: int, slots: int = 4, **options: Any) -> tuple[Table, Worker]:
    """A worker that holds a lease of four tasks."""
    table = Table(**options)
    table.extend(*(counts or (4,)))
    return table, table.worker(10, slots=slots)


def untouched(table: Table, worker: Worker) -> bool:
    """Nothing of what was refused was acted on."""
    peer = table.grantor.participants[worker.node]
    return not table.delivered and peer.held == 4 and peer.pace.task_s is None and table.grantor.log.empty


def forged(worker: Worker) -> m.Results:
    message = worker.message(worker.last)
    return m.Results(msgspec.structs.replace(message.receipt, signature=bytes(64)), message.page, False)


def other_page(worker: Worker) -> m.Results:
    return m.Results(worker.message(worker.last).receipt, b"another page", False)


BAD: dict[str, Callable[[Worker], m.Results]] = {
    "a forged signature": forged,
    "another key": lambda w: w.message(w.last, signer=keypair(99)),
    "another job": lambda w: w.message(w.last, job=bytes(20)),
    "another epoch": lambda w: w.message(w.last, epoch=1),
    "another grantor": lambda w: w.message(w.last, grantor=bytes(20)),
    "a token never granted": lambda w: w.message(w.last, token=99),
    "the token zero": lambda w: w.message(w.last, token=0),
    "another page": other_page,
    "a task outside the lease": lambda w: w.message(w.last, spans=[(3, 2)]),
    "a task far outside": lambda w: w.message(w.last, spans=[(1 << 62, 1)]),
    "a task twice": lambda w: w.message(w.last, spans=[(0, 2), (1, 1)]),
    "an empty span": lambda w: w.message(w.last, spans=[(0, 0), (1, 1)]),
    "no task": lambda w: w.message(w.last, spans=[(0, 0)]),
    "counts beyond all bounds": lambda w: w.message(w.last, spans=[(0, 4)], outcomes=b"\0" * 5),
    "an unknown outcome": lambda w: w.message(w.last, outcome=3),
    "digests of other values": lambda w: w.message(w.last, digests=bytes(64)),
    "too few digests": lambda w: w.message(w.last, digests=bytes(48)),
    "another part than it is sealed for": lambda w: w.message(w.last, part=7),
    "a death that is none": lambda w: w.message(w.last, outcome=Outcome.DIED, value=lambda index: b"?"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_receipt_with_anything_wrong_is_refused_and_nothing_of_it_acted_on(what: str) -> None:
    table, worker = leased()
    with pytest.raises(PeerError):
        worker.bring(BAD[what](worker))
    assert untouched(table, worker)


def test_spans_whose_sum_is_immense_are_refused_before_they_are_cut() -> None:
    table, worker = leased()
    message = worker.message(worker.last, spans=[(0, 1)])
    huge = msgspec.msgpack.decode(message.receipt.body)
    huge[5] = [[0, (1 << 32) - 1]] * 4096
    body = msgspec.msgpack.encode(huge)
    signature = worker.key.sign(b"p2pcpn/1 statement" + Receipt.kind.to_bytes(2, "big") + body)
    receipt = Signed(Receipt.kind, body, worker.key.public, signature)
    with pytest.raises(PeerError):
        worker.bring(m.Results(receipt, message.page, False))
    assert untouched(table, worker)


def test_results_of_a_worker_that_nobody_trusts_are_refused_and_counted() -> None:
    table, worker = leased(trusted=lambda key, proof: False)
    with pytest.raises(PeerError, match="not loaded"):
        worker.run()
    assert table.grantor.refused == 1
    assert untouched(table, worker)


def test_results_that_another_peer_brings_are_refused() -> None:
    table, worker = leased()
    message, other = worker.message(worker.last), table.worker(11)
    with pytest.raises(PeerError):
        other.bring(message)
    with pytest.raises(PeerError):
        other.run(worker.last)
    assert untouched(table, worker)


def test_a_page_larger_than_a_log_can_hold_is_refused() -> None:
    table, worker = leased()
    with pytest.raises(PeerError):
        worker.run(value=lambda index: bytes(limits.RESULT_PAGE_BYTES_MAX // 4))
    assert untouched(table, worker)


def test_pages_that_do_not_fit_one_log_segment_make_several() -> None:
    table, worker = leased()
    for index in range(4):
        worker.run(worker.grants[0][1], spans=[(index, 1)], value=lambda _: bytes(3 << 20))
    assert table.delivered == [0, 1, 2, 3]
    assert table.grantor.log.number == 3


def test_receipts_of_a_lease_long_forgotten_are_acknowledged_and_settle_nothing() -> None:
    table, worker = leased(replicas=1)
    lease = worker.last
    worker.run(spans=[(0, 4)])
    table.pass_time(0.5)
    assert table.grantor.book.leases.known(lease.token) is None
    worker.run(lease)
    assert table.delivered == [0, 1, 2, 3]
    assert worker.of(m.Settled)[-1] == m.Settled(table.job, [(lease.token, 1)])


def test_part_of_a_receipt_that_is_fenced_is_left_out_of_what_is_delivered() -> None:
    table, worker = leased()
    lease = worker.last
    worker.give_back(lease, "late", [(1, 1)])
    table.worker(11, slots=1)
    output = [Print(index, 1, b"line") for index in range(6)]
    worker.run(lease, output=output)
    [delivered] = table.seen(events.Delivered)
    assert delivered.indices in ([0, 2, 3], [0, 1, 2, 3])
    assert [line.index for line in delivered.output] == delivered.indices
    assert len(delivered.values) == len(delivered.outcomes) == len(delivered.indices)
    assert delivered.worker == worker.node


def test_output_that_claims_to_be_another_tasks_is_dropped() -> None:
    table, worker = leased()
    worker.run(spans=[(0, 2)], output=[Print(0, 1, b"mine"), Print(3, 1, b"not mine")])
    [delivered] = table.seen(events.Delivered)
    assert [line.index for line in delivered.output] == [0]


def test_a_death_under_an_ended_lease_excludes_the_peer_from_what_waits() -> None:
    table, worker = leased()
    lease = worker.last
    table.pass_time(31.0)
    worker.run(lease, spans=[(2, 1)], outcome=Outcome.DIED)
    worker.claim()
    assert 2 not in worker.grants[-1][1].spans
    assert sorted(index for first, count in worker.last.spans for index in range(first, first + count)) == [0, 1, 3]


def test_a_death_that_comes_twice_is_one_death() -> None:
    table, worker = leased()
    message = worker.message(worker.last, spans=[(0, 1)], outcome=Outcome.DIED)
    for _ in range(4):
        worker.bring(message)
    assert len(table.grantor.ledger.troubles[0].deaths) == 1
    assert table.delivered == []


def test_a_receipt_of_deaths_and_results_settles_the_results() -> None:
    table, worker = leased()
    message = worker.message(worker.last, outcome=Outcome.OK)
    mixed = worker.message(
        worker.last, spans=[(0, 4)], outcomes=bytes([0, 2, 0, 1]),
        value=lambda index: b"\x92\x09\xc0" if index == 1 else b"value",
    )  # fmt: skip
    assert message
    worker.bring(mixed)
    assert table.delivered == [0, 2, 3]
    assert table.seen(events.Delivered)[0].outcomes == bytes([0, 0, 1])
    assert table.grantor.participants[worker.node].pace.task_s is None


def test_results_that_name_more_blobs_than_a_header_holds_make_several_segments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SEGMENT_TASKS_MAX", 5)
    table, worker = leased(6, slots=6)
    lease = worker.last
    for first in (0, 3):
        worker.run(lease, spans=[(first, 3)], value=lambda index: BlobRef(bytes([index]) * 32, 9, bytes(32)))
    assert table.delivered == [0, 1, 2, 3, 4, 5]
    assert table.grantor.log.number == 1


# --- results of an earlier epoch --------------------------------------------------------------------------------------


def taken_over() -> tuple[Table, Worker]:
    """A grantor of epoch 3 with four tasks, and a worker that ran some of them for an earlier one."""
    table = Table(epoch=3)
    table.extend(4)
    return table, table.worker(10, slots=1)


def earlier(table: Table, worker: Worker, *spans: tuple[int, int], epoch: int = 1, **how: Any) -> m.Results:
    """What the worker ran under a lease of an earlier epoch."""
    return worker.message(Lease(table.job, epoch, 7, worker.node, list(spans)), **how)


def test_what_was_run_for_an_earlier_grantor_settles_what_waits() -> None:
    table, worker = taken_over()
    table.act(lambda grantor, now: grantor.inherit(worker.contact, earlier(table, worker, (0, 2)), now))
    assert table.delivered == [0, 1]
    table.pass_time(1.0)
    assert [lease.spans[0] for _, lease in worker.grants] == [(2, 1)]
    effects = table.act(lambda grantor, now: grantor.inherit(worker.contact, earlier(table, worker, (1, 3)), now))
    assert table.delivered == [0, 1, 3] and effects, "what is leased by now is fenced"
    table.pass_time(1.0)
    assert worker.of(m.Settled)[0].parts == [((1 << 31) + 7, 0)]


def test_what_was_run_for_an_earlier_grantor_on_a_result_that_lost_is_run_again() -> None:
    table, worker = taken_over()
    book = table.grantor.book
    book.need([(3, [0])])
    book.ledger.settled_already([(0, 1)])
    book.count({0: Known(bytes(16), b"counts")}.get)
    message = earlier(table, worker, (1, 1), (3, 1), inputs=[(3, 0, bytes([9]) * 16)])
    table.act(lambda grantor, now: grantor.inherit(worker.contact, message, now))
    assert table.delivered == [1] and not covers(book.ledger.open_spans(), [(1, 1)])
    assert covers(book.ledger.open_spans(), [(3, 1)])


def test_what_settles_nothing_is_acknowledged_all_the_same_but_not_to_a_steward() -> None:
    table, worker = taken_over()
    said = earlier(table, worker, (0, 2))
    table.act(lambda grantor, now: grantor.inherit(None, said, now))
    assert table.delivered == [0, 1]
    table.act(lambda grantor, now: grantor.inherit(None, said, now))
    assert table.grantor.conflicts == 1
    table.pass_time(1.0)
    assert not worker.of(m.Settled)
    table.act(lambda grantor, now: grantor.inherit(worker.contact, said, now))
    assert worker.of(m.Settled) == [m.Settled(table.job, [((1 << 31) + 7, 0)])]


def test_a_death_of_an_earlier_epoch_settles_nothing() -> None:
    table, worker = taken_over()
    message = earlier(table, worker, (0, 2), outcome=Outcome.DIED)
    table.act(lambda grantor, now: grantor.inherit(worker.contact, message, now))
    assert not table.delivered and table.grantor.ledger.open == 4


def test_results_that_no_earlier_grantor_can_have_leased_are_an_error() -> None:
    table, worker = taken_over()
    other = table.worker(11)
    for sender, message in (
        (worker, earlier(table, worker, (0, 1), epoch=3)),
        (worker, earlier(table, worker, (0, 1), token=1 << 31)),
        (other, earlier(table, worker, (0, 1))),
        (worker, earlier(table, worker, (0, 1), signer=keypair(12))),
    ):
        with pytest.raises(PeerError):
            table.grantor.inherit(sender.contact, message, table.now)
    assert not table.delivered


LEASES: dict[str, Callable[[Table, Worker], Lease]] = {
    "other tasks": lambda t, w: Lease(t.job, 1, 7, w.node, [(0, 1), (2, 2)]),
    "fewer tasks": lambda t, w: Lease(t.job, 1, 7, w.node, [(0, 1)]),
    "another worker's": lambda t, w: Lease(t.job, 1, 7, keypair(11).id, [(0, 4)]),
    "another token": lambda t, w: Lease(t.job, 1, 8, w.node, [(0, 4)]),
    "another epoch": lambda t, w: Lease(t.job, 2, 7, w.node, [(0, 4)]),
    "another job": lambda t, w: Lease(bytes(20), 1, 7, w.node, [(0, 4)]),
}


@pytest.mark.parametrize("lease", LEASES.values(), ids=LEASES.keys())
def test_a_receipt_of_an_earlier_epoch_states_nothing_that_its_lease_did_not_give(
    lease: Callable[[Table, Worker], Lease],
) -> None:
    table, worker = taken_over()
    said = earlier(table, worker, (0, 2))
    message = msgspec.structs.replace(said, lease=signed(lease(table, worker), ME))
    for sender in (worker.contact, None):
        with pytest.raises(PeerError):
            table.grantor.inherit(sender, message, table.now)
    forged = msgspec.structs.replace(said.lease, signature=bytes(64))
    with pytest.raises(PeerError):
        table.grantor.inherit(worker.contact, msgspec.structs.replace(said, lease=forged), table.now)
    assert not table.delivered and table.grantor.ledger.open == 4
    table.act(lambda grantor, now: grantor.inherit(worker.contact, said, now))
    assert table.delivered == [0, 1]


def test_a_receipt_of_an_earlier_epoch_whose_lease_nobody_shows_is_left_to_its_worker() -> None:
    table, worker = taken_over()
    said = earlier(table, worker, (0, 2))
    for lease in (None, signed(Lease(table.job, 1, 7, worker.node, [(0, 2)]), worker.key)):  # who never granted
        message = msgspec.structs.replace(said, lease=lease)
        assert table.act(lambda grantor, now, message=message: grantor.inherit(worker.contact, message, now)) == []
    assert not table.delivered and not worker.of(m.Settled) and table.grantor.refused == 2


def test_a_lease_that_foresaw_tasks_gives_them_and_one_in_pieces_each_of_them() -> None:
    table, worker = taken_over()
    lease = Lease(table.job, 1, 7, worker.node, [(3, 60), (0, 1)])
    table.act(lambda grantor, now: grantor.inherit(worker.contact, worker.message(lease, spans=[(0, 1), (3, 1)]), now))
    assert table.delivered == [0, 3]


def test_results_of_an_earlier_epoch_by_a_stranger_are_refused() -> None:
    table = Table(epoch=1, trusted=lambda key, proof: False)
    table.extend(2)
    worker = table.worker(10)
    with pytest.raises(PeerError, match="neither a member"):
        table.grantor.inherit(worker.contact, earlier(table, worker, (0, 1), epoch=0), table.now)
    assert table.grantor.refused == 1
