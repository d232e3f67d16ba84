"""Parts: the large buffers beside a task's pickle, as its worker gives them to the task.

A pickle of arguments refers to its buffers in order (PEP 574). Arrays are views of theirs: a large one is a private
mapping of the shared file, so that nothing is copied before a task writes, and no task sees what another one wrote. A
large ``bytes`` or ``str`` argument, or any object whose pickle is large, is a buffer too, which the functions below
turn into the value again: ``client/pickling.py`` names them in the pickle. What cannot change is made once and given
to every task that wants it.

A slab is mapped once, and read by all that lie there one after the other. A task that has the memory itself, as an
array has, keeps that mapping, and the peer is told: nothing else is put there then.
"""

from __future__ import annotations

import mmap
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

Buffer = bytes | bytearray | memoryview | mmap.mmap

# Reading costs as much either way; below, one copy is cheaper than the faults of a mapping that is written to.
MAPPED_BYTES: Final = 1 << 20
# Each mapping holds a descriptor where Python is older than 3.13: tasks that keep many arrays get copies.
MAPPINGS_MAX: Final = 128
# Of slabs a worker keeps so much mapped: mappings that could be written count as memory that it uses.
MAPPED_SLABS_BYTES: Final = 16 << 20


class _Mapping(mmap.mmap):
    """A private mapping of a file: writable, and nobody else's. ``read_only``: whoever has it now only reads."""

    file: File
    read_only = False
    count = 0

    def __del__(self) -> None:
        _Mapping.count -= 1


class _Copy(bytearray):
    """A copy of a file."""

    file: File


class _Slab:
    """A slab at a worker; ``file`` is the number of what lies there. ``out``: a task has its mapping just now."""

    mapped_bytes = 0  # by all of them

    __slots__ = ("descriptor", "file", "mapping", "number", "out", "size_bytes")

    def __init__(self, number: int, descriptor: int) -> None:
        self.number = number
        self.descriptor = descriptor
        self.size_bytes = os.fstat(descriptor).st_size
        self.mapping: _Mapping | None = None
        self.file = 0
        self.out = False

    def view(self, file: File, size_bytes: int) -> memoryview | None:
        """Its first bytes, unless a task has them, or there are mappings enough."""
        if self.out or (self.mapping is None and _Mapping.count >= MAPPINGS_MAX):
            return None
        if self.mapping is None:
            self.mapping = _mapped(self.descriptor, self.size_bytes)
            _Slab.mapped_bytes += self.size_bytes
        self.mapping.file = file
        self.mapping.read_only = False
        self.out = True
        return memoryview(self.mapping)[:size_bytes]

    def returned(self) -> bool:
        """The task's arguments are made. Whether some have the memory itself: it is theirs from now on."""
        self.out = False
        given = sys.getrefcount(self.mapping) > 2  # ours, and the one that is asked with
        # Pages that were written stay this mapping's own: the next value would not be seen through them.
        written = self.mapping is not None and not self.mapping.read_only
        if given or written or _Slab.mapped_bytes > MAPPED_SLABS_BYTES:
            self._unmap()
        return given

    def _unmap(self) -> None:
        if self.mapping is not None:
            _Slab.mapped_bytes -= self.size_bytes
            self.mapping = None

    def close(self) -> None:
        """Forget it. What tasks hold of it stays."""
        self._unmap()
        os.close(self.descriptor)


class File:
    """A shared file at a worker. ``value`` is what was made of it, where that may serve several tasks."""

    __slots__ = ("_descriptor", "_size_bytes", "made", "slab", "users", "value")

    def __init__(self, descriptor: int, size_bytes: int, slab: _Slab | None = None) -> None:
        self._descriptor = descriptor
        self._size_bytes = size_bytes
        self.slab = slab
        self.made = False
        self.value: Any = None
        self.users: list[File] = []  # whose values hold buffers of this one

    def buffer(self) -> Buffer:
        """Its bytes, for one task to write to."""
        view = None if self.slab is None else self.slab.view(self, self._size_bytes)
        if view is not None:
            return view
        if self._size_bytes >= MAPPED_BYTES and self.slab is None and _Mapping.count < MAPPINGS_MAX:
            mapping = _mapped(self._descriptor, self._size_bytes)
            mapping.file = self
            return mapping
        copy = _Copy(self._size_bytes)
        copy.file = self
        at = 0
        with memoryview(copy) as whole:
            while at < self._size_bytes:  # one call reads 2 GiB at most
                read = os.preadv(self._descriptor, [whole[at:]], at)
                if not read:
                    raise EOFError("a shared file is shorter than its peer said")
                at += read
        return copy

    def close(self) -> None:
        """Forget it. What tasks hold of it stays."""
        if self.slab is None:
            os.close(self._descriptor)
        for file in (self, *self.users):
            file.value, file.made = None, False
        self.users.clear()


def _mapped(descriptor: int, size_bytes: int) -> _Mapping:
    untracked = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    mapping = _Mapping(
        descriptor, size_bytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE, **untracked
    )
    _Mapping.count += 1
    return mapping


class Files:
    """The shared files that one worker has, by their numbers. ``given(slab)``: a task has that memory itself."""

    def __init__(self, given: Callable[[int], None] = lambda _: None) -> None:
        self._given = given
        self._files: dict[int, File] = {}
        self._slabs: dict[int, _Slab] = {}

    def add(
        self, numbers: Sequence[int], sizes: Sequence[int], descriptors: Sequence[int], slabs: Sequence[int] = ()
    ) -> None:
        """Files that arrived, and the slabs that they lie in, or 0."""
        for at, (number, size_bytes, descriptor) in enumerate(zip(numbers, sizes, descriptors, strict=True)):
            if slabs and slabs[at]:
                self._slabs[slabs[at]] = _Slab(slabs[at], descriptor)
                self.again([(number, slabs[at], size_bytes)])
            else:
                self._files[number] = File(descriptor, size_bytes)

    def again(self, files: Sequence[tuple[int, int, int]]) -> None:
        """Files ``(number, slab, size)`` that lie in slabs that are here, in the place of others."""
        for number, where, size_bytes in files:
            slab = self._slabs[where]
            self.forget([slab.file])
            slab.file = number
            self._files[number] = File(slab.descriptor, size_bytes, slab)

    def forget(self, numbers: Sequence[int], slabs: Sequence[int] = ()) -> None:
        """Files and slabs that are needed no more."""
        for number in numbers:
            found = self._files.pop(number, None)
            if found is not None:
                found.close()
        for where in slabs:
            slab = self._slabs.pop(where, None)
            if slab is not None:
                self.forget([slab.file])
                slab.close()

    def loads(self, packed: bytes, parts: Sequence[int | bytes]) -> Any:
        """What ``packed`` and its buffers, in order, are the pickle of. Raises whatever loading raises."""
        files = self._files
        # What came through the socket is a copy already, made writable here.
        buffers: list[Buffer] = []
        try:
            for part in parts:
                buffers.append(bytearray(part) if isinstance(part, bytes) else files[part].buffer())
            return pickle.loads(packed, buffers=buffers)
        finally:
            buffers.clear()
            for part in parts:
                slab = None if isinstance(part, bytes) else files[part].slab
                if slab is not None and slab.out and slab.returned():
                    self._given(slab.number)


# --- what pickles name ----------------------------------------------------------------------------------------------


def as_bytes(buffer: Buffer) -> bytes:
    """A large ``bytes`` argument."""
    made: bytes = _once(buffer, bytes)
    return made


def as_text(buffer: Buffer) -> str:
    """A large ``str`` argument, lone surrogates included."""
    made: str = _once(buffer, lambda data: str(data, "utf-8", "surrogatepass"))
    return made


def as_bytearray(buffer: Buffer) -> bytearray:
    """A large ``bytearray`` argument, for one task."""
    _only_read(buffer)
    return bytearray(buffer)


def as_object(buffer: Buffer, *buffers: Buffer) -> Any:
    """Any other argument whose pickle is large, for one task: the pickle, and the buffers beside it."""
    _only_read(buffer)
    return pickle.loads(buffer, buffers=buffers)


def as_scattered(buffer: Buffer, *buffers: Buffer) -> Any:
    """A scattered value: loaded once, the same object for every task of this worker; its arrays are read-only."""
    if isinstance(
        buffer, bytes
    ):  # in a pickle that has no buffers beside it: the text that stands for the value says why
        raise TypeError(str(buffer, "utf-8"))

    def load(data: Buffer) -> Any:
        file = _file(buffer)
        for used in map(_file, buffers):
            if used is not None and file is not None:
                used.users.append(file)
        return pickle.loads(data, buffers=[memoryview(each).toreadonly() for each in buffers])

    return _once(buffer, load)


def _once(buffer: Buffer, make: Callable[[Any], Any]) -> Any:
    """``make(buffer)``, or what that was before where the file is the same and kept."""
    _only_read(buffer)
    file = _file(buffer)
    if file is None:
        return make(buffer)
    if not file.made:
        file.value, file.made = make(buffer), True
    return file.value


def _file(buffer: Buffer) -> File | None:
    """The shared file that a buffer is of; none for one that came through the socket."""
    owner = buffer.obj if isinstance(buffer, memoryview) else buffer
    return owner.file if isinstance(owner, (_Mapping, _Copy)) else None


def _only_read(buffer: Buffer) -> None:
    """Nothing is written to it: its mapping may serve the next value, too."""
    owner = buffer.obj if isinstance(buffer, memoryview) else buffer
    if isinstance(owner, _Mapping):
        owner.read_only = True
