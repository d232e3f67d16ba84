"""Sections: what a peer keeps of large blobs, chunk by chunk as they come, and after a crash as far as they came.

``<directory>/ab/cdef….head`` says what a section is and for whom it is kept; ``….part`` are its sealed chunks, each at
its place, while some are missing; ``….data`` once all are here and flushed. Nothing notes which chunks came: after a
crash those count whose bytes have the digest that the manifest names. All calls block: call them from a thread. Calls
for one section are made by one thread at a time.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from p2pcpn.errors import StoreError
from p2pcpn.wire.codec import Buffer
from p2pcpn.wire.manifests import Manifest
from p2pcpn.wire.sealing import digest

HEAD, PART, DATA, FRESH = ".head", ".part", ".data", ".new"
OPEN_FILES_MAX: Final = 64
# Written and not flushed: so much is left to do at most when a section is complete.
FLUSH_BYTES: Final = 32 << 20


class SectionStore:
    """The sections under ``directory``. ``durable`` flushes what is acknowledged. Raises :class:`StoreError`."""

    def __init__(self, directory: str | os.PathLike[str], *, durable: bool = True) -> None:
        self.directory = Path(directory)
        self._durable = durable
        self._files: OrderedDict[bytes, int] = OrderedDict()  # open for writing, the least used first
        self._unflushed: dict[bytes, int] = {}

    def scan(self) -> Iterator[tuple[bytes, bytes, bool]]:
        """Every section that is here, by name: its head, and whether it is whole. Leftovers are removed."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            folders = sorted(path for path in self.directory.iterdir() if len(path.name) == 2)
            for folder in folders:
                files = sorted(folder.iterdir())
                heads = {path.stem for path in files if path.suffix == HEAD}
                for path in files:
                    if path.suffix == FRESH or path.stem not in heads:
                        path.unlink()
                for stem in sorted(heads):
                    name = bytes.fromhex(folder.name + stem)
                    whole = self._path(name, DATA).exists()
                    if whole:
                        self._path(name, PART).unlink(missing_ok=True)
                    yield name, self._path(name, HEAD).read_bytes(), whole
        except (OSError, ValueError) as error:
            raise self._refused(error) from error

    def begin(self, name: bytes, head: bytes) -> None:
        """Say what a section is and for whom: durable on return; what is here of its chunks stays."""
        path, fresh = self._path(name, HEAD), self._path(name, FRESH)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(fresh, "wb", buffering=0) as file:
                file.write(head)
                if self._durable:
                    os.fsync(file.fileno())
            fresh.replace(path)
            self._flush_folder(path.parent)
        except OSError as error:
            raise self._refused(error) from error

    def verified(self, name: bytes, manifest: Manifest) -> list[int]:
        """The chunks of an unfinished section that are here: those whose bytes are right."""
        found = []
        try:
            with open(self._path(name, PART), "rb", buffering=0) as file:
                end = os.fstat(file.fileno()).st_size
                for index in range(manifest.count):
                    start, size = manifest.sealed_range(index)
                    if start + size > end:
                        break
                    if digest(os.pread(file.fileno(), size, start)) == manifest.chunk(index):
                        found.append(index)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._refused(error) from error
        return found

    def write(self, name: bytes, offset: int, data: Buffer) -> None:
        """Put bytes at their place in an unfinished section; one that is whole stays as it is."""
        try:
            handle = self._open(name)
            if handle is None:
                return
            view = memoryview(data)
            while view:
                written = os.pwrite(handle, view, offset)
                offset, view = offset + written, view[written:]
            if self._durable:
                unflushed = self._unflushed.get(name, 0) + len(data)
                if unflushed >= FLUSH_BYTES:
                    os.fdatasync(handle)
                    unflushed = 0
                self._unflushed[name] = unflushed
        except OSError as error:
            self.let_go(name)
            raise self._refused(error) from error

    def finish(self, name: bytes) -> None:
        """All chunks are here: durable on return, and after a crash, too. Nothing where it is whole already."""
        try:
            handle = self._open(name)  # a section without a chunk has a file, too
            if handle is None:
                return
            if self._durable:
                os.fsync(handle)
            self.let_go(name)
            self._path(name, PART).replace(self._path(name, DATA))
            self._flush_folder(self._path(name, DATA).parent)
        except OSError as error:
            raise self._refused(error) from error

    def read(self, name: bytes, offset: int, size: int) -> bytes:
        """Bytes of a section, whole or not."""
        for suffix in (DATA, PART):
            try:
                with open(self._path(name, suffix), "rb", buffering=0) as file:
                    return os.pread(file.fileno(), size, offset)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._refused(error) from error
        raise StoreError(f"{self.directory}: the section {name.hex()[:8]} is not here")

    def wrong(self, name: bytes, manifest: Manifest, first: int, count: int) -> list[int]:
        """Those of ``count`` chunks from ``first`` on of a whole section that are not what the manifest names, or
        cannot be read.
        """
        found = []
        for index in range(first, min(first + count, manifest.count)):
            start, size = manifest.sealed_range(index)
            try:
                right = digest(self.read(name, start, size)) == manifest.chunk(index)
            except StoreError:
                right = False
            if not right:
                found.append(index)
        return found

    def reopen(self, name: bytes) -> None:
        """A whole section lacks chunks: it is unfinished again, and takes them."""
        try:
            if self._path(name, DATA).exists():
                self._path(name, DATA).replace(self._path(name, PART))
                self._flush_folder(self._path(name, PART).parent)
        except OSError as error:
            raise self._refused(error) from error

    def at_hand(self, name: bytes, offset: int, size: int) -> bool:
        """Whether :meth:`read` will likely not wait for the disk, as far as the system tells (Linux)."""
        if not hasattr(os, "RWF_NOWAIT"):
            return True
        byte = bytearray(1)
        for suffix in (DATA, PART):
            try:
                with open(self._path(name, suffix), "rb", buffering=0) as file:
                    for at in (offset, offset + size - 1):
                        os.preadv(file.fileno(), [byte], at, os.RWF_NOWAIT)
                return True
            except FileNotFoundError:
                continue
            except BlockingIOError:
                return False
            except OSError:
                return True  # a file system that cannot tell
        return True

    def delete(self, name: bytes) -> None:
        """Remove a section, whole or not. The head goes last: what is left without one is removed at the next start."""
        self.let_go(name)
        try:
            for suffix in (PART, DATA, HEAD):
                self._path(name, suffix).unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def let_go(self, name: bytes) -> None:
        """Close what is open of a section."""
        handle = self._files.pop(name, None)
        self._unflushed.pop(name, None)
        if handle is not None:
            os.close(handle)

    def close(self) -> None:
        """Close all that is open."""
        for name in list(self._files):
            self.let_go(name)

    def _open(self, name: bytes) -> int | None:
        """Open for writing; ``None`` where the section is whole: of two that bring it, one may be too late."""
        handle = self._files.get(name)
        if handle is None:
            if self._path(name, DATA).exists():
                return None
            while len(self._files) >= OPEN_FILES_MAX:
                oldest = next(iter(self._files))
                if self._durable:
                    os.fdatasync(self._files[oldest])
                self.let_go(oldest)
            handle = os.open(self._path(name, PART), os.O_RDWR | os.O_CREAT, 0o600)
            self._files[name] = handle
        self._files.move_to_end(name)
        return handle

    def _flush_folder(self, folder: Path) -> None:
        if not self._durable or os.name != "posix":
            return
        for path in (folder, self.directory):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _path(self, name: bytes, suffix: str) -> Path:
        text = name.hex()
        return self.directory / text[:2] / (text[2:] + suffix)

    def _refused(self, error: Exception) -> StoreError:
        if isinstance(error, OSError):
            return StoreError(f"{error.filename or self.directory}: {error.strerror or error}")
        return StoreError(f"{self.directory}: {error}")
