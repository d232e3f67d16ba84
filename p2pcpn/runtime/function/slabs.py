"""Slabs: memory in which one large argument after the other lies, for the workers of one owner.

Memory that nobody has touched yet costs a virtual machine six times what used memory costs, so an argument is opened
where an earlier one lay. The peer alone can write there and nobody can change its size (``F_SEAL_FUTURE_WRITE``,
``F_SEAL_SHRINK``, ``F_SEAL_GROW``). What lies there changes once no batch needs it; a worker that gave a task the
memory itself, and not a copy, says so, and then it never changes again. Where the system has no such memory (Linux
5.1), each argument has a file of its own.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from p2pcpn.limits import SPARE_SLABS_BYTES_MAX, USED_SLABS_MAX

# Owner and project: plaintext of one owner is never given to another's workers.
Group = tuple[bytes, bytes | None]

# What is larger has a file of its own, and is opened in a thread.
SLAB_BYTES_MAX: Final = 4 << 20
# Sizes are powers of two from here on, so that arguments of about one size follow each other in the same memory. What
# nobody touched costs nothing.
_SMALLEST_BYTES: Final = 512 << 10
# Whoever has mapped it already goes on writing, nobody else ever does. The module fcntl has no name for it.
_FUTURE_WRITE: Final = 0x10


class Slab:
    """One piece of memory. ``number`` names it to workers; ``given``: some task has the memory itself."""

    __slots__ = ("descriptor", "given", "group", "memory", "number", "size_bytes")

    def __init__(self, number: int, group: Group, size_bytes: int) -> None:
        """Raises ``OSError`` where the system has none."""
        self.number = number
        self.group = group
        self.size_bytes = size_bytes
        self.given = False
        self.descriptor = os.memfd_create("p2pcpn-arguments", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, size_bytes)
            self.memory = mmap.mmap(self.descriptor, size_bytes)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _FUTURE_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
        except OSError:
            os.close(self.descriptor)
            raise

    def fill(self, size_bytes: int, fill: Callable[[memoryview], None]) -> None:
        """Have ``fill`` put a value of ``size_bytes`` at the beginning. Raises what that raises."""
        with memoryview(self.memory) as whole, whole[:size_bytes] as view:
            fill(view)

    def close(self) -> None:
        """Gone from here. What tasks hold of it stays."""
        self.memory.close()
        os.close(self.descriptor)


class Slabs:
    """The slabs of one runtime. ``dropped(slab)`` is called for each that goes: its number never comes again."""

    def __init__(self, dropped: Callable[[Slab], None]) -> None:
        self._dropped = dropped
        self._spare: OrderedDict[int, Slab] = OrderedDict()  # those used last at the end
        self._possible = hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")
        self._numbers = 0
        self._used = 0
        self._closed = False
        self.spare_bytes = 0

    def __len__(self) -> int:
        """Those that nothing lies in."""
        return len(self._spare)

    def take(self, group: Group, size_bytes: int) -> Slab | None:
        """Memory for a value of ``size_bytes``; none where the system has none, or where the value is too large."""
        if not self._possible or not 0 < size_bytes <= SLAB_BYTES_MAX or self._used >= USED_SLABS_MAX:
            return None
        size_bytes = max(_SMALLEST_BYTES, 1 << (size_bytes - 1).bit_length())
        for slab in reversed(self._spare.values()):  # the warmest first
            if slab.group == group and slab.size_bytes == size_bytes:
                del self._spare[slab.number]
                self.spare_bytes -= size_bytes
                self._used += 1
                return slab
        self._numbers += 1
        try:
            made = Slab(self._numbers, group, size_bytes)
        except OSError:
            return None
        self._used += 1
        return made

    def give_back(self, slab: Slab) -> None:
        """Nothing lies there any more. It waits for the next value, unless a task has it."""
        self._used -= 1
        if slab.given or self._closed:
            self._drop(slab)
            return
        self._spare[slab.number] = slab
        self.spare_bytes += slab.size_bytes
        while self.spare_bytes > SPARE_SLABS_BYTES_MAX:
            self._drop_spare(next(iter(self._spare)))

    def forget_unused(self) -> None:
        """The system has back what nothing lies in."""
        for number in list(self._spare):
            self._drop_spare(number)

    def close(self) -> None:
        """Drop them all, and keep none that is given back later."""
        self._closed = True
        self.forget_unused()

    def _drop_spare(self, number: int) -> None:
        slab = self._spare.pop(number)
        self.spare_bytes -= slab.size_bytes
        self._drop(slab)

    def _drop(self, slab: Slab) -> None:
        slab.close()
        self._dropped(slab)


def given(slabs: Iterable[Slab | None]) -> None:
    """Tasks have these, or had when they died: what lies there stays as it is."""
    for slab in slabs:
        if slab is not None:
            slab.given = True
