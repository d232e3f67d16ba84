"""The library: what a node reads from its disk for others, and what it takes to its disk from them.

Log segments, task segments and blobs are shown to whoever asks within the swarm: they are sealed under the job's key.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from p2pcpn import limits
from p2pcpn.errors import DiskFull, PeerError, StoreError, Unreachable
from p2pcpn.identity.keys import NodeId
from p2pcpn.net.beside import Giving
from p2pcpn.net.session import Session
from p2pcpn.node.outbox import Outbox, Parts
from p2pcpn.node.questions import Questions
from p2pcpn.node.restoring import bytes_of, pages_of, signed_of
from p2pcpn.node.rings import Rings
from p2pcpn.node.rush import Rush
from p2pcpn.node.sessions import Sessions
from p2pcpn.node.shelf import SEALED, Shelf, sealed
from p2pcpn.protocol.effects import TransmitBlob, TransmitLog, TransmitSegment, Turn
from p2pcpn.store.database import Database
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.codec import Buffer
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.sealing import digest

# For a blob, or the next part of it.
PART_WAIT_S = 10.0
# Blobs that one gathering asks for at a time: one peer may leave sixteen unfinished.
ASKED_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a blob at ``offset``: in ``data``, or ``ring_bytes`` of a ring."""

    offset: int
    data: memoryview
    ring_at: int
    ring_bytes: int

    @property
    def end(self) -> int:
        return self.offset + (self.ring_bytes or len(self.data))


_NOTHING: Final = memoryview(b"")
_NO_ROOM: Final = "has no room left for blobs of that job from there"


class Ask(Protocol):
    """Asks another peer: ``ask(contact, make, wait_s, blob_bytes_max, take)``."""

    def __call__(
        self,
        to: Contact,
        make: Callable[[int], m.Message],
        wait_s: float,
        blob_bytes_max: int = 0,
        take: Callable[[m.BlobData], None] | None = None,
    ) -> Awaitable[m.Message]: ...


class Library:
    """Answers reading requests and receives blobs, for one node.

    ``ask`` asks another peer; ``wanted(job)`` tells whether blobs of a job are taken, ``keeps(job)`` whether they are
    kept for others, and not only used, ``granted(job)`` whether this node grants it, and keeps its results;
    ``room(job, source, size_bytes)`` whether ``source`` may bring a blob of a job.
    """

    def __init__(
        self,
        *,
        shelf: Shelf,
        database: Database,
        sessions: Sessions,
        questions: Questions,
        counters: Counter[str],
        ask: Ask,
        wanted: Callable[[bytes], bool],
        keeps: Callable[[bytes], bool],
        granted: Callable[[bytes], bool],
        room: Callable[[bytes, NodeId, int], bool],
        rush: Rush,
        rings: Rings,
    ) -> None:
        self._shelf = shelf
        self._database = database
        self._sessions = sessions
        self._questions = questions
        self._counters = counters
        self._ask = ask
        self._wanted = wanted
        self._keeps = keeps
        self._granted = granted
        self._room = room
        self._rush = rush
        self._rings = rings

    def take(self, session: Session, message: m.Message) -> bool:
        """Deal with ``message`` if it is ours to deal with: reads, blobs, and answers to our own requests.

        Raises :class:`PeerError` for a peer that asks for more and more and reads nothing.
        """
        match message:
            case m.PutBlob():
                self._put(session, message)
            case m.GetBlob():
                self._get(session, message)
            case m.BlobData():
                self._questions.part(session.remote.id, message)
            case m.ReadLog():
                self._stream(session, message.request, self._log(message), limits.LOG_SEGMENT_BYTES_MAX)
            case m.ReadSegment():
                self._stream(session, message.request, self._segment(message), limits.SEGMENT_BYTES_MAX)
            case m.Jobs():
                self._questions.answered(session.remote.id, message.request, message)
            case m.Answer() | m.Extend() | m.LogData() | m.JobState():
                return self._questions.answered(session.remote.id, message.request, message)
            case m.Goodbye():
                session.close("goodbye")
            case _:
                return False
        return True

    def _stream(self, session: Session, request: int, answer: Parts, size_bytes: int, later: bytes = b"") -> None:
        """Answer when there is room for it; a blob that is named ``later`` when nobody waits for anything else."""
        box = self._box(session)
        if box is None:
            return
        if len(box) >= limits.OUTBOX_ANSWERS_MAX:
            raise PeerError("a peer does not read what it asked for")
        if later:
            box.later(later, _guarded(request, answer), size_bytes)
        else:
            box.stream(_guarded(request, answer), size_bytes)

    def _box(self, session: Session) -> Outbox | None:
        """The outbox of the peer. A question over a session that lost against its twin is answered over that one."""
        return self._sessions.outbox(session.remote.id)

    def _answer(self, session: Session, request: int, code: int, text: str = "") -> None:
        box = self._box(session)
        if request and box is not None:
            box.say(m.Answer(request, code, text[: limits.REASON_CHARS_MAX]))

    # --- blobs -------------------------------------------------------------------------------------------------------

    def _put(self, session: Session, message: m.PutBlob) -> None:
        if not self._wanted(message.job):
            self._counters["blobs of unknown jobs"] += 1
            self._answer(session, message.request, AnswerCode.UNKNOWN, "knows no such job")
            return
        keep = bool(message.request)
        if keep and not self._keeps(message.job):
            self._counters["blobs refused"] += 1
            self._answer(session, message.request, AnswerCode.REFUSED, "keeps nothing for others")
            return
        source = session.remote.id
        fresh = message.offset == 0 and not self._shelf.has(message.digest)
        if fresh and not self._room(message.job, source, message.size_bytes):
            self._counters["blobs without room"] += 1
            self._answer(session, message.request, AnswerCode.FULL, _NO_ROOM)
            return
        held = len(message.data) if self._shelf.straight(message.size_bytes) else 0
        if not keep:
            self._rush.note()  # a lease or a program waits for it

        def done(error: Exception | None) -> None:
            session.release(held)
            if error is not None:
                self._counters["blobs refused"] += 1
            full = AnswerCode.FULL if isinstance(error, DiskFull) else AnswerCode.FAILED
            code = AnswerCode.DONE if error is None else full
            self._answer(session, message.request, code, "" if error is None else str(error))

        session.hold(held)  # the disk may be slower than the network
        try:
            self._shelf.arrive(
                source, message.digest, message.size_bytes, message.offset, message.data, message.job,
                min(message.retention_s, limits.RETENTION_S_MAX), done, keep=keep or self._granted(message.job),
            )  # fmt: skip
        except (PeerError, StoreError) as error:
            done(error)

    def send_blob(self, box: Outbox, effect: TransmitBlob) -> None:
        """Send a blob that is here, part by part, when its turn has come."""
        if effect.turn is not Turn.LATER:
            box.hurry(effect.digest)
        if effect.turn is Turn.HURRY:
            return
        size = self._shelf.size(effect.digest)
        if size is None:
            self._counters["blobs missing"] += 1
        elif effect.turn is Turn.LATER:
            box.later(effect.digest, self._blob_parts(box.session.remote.id, effect, size), size)
        else:
            box.stream(self._blob_parts(box.session.remote.id, effect, size), size)

    def _blob_parts(self, peer: NodeId, effect: TransmitBlob, size: int) -> Parts:
        for part in self._parts(peer, effect.digest, 0, size):
            if part is None:
                yield None
                continue
            yield m.PutBlob(
                effect.request if part.end >= size else 0, effect.digest, effect.job, size, part.offset, part.data,
                effect.retention_s, part.ring_at, part.ring_bytes,
            )  # fmt: skip

    def _parts(self, peer: NodeId, name: bytes, offset: int, size: int) -> Iterator[_Part | None]:
        """The parts of a blob from ``offset`` on; an empty blob has one. It ends early where the disk refuses.

        They lie in the ring of the session that there is with ``peer`` then, or come themselves; ``None``: not yet.
        """
        held = self._shelf.held(name)  # it may go from there before the last part has
        whole: Buffer | None = None
        while True:
            ring = self._ring(peer, size - offset)
            count = min(size - offset, limits.BLOB_PART_BYTES if ring is None else limits.RING_PART_BYTES)
            if ring is not None and not ring.room(count):
                yield None
                continue
            if ring is not None and count == size and held is not None and not isinstance(held, SEALED):
                at, memory = ring.part(count)
                with memory:
                    held.seal_into(memory)
                yield _Part(offset, _NOTHING, at, count)
                return
            if held is not None:
                whole = sealed(held) if whole is None else whole
                data: Buffer | None = memoryview(whole)[offset : offset + count]
            else:
                data = self._shelf.read(name, offset, count)
            if data is None or len(data) != count:
                self._counters["blobs missing"] += 1
                return
            if ring is None:
                yield _Part(offset, memoryview(data), 0, 0)
            else:
                at, memory = ring.part(count)
                with memory:
                    memory[:] = data
                yield _Part(offset, _NOTHING, at, count)
            offset += count
            if offset >= size:
                return

    def _ring(self, peer: NodeId, left: int) -> Giving | None:
        """Where to put the next part for ``peer``, where there is such a thing and it is worth it."""
        session = self._sessions.get(peer) if left >= limits.RING_FROM_BYTES else None
        return None if session is None else self._rings.to(session)

    def _get(self, session: Session, message: m.GetBlob) -> None:
        size = self._shelf.size(message.digest)
        if size is None or message.offset > size:
            self._answer(session, message.request, AnswerCode.UNKNOWN, "has no such blob")
            return
        parts = self._parts(session.remote.id, message.digest, message.offset, size)
        answer = (
            None
            if part is None
            else m.BlobData(
                message.request, message.digest, size, part.offset, part.data, part.ring_at, part.ring_bytes
            )
            for part in parts
        )
        self._stream(
            session, message.request, answer, size - message.offset, message.digest if message.patient else b""
        )

    async def fetch_blob(self, name: bytes, holders: Sequence[Contact], bytes_max: int) -> Buffer:
        """A blob of at most ``bytes_max`` by its digest: from here, or from the first of ``holders`` that gives it.

        Raises :class:`PeerError` when none does, or when it is larger.
        """
        if await self._shelf.here(name, PART_WAIT_S):
            if (self._shelf.size(name) or 0) > bytes_max:
                raise PeerError(f"the blob {name.hex()[:8]} is larger than was said of it")
            data = self._shelf.get(name)
            if data is not None:
                return data
        for holder in holders:
            try:
                got = await self._ask(holder, lambda request: m.GetBlob(request, name, 0), PART_WAIT_S, bytes_max)
            except Unreachable:
                continue
            if isinstance(got, m.BlobData) and digest(got.data) == name:
                return got.data
        raise PeerError(f"no peer that answers has the blob {name.hex()[:8]}")

    async def gather(self, names: Sequence[bytes], sender: Contact, job: bytes, retention_s: float) -> None:
        """Have blobs on disk; ``sender`` is asked for those that are not here. A large one goes there part by part.

        Raises :class:`PeerError` when it does not give one, :class:`StoreError` when the disk does not take one.
        """
        gate = asyncio.Semaphore(ASKED_AT_ONCE)
        ends = await asyncio.gather(
            *(self._have(name, sender, job, retention_s, gate) for name in names), return_exceptions=True
        )
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def _have(
        self, name: bytes, sender: Contact, job: bytes, retention_s: float, gate: asyncio.Semaphore
    ) -> None:
        if await self._shelf.here(name, PART_WAIT_S):
            if not await self._shelf.keep(name, job, retention_s):
                raise StoreError("the disk did not take its blobs")
            return
        async with gate:
            await self._bring(name, sender, job, retention_s)

    async def _bring(self, name: bytes, sender: Contact, job: bytes, retention_s: float) -> None:
        """Ask for a blob; its parts go to the shelf as they come."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        source = sender.id + name  # apart from what this peer sends by itself

        def take(part: m.BlobData) -> None:
            session = self._sessions.get(NodeId(sender.id))
            held = len(part.data) if self._shelf.straight(part.size_bytes) else 0
            if session is not None:
                session.hold(held)

            def done(error: Exception | None) -> None:
                if session is not None:
                    session.release(held)
                if stored.done():
                    return
                if error is not None:
                    stored.set_exception(error)
                elif part.offset + len(part.data) >= part.size_bytes:
                    stored.set_result(None)

            if part.offset == 0 and not self._room(job, NodeId(sender.id), part.size_bytes):
                done(PeerError(_NO_ROOM))
                return
            try:
                self._shelf.arrive(source, name, part.size_bytes, part.offset, part.data, job, retention_s, done)
            except (PeerError, StoreError) as error:
                done(error)

        try:
            asked = self._ask(
                sender, lambda request: m.GetBlob(request, name, 0, True), PART_WAIT_S, limits.BLOB_BYTES_MAX, take
            )
            if not isinstance(await asked, m.BlobData):
                raise PeerError(f"no peer that answers has the blob {name.hex()[:8]}")
            await stored
        except Unreachable as error:
            raise PeerError(str(error)) from error
        finally:
            self._shelf.gone(source)
            if not stored.cancel() and not stored.cancelled():
                stored.exception()  # seen: asyncio would log it otherwise

    # --- jobs --------------------------------------------------------------------------------------------------------

    def _log(self, message: m.ReadLog) -> Iterator[m.Message]:
        row = self._database.get("logs", (message.job, message.grantor, message.epoch, message.number))
        if row is None:
            yield m.Answer(message.request, AnswerCode.UNKNOWN, "has no such log segment")
        else:
            yield m.LogData(message.request, signed_of(row[0]), bytes_of(row[1]))

    def _segment(self, message: m.ReadSegment) -> Iterator[m.Message]:
        row = self._database.get("segments", (message.job, message.number))
        if row is None:
            yield m.Answer(message.request, AnswerCode.UNKNOWN, "has no such segment")
        else:
            yield m.Extend(message.request, signed_of(row[2]), pages_of(row[3]), False)

    def send_log(self, box: Outbox, effect: TransmitLog) -> None:
        """Send a stored log segment to a new holder."""
        box.stream(self._stored_log(effect), limits.LOG_SEGMENT_BYTES_MAX)

    def _stored_log(self, effect: TransmitLog) -> Iterator[m.Message]:
        try:
            row = self._database.get("logs", (effect.job, effect.grantor, effect.epoch, effect.number))
            found = None if row is None else m.Append(effect.request, signed_of(row[0]), bytes_of(row[1]))
        except StoreError:
            found = None
        if found is None:
            self._counters["log segments missing"] += 1
        else:
            yield found

    def send_segment(self, box: Outbox, effect: TransmitSegment) -> None:
        """Send a stored segment of tasks to a peer that is to keep it."""
        box.stream(self._stored_segment(effect), limits.SEGMENT_BYTES_MAX)

    def _stored_segment(self, effect: TransmitSegment) -> Iterator[m.Message]:
        try:
            row = self._database.get("segments", (effect.job, effect.number))
            found = None if row is None else m.Extend(effect.request, signed_of(row[2]), pages_of(row[3]), True)
        except StoreError:
            found = None
        if found is None:
            self._counters["segments missing"] += 1
        else:
            yield found


def _guarded(request: int, answer: Parts) -> Parts:
    """``answer``, or that the disk refused."""
    try:
        yield from answer
    except StoreError as error:
        yield m.Answer(request, AnswerCode.FAILED, str(error)[: limits.REASON_CHARS_MAX])
