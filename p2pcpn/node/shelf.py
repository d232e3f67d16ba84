"""The shelf: blobs at hand. In memory until they are on disk and while they are in use, on disk for good.

A blob that was just made or received must be usable at once (a result is delivered before its disk write ends), so what
is not on disk yet stands in memory, however much that is: whoever makes blobs looks at ``unwritten_bytes``, whoever
receives them holds up the session they come from. Disk writes happen in threads.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

from p2pcpn import limits
from p2pcpn.errors import PeerError, StoreError
from p2pcpn.protocol.effects import Write
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database
from p2pcpn.wire.sealing import digest as digest_of

# Blobs that are on disk and were used lately.
MEMORY_BYTES = 32 << 20
# A blob up to this size is assembled in memory while its parts arrive; a larger one goes to disk part by part.
ASSEMBLE_BYTES = 4 << 20
ARRIVING_BYTES_MAX = 16 << 20
# What an unfinished blob costs beside its bytes.
ENTRY_BYTES = 512

Done = Callable[[Exception | None], None]


class Shelf:
    """Blobs of one node. Callbacks come from the event loop."""

    def __init__(self, store: BlobStore, database: Database) -> None:
        self._store = store
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._unwritten: dict[bytes, bytes] = {}
        self._recent: OrderedDict[bytes, bytes] = OrderedDict()
        self._recent_bytes = 0
        self._arriving: dict[tuple[bytes, bytes], tuple[int, bytearray]] = {}
        self._arriving_bytes = 0
        self._sources: Counter[bytes] = Counter()
        self._parts: deque[Callable[[], None]] = deque()  # writes of parts, in order, one at a time
        self._part_under_way = False
        self._large: dict[bytes, int] = {}  # blobs whose parts are on their way to disk, and how many of those
        self._writing: set[asyncio.Future[object]] = set()
        self._news = asyncio.Event()
        self.unwritten_bytes = 0

    # --- whole blobs -----------------------------------------------------------------------------------------------

    def put(self, digest: bytes, data: bytes, job: bytes, retention_s: float, done: Done | None = None) -> None:
        """Keep a whole blob: usable at once, on disk when ``done`` is called."""
        if digest not in self._unwritten:
            self._unwritten[digest] = data
            self.unwritten_bytes += len(data)

        def written(error: Exception | None) -> None:
            if self._unwritten.pop(digest, None) is not None:
                self.unwritten_bytes -= len(data)
                self._remember(digest, data)
            if error is None:
                self._book(digest, len(data), job, retention_s)
            if done is not None:
                done(error)

        self._thread(lambda: self._store.put_part(digest, len(data), 0, data), lambda _, error: written(error))
        self._tell()

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

    def _remember(self, digest: bytes, data: bytes) -> None:
        if digest in self._recent:
            self._recent.move_to_end(digest)
            return
        self._recent[digest] = data
        self._recent_bytes += len(data)
        while self._recent_bytes > MEMORY_BYTES and self._recent:
            _, old = self._recent.popitem(last=False)
            self._recent_bytes -= len(old)

    def _book(self, digest: bytes, size: int, job: bytes, retention_s: float) -> None:
        self._database.commit((Write("blobs", (digest,), (size, job, time.time() + retention_s)),))

    # --- parts that arrive -----------------------------------------------------------------------------------------

    def arrive(
        self,
        source: bytes,
        digest: bytes,
        size: int,
        offset: int,
        data: bytes,
        job: bytes,
        retention_s: float,
        done: Done,
    ) -> None:
        """A part that a peer sent. ``done`` is called once it is on disk, or for the last one once the blob is whole
        and verified, or with what went wrong.

        Raises :class:`PeerError` for parts that do not fit.
        """
        if self.has(digest):
            if offset + len(data) >= size:
                self._book(digest, size, job, retention_s)
            done(None)
        elif size > ASSEMBLE_BYTES:
            self._write_part(source, digest, size, offset, data, job, retention_s, done)
        else:
            whole = self._assemble((source, digest), size, offset, data)
            if whole is None:
                done(None)
            elif digest_of(whole) != digest:
                raise PeerError("a blob's bytes are not the digest's")
            else:
                self.put(digest, whole, job, retention_s, done)

    def _write_part(
        self,
        source: bytes,
        digest: bytes,
        size: int,
        offset: int,
        data: bytes,
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
                self._book(digest, size, job, retention_s)
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

    def _assemble(self, key: tuple[bytes, bytes], size: int, offset: int, data: bytes) -> bytes | None:
        """The whole blob, once its last part is there."""
        if offset == 0:
            self._drop(key)
            self._make_room(size + ENTRY_BYTES)
            self._arriving[key] = (size, bytearray())
            self._arriving_bytes += size + ENTRY_BYTES
            self._sources[key[0]] += 1
        promised, parts = self._arriving.get(key, (0, bytearray()))
        if promised != size or len(parts) != offset or offset + len(data) > size or (size and not data):
            self._drop(key)
            raise PeerError("a part of a blob does not follow the one before")
        parts += data
        if len(parts) < size:
            return None
        whole = bytes(parts)
        self._drop(key)
        return whole

    def _drop(self, key: tuple[bytes, bytes]) -> None:
        found = self._arriving.pop(key, None)
        if found is None:
            return
        self._arriving_bytes -= found[0] + ENTRY_BYTES
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
        data = self._at_hand(digest)
        if data is not None:
            return len(data)
        try:
            return self._store.size(digest)
        except StoreError:
            return None

    def read(self, digest: bytes, offset: int, count: int) -> bytes | None:
        """At most ``count`` bytes from ``offset`` on; ``None`` where the blob is not here."""
        data = self._at_hand(digest)
        if data is not None:
            return data[offset : offset + count]
        try:
            return None if self._store.size(digest) is None else self._store.read(digest, offset, count)
        except StoreError:
            return None

    def get(self, digest: bytes) -> bytes | None:
        """The blob's bytes, or ``None`` where it is not here (or the disk refuses)."""
        data = self._at_hand(digest)
        if data is not None:
            return data
        size = self.size(digest)
        return None if size is None else self.read(digest, 0, size)

    def _at_hand(self, digest: bytes) -> bytes | None:
        data = self._unwritten.get(digest)
        if data is None:
            data = self._recent.get(digest)
            if data is not None:
                self._recent.move_to_end(digest)
        return data

    def arriving(self, digest: bytes) -> bool:
        """Whether parts of the blob are on their way to disk: it is here soon, or the last of them was no good."""
        return digest in self._large or any(key[1] == digest for key in self._arriving)

    async def arrived(self, digest: bytes, wait_s: float) -> bytes | None:
        """The blob, waiting for it while it arrives."""
        try:
            async with asyncio.timeout(wait_s):
                while not self.has(digest) and self.arriving(digest):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return None
        return self.get(digest)

    def _tell(self) -> None:
        self._news.set()

    # --- ends ------------------------------------------------------------------------------------------------------

    def forget(self, digest: bytes) -> None:
        """Its retention is over. Blocks while the file is removed."""
        data = self._recent.pop(digest, None)
        if data is not None:
            self._recent_bytes -= len(data)
        self._store.delete(digest)

    async def flush(self, wait_s: float = limits.SESSION_LINGER_S) -> None:
        """Wait until what was put is on disk."""
        try:
            async with asyncio.timeout(wait_s):
                while self._writing:
                    await asyncio.wait(list(self._writing))
        except TimeoutError:
            pass  # the disk hangs: what is not on it was acknowledged to nobody
