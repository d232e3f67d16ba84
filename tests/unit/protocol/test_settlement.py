"""Settlements: a log that can be withheld but not changed, and receipts that speak for themselves."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from p2pcpn import limits
from p2pcpn.errors import PeerError, ResultRefused
from p2pcpn.protocol import settlement
from p2pcpn.protocol.settlement import NOTHING, LogWriter, check_body, check_digests, check_segment, open_receipt
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.pages import ResultPage
from p2pcpn.wire.sealing import digest, result_digest
from p2pcpn.wire.statements import BlobRef, LogHeader, opened, read
from tests.unit.protocol.granting import KEYS, ME, Table, Worker, keypair


def leased() -> tuple[Table, Worker]:
    """A worker with a lease of four tasks."""
    table = Table()
    table.extend(4)
    return table, table.worker(10, slots=4)


def receipt(table: Table, worker: Worker, spans: list[tuple[int, int]] | None = None) -> m.Results:
    """A receipt of that worker."""
    return worker.message(worker.last, spans=spans)


def test_segments_are_chained_and_count_what_they_settle() -> None:
    table, worker = leased()
    log = LogWriter(table.job, 0, ME)
    one, two = receipt(table, worker, [(0, 1)]), receipt(table, worker, [(1, 3)])
    log.append(one.receipt, one.page, [(0, 1)], whole=True, now=1.0)
    first = log.close()
    log.append(two.receipt, two.page, [(3, 1), (1, 1)], whole=False, now=2.0)
    second = log.close()
    said, entries = check_segment(first.header, first.body, table.job, lambda key, epoch: key == ME.public)
    assert (said.number, said.previous, said.settled, said.spans) == (0, NOTHING, 1, [(0, 1)])
    assert entries == [pages.Entry(one.receipt, one.page, None)]
    said, entries = check_segment(second.header, second.body, table.job, lambda key, epoch: True)
    assert (said.previous, said.settled, said.spans) == (digest(first.header.body), 3, [(1, 1), (3, 1)])
    assert entries[0].spans == [(3, 1), (1, 1)]
    assert (log.number, log.last) == (2, digest(second.header.body))


def test_a_segment_is_due_after_a_moment_or_when_it_is_full() -> None:
    table, worker = leased()
    log = LogWriter(table.job, 0, ME)
    assert (log.deadline(), log.due(9.0), log.empty) == (None, False, True)
    message = receipt(table, worker)
    log.append(message.receipt, message.page, [(0, 4)], whole=True, now=1.0)
    assert log.deadline() == 1.0 + limits.LOG_SEGMENT_WAIT_S
    assert not log.due(1.05)
    assert log.due(1.11)
    log.append(message.receipt, bytes(limits.LOG_SEGMENT_BYTES_MAX), [(0, 4)], whole=True, now=1.0)
    assert log.due(1.0)


def test_a_segment_has_room_within_the_bounds_of_a_message_and_a_header() -> None:
    table, worker = leased()
    log = LogWriter(table.job, 0, ME)
    assert log.room(limits.RESULT_PAGE_BYTES_MAX, limits.BATCH_TASKS_MAX)
    message = receipt(table, worker)
    log.append(message.receipt, message.page, [(2 * i, 1) for i in range(100)], whole=False, now=1.0)
    assert log.room(1000, 1)
    assert not log.room(limits.LOG_SEGMENT_BYTES_MAX, 1)
    assert not log.room(1000, limits.BATCH_TASKS_MAX)
    assert log.room(1000, 1, limits.SEGMENT_TASKS_MAX)
    assert not log.room(1000, 1, limits.SEGMENT_TASKS_MAX + 1)


def test_a_header_names_each_blob_of_its_results_once() -> None:
    table, worker = leased()
    log, message = LogWriter(table.job, 0, ME), receipt(table, worker)
    one, two = bytes([1]) * 32, bytes([2]) * 32
    log.append(message.receipt, message.page, [(0, 2)], whole=False, now=1.0, blobs=[two, one])
    log.append(message.receipt, message.page, [(2, 2)], whole=False, now=1.0, blobs=[one])
    assert opened(log.close().header, LogHeader).blobs == [two, one]
    log.append(message.receipt, message.page, [(0, 1)], whole=False, now=1.0)
    assert opened(log.close().header, LogHeader).blobs == []


def test_the_largest_segment_fits_a_message() -> None:
    table, worker = leased()
    log = LogWriter(table.job, 0, ME)
    message = receipt(table, worker)
    spans = [(2 * index, 1) for index in range(limits.BATCH_TASKS_MAX)]
    log.append(message.receipt, bytes(limits.RESULT_PAGE_BYTES_MAX), spans, whole=False, now=1.0)
    segment = log.close()
    assert len(m.CODEC.encode(m.Append(1, segment.header, segment.body))) <= limits.MESSAGE_BYTES_MAX


@given(st.integers(0, 3))
def test_a_segment_that_is_not_what_its_grantor_signed_is_refused(what: int) -> None:
    table, worker = leased()
    log = LogWriter(table.job, 0, ME)
    message = receipt(table, worker)
    log.append(message.receipt, message.page, [(0, 4)], whole=True, now=1.0)
    segment = log.close()
    body = segment.body + b"x" if what == 0 else segment.body
    job = bytes(20) if what == 1 else table.job
    header = segment.header
    if what == 2:
        said = opened(header, LogHeader)
        other = LogWriter(table.job, 0, keypair(99))
        other.append(message.receipt, message.page, [(0, 4)], whole=True, now=1.0)
        header = other.close().header
        assert said.grantor == ME.id
    with pytest.raises(PeerError):
        check_segment(header, body, job, lambda key, epoch: what != 3 and key == ME.public)


def test_a_header_says_what_its_receipts_settle_and_nothing_else() -> None:
    table, worker = leased()
    one, two = receipt(table, worker, [(0, 2)]), receipt(table, worker, [(2, 2)])

    def claimed(*spans: tuple[int, int], entries: list[pages.Entry]) -> list[pages.Entry]:
        body = pages.LOG_BODY.encode(entries)
        return check_body(LogHeader(table.job, 0, ME.id, 0, NOTHING, digest(body), 0, list(spans)), body)

    whole = [pages.Entry(one.receipt, one.page, None), pages.Entry(two.receipt, two.page, None)]
    part = [pages.Entry(one.receipt, one.page, None), pages.Entry(two.receipt, two.page, [(3, 1)])]
    assert claimed((0, 4), entries=whole) == whole
    assert claimed((0, 2), (3, 1), entries=part) == part
    for lie in (
        lambda: claimed((0, 4), entries=part),
        lambda: claimed((0, 2), entries=part),
        lambda: claimed(entries=part),
        lambda: claimed((0, 2), entries=[whole[0], whole[0]]),
        lambda: claimed((0, 3), entries=[pages.Entry(one.receipt, one.page, [(0, 3)])]),
        lambda: claimed((0, 2), entries=[pages.Entry(one.receipt, one.page, [(1, 1), (0, 2)])]),
    ):
        with pytest.raises(PeerError):
            lie()


@pytest.mark.parametrize("settles", [None, [(0, 1)]])
def test_of_a_segment_that_speaks_of_too_many_runs_of_tasks_few_are_read(
    settles: list[tuple[int, int]] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, worker = leased()
    spans = [(2 * index, 1) for index in range(limits.BATCH_TASKS_MAX)]
    message = worker.message(worker.last, spans=spans, outcomes=b"", digests=b"")
    body = pages.LOG_BODY.encode([pages.Entry(message.receipt, b"", settles)] * 300)
    reads: list[object] = []
    monkeypatch.setattr(settlement, "read", lambda said, kind: reads.append(said) or read(said, kind))
    with pytest.raises(PeerError, match="more runs of tasks"):
        check_body(LogHeader(table.job, 0, ME.id, 0, NOTHING, digest(body), 0, []), body)
    most = pages.LOG_SPANS_MAX if settles is None else settlement.STATED_SPANS_MAX
    assert len(reads) == most // len(spans) + 1


def test_a_receipt_opens_to_columns_in_the_order_of_its_spans() -> None:
    table, worker = leased()
    message = receipt(table, worker, [(2, 2), (0, 1)])
    found = open_receipt(message.receipt, message.page, KEYS, table.job, lambda key, proof: True)
    assert found.indices == [2, 3, 0]
    assert found.values == [b"value 2", b"value 3", b"value 0"]
    assert found.worker == worker.key.public


def test_a_receipt_of_a_key_that_is_not_trusted_is_refused_in_words() -> None:
    table, worker = leased()
    message = receipt(table, worker)
    with pytest.raises(ResultRefused, match="neither a member"):
        open_receipt(message.receipt, message.page, KEYS, table.job, lambda key, proof: False)


def test_a_page_with_fewer_values_than_its_receipt_is_refused() -> None:
    table, worker = leased()
    message = worker.message(worker.last, outcomes=bytes(3), digests=bytes(48), spans=[(0, 3)])
    short = worker.message(worker.last, spans=[(0, 4)], outcomes=bytes(4), digests=bytes(64))
    assert message
    with pytest.raises(PeerError):
        open_receipt(short.receipt, short.page, KEYS, table.job, lambda key, proof: True)


def test_a_receipt_that_names_a_task_twice_or_none_is_refused() -> None:
    table, worker = leased()
    for spans in ([(0, 2), (1, 1)], [(2, 1), (2, 1)], [(0, 1), (3, 0)], [(0, 0)]):
        message = worker.message(worker.last, spans=spans)
        with pytest.raises(PeerError):
            open_receipt(message.receipt, message.page, KEYS, table.job, lambda key, proof: True)


def test_the_digest_of_a_blob_stands_for_its_value() -> None:
    ref = BlobRef(bytes([1]) * 32, 9, bytes(32))
    stated = result_digest(KEYS.digests, ref.digest) + result_digest(KEYS.digests, b"inline")
    check_digests(KEYS.digests, ResultPage([ref, b"inline"], []), stated)
    with pytest.raises(PeerError):
        check_digests(KEYS.digests, ResultPage([b"inline", ref], []), stated)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_under_a_receipt_are_refused_with_a_peer_error(body: bytes, page: bytes) -> None:
    table, worker = _LEASED
    message = worker.message(worker.last)
    signature = worker.key.sign(b"p2pcpn/1 statement" + message.receipt.kind.to_bytes(2, "big") + body)
    forged = type(message.receipt)(message.receipt.kind, body, worker.key.public, signature)
    with pytest.raises(PeerError):
        open_receipt(forged, page, KEYS, table.job, lambda key, proof: True)


_LEASED = leased()
