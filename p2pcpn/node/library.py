"""The library: what a node reads from its disk for others, and what it takes to its disk from them.

Log segments, task segments and blobs are shown to whoever asks within the swarm: they are sealed under the job's key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from p2pcpn import limits
from p2pcpn.errors import PeerError, StoreError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.effects import TransmitBlob, TransmitLog
from p2pcpn.protocol.journal import rows_of
from p2pcpn.protocol.steward import Kept
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import AnswerCode, Results
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import LogHeader, Signed, read

if TYPE_CHECKING:
    from p2pcpn.net.session import Session
    from p2pcpn.node.overlay import Overlay
    from p2pcpn.store.database import Database


class Library:
    """Answers reading requests and receives blobs, for one node."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._incoming: dict[tuple[NodeId, int], bytearray] = {}

    def take(self, session: Session, message: m.Message) -> bool:
        """Deal with ``message`` if it is ours to deal with: reads, blobs, and answers to our own requests."""
        match message:
            case m.PutBlob():
                self._put(session, message)
            case m.GetBlob():
                self._get(session, message)
            case m.BlobData():
                self._data(session, message)
            case m.ReadLog():
                self._read_log(session, message)
            case m.ReadSegment():
                self._read_segment(session, message)
            case m.JobState() | m.LogData() | m.Jobs():
                self._overlay.answered(session.remote.id, message.request, message)
            case m.Answer() | m.Extend():
                return self._overlay.answered(session.remote.id, message.request, message)
            case m.Goodbye():
                session.close("goodbye")
            case _:
                return False
        return True

    def _answer(self, session: Session, request: int, code: int, text: str = "") -> None:
        if request and not session.ended:
            session.send(m.CODEC.encode(m.Answer(request, code, text[: limits.REASON_CHARS_MAX])))

    # --- blobs -------------------------------------------------------------------------------------------------------

    def _put(self, session: Session, message: m.PutBlob) -> None:
        overlay = self._overlay
        peer = overlay.peer
        wanted = message.job in peer.worker.works or message.job in peer.steward.jobs or message.job in peer.grantors
        if not wanted:
            overlay.counters["blobs of unknown jobs"] += 1
            self._answer(session, message.request, AnswerCode.UNKNOWN, "knows no such job")
            return

        def done(error: Exception | None) -> None:
            code = AnswerCode.DONE if error is None else AnswerCode.FAILED
            self._answer(session, message.request, code, "" if error is None else str(error))

        try:
            overlay.shelf.arrive(
                session.remote.id, message.digest, message.size_bytes, message.offset, message.data, message.job,
                min(message.retention_s, limits.RETENTION_S_MAX), done,
            )  # fmt: skip
        except (PeerError, StoreError) as error:
            overlay.counters["blobs refused"] += 1
            self._answer(session, message.request, AnswerCode.FAILED, str(error))

    def send_blob(self, session: Session, effect: TransmitBlob) -> None:
        """Send a blob that is here, part by part."""
        data = self._overlay.shelf.get(effect.digest)
        if data is None:
            self._overlay.counters["blobs missing"] += 1
            return
        for offset in range(0, max(len(data), 1), limits.BLOB_PART_BYTES):
            part = data[offset : offset + limits.BLOB_PART_BYTES]
            last = offset + len(part) >= len(data)
            session.send(
                m.CODEC.encode(
                    m.PutBlob(
                        effect.request if last else 0, effect.digest, effect.job, len(data), offset, part,
                        effect.retention_s,
                    )  # fmt: skip
                )
            )

    def _get(self, session: Session, message: m.GetBlob) -> None:
        data = self._overlay.shelf.get(message.digest)
        if data is None or message.offset > len(data):
            self._answer(session, message.request, AnswerCode.UNKNOWN, "has no such blob")
            return
        for offset in range(message.offset, max(len(data), 1), limits.BLOB_PART_BYTES):
            part = data[offset : offset + limits.BLOB_PART_BYTES]
            session.send(m.CODEC.encode(m.BlobData(message.request, message.digest, len(data), offset, part)))

    def _data(self, session: Session, message: m.BlobData) -> None:
        key = (session.remote.id, message.request)
        if key not in self._overlay._requests:
            return
        parts = self._incoming.setdefault(key, bytearray())
        if len(parts) != message.offset or message.size_bytes > limits.BLOB_BYTES_MAX:
            del self._incoming[key]
            raise PeerError("a part of a blob does not follow the one before")
        parts += message.data
        if len(parts) >= message.size_bytes:
            del self._incoming[key]
            whole = m.BlobData(message.request, message.digest, message.size_bytes, 0, bytes(parts))
            self._overlay.answered(*key, whole)

    async def fetch_blob(self, name: bytes, holders: list[Contact]) -> bytes:
        """A blob by its digest: from here, or from the first of ``holders`` that gives the right bytes.

        Raises :class:`PeerError` when none does.
        """
        data = self._overlay.shelf.get(name)
        if data is not None:
            return data
        for holder in holders:
            try:
                got = await self._overlay.request(holder, lambda r: m.GetBlob(r, name, 0), wait_s=30.0)
            except ConnectionError:
                continue
            if isinstance(got, m.BlobData) and digest(got.data) == name:
                return got.data
        raise PeerError(f"no peer that answers has the blob {name.hex()[:8]}")

    # --- jobs ----------------------------------------------------------------------------------------------------------

    def _read_log(self, session: Session, message: m.ReadLog) -> None:
        row = self._overlay.database.get("logs", (message.job, message.grantor, message.epoch, message.number))
        if row is None:
            self._answer(session, message.request, AnswerCode.UNKNOWN, "has no such log segment")
            return
        header, body = row
        session.send(m.CODEC.encode(m.LogData(message.request, _signed(header), _blob(body))))

    def _read_segment(self, session: Session, message: m.ReadSegment) -> None:
        row = self._overlay.database.get("segments", (message.job, message.number))
        if row is None:
            self._answer(session, message.request, AnswerCode.UNKNOWN, "has no such segment")
            return
        _, _, signed, data = row
        session.send(
            m.CODEC.encode(m.Extend(message.request, _signed(signed), pages.PAGES.decode(_blob(data)), False))
        )

    def send_log(self, session: Session, effect: TransmitLog) -> None:
        """Send one of our own log segments to a new holder."""
        overlay = self._overlay
        row = overlay.database.get("logs", (effect.job, overlay.id, effect.epoch, effect.number))
        if row is None:
            overlay.counters["log segments missing"] += 1
            return
        header, body = row
        session.send(m.CODEC.encode(m.Append(effect.request, _signed(header), _blob(body))))

    def job_state(self, job: bytes) -> tuple[list[tuple[Signed, list[bytes]]], list[tuple[int, int]]]:
        """The segments of a job kept here, and the spans that logs kept here settle."""
        segments = [
            (_signed(signed), pages.PAGES.decode(_blob(data)))
            for _, (_, _, signed, data) in self._overlay.database.scan("segments", (job,))
        ]
        settled = [
            span
            for _, (header, _) in self._overlay.database.scan("logs", (job,))
            for span in read(_signed(header), LogHeader).spans
        ]
        return segments, settled


def restored_jobs(database: Database) -> Iterator[Kept]:
    """The jobs a steward kept before it was restarted. A row without a spec is of a log kept for its grantor alone."""
    for (job,), (_, spec, expires_s, close, cancel, handover) in database.scan("jobs"):
        if spec is None:
            continue
        authority = Authority(_signed(spec))
        if handover is not None:
            authority.hand_over(_signed(handover))
        kept = Kept(authority, float(expires_s or 0.0))
        kept.close = None if close is None else _signed(close)
        kept.cancel = None if cancel is None else _signed(cancel)
        for _, (_, count, segment, data) in database.scan("segments", (job,)):
            kept.add_segment(_signed(segment), int(count or 0), len(_blob(data)))
        for (_, grantor, epoch, _), (header, body) in database.scan("logs", (job,)):
            kept.restore_log(_blob(grantor), int(epoch), _signed(header), len(_blob(body)))
        yield kept


def restored_journal(database: Database) -> list[tuple[Signed, Contact, list[Results]]]:
    """Results this worker had not brought to anybody before it was restarted, by job."""
    jobs = [(str(name), _blob(value)) for (name,), (value,) in database.scan("meta") if str(name).startswith("journal")]
    rows = [(_blob(job), _blob(receipt), _blob(page)) for (job, *_), (_, _, receipt, page) in database.scan("journal")]
    return rows_of(jobs, rows)


def _blob(value: object) -> bytes:
    assert isinstance(value, bytes), "a column of bytes holds something else"
    return value


def _signed(value: object) -> Signed:
    return pages.SIGNED.decode(_blob(value))


__all__ = ["Library", "restored_jobs", "restored_journal"]
