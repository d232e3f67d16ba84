"""Settlements: a grantor's hash-chained log of what was settled, and how a reader checks one.

A log segment is a header signed by the grantor and a body: a list of entries, each a worker's signed receipt, the
sealed page of results, and which indices are settled by it. Segments are chained by the digest of the header before,
so that a holder can withhold the end of a log but neither change nor reorder it. A reader believes a receipt, never a
grantor alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from p2pcpn import limits
from p2pcpn.errors import PeerError, ResultRefused
from p2pcpn.identity.keys import Keypair, node_id
from p2pcpn.protocol.spans import Span, covers, disjoint, joined, total
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Entry, ResultPage, cut
from p2pcpn.wire.sealing import RESULT_DIGEST_BYTES, JobKeys, digest, unseal
from p2pcpn.wire.statements import BlobRef, LogHeader, Outcome, Receipt, Signed, opened, read, signed

NOTHING = bytes(32)
# What an entry costs beside receipt and page: key 32, signature 64, heads; and each span of it.
ENTRY_BYTES = 128
SPAN_BYTES = 15
# Runs of tasks that the receipts of one segment state, settled by it or not: each has an outcome and a digest of 16
# bytes, and all receipts but the last are within the segment's bytes.
STATED_SPANS_MAX = limits.LOG_SEGMENT_BYTES_MAX // 20 + limits.BATCH_TASKS_MAX


@dataclass(frozen=True, slots=True)
class LogSegment:
    """One closed segment: what is stored on the holders."""

    number: int
    header: Signed
    body: bytes


class LogWriter:
    """Collects settlements, closed into segments after ``LOG_SEGMENT_WAIT_S`` or at ``LOG_SEGMENT_BYTES_MAX``."""

    __slots__ = (
        "_blobs", "_bytes", "_entries", "_job", "_keypair", "_spans", "_until", "epoch", "last", "number", "settled",
    )  # fmt: skip

    def __init__(
        self, job: bytes, epoch: int, keypair: Keypair, *, number: int = 0, last: bytes = NOTHING, settled: int = 0
    ) -> None:
        self._job = job
        self._keypair = keypair
        self._entries: list[Entry] = []
        self._spans: list[Span] = []
        self._blobs: list[bytes] = []
        self._bytes = 0
        self._until: float | None = None
        self.epoch = epoch
        self.number = number
        self.last = last
        self.settled = settled

    def append(
        self,
        receipt: Signed,
        page: bytes,
        spans: list[Span],
        *,
        whole: bool,
        now: float,
        blobs: Sequence[bytes] = (),
    ) -> None:
        """Settle ``spans`` by ``receipt``, whose page names ``blobs``; ``whole`` when they are all of the receipt's."""
        self._blobs += blobs
        self._entries.append(Entry(receipt, page, None if whole else spans))
        self._spans += spans
        self._bytes += len(page) + len(receipt.body) + ENTRY_BYTES + len(spans) * SPAN_BYTES
        if self._until is None:
            self._until = now + limits.LOG_SEGMENT_WAIT_S

    def room(self, page_bytes: int, spans: int, blobs: int = 0) -> bool:
        """Whether so much more fits: a segment is one message, and its header names so many spans and blobs at most."""
        if not self._entries:
            return True
        fits = self._bytes + page_bytes + spans * SPAN_BYTES <= limits.LOG_SEGMENT_BYTES_MAX
        return fits and max(len(self._spans) + spans, len(self._blobs) + blobs) <= limits.SEGMENT_TASKS_MAX

    def deadline(self) -> float | None:
        """When the segment is closed whatever it holds."""
        return self._until

    @property
    def empty(self) -> bool:
        return not self._entries

    def due(self, now: float) -> bool:
        """Whether a segment should be closed now."""
        if self._until is None:
            return False
        return (
            now >= self._until
            or self._bytes >= limits.LOG_SEGMENT_BYTES_MAX
            or len(self._spans) >= limits.SEGMENT_TASKS_MAX // 2
        )

    def close(self) -> LogSegment:
        """Close what was appended into a signed segment."""
        assert self._entries
        body = pages.LOG_BODY.encode(self._entries)
        spans = joined(self._spans)
        self.settled += total(spans)
        header = signed(
            LogHeader(
                self._job, self.epoch, self._keypair.id, self.number, self.last, digest(body), self.settled, spans,
                list(dict.fromkeys(self._blobs)),
            ),
            self._keypair,
        )  # fmt: skip
        segment = LogSegment(self.number, header, body)
        self.number += 1
        self.last = digest(header.body)
        self._entries, self._spans, self._blobs, self._bytes, self._until = [], [], [], 0, None
        return segment


def check_segment(
    header: Signed, body: bytes, job: bytes, authorised: Callable[[bytes, int], bool]
) -> tuple[LogHeader, list[Entry]]:
    """A log segment whose signature, grantor and body are right; else :class:`PeerError`.

    ``authorised(key, epoch)`` says whether that key may grant in that epoch of the job.
    """
    said = opened(header, LogHeader)
    if said.job != job or node_id(header.key) != said.grantor:
        raise PeerError("a log segment speaks of another job or grantor")
    if not authorised(header.key, said.epoch):
        raise PeerError("a log segment is signed by a peer that was never made a grantor of the job")
    return said, check_body(said, body)


def check_body(said: LogHeader, body: bytes) -> list[Entry]:
    """The settlements under a header, which say what it says; else :class:`PeerError`.

    Who keeps a log goes by its headers alone: which tasks need not be run, and whether a job is over. Signatures of
    receipts are for readers to check.
    """
    if digest(body) != said.body:
        raise PeerError("a log segment's body is not what its header names")
    entries: list[Entry] = []
    settled: list[Span] = []
    stated = 0
    for entry in pages.entries_of(body):
        receipt = read(entry.receipt, Receipt)
        spans = receipt.spans if entry.spans is None else entry.spans
        stated += len(receipt.spans)
        if len(settled) + len(spans) > pages.LOG_SPANS_MAX or stated > STATED_SPANS_MAX:
            raise PeerError("a log segment speaks of more runs of tasks than one may")
        if receipt.job != said.job:
            raise PeerError("a log segment holds a receipt of another job")
        if not disjoint(receipt.spans):
            raise PeerError("a receipt speaks of a task twice")
        if entry.spans is not None and not covers(joined(receipt.spans), entry.spans):
            raise PeerError("a log segment settles what its receipt does not speak of")
        settled += spans
        entries.append(entry)
    if not disjoint(settled) or joined(settled) != said.spans:
        raise PeerError("a log segment's header says another thing than its receipts")
    return entries


@dataclass(frozen=True, slots=True)
class Opened:
    """A receipt and its page, checked and opened: outcomes and values in the order of ``indices``."""

    receipt: Receipt
    worker: bytes
    indices: list[int]
    values: list[bytes | BlobRef]
    page: ResultPage


def open_receipt(
    receipt: Signed, page: bytes, keys: JobKeys, job: bytes, trusted: Callable[[bytes, bytes], bool]
) -> Opened:
    """The results under ``receipt``, everything checked that can be: the only way to bytes that may be unpickled.

    ``trusted(worker key, swarm proof)`` is the reader's trust rule. Raises :class:`ResultRefused` when the rule does
    not accept the signer, :class:`PeerError` when the bytes are not what was signed.
    """
    said = opened(receipt, Receipt)
    if said.job != job:
        raise PeerError("a receipt speaks of another job")
    if len(page) > limits.RESULT_PAGE_BYTES_MAX:
        raise PeerError(f"a page of results holds {len(page)} bytes; {limits.RESULT_PAGE_BYTES_MAX} are allowed")
    if not trusted(receipt.key, said.proof):
        raise ResultRefused(
            f"a result was signed by {node_id(receipt.key).hex()[:8]}, which is neither a member of this swarm nor a "
            "key that you trust; it was not loaded"
        )
    indices = _indices(said)
    if digest(page) != said.page:
        raise PeerError("a page of results is not the one its receipt names")
    opened_page = pages.RESULTS.decode(unseal(keys.results(said.epoch, said.grantor, said.token), said.part, page))
    if len(opened_page.values) != len(indices):
        raise PeerError("a page of results and its receipt differ in length")
    check_digests(keys.digests, opened_page, said.digests)
    return Opened(said, receipt.key, indices, opened_page.values, opened_page)


def _indices(said: Receipt) -> list[int]:
    count = total(said.spans)
    if not 0 < count <= limits.BATCH_TASKS_MAX:
        raise PeerError("a receipt speaks of no task, or of too many")
    if len(said.outcomes) != count or len(said.digests) != count * RESULT_DIGEST_BYTES:
        raise PeerError("a receipt's columns differ in length")
    if max(said.outcomes) > Outcome.DIED:
        raise PeerError("a receipt states an unknown outcome")
    if len(said.spans) > 1 and not disjoint(said.spans):
        raise PeerError("a receipt speaks of a task twice")
    return cut(said.spans)


def check_digests(key: bytes, page: ResultPage, digests: bytes) -> None:
    """Raises :class:`PeerError` unless every value has the digest that was stated. A blob's digest stands for it."""
    # One keyed state copied for each value: a third less than :func:`result_digest` anew, on the hottest path there is.
    keyed = blake2b(digest_size=RESULT_DIGEST_BYTES, key=key)
    stated = []
    for value in page.values:
        state = keyed.copy()
        state.update(value if isinstance(value, bytes) else value.digest)
        stated.append(state.digest())
    if b"".join(stated) != digests:
        raise PeerError("a result is not the one its receipt names")


__all__ = ["LogSegment", "LogWriter", "Opened", "check_body", "check_digests", "check_segment", "open_receipt"]
