"""Hauling: sections of blobs to and from other peers, as ``protocol/transfer.py`` says.

Getting: holders are asked for chunks, which are verified and taken to their place in a thread; what waits for that is
bounded. Putting: a section is sealed chunk by chunk as the session takes more, so that no process holds a section.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from p2pcpn import limits
from p2pcpn.errors import P2pcpnError, PeerError, Unreachable
from p2pcpn.identity.keys import NodeId
from p2pcpn.net.session import Session
from p2pcpn.node.lane import Lane
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.transfer import Fetching, Placing
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.codec import Buffer
from p2pcpn.wire.manifests import Manifest, read_manifest
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Signed

if TYPE_CHECKING:
    from p2pcpn.node.overlay import Overlay

SEEK_WAIT_S: Final = 3.0
# A holder that was asked to keep a section hashes what it has of it first; one that completes it may have to flush it.
KEEP_WAIT_S: Final = 20.0
COMPLETE_WAIT_S: Final = 60.0
# Asked at a time where a section is looked for, and how long nobody may have it before we give up.
SEEK_PEERS_MAX: Final = 16
MISSING_S: Final = 12.0
SEEK_AGAIN_S: Final = 1.0
# Chunks that came and are not at their place yet.
UNWRITTEN_BYTES_MAX: Final = 16 << 20
DELIVERY_TRIES: Final = 2

# Puts one verified chunk at its place (in a thread): raises PeerError for a wrong one, OSError where the disk refuses.
Take = Callable[[int, Buffer], None]


class Hauler:
    """Moves sections for one node."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._expected: dict[tuple[bytes, int], tuple[_Bringing, int]] = {}
        self._bringing: dict[_Bringing, None] = {}
        self._streams: dict[bytes, dict[asyncio.Future[bool], None]] = {}
        self.chunks_in = 0
        self.chunks_out = 0

    # --- messages and sessions ---------------------------------------------------------------------------------------

    def take(self, session: Session, message: m.Message) -> bool:
        """Deal with ``message`` if it answers a question of ours."""
        match message:
            case m.ChunkData() | m.Answer():
                expected = self._expected.pop((session.remote.id, message.request), None)
                if expected is None:
                    return isinstance(message, m.ChunkData)
                bringing, index = expected
                self.chunks_in += isinstance(message, m.ChunkData)
                bringing.answered(session, index, message)
                return True
            case m.Holding() | m.Compared() | m.Deposits():
                self._overlay.questions.answered(session.remote.id, message.request, message)
                return True
        return False

    def gone(self, peer: bytes) -> None:
        """There is no session with ``peer`` (any more)."""
        for key in [key for key in self._expected if key[0] == peer]:
            del self._expected[key]
        for bringing in list(self._bringing):
            bringing.gone(peer)
        for future in list(self._streams.get(peer, ())):
            if not future.done():
                future.set_result(False)

    # --- who keeps blobs, and this one -------------------------------------------------------------------------------

    def storage_near(self, name: bytes) -> list[Contact]:
        """Peers that keep for others, as far as they are known, nearest to a section's name first; never this node."""
        overlay = self._overlay
        near = overlay.peer.directory.storage_near(name[:20], overlay.loop.time())
        return [listed.advert.contact for listed in near if listed.advert.contact.id != overlay.id]

    async def find(self, name: bytes) -> tuple[Manifest, list[tuple[Contact, m.Holding]]] | None:
        """What a section is, and who has how much of it; ``None`` where nobody who answers has any.

        Who was asked to keep it and lives is near its name; who keeps it now says so in the DHT, and is asked where
        those are not enough.
        """
        found = await self.seek(name, self.storage_near(name))
        if not any(holding.whole for _, holding in found):
            asked = {contact.id for contact, _ in found}
            provided = [each for each in await self.providers(name) if each.id not in asked]
            found += await self.seek(name, provided)
        manifest = verified_manifest(name, found)
        return None if manifest is None else (manifest, found)

    async def providers(self, name: bytes) -> list[Contact]:
        """Who says in the DHT that it keeps a section; perhaps not the truth. Never this node."""
        done = await self._overlay.find_providers(name[:20])
        return [record.contact for record in done.records if record.contact.id != self._overlay.id]

    # --- asking --------------------------------------------------------------------------------------------------

    async def seek(
        self, name: bytes, asked: Sequence[Contact], *, manifest: bool = True
    ) -> list[tuple[Contact, m.Holding]]:
        """Who of ``asked`` keeps a section, and what each has of it; nobody waits for those who are silent."""
        asked = asked[:SEEK_PEERS_MAX]

        async def ask(to: Contact) -> tuple[Contact, m.Holding] | None:
            try:
                answer = await self._overlay.request(to, lambda number: m.Seek(number, name, manifest), SEEK_WAIT_S)
            except Unreachable:
                return None
            return (to, answer) if isinstance(answer, m.Holding) else None

        pending = {asyncio.ensure_future(ask(to)) for to in asked}
        found: list[tuple[Contact, m.Holding]] = []
        grace_s: float | None = None
        try:
            while pending:
                done, pending = await asyncio.wait(pending, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                found += [each for each in (task.result() for task in done) if each is not None]
                if found:
                    grace_s = 0.25  # the others have that long
        finally:
            for task in pending:
                task.cancel()
        return sorted(found, key=lambda each: each[0].id)

    # --- getting -----------------------------------------------------------------------------------------------------

    async def bring(
        self,
        name: bytes,
        manifest: Manifest,
        holders: Sequence[tuple[Contact, m.Holding]],
        had: Sequence[int],
        take: Take,
        lane: Lane,
        *,
        more: Callable[[], Sequence[Contact]],
        kept: Callable[[int], None] = lambda index: None,
    ) -> None:
        """Have every chunk of a section but those ``had``: each goes to ``take``, in ``lane``'s thread.

        ``more()`` names peers to be asked when none of ``holders`` is left; ``kept(index)`` is told of each chunk.
        Raises :class:`PeerError` when nobody who answers has what is missing.
        """
        bringing = _Bringing(self._overlay, name, manifest, Fetching(manifest.count, had), take, lane, kept, self)
        self._bringing[bringing] = None
        try:
            bringing.add(holders)
            await bringing.run(more)
        finally:
            bringing.end()
            del self._bringing[bringing]
            for key in [key for key, (each, _) in self._expected.items() if each is bringing]:
                del self._expected[key]

    def expect(self, to: Contact, bringing: _Bringing, index: int) -> None:
        """Ask for a chunk."""
        overlay = self._overlay
        number = overlay.peer.next_request()
        self._expected[to.id, number] = (bringing, index)
        overlay.follow([fx.Tell(to, m.GetChunk(number, bringing.name, index))])

    async def proves(self, holder: Contact, name: bytes, manifest: Manifest, index: int) -> bool:
        """Whether a peer that says it has a section shows one chunk of it."""
        right: list[int] = []

        def take(at: int, data: Buffer) -> None:
            if digest(data) != manifest.chunk(at):
                raise PeerError("a chunk is another")
            right.append(at)

        had = [at for at in range(manifest.count) if at != index]
        lane = Lane(self._overlay.loop)
        try:
            async with asyncio.timeout(SEEK_WAIT_S):
                holding = m.Holding(0, True, b"", b"", [])
                await self.bring(name, manifest, [(holder, holding)], had, take, lane, more=lambda: ())
        except (TimeoutError, PeerError):
            return False
        finally:
            await lane.close()
        return bool(right) or not manifest.count

    # --- putting -----------------------------------------------------------------------------------------------------

    async def deliver(
        self,
        to: Contact,
        signed: Signed,
        manifest_bytes: bytes,
        manifest: Manifest,
        name: bytes,
        chunk: Callable[[int], bytes],
        *,
        holders: Sequence[Contact] = (),
        sent: Callable[[int], None] = lambda index: None,
    ) -> None:
        """Have ``to`` keep a section whole and durable; ``chunk(index)`` gives its sealed chunks, ``sent`` is told.

        Chunks that are there already are not sent. Raises :class:`PeerError` with the peer's words where it refuses,
        :class:`Unreachable` where it is gone.
        """
        overlay, told = self._overlay, list(holders)[: limits.HOLDERS_MAX]
        why = ""
        counted: set[int] = set()
        for _ in range(DELIVERY_TRIES):
            answer = await overlay.request(to, lambda number: m.Keep(number, signed, manifest_bytes, told), KEEP_WAIT_S)
            if not isinstance(answer, m.Holding):
                raise PeerError(answer.text if isinstance(answer, m.Answer) else "answers something else")
            missing = [] if answer.whole else missing_of(answer.have, manifest.count)
            for index in set(range(manifest.count)) - set(missing) - counted:
                counted.add(index)
                sent(index)
            if answer.whole:
                return
            await self._stream(to, name, manifest, missing, chunk, counted, sent)
            ended = await overlay.request(to, lambda number: m.Complete(number, name), COMPLETE_WAIT_S)
            if isinstance(ended, m.Answer) and ended.code == AnswerCode.DONE:
                return
            why = ended.text if isinstance(ended, m.Answer) else "answers something else"
        raise PeerError(why)

    async def place(
        self,
        placing: Placing,
        signed: Signed,
        manifest_bytes: bytes,
        manifest: Manifest,
        name: bytes,
        chunk: Callable[[int], bytes],
        *,
        told: Sequence[Contact] = (),
        sent: Callable[[int], None] = lambda index: None,
    ) -> None:
        """Bring a section to those whom ``placing`` names, and to others where those fail.

        Each is told who keeps it too: those, and ``told``.
        What went wrong with each is in ``placing.words()``. Raises ``OSError`` where ``chunk`` does.
        """
        running: dict[asyncio.Task[None], Contact] = {}
        try:
            while not placing.done:
                for contact in placing.begin():
                    known = [*told, *placing.holders, *running.values()]
                    delivery = self.deliver(
                        contact, signed, manifest_bytes, manifest, name, chunk, holders=known, sent=sent
                    )
                    running[asyncio.ensure_future(delivery)] = contact
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    contact, error = running.pop(task), task.exception()
                    if error is None:
                        placing.kept(contact.id)
                    elif isinstance(error, Unreachable):
                        placing.silent(contact.id)
                    elif isinstance(error, P2pcpnError):
                        placing.failed(contact.id, str(error))
                    else:
                        raise error
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _stream(
        self,
        to: Contact,
        name: bytes,
        manifest: Manifest,
        missing: Sequence[int],
        chunk: Callable[[int], bytes],
        counted: set[int],
        sent: Callable[[int], None],
    ) -> None:
        """Send chunks as the session takes them; returns when the last was given to it."""
        overlay = self._overlay
        box = overlay.sessions.outbox(NodeId(to.id))
        if box is None:
            raise Unreachable(f"peer {to.id.hex()[:8]} is gone")
        future: asyncio.Future[bool] = overlay.loop.create_future()

        def messages() -> Iterator[m.Message]:
            try:
                for index in missing:
                    if future.done():
                        return
                    yield m.PutChunk(name, index, memoryview(chunk(index)))
                    self.chunks_out += 1
                    if index not in counted:
                        counted.add(index)
                        sent(index)
            except OSError as error:  # the file changed, or its disk failed
                if not future.done():
                    future.set_exception(error)
                return
            if not future.done():
                future.set_result(True)

        streams = self._streams.setdefault(to.id, {})
        streams[future] = None
        try:
            box.stream(messages(), sum(manifest.sealed_range(index)[1] for index in missing))
            if not await future:
                raise Unreachable(f"peer {to.id.hex()[:8]} is gone")
        finally:
            future.cancel()
            del streams[future]
            if not streams:
                self._streams.pop(to.id, None)


class _Bringing:
    """One section on its way here."""

    def __init__(
        self,
        overlay: Overlay,
        name: bytes,
        manifest: Manifest,
        fetching: Fetching,
        take: Take,
        lane: Lane,
        kept: Callable[[int], None],
        hauler: Hauler,
    ) -> None:
        self.name = name
        self.manifest = manifest
        self.fetching = fetching
        self._overlay = overlay
        self._take = take
        self._lane = lane
        self._kept = kept
        self._hauler = hauler
        self._writing: dict[int, tuple[Session, int]] = {}  # chunks on their way to their place: what each holds up
        self._wake = asyncio.Event()
        self._error: Exception | None = None

    def add(self, holders: Sequence[tuple[Contact, m.Holding]]) -> None:
        """Peers that have it, or some of it."""
        now = self._overlay.loop.time()
        for contact, holding in holders:
            missing = frozenset() if holding.whole else frozenset(missing_of(holding.have, self.manifest.count))
            self.fetching.add(contact, None if not missing else frozenset(range(self.manifest.count)) - missing, now)

    def gone(self, peer: bytes) -> None:
        self.fetching.lost(peer)
        self._wake.set()

    def answered(self, session: Session, index: int, message: m.ChunkData | m.Answer) -> None:
        node, now = session.remote.id, self._overlay.loop.time()
        if isinstance(message, m.Answer):
            self.fetching.lacks(node, index)
            self._wake.set()
            return
        if not self.fetching.came(node, index, now) or index in self._writing:
            self.ask()
            return
        data, size = message.data, len(message.data)
        self._writing[index] = (session, size)
        session.hold(size)

        def taken(_: None, error: Exception | None) -> None:
            if self._writing.pop(index, None) is not None:
                session.release(size)
            if isinstance(error, PeerError):
                self.fetching.bad(node, index)
            elif error is not None:
                self._error = error
            else:
                self.fetching.kept(index)
                self._kept(index)
            if self.fetching.done or error is not None:
                self._wake.set()
            else:
                self.ask()

        self._lane.do(lambda: self._take(index, data), taken, size)
        self.ask()

    def end(self) -> None:
        """What the lane was to do may be done by nobody any more: the sessions go on all the same."""
        for session, size in self._writing.values():
            session.release(size)
        self._writing.clear()

    def ask(self) -> None:
        """Ask for as much as may be asked."""
        room = (UNWRITTEN_BYTES_MAX - self._lane.waiting_bytes) // self.manifest.chunk_bytes
        for each in self.fetching.ask(self._overlay.loop.time(), max(0, room)):
            self._hauler.expect(each.holder, self, each.index)

    async def run(self, more: Callable[[], Sequence[Contact]]) -> None:
        loop, fetching = self._overlay.loop, self.fetching
        missing_since: float | None = None
        while not fetching.done or self._writing:
            if self._error is not None:
                raise self._error
            now = loop.time()
            fetching.expire(now)
            self.ask()
            if fetching.stuck and not self._writing:
                missing_since = missing_since or now
                if now - missing_since >= MISSING_S:
                    raise PeerError(
                        f"{fetching.left} chunks of the section {self.name.hex()[:8]} are with no peer that answers"
                    )
                asked = [contact for contact in more() if not fetching.knows(contact.id)]
                self.add(await self._hauler.seek(self.name, asked, manifest=False))
                if fetching.stuck:
                    await asyncio.sleep(SEEK_AGAIN_S)
                    continue
            missing_since = None
            self.ask()
            self._wake.clear()
            due = fetching.deadline()
            try:
                async with asyncio.timeout(1.0 if due is None else min(1.0, max(0.05, due - now))):
                    await self._wake.wait()
            except TimeoutError:
                continue


def missing_of(have: bytes, count: int) -> list[int]:
    """The chunks of ``count`` whose bits are not set."""
    return [index for index in range(count) if index // 8 >= len(have) or not have[index // 8] >> index % 8 & 1]


def verified_manifest(name: bytes, found: Sequence[tuple[Contact, m.Holding]]) -> Manifest | None:
    """The manifest that one of these sent, where one is right."""
    for _, holding in found:
        try:
            return read_manifest(name, holding.manifest)
        except PeerError:
            continue
    return None
