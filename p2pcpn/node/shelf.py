"""The shelf: blobs at hand. In memory while they are new or in use, on disk for good.

A blob that was just made or received must be usable at once (a result is delivered before its disk write ends), so it stands
in memory, bounded, and goes to the :class:`BlobStore` in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from p2pcpn.errors import PeerError, StoreError
from p2pcpn.protocol.effects import Write
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database
from p2pcpn.wire.sealing import digest as digest_of

MEMORY_BYTES = 128 << 20
# A blob up to this size is assembled in memory while its parts arrive; a larger one goes to disk part by part.
ASSEMBLE_BYTES = 4 << 20
ARRIVING_BYTES_MAX = 32 << 20

Done = Callable[[Exception | None], None]


class Shelf:
    """Blobs of one node. Callbacks come from the event loop."""

    def __init__(self, store: BlobStore, database: Database) -> None:
        self._store = store
        self._database = database
        self._memory: OrderedDict[bytes, bytes] = OrderedDict()
        self._memory_bytes = 0
        self._arriving: dict[tuple[bytes, bytes], bytearray] = {}
        self._arriving_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._writing: set[asyncio.Future[None]] = set()

    def put(self, digest: bytes, data: bytes, job: bytes, retention_s: float, done: Done | None = None) -> None:
        """Keep a whole blob: usable at once, on disk when ``done`` is called."""
        self._remember(digest, data)
        self._write(digest, data, job, retention_s, done)

    def _remember(self, digest: bytes, data: bytes) -> None:
        if digest in self._memory:
            self._memory.move_to_end(digest)
            return
        self._memory[digest] = data
        self._memory_bytes += len(data)
        while self._memory_bytes > MEMORY_BYTES and len(self._memory) > 1:
            _, old = self._memory.popitem(last=False)
            self._memory_bytes -= len(old)

    def _write(self, digest: bytes, data: bytes, job: bytes, retention_s: float, done: Done | None) -> None:
        size = len(data)
        future: asyncio.Future[None] = self._loop.run_in_executor(None, self._write_parts, digest, data)
        self._writing.add(future)

        def written(finished: asyncio.Future[None]) -> None:
            self._writing.discard(finished)
            error = None if finished.cancelled() else finished.exception()
            if error is None:
                self._book(digest, size, job, retention_s)
            if done is not None:
                done(error if isinstance(error, Exception) else None)

        future.add_done_callback(written)

    def _write_parts(self, digest: bytes, data: bytes) -> None:
        self._store.put_part(digest, len(data), 0, data)

    def _book(self, digest: bytes, size: int, job: bytes, retention_s: float) -> None:
        self._database.commit((Write("blobs", (digest,), (size, job, time.time() + retention_s)),))

    def arrive(
        self, source: bytes, digest: bytes, size: int, offset: int, data: bytes, job: bytes, retention_s: float, done: Done
    ) -> None:
        """A part that a peer sent. ``done`` is called once the blob is whole, verified and on disk, or cannot be.

        Raises :class:`PeerError` for parts that do not fit.
        """
        if self.has(digest):
            if offset + len(data) >= size:
                done(None)
            return
        if size > ASSEMBLE_BYTES:
            if self._store.put_part(digest, size, offset, data, source):
                self._book(digest, size, job, retention_s)
                done(None)
            return
        key = (source, digest)
        if offset == 0:
            self._drop(key)
            if self._arriving_bytes + size > ARRIVING_BYTES_MAX:
                oldest = next(iter(self._arriving), None)
                if oldest is not None:
                    self._drop(oldest)
            self._arriving[key] = bytearray()
            self._arriving_bytes += size
        parts = self._arriving.get(key)
        if parts is None or len(parts) != offset or offset + len(data) > size:
            self._drop(key, size)
            raise PeerError("a part of a blob does not follow the one before")
        parts += data
        if len(parts) < size:
            return
        whole = bytes(parts)
        self._drop(key, size)
        if digest_of(whole) != digest:
            raise PeerError("a blob's bytes are not the digest's")
        self.put(digest, whole, job, retention_s, done)

    def _drop(self, key: tuple[bytes, bytes], size: int = 0) -> None:
        parts = self._arriving.pop(key, None)
        if parts is not None:
            self._arriving_bytes = max(0, self._arriving_bytes - max(size, len(parts)))
        if not self._arriving:
            self._arriving_bytes = 0

    def has(self, digest: bytes) -> bool:
        """Whether the blob is here."""
        return digest in self._memory or self._store.size(digest) is not None

    def get(self, digest: bytes) -> bytes | None:
        """The blob's bytes, or ``None`` where it is not here (or the disk refuses)."""
        data = self._memory.get(digest)
        if data is not None:
            self._memory.move_to_end(digest)
            return data
        try:
            size = self._store.size(digest)
            return None if size is None else self._store.read(digest, 0, size)
        except StoreError:
            return None

    def forget(self, digest: bytes) -> None:
        """Its retention is over."""
        data = self._memory.pop(digest, None)
        if data is not None:
            self._memory_bytes -= len(data)
        self._store.delete(digest)

    async def flush(self) -> None:
        """Wait until what was put is on disk."""
        if self._writing:
            await asyncio.wait(list(self._writing), timeout=5.0)
