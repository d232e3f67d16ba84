"""Shared files: plaintext that the workers of one group read from memory the peer filled once.

A value that ten tasks share is opened once, into a file in memory without a name (memfd; elsewhere an unlinked
temporary file), and every worker is passed its descriptor: copying 8 MiB into each task would cost 1 ms a task. On
Linux the file is sealed against writing before anybody gets it, so that a task cannot change what the next one reads.
Files have no names, so nothing is left behind when a process dies, whichever it is. What no batch uses is kept for the
next one only if it was asked for before, and only within bounds. A value of the middle size that nobody asked for
before lies in a slab, which is used again for the next one.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from p2pcpn.limits import SHARED_BYTES_MAX, SHARED_FILES_MAX, SHARED_SEEN_MAX
from p2pcpn.runtime.function.slabs import Slab, Slabs

# (owner, project, digest, key): plaintext of one owner is never given to another's workers.
Name = tuple[bytes, bytes | None, bytes, bytes]

_SEALED: Final = "F_ADD_SEALS"


class SharedFile:
    """One value. ``number`` names it to workers; ``uses`` counts the batches at hand that need it.

    Some lie in a ``slab``, whose descriptor is theirs.
    """

    __slots__ = ("descriptor", "name", "number", "repeated", "slab", "size_bytes", "uses")

    def __init__(self, number: int, name: Name, descriptor: int, size_bytes: int, slab: Slab | None) -> None:
        self.number = number
        self.name = name
        self.descriptor = descriptor
        self.slab = slab
        self.size_bytes = size_bytes
        self.repeated = False
        self.uses = 0


class SharedFiles:
    """The files of one runtime. ``dropped(file)`` is called for each that goes: its number is never used again.

    ``dropped_slab(slab)`` is called for each slab that goes.
    """

    def __init__(
        self, dropped: Callable[[SharedFile], None], dropped_slab: Callable[[Slab], None] = lambda _: None
    ) -> None:
        self._dropped = dropped
        self._slabs = Slabs(dropped_slab)
        self._files: OrderedDict[Name, SharedFile] = OrderedDict()  # least recently used first
        self._seen: OrderedDict[Name, None] = OrderedDict()  # made before, dropped since
        self._numbers = 0
        self._closed = False
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: Name) -> bool:
        return name in self._files

    def find(self, name: Name) -> SharedFile | None:
        """The file of that name, which somebody wants again."""
        found = self._files.get(name)
        if found is not None:
            found.repeated = True
            self._files.move_to_end(name)
        return found

    def make(self, name: Name, data: bytes | memoryview) -> SharedFile | None:
        """A file that holds ``data``; none where the system refuses, or where batches use as many as there may be."""
        return self.add(name, filled(data), len(data))

    def make_by(self, name: Name, size_bytes: int, fill: Callable[[memoryview], None]) -> SharedFile | None:
        """The same of what ``fill`` puts into memory, which others lay in before; none, too, for what is asked for
        once more, or is too large. Raises what ``fill`` raises."""
        slab = None if name in self._seen else self._slabs.take(name[:2], size_bytes)
        if slab is None:
            return None
        try:
            slab.fill(size_bytes, fill)
        except BaseException:
            self._slabs.give_back(slab)
            raise
        return self._add(name, slab.descriptor, size_bytes, slab)

    def add(self, name: Name, descriptor: int | None, size_bytes: int) -> SharedFile | None:
        """The same of a file that was :func:`filled`, elsewhere perhaps; ours from now on."""
        return None if descriptor is None else self._add(name, descriptor, size_bytes, None)

    def _add(self, name: Name, descriptor: int, size_bytes: int, slab: Slab | None) -> SharedFile | None:
        self._make_room(size_bytes, 1)
        if self._closed or name in self._files or len(self._files) >= SHARED_FILES_MAX:
            self._close(descriptor, slab)
            return self.find(name)
        self._numbers += 1
        made = self._files[name] = SharedFile(self._numbers, name, descriptor, size_bytes, slab)
        made.repeated = self._seen.pop(name, False) is None
        self.size_bytes += size_bytes
        return made

    def use(self, files: Iterable[SharedFile]) -> None:
        """A batch needs these."""
        for file in files:
            file.uses += 1

    def release(self, files: Iterable[SharedFile]) -> None:
        """That batch is over."""
        for file in files:
            file.uses -= 1
            if not file.uses and not file.repeated and self._files.get(file.name) is file:
                self._drop(file)
        self._make_room(0, 0)

    def forget_unused(self) -> None:
        """Drop what no batch uses."""
        for file in [file for file in self._files.values() if not file.uses]:
            self._drop(file)
        self._slabs.forget_unused()

    def close(self) -> None:
        """Drop everything, and keep nothing that comes later: from a thread that was at it, say."""
        self._closed = True
        self._slabs.close()
        for file in list(self._files.values()):
            self._drop(file)

    def _make_room(self, size_bytes: int, count: int) -> None:
        if self.size_bytes + size_bytes <= SHARED_BYTES_MAX and len(self._files) + count <= SHARED_FILES_MAX:
            return
        for file in list(self._files.values()):
            if not file.uses:
                self._drop(file)
                if self.size_bytes + size_bytes <= SHARED_BYTES_MAX and len(self._files) + count <= SHARED_FILES_MAX:
                    return

    def _drop(self, file: SharedFile) -> None:
        del self._files[file.name]
        self.size_bytes -= file.size_bytes
        self._seen[file.name] = None
        if len(self._seen) > SHARED_SEEN_MAX:
            self._seen.popitem(last=False)
        self._dropped(file)
        self._close(file.descriptor, file.slab)

    def _close(self, descriptor: int, slab: Slab | None) -> None:
        if slab is None:
            os.close(descriptor)
        else:
            self._slabs.give_back(slab)


def filled(data: bytes | memoryview) -> int | None:
    """A descriptor of a nameless file that holds ``data``, for good; none where the system refuses. From any thread."""
    try:
        return _made(lambda descriptor: write_all(descriptor, data, 0))
    except OSError:
        return None


def filled_by(size_bytes: int, fill: Callable[[memoryview], None]) -> int | None:
    """The same of what ``fill`` puts into memory of ``size_bytes``, which must not be 0. Raises what that raises.

    Slower than :func:`filled`, but memory is first touched by ``fill``, which may do without the interpreter's lock.
    """

    def write(descriptor: int) -> None:
        os.ftruncate(descriptor, size_bytes)
        with mmap.mmap(descriptor, size_bytes) as memory, memoryview(memory) as view:
            fill(view)

    try:
        return _made(write)
    except OSError:
        return None


def _made(write: Callable[[int], None]) -> int:
    if not hasattr(os, "memfd_create") or not hasattr(fcntl, _SEALED):
        return _temporary(write)
    descriptor = os.memfd_create("p2pcpn-shared", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        write(descriptor)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _temporary(write: Callable[[int], None]) -> int:
    """The same without sealed memory: an unlinked file, opened for reading alone."""
    descriptor, path = tempfile.mkstemp(prefix="p2pcpn-shared-")
    try:
        write(descriptor)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(descriptor)
        os.unlink(path)


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``. Raises ``OSError`` where the system has no room for it."""
    with memoryview(data).cast("B") as view:
        at = 0
        while at < len(view):  # one call writes 2 GiB at most
            at += os.pwrite(descriptor, view[at:], offset + at)
