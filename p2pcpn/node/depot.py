"""The depot: sections of blobs that this node keeps for others: taken chunk by chunk, verified, and given to who asks.

What to take and what has to go is decided by ``protocol/deposits.py``; here is the disk and the network. A chunk is
hashed before it is written; a section is acknowledged when it is whole and durable.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from p2pcpn import limits
from p2pcpn.errors import PeerError, StoreError
from p2pcpn.net.session import Session
from p2pcpn.node.lane import Lane
from p2pcpn.node.sessions import Sessions
from p2pcpn.protocol.deposits import Kept, Ledger, Refused
from p2pcpn.store.sections import SectionStore
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.codec import Codec
from p2pcpn.wire.manifests import Manifest, read_manifest
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Deposit, Signed, read

log = logging.getLogger("p2pcpn.node")


# A message that waits for the disk costs so much beside what it carries: 32 holders, and its place in the lane.
MESSAGE_BYTES: Final = 4096


class Head(msgspec.Struct, array_like=True, frozen=True):
    """What stands beside a section on the disk."""

    deposit: Signed
    manifest: bytes
    pinned: bool


HEADS: Codec[Head] = Codec(Head, limits.MESSAGE_BYTES_MAX, "head of a section")


class Depot:
    """See the module. ``changed(name)`` is called when a section has become whole or is kept no longer;
    ``holders(name)`` tells who else keeps one, ``learned(name, contacts)`` is told so, ``compared(peer, names)`` that a
    peer keeps what is kept here, too.
    """

    def __init__(
        self,
        *,
        store: SectionStore,
        ledger: Ledger,
        sessions: Sessions,
        counters: Counter[str],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.lane = Lane(loop)
        self.warming = Lane(loop)  # reads that would wait for the disk
        self._warming: Counter[bytes] = Counter()  # by who asked
        self.leaving = False
        self.changed: Callable[[bytes], None] = lambda name: None
        self.holders: Callable[[bytes], list[Contact]] = lambda name: []
        self.learned: Callable[[bytes, list[Contact]], None] = lambda name, contacts: None
        self.compared: Callable[[Session, list[bytes]], None] = lambda session, names: None
        self._sessions = sessions
        self._counters = counters
        self._loop = loop
        self._verbs: dict[type, Callable[[Session, Any], None]] = {
            m.Keep: self._keep,
            m.PutChunk: self._put_chunk,
            m.Complete: self._complete,
            m.Seek: self._seek,
            m.GetChunk: self._get_chunk,
            m.Compare: self._compare,
            m.ListDeposits: self._list,
        }

    def restore(self) -> None:
        """Know again what is on the disk. Blocks. What cannot be read is removed."""
        for name, data, whole in self.store.scan():
            try:
                head = HEADS.decode(data)
                manifest = read_manifest(name, head.manifest)
                kept = Kept(head.deposit, read(head.deposit, Deposit), manifest, head.manifest, whole, head.pinned)
            except PeerError as error:
                log.error("the section %s cannot be read and is removed: %s", name.hex()[:8], error)
                self.store.delete(name)
                continue
            if not whole:
                kept.here = set(self.store.verified(name, manifest))
                kept.touched_s = self._loop.time()
            self.ledger.add(kept)

    def take(self, session: Session, message: m.Message) -> bool:
        """Deal with ``message`` if it is ours to deal with."""
        verb = self._verbs.get(type(message))
        if verb is None:
            return False
        verb(session, message)
        return True

    def gone(self, peer: bytes) -> None:
        """The session with ``peer`` has ended."""
        self.ledger.gone(peer)

    async def close(self) -> None:
        """The node stops."""
        await self.lane.close()
        await self.warming.close()
        self.store.close()

    # --- answers -----------------------------------------------------------------------------------------------------

    def _say(self, session: Session, message: m.Message) -> None:
        box = self._sessions.outbox(session.remote.id)
        if box is not None:
            box.say(message)

    def _answer(self, session: Session, request: int, code: int, text: str = "") -> None:
        self._say(session, m.Answer(request, code, text[: limits.REASON_CHARS_MAX]))

    def _holding(self, session: Session, request: int, kept: Kept, *, manifest: bool) -> None:
        holders = self.holders(kept.deposit.name)[: limits.HOLDERS_MAX]
        data = kept.manifest_bytes if manifest else b""
        self._say(session, m.Holding(request, kept.whole, kept.bits(), data, holders))

    # --- taking ------------------------------------------------------------------------------------------------------

    def _keep(self, session: Session, message: m.Keep) -> None:
        source = session.remote.id
        try:
            if self.leaving:
                raise Refused(AnswerCode.REFUSED, "is leaving")
            fresh = read(message.deposit, Deposit).name not in self.ledger.kept
            kept, gone = self.ledger.offered(message.deposit, message.manifest, source, self._loop.time(), time.time())
        except Refused as refused:
            self._counters["deposits refused"] += 1
            self._answer(session, message.request, refused.code, refused.text)
            return
        for name in gone:
            self.drop(name)
        name = kept.deposit.name
        self.learned(name, message.holders)

        def begin() -> list[int]:
            self.store.begin(name, head_of(kept))
            return self.store.verified(name, kept.manifest) if fresh else []

        size = len(message.manifest) + MESSAGE_BYTES
        session.hold(size)  # the disk is slower than a peer that asks again and again

        def begun(here: list[int], error: Exception | None) -> None:
            session.release(size)
            if error is not None:
                self._failed(session, message.request, name, error)
                return
            if fresh:
                kept.here.update(here)
            self._holding(session, message.request, kept, manifest=False)

        self.lane.do(begin, begun, size)

    def _failed(self, session: Session, request: int, name: bytes, error: Exception) -> None:
        """The disk refused: what had come of an unfinished section is kept no longer."""
        self._counters["disk refused"] += 1
        log.error("%s", error)
        kept = self.ledger.kept.get(name)
        if kept is not None and not kept.whole:
            self.drop(name)
        self._answer(session, request, AnswerCode.FAILED, str(error))

    def _put_chunk(self, session: Session, message: m.PutChunk) -> None:
        kept = self.ledger.kept.get(message.name)
        if kept is None or session.remote.id not in kept.sources:
            self._counters["chunks of unknown sections"] += 1  # whole meanwhile, or dropped
            return
        if message.index >= kept.manifest.count:
            raise PeerError("a chunk is none of its section's")
        start, size = kept.manifest.sealed_range(message.index)
        if len(message.data) != size:
            raise PeerError("a chunk has another size than its place")
        if message.index in kept.here:
            return
        name, index, data, expected = message.name, message.index, message.data, kept.manifest.chunk(message.index)
        session.hold(size)  # the disk may be slower than the network

        def write() -> bool:
            if digest(data) != expected:
                return False
            self.store.write(name, start, data)
            return True

        def written(right: bool | None, error: Exception | None) -> None:
            session.release(size)
            if error is not None:
                self._counters["disk refused"] += 1
                kept.error = str(error)
            elif not right:
                self._counters["chunks that were wrong"] += 1
            elif self.ledger.kept.get(name) is kept:
                self.ledger.came(name, index, self._loop.time())

        self.lane.do(write, written, size)

    def _complete(self, session: Session, message: m.Complete) -> None:
        """After the chunks that came before it are on disk."""
        session.hold(MESSAGE_BYTES)

        def there(_: None, error: Exception | None) -> None:
            session.release(MESSAGE_BYTES)
            self._look(session, message)

        self.lane.do(lambda: None, there, MESSAGE_BYTES)

    def _look(self, session: Session, message: m.Complete) -> None:
        kept = self.ledger.kept.get(message.name)
        if kept is None:
            self._answer(session, message.request, AnswerCode.UNKNOWN, "keeps no such section")
            return
        missing = 0 if kept.whole else kept.manifest.count - len(kept.here)
        if missing:
            why, kept.error = kept.error or f"{missing} chunks did not come, or were wrong", ""
            self._answer(session, message.request, AnswerCode.FAILED, why)
            return

        def finish() -> None:
            if not kept.whole:
                self.store.finish(message.name)

        def finished(_: None, error: Exception | None) -> None:
            if error is not None:
                self._failed(session, message.request, message.name, error)
                return
            self._whole(kept)
            self._answer(session, message.request, AnswerCode.DONE)

        self.lane.do(finish, finished)

    def _whole(self, kept: Kept) -> None:
        name = kept.deposit.name
        if not kept.whole and self.ledger.kept.get(name) is kept:
            self.ledger.completed(name)
            self.changed(name)

    async def finish(self, name: bytes) -> None:
        """All chunks of a section are here: it is whole from now on. Raises :class:`StoreError`."""
        kept = self.ledger.kept[name]
        await self.lane.run(lambda: self.store.finish(name))
        self._whole(kept)

    async def damaged(self, name: bytes, wrong: Sequence[int]) -> None:
        """Chunks of a whole section are not what they were: nobody is offered them. Raises :class:`StoreError`."""
        self.ledger.damaged(name, wrong, self._loop.time())
        self.changed(name)
        await self.lane.run(lambda: self.store.reopen(name))

    # --- giving ------------------------------------------------------------------------------------------------------

    def _seek(self, session: Session, message: m.Seek) -> None:
        kept = self.ledger.kept.get(message.name)
        if kept is None or not (kept.whole or kept.here):
            self._answer(session, message.request, AnswerCode.UNKNOWN, "keeps no such section")
        else:
            self._holding(session, message.request, kept, manifest=message.manifest)

    def _get_chunk(self, session: Session, message: m.GetChunk) -> None:
        box = self._sessions.outbox(session.remote.id)
        if box is None:
            return
        kept = self.ledger.kept.get(message.name)
        if kept is None or not (kept.whole or message.index in kept.here) or message.index >= kept.manifest.count:
            self._answer(session, message.request, AnswerCode.UNKNOWN, "has no such chunk")
            return
        peer = session.remote.id
        if len(box) + self._warming[peer] >= limits.OUTBOX_ANSWERS_MAX:
            raise PeerError("a peer does not read what it asked for")
        manifest, (start, size) = kept.manifest, kept.manifest.sealed_range(message.index)
        if not self._warming[peer] and self.store.at_hand(message.name, start, size):
            box.stream(self._chunk(manifest, message), limits.CHUNK_BYTES)
            return

        def warm() -> None:
            self.store.read(message.name, start, size)

        def warmed(_: None, error: Exception | None) -> None:
            self._warming[peer] -= 1
            if not self._warming[peer]:
                del self._warming[peer]
            box = self._sessions.outbox(peer)
            if box is not None:  # what went wrong goes wrong again, and is answered
                box.stream(self._chunk(manifest, message), limits.CHUNK_BYTES)

        self._warming[peer] += 1
        self.warming.do(warm, warmed)

    def _chunk(self, manifest: Manifest, message: m.GetChunk) -> Iterator[m.Message]:
        """Read when there is room to send it: it has been read from the disk by then, and holds no memory of ours."""
        start, size = manifest.sealed_range(message.index)
        try:
            data = self.store.read(message.name, start, size)
        except StoreError as error:
            self._counters["chunks missing"] += 1
            yield m.Answer(message.request, AnswerCode.FAILED, str(error)[: limits.REASON_CHARS_MAX])
            return
        yield m.ChunkData(message.request, memoryview(data))

    def _compare(self, session: Session, message: m.Compare) -> None:
        have = bytearray(-(-len(message.names) // 8))
        shared = []
        for at, name in enumerate(message.names):
            kept = self.ledger.kept.get(name)
            if kept is not None and kept.whole:
                have[at // 8] |= 1 << at % 8
                shared.append(name)
        self._say(session, m.Compared(message.request, bytes(have)))
        self.compared(session, shared)

    def _list(self, session: Session, message: m.ListDeposits) -> None:
        found, more = self.ledger.of_owner(message.owner, message.after, limits.COMPARED_MAX)
        self._say(session, m.Deposits(message.request, found, more))

    # --- going -------------------------------------------------------------------------------------------------------

    def drop(self, name: bytes) -> None:
        """A section is kept no longer."""
        whole = name in self.ledger.kept and self.ledger.kept[name].whole
        self.ledger.drop(name)

        def deleted(_: None, error: Exception | None) -> None:
            if error is not None:
                self._counters["disk refused"] += 1
                log.error("%s", error)

        self.lane.do(lambda: self.store.delete(name), deleted)
        if whole:
            self.changed(name)

    def sweep(self) -> None:
        """Drop what has expired, what nobody brings any more, and what is more than may be kept."""
        for name in [*self.ledger.surplus(time.time()), *self.ledger.stale(self._loop.time())]:
            self.drop(name)

    async def pin(self, name: bytes, *, pinned: bool = True) -> None:
        """Keep a section that is here beyond its retention and whatever else, or no longer so.

        Raises :class:`PeerError` where it is not here whole.
        """
        kept = self.ledger.kept.get(name)
        if kept is None or not kept.whole:
            raise PeerError(f"the section {name.hex()[:8]} is not here")
        kept.pinned = pinned
        self.changed(name)
        await self.lane.run(lambda: self.store.begin(name, head_of(kept)))

    def statistics(self) -> dict[str, int]:
        """How much is kept."""
        return {
            "sections": len(self.ledger.kept),
            "whole": sum(kept.whole for kept in self.ledger.kept.values()),
            "pinned": sum(kept.pinned for kept in self.ledger.kept.values()),
            "bytes": self.ledger.total_bytes,
        }


def head_of(kept: Kept) -> bytes:
    """What stands on the disk beside the section."""
    return HEADS.encode(Head(kept.signed, kept.manifest_bytes, kept.pinned))
