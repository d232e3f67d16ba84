"""The shelf: blobs at hand. In memory until they are on disk and while they are in use, on disk for good.

A blob that was just made or received must be usable at once (a result is delivered before its disk write ends), so what
is not on disk yet stands in memory. Some is to be *kept*: it is written, in a thread, and acknowledged then. The rest
is *passing* (arguments of a lease, results on their way to the program): it is needed for a while and goes to disk only
where memory gets short. On a node without durable storage writing lets those go ahead who wait for data.

Whoever makes blobs looks at ``unwritten_bytes``; whoever brings them waits for the disk once ``HELD_BYTES_MAX`` are
held.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from p2pcpn import limits
from p2pcpn.errors import PeerError, StoreError
from p2pcpn.node.rush import Rush
from p2pcpn.protocol.effects import Write
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database
from p2pcpn.wire.codec import Buffer
from p2pcpn.wire.sealing import Hasher
from p2pcpn.wire.sealing import digest as digest_of

# Blobs that are on disk and were used lately.
MEMORY_BYTES = 32 << 20
# A blob up to this size is assembled in memory while its parts arrive; a larger one goes to disk part by part.
ASSEMBLE_BYTES = 4 << 20
ARRIVING_BYTES_MAX = 16 << 20
# What an unfinished blob costs beside its bytes: the state of its hash is 2 KB of it.
ENTRY_BYTES = 2560
# Written in one go: enough to share the flushes of directories, little enough to stay a short turn of a thread.
BATCH_BYTES = 8 << 20
BATCH_BLOBS = 64

Done = Callable[[Exception | None], None]


class Unsealed(Protocol):
    """A blob whose plaintext its maker holds: closed whenever it is read, the same each time. ``len`` is the blob's."""

    def __len__(self) -> int: ...
    def sealed(self) -> Buffer: ...
    def seal_into(self, out: memoryview) -> None: ...


Held = Buffer | Unsealed
# To ask for these takes a tenth of what it takes to ask for the protocol.
SEALED: Final = (bytes, bytearray, memoryview)


@dataclass(slots=True)
class _Held:
    """A blob in memory that is not on disk. ``dones`` are told when it is."""

    data: Held
    job: bytes
    retention_s: float
    since: float
    kept: bool = False
    dones: list[Done] = field(default_factory=list)


class _Arriving:
    """A blob of which parts have come, hashed as they do; its memory is there from the first, and so counted."""

    __slots__ = ("bytes", "filled", "hasher", "size")

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)
        self.hasher = Hasher()
        self.filled = 0
        self.size = size


class Shelf:
    """Blobs of one node. Callbacks come from the event loop.

    With ``rush`` what is kept is written when nobody waits for data, without it at once. A ``volatile`` shelf is of a
    program's own node, which keeps nothing for others: what it makes is passing, and more of that stays in memory.
    """

    def __init__(
        self, store: BlobStore, database: Database, rush: Rush | None = None, *, volatile: bool = False
    ) -> None:
        self._store = store
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._rush = rush
        self._volatile = volatile
        self._held_bytes_max = limits.VOLATILE_BYTES_MAX if volatile else limits.HELD_BYTES_MAX
        self._passing_bytes_max = limits.VOLATILE_BYTES_MAX if volatile else limits.HELD_BYTES
        self._held: dict[bytes, _Held] = {}
        self._passing: dict[bytes, None] = {}  # of those held, oldest first, like the next
        self._to_write: dict[bytes, None] = {}
        self._passing_bytes = 0
        self._look: asyncio.TimerHandle | None = None
        self._batch_under_way = False
        self._flushing = 0
        self._recent: OrderedDict[bytes, Held] = OrderedDict()
        self._recent_bytes = 0
        self._arriving: dict[tuple[bytes, bytes], _Arriving] = {}
        self._arriving_bytes = 0
        self._sources: Counter[bytes] = Counter()
        self._parts: deque[Callable[[], None]] = deque()  # writes of parts, in order, one at a time
        self._part_under_way = False
        self._large: dict[bytes, int] = {}  # blobs whose parts are on their way to disk, and how many of those
        self._writing: set[asyncio.Future[object]] = set()
        self._news = asyncio.Event()
        self.unwritten_bytes = 0  # of what is to be written

    # --- whole blobs -----------------------------------------------------------------------------------------------

    def put(self, digest: bytes, data: Held, job: bytes, retention_s: float, done: Done | None = None) -> None:
        """Keep a whole blob: usable at once, on disk when ``done`` is called."""
        if self._rush is not None:
            self._rush.note()
        self._take(digest, data, job, retention_s, done, keep=done is not None or not self._volatile)

    async def keep(self, digest: bytes, job: bytes, retention_s: float) -> bool:
        """Have a blob that is at hand on disk; whether it is there."""
        if self.is_on_disk(digest):
            self._book([(digest, self._store.size(digest) or 0, job, retention_s)])
            return True
        data = self.held(digest)
        if data is None:
            return False
        written: asyncio.Future[Exception | None] = self._loop.create_future()

        def done(error: Exception | None) -> None:
            if not written.done():
                written.set_result(error)

        self._take(digest, data, job, retention_s, done, keep=True)
        return await written is None

    def _take(
        self, digest: bytes, data: Held, job: bytes, retention_s: float, done: Done | None, *, keep: bool
    ) -> None:
        held = self._held.get(digest)
        if held is None:
            held = self._held[digest] = _Held(data, job, retention_s, self._now)
            self._passing[digest] = None
            self._passing_bytes += len(data)
        held.job, held.retention_s = job, max(retention_s, held.retention_s)
        if keep:
            self._to_disk(digest, held)
        if done is not None:
            held.dones.append(done)
        self._tell()
        self._write()

    def _to_disk(self, digest: bytes, held: _Held) -> None:
        """What was passing, or is new, is to be written."""
        if held.kept:
            return
        held.kept = True
        held.since = self._now  # what was passing has waited for nobody until now
        del self._passing[digest]
        self._passing_bytes -= len(held.data)
        self._to_write[digest] = None
        self.unwritten_bytes += len(held.data)

    def _write(self) -> None:
        """Write the next batch, if its time has come and none is under way."""
        while self._passing_bytes > self._passing_bytes_max:
            oldest = next(iter(self._passing))
            self._to_disk(oldest, self._held[oldest])
        if self._batch_under_way or not self._to_write:
            return
        batch: list[tuple[bytes, _Held]] = []
        size = 0
        at_once = self._rush is None or self._flushing or self._crowded
        for digest in self._to_write:
            held = self._held[digest]
            if size >= BATCH_BYTES or len(batch) >= BATCH_BLOBS:
                break
            if not at_once and self._rush is not None and not self._rush.lets(held.since):
                break
            batch.append((digest, held))
            size += len(held.data)
        if batch:
            for digest, _ in batch:
                del self._to_write[digest]
            self._batch_under_way = True
            blobs = [(digest, held.data) for digest, held in batch]
            work = partial(_put_all, self._store, blobs)
            self._thread(work, lambda ends, error: self._written(batch, ends, error))
        elif self._look is None:
            self._look = self._loop.call_later(limits.QUIET_S, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        self._write()

    @property
    def _now(self) -> float:
        return 0.0 if self._rush is None else self._rush.now

    def straight(self, size: int) -> bool:
        """Whether parts of a blob of ``size`` bytes go straight to disk, or memory has taken twice what it should: who
        brings them waits for the disk."""
        return size > ASSEMBLE_BYTES or self._passing_bytes + self.unwritten_bytes > 2 * self._held_bytes_max

    @property
    def overdue_bytes(self) -> int:
        """What is to be written and should be by now: not what lets others go first while memory has room for it."""
        return self.unwritten_bytes if self._rush is None or self._crowded else 0

    @property
    def _crowded(self) -> bool:
        return self._passing_bytes + self.unwritten_bytes > self._held_bytes_max

    def _written(self, batch: list[tuple[bytes, _Held]], ends: object, error: Exception | None) -> None:
        self._batch_under_way = False
        errors = ends if isinstance(ends, list) else [error] * len(batch)
        booked: list[tuple[bytes, int, bytes, float]] = []
        for (digest, held), each in zip(batch, errors, strict=True):
            del self._held[digest]
            self.unwritten_bytes -= len(held.data)
            self._remember(digest, held.data)
            if each is None:
                booked.append((digest, len(held.data), held.job, held.retention_s))
        self._book(booked)
        for (_, held), each in zip(batch, errors, strict=True):
            for done in held.dones:
                done(each)
        self._write()

    def _thread(self, work: Callable[[], object], then: Callable[[object, Exception | None], None]) -> None:
        """Do ``work`` in a thread; ``then`` gets what it returned or raised."""
        future: asyncio.Future[object] = self._loop.run_in_executor(None, work)
        self._writing.add(future)

        def ended(future: asyncio.Future[object]) -> None:
            self._writing.discard(future)
            if future.cancelled():
                return
            error = future.exception()
            assert error is None or isinstance(error, Exception)
            then(None if error is not None else future.result(), error)

        future.add_done_callback(ended)

    def _remember(self, digest: bytes, data: Held) -> None:
        if digest in self._recent:
            self._recent.move_to_end(digest)
            return
        self._recent[digest] = data
        self._recent_bytes += len(data)
        while self._recent_bytes > MEMORY_BYTES and self._recent:
            _, old = self._recent.popitem(last=False)
            self._recent_bytes -= len(old)

    def _book(self, blobs: list[tuple[bytes, int, bytes, float]]) -> None:
        """Note until when blobs ``(digest, size, job, retention_s)`` are kept."""
        if blobs:
            until = time.time()
            self._database.commit(
                tuple(Write("blobs", (digest,), (size, job, until + keep_s)) for digest, size, job, keep_s in blobs)
            )

    # --- parts that arrive -----------------------------------------------------------------------------------------

    def arrive(
        self,
        source: bytes,
        digest: bytes,
        size: int,
        offset: int,
        data: Buffer,
        job: bytes,
        retention_s: float,
        done: Done,
        *,
        keep: bool = True,
    ) -> None:
        """A part that a peer sent. ``done`` is called once it is on disk, or for the last one once the blob is whole
        and verified, or with what went wrong; ``keep`` (said with the last one): once the blob is on disk.

        Raises :class:`PeerError` for parts that do not fit.
        """
        if (source, digest) not in self._arriving and self.has(digest):
            if offset + len(data) >= size:
                self._again(digest, job, retention_s, done, keep=keep)
            else:
                done(None)
        elif size > ASSEMBLE_BYTES:
            self._write_part(source, digest, size, offset, data, job, retention_s, done)
        else:
            whole = self._assemble((source, digest), size, offset, data)
            if whole is None:
                done(None)
            else:
                self._arrived(digest, whole, job, retention_s, done, keep=keep)

    def _again(self, digest: bytes, job: bytes, retention_s: float, done: Done, *, keep: bool) -> None:
        """A blob that is here comes once more: it may have been passing, or the disk may have refused it.

        Its bytes are not looked at: whoever sends them may say any size, and keeps it no shorter than others asked.
        """
        data = self.held(digest) if keep and not self.is_on_disk(digest) else None
        if data is not None:
            self._take(digest, data, job, retention_s, done, keep=True)
            return
        if keep and digest not in self._held:
            self._book([(digest, self.size(digest) or 0, job, retention_s)])
        done(None)

    def _arrived(self, digest: bytes, whole: Buffer, job: bytes, retention_s: float, done: Done, *, keep: bool) -> None:
        keep = keep or self._crowded  # whoever brings more than memory takes waits for the disk
        self._take(digest, whole, job, retention_s, done if keep else None, keep=keep)
        if not keep:
            done(None)

    def _write_part(
        self,
        source: bytes,
        digest: bytes,
        size: int,
        offset: int,
        data: Buffer,
        job: bytes,
        retention_s: float,
        done: Done,
    ) -> None:
        self._large[digest] = self._large.get(digest, 0) + 1
        self.unwritten_bytes += len(data)

        def ended(whole: object, error: Exception | None) -> None:
            self.unwritten_bytes -= len(data)
            self._large[digest] -= 1
            if not self._large[digest]:
                del self._large[digest]
            if whole:
                self._book([(digest, size, job, retention_s)])
            done(error)
            self._part_under_way = False
            self._tell()
            self._next_part()

        self._parts.append(
            lambda: self._thread(lambda: self._store.put_part(digest, size, offset, data, source), ended)
        )
        self._next_part()

    def _next_part(self) -> None:
        if self._parts and not self._part_under_way:
            self._part_under_way = True
            self._parts.popleft()()

    def _assemble(self, key: tuple[bytes, bytes], size: int, offset: int, data: Buffer) -> Buffer | None:
        """The whole blob, once its last part is there. Raises :class:`PeerError` where it is not what its name says."""
        if offset == 0:
            self._drop(key)
            if len(data) == size:  # nothing to assemble
                _check(key[1], digest_of(data))
                return data
            self._make_room(size + ENTRY_BYTES)
            self._arriving[key] = _Arriving(size)
            self._arriving_bytes += size + ENTRY_BYTES
            self._sources[key[0]] += 1
        arriving, end = self._arriving.get(key), offset + len(data)
        if arriving is None or (arriving.size, arriving.filled) != (size, offset) or end > size or not data:
            self._drop(key)
            raise PeerError("a part of a blob does not follow the one before")
        arriving.bytes[offset:end] = data
        arriving.hasher.update(data)  # the part was opened just now, and lies in the processor's cache
        arriving.filled = end
        if end < size:
            return None
        self._drop(key)
        _check(key[1], arriving.hasher.digest())
        return arriving.bytes

    def _drop(self, key: tuple[bytes, bytes]) -> None:
        found = self._arriving.pop(key, None)
        if found is None:
            return
        self._arriving_bytes -= found.size + ENTRY_BYTES
        self._sources[key[0]] -= 1
        if not self._sources[key[0]]:
            del self._sources[key[0]]
        self._tell()

    def _make_room(self, size: int) -> None:
        """Of the sender that has most under way the oldest is dropped: who floods us displaces himself."""
        while self._arriving and self._arriving_bytes + size > ARRIVING_BYTES_MAX:
            most = max(self._sources, key=lambda source: (self._sources[source], source))
            self._drop(next(key for key in self._arriving if key[0] == most))

    def gone(self, source: bytes) -> None:
        """The session with ``source`` has ended: what it left unfinished is dropped."""
        for key in [key for key in self._arriving if key[0] == source]:
            self._drop(key)

    # --- reading ---------------------------------------------------------------------------------------------------

    def has(self, digest: bytes) -> bool:
        """Whether the blob is here."""
        return self.size(digest) is not None

    def is_on_disk(self, digest: bytes) -> bool:
        """Whether the blob outlives this program: one at hand may be in memory alone, where the disk refused it."""
        try:
            return self._store.size(digest) is not None
        except StoreError:
            return False

    def size(self, digest: bytes) -> int | None:
        """The blob's size, or ``None`` where it is not here (or the disk refuses)."""
        data = self.held(digest)
        if data is not None:
            return len(data)
        try:
            return self._store.size(digest)
        except StoreError:
            return None

    def read(self, digest: bytes, offset: int, count: int) -> Buffer | None:
        """At most ``count`` bytes from ``offset`` on; ``None`` where the blob is not here."""
        data = self.at_hand(digest)
        if data is not None:
            return memoryview(data)[offset : offset + count]
        try:
            return None if self._store.size(digest) is None else self._store.read(digest, offset, count)
        except StoreError:
            return None

    def get(self, digest: bytes) -> Buffer | None:
        """The blob's bytes, or ``None`` where it is not here (or the disk refuses)."""
        data = self.at_hand(digest)
        if data is not None:
            return data
        size = self.size(digest)
        return None if size is None else self.read(digest, 0, size)

    def reading(self, digest: bytes) -> Callable[[], Buffer | None]:
        """Gives what :meth:`get` gives, to be called in any thread: there it may read a large blob from disk."""
        data = self.held(digest)
        if data is not None:
            return partial(sealed, data)
        return lambda: self._from_disk(digest)

    def _from_disk(self, digest: bytes) -> bytes | None:
        try:
            size = self._store.size(digest)
            return None if size is None else self._store.read(digest, 0, size)
        except StoreError:
            return None

    def at_hand(self, digest: bytes) -> Buffer | None:
        """The blob's bytes, where they are in memory."""
        data = self.held(digest)
        return None if data is None else sealed(data)

    def held(self, digest: bytes) -> Held | None:
        """What stands in memory for the blob: its bytes, or what closes it."""
        held = self._held.get(digest)
        if held is not None:
            return held.data
        data = self._recent.get(digest)
        if data is not None:
            self._recent.move_to_end(digest)
        return data

    def arriving(self, digest: bytes) -> bool:
        """Whether parts of the blob are on their way to disk: it is here soon, or the last of them was no good."""
        return digest in self._large or any(key[1] == digest for key in self._arriving)

    async def arrived(self, digest: bytes, wait_s: float) -> Buffer | None:
        """The blob, waiting for it while it arrives."""
        return self.get(digest) if await self.here(digest, wait_s) else None

    async def here(self, digest: bytes, wait_s: float) -> bool:
        """Whether the blob is here, waiting for it while it arrives."""
        try:
            async with asyncio.timeout(wait_s):
                while not self.has(digest) and self.arriving(digest):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return self.has(digest)

    def _tell(self) -> None:
        self._news.set()

    # --- ends ------------------------------------------------------------------------------------------------------

    def let_go(self, digest: bytes) -> None:
        """Nobody needs the blob from here any more. What is passing goes from memory, and never goes to disk."""
        held = self._held.get(digest)
        if held is not None and not held.kept:
            del self._held[digest]
            del self._passing[digest]
            self._passing_bytes -= len(held.data)

    def forget(self, digest: bytes) -> None:
        """Its retention is over. Blocks while the file is removed."""
        data = self._recent.pop(digest, None)
        if data is not None:
            self._recent_bytes -= len(data)
        self._store.delete(digest)

    def close(self) -> None:
        """The node stops: nothing is written any more but by :meth:`flush`."""
        if self._look is not None:
            self._look.cancel()

    async def flush(self, wait_s: float = limits.SESSION_LINGER_S) -> None:
        """Write what is to be kept now, and wait until it is on disk."""
        self._flushing += 1
        try:
            self._write()
            async with asyncio.timeout(wait_s):
                while self._writing:
                    await asyncio.wait(list(self._writing))
        except TimeoutError:
            pass  # the disk hangs: what is not on it was acknowledged to nobody
        finally:
            self._flushing -= 1


def _check(name: bytes, found: bytes) -> None:
    if found != name:
        raise PeerError("a blob's bytes are not the digest's")


def sealed(data: Held) -> Buffer:
    """The blob's bytes."""
    return data if isinstance(data, SEALED) else data.sealed()


def _put_all(store: BlobStore, blobs: list[tuple[bytes, Held]]) -> object:
    """In a thread."""
    return store.put_all([(digest, sealed(data)) for digest, data in blobs])
