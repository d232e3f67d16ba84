"""Blobs: files named by the BLAKE3 of their bytes, written part by part and whole or not there at all.

``<directory>/ab/cdef…`` holds the blob whose digest is ``abcdef…``. Parts go to a file in ``<directory>/unfinished``
while they are hashed; when the last one is in and the digest is right, the file is flushed and renamed. The bytes are
sealed by whoever made the blob, so nothing here can be read by the peer that keeps it. All calls block: call them from
a thread. What was here before this start is proved to be whole when it is first read, or by :meth:`BlobStore.prove`.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from p2pcpn import limits
from p2pcpn.errors import DiskFull, PeerError, StoreError
from p2pcpn.store.proof import is_whole, put_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from p2pcpn.wire.codec import Buffer

DIGEST_BYTES = 32
# A blob found at start that is no larger is proved before its first byte is given: 4 ms. Larger ones wait their turn.
PROVED_AT_ONCE_BYTES = 16 << 20
_NAME = re.compile(r"[0-9a-f]{62}")
# Bits that tell what was never here, by the first 20 bits of its digest: with all blobs that there may be one question
# in nine still goes to the disk, which takes 18 us to say no.
_MARKS_BYTES = 1 << 17
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(slots=True)
class _Unfinished:
    """A blob on its way in from one source."""

    path: Path
    size: int
    heard_s: float
    written: int = 0
    hasher: Any = field(default_factory=blake3)


class BlobStore:
    """The blobs under ``directory``, at most ``quota_bytes`` of them together (``None``: no bound).

    ``durable`` flushes a blob to disk before it is acknowledged. What ``beside()`` says is taken by others under the
    same quota. Safe to call from several threads.
    Raises :class:`StoreError` where the disk refuses, :class:`PeerError` where the sender is at fault.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        quota_bytes: int | None = limits.DISK_BYTES,
        durable: bool = True,
        clock: Callable[[], float] = time.monotonic,
        beside: Callable[[], int] = lambda: 0,
    ) -> None:
        self.directory = Path(directory)
        self._place = os.fspath(self.directory)  # asked for a blob a thousand times a second, paths cost more than stat
        self.quota_bytes = quota_bytes
        self.beside = beside
        self._durable = durable
        self._clock = clock
        self._lock = threading.RLock()
        self._arriving = self.directory / "unfinished"
        self._unfinished: dict[tuple[bytes, bytes], _Unfinished] = {}
        self._unflushed: dict[Path, None] = {}  # directories whose names may not outlive a crash
        self._names = 0  # numbers the files of unfinished blobs
        try:
            self._arriving.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._arriving.iterdir():  # by a process that died
                left.unlink(missing_ok=True)
            sizes = [path.stat().st_size for path in self._paths()]
            self._unproved = dict.fromkeys(self.digests())
            self._marks = bytearray(_MARKS_BYTES)
            for digest in self._unproved:
                self._mark(digest)
        except OSError as error:
            raise self._refused(error) from error
        self._count = len(sizes)
        self._total_bytes = sum(sizes)

    # --- Writing ---------------------------------------------------------------------------------------------------

    def put_part(self, digest: bytes, size: int, offset: int, data: Buffer, source: bytes = b"") -> bool:
        """Take the part at ``offset`` of the blob of ``size`` bytes; ``True`` once the blob is here whole and verified.

        Parts of one ``source`` (who sends; each has a file of its own, so that none spoils another's) come in order;
        offset 0 begins anew. A blob that is here already is complete at its first part. :class:`PeerError`: a part
        that does not fit, or bytes that are not the digest's; what had come is gone then. :class:`StoreError`: no
        room, too many unfinished, or the disk.
        """
        if len(digest) != DIGEST_BYTES:
            raise PeerError(f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}")
        if not 0 <= size <= limits.BLOB_BYTES_MAX:
            raise PeerError(f"a blob has at most {limits.BLOB_BYTES_MAX} bytes, not {size}")
        with self._lock:
            key, here = (digest, source), self._is_here(digest)
            if offset == 0 or here:
                self._forget(key)
            if here:
                self._flush_all(())
                return True
            if offset == 0:
                self._begin(key, size)
            blob = self._unfinished.get(key)
            if blob is None:
                raise PeerError(f"blob {digest.hex()[:8]}: a part at {offset}, and none before it")
            try:
                return self._append(digest, blob, size, offset, data) and self._finish(key, blob)
            except OSError as error:
                self._forget(key)
                raise self._refused(error) from error
            except (PeerError, StoreError):
                self._forget(key)
                raise

    def put_all(self, blobs: Sequence[tuple[bytes, Buffer]]) -> list[StoreError | None]:
        """Take whole blobs ``(digest, data)`` whose bytes the caller knows to be the digest's; what became of each.

        Many together cost a durable store fewer flushes: one of each directory.
        """
        ends: list[StoreError | None] = []
        directories: dict[Path, None] = {}
        with self._lock:
            for digest, data in blobs:
                try:
                    if not self._is_here(digest):
                        directories[self._put(digest, data)] = None
                    ends.append(None)
                except StoreError as error:
                    ends.append(error)
                except OSError as error:
                    ends.append(self._refused(error))
            try:
                self._flush_all(directories)
            except StoreError as error:
                return [error] * len(ends)
        return ends

    def delete(self, digest: bytes) -> bool:
        """Remove a blob; whether it was here."""
        with self._lock:
            size = self.size(digest)
            if size is None:
                return False
            try:
                self._path(digest).unlink(missing_ok=True)
            except OSError as error:
                raise self._refused(error) from error
            self._count -= 1
            self._total_bytes -= size
            self._unproved.pop(digest, None)
            return True

    # --- Reading ---------------------------------------------------------------------------------------------------

    def size(self, digest: bytes) -> int | None:
        """The blob's size in bytes; ``None`` where it is not here."""
        at = int.from_bytes(digest[:3], "big")
        if not self._marks[at >> 7] & 1 << (at >> 4 & 7):
            return None
        try:
            name = digest.hex()
            return os.stat(f"{self._place}/{name[:2]}/{name[2:]}").st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(error) from error

    def read(self, digest: bytes, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from ``offset`` on, fewer at the end. :class:`StoreError` where it is not here, or no
        longer whole.
        """
        if digest in self._unproved and (self.size(digest) or 0) <= PROVED_AT_ONCE_BYTES and not self.prove(digest):
            raise StoreError(f"{self._path(digest)}: not here any more")
        try:
            with open(self._path(digest), "rb", buffering=0) as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise self._refused(error) from error

    def digests(self) -> Iterator[bytes]:
        """The digest of every blob that is here, in order."""
        for path in self._paths():
            yield bytes.fromhex(path.parent.name + path.name)

    def unproved(self) -> list[bytes]:
        """The blobs that were here before this start and that nobody has read since, in order."""
        return list(self._unproved)

    def prove(self, digest: bytes) -> bool:
        """Whether the blob is here and whole. A damaged one is here no more, and the log says so."""
        path = self._path(digest)
        try:
            whole = is_whole(path, digest)
        except FileNotFoundError:
            whole = False
        except OSError:
            whole = False  # a sector that cannot be read is as good as lost
        with self._lock:
            if not whole and (size := self.size(digest)) is not None:
                try:
                    put_aside(path, self.directory / "damaged")
                except OSError as error:
                    raise self._refused(error) from error
                self._count -= 1
                self._total_bytes -= size
            self._unproved.pop(digest, None)
        return whole

    @property
    def total_bytes(self) -> int:
        """Bytes of all blobs, the unfinished ones included. It never waits for a thread that writes."""
        return self._used_bytes()

    # --- Inside ----------------------------------------------------------------------------------------------------

    def _is_here(self, digest: bytes) -> bool:
        """Whether a put can be acknowledged without writing: what was found at start counts once it is proved."""
        return self.size(digest) is not None and (digest not in self._unproved or self.prove(digest))

    def _mark(self, digest: bytes) -> None:
        """Something of this name is to be here: said before it is, and for good."""
        at = int.from_bytes(digest[:3], "big")
        self._marks[at >> 7] |= 1 << (at >> 4 & 7)

    def _put(self, digest: bytes, data: Buffer) -> Path:
        """Write one whole blob; the directory it lies in."""
        if self._count + len(self._unfinished) >= limits.BLOBS_MAX:
            raise DiskFull(f"{self.directory}: {self._count} blobs, and no more are kept")
        self._make_room(len(data))
        self._names += 1
        unfinished, path = self._arriving / str(self._names), self._path(digest)
        try:
            with open(unfinished, "wb", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
                if self._durable:
                    os.fsync(file.fileno())
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._mark(digest)
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        self._count += 1
        self._total_bytes += len(data)
        return path.parent

    def _flush_all(self, directories: Iterable[Path]) -> None:
        """Make the names in ``directories`` outlive a crash, and those that could not be made so before."""
        if not self._durable or os.name != "posix":
            return
        self._unflushed.update(dict.fromkeys(directories))
        if not self._unflushed:
            return
        try:
            for directory in [*self._unflushed, self.directory]:
                handle = os.open(directory, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
        except OSError as error:
            raise self._refused(error) from error
        self._unflushed.clear()

    def _begin(self, key: tuple[bytes, bytes], size: int) -> None:
        self._drop_stale()
        of_source = sum(source == key[1] for _, source in self._unfinished)
        if len(self._unfinished) >= limits.BLOBS_UNFINISHED_MAX or of_source >= limits.BLOBS_UNFINISHED_PER_SOURCE_MAX:
            raise StoreError(f"{self.directory}: {len(self._unfinished)} blobs are on their way already")
        if self._count + len(self._unfinished) >= limits.BLOBS_MAX:
            raise DiskFull(f"{self.directory}: {self._count} blobs, and no more are kept")
        self._make_room(size)
        self._names += 1
        self._unfinished[key] = _Unfinished(self._arriving / str(self._names), size, self._clock())

    def _append(self, digest: bytes, blob: _Unfinished, size: int, offset: int, data: Buffer) -> bool:
        """Write one part; whether it was the last."""
        end = offset + len(data)
        if size != blob.size or offset != blob.written or end > size or (not data and size > 0):
            raise PeerError(
                f"blob {digest.hex()[:8]}: {len(data)} bytes at {offset} of {size}"
                f" do not follow {blob.written} of {blob.size}"
            )
        self._make_room(len(data))
        # Opened for each part: unfinished blobs hold no file open, whatever their senders do.
        with open(blob.path, "ab", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            if end == size and self._durable:
                os.fsync(file.fileno())
        blob.hasher.update(data)
        blob.written = end
        blob.heard_s = self._clock()
        return end == size

    def _finish(self, key: tuple[bytes, bytes], blob: _Unfinished) -> bool:
        digest = key[0]
        if blob.hasher.digest() != digest:
            raise PeerError(f"blob {digest.hex()[:8]}: {blob.size} bytes came, and they are another blob's")
        path = self._path(digest)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._mark(digest)
        blob.path.replace(path)
        del self._unfinished[key]
        self._count += 1
        self._total_bytes += blob.size
        self._flush_all((path.parent,))
        return True

    def _used_bytes(self) -> int:
        return self._total_bytes + sum(blob.written for blob in list(self._unfinished.values()))

    def _make_room(self, more_bytes: int) -> None:
        # What is promised but has not come takes no room: a stranger cannot fill the quota with one part.
        if self.quota_bytes is not None and self._used_bytes() + self.beside() + more_bytes > self.quota_bytes:
            raise DiskFull(f"{self.directory}: {more_bytes} bytes more than its quota of {self.quota_bytes}")

    def _forget(self, key: tuple[bytes, bytes]) -> None:
        blob = self._unfinished.pop(key, None)
        if blob is not None:
            try:
                blob.path.unlink(missing_ok=True)
            except OSError:
                pass  # it is removed at the next start

    def _drop_stale(self) -> None:
        """Remove unfinished blobs whose sender has been silent for :data:`limits.BLOB_UNFINISHED_S`."""
        before_s = self._clock() - limits.BLOB_UNFINISHED_S
        stale = [key for key, blob in self._unfinished.items() if blob.heard_s <= before_s]
        for key in stale:
            self._forget(key)

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self.directory / name[:2] / name[2:]

    def _paths(self) -> Iterator[Path]:
        for directory in sorted(self.directory.iterdir()):
            if re.fullmatch("[0-9a-f]{2}", directory.name):
                yield from sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))

    def _refused(self, error: OSError) -> StoreError:
        if error.errno in _NO_ROOM:
            return DiskFull(
                f"{error.filename or self.directory}: no room ({error.strerror}); nothing new is kept until some is"
                " freed on that disk"
            )
        return StoreError(f"{error.filename or self.directory}: {error.strerror or error}")
