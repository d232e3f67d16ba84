"""A landing: memory in which a worker puts large results, and from which its peer takes them.

Through the socket a megabyte is copied five times and wakes both sides a dozen times; here it is copied once by each.
A ring of ``LANDING_BYTES`` is used again and again, for the first touch of fresh memory costs more than a copy; behind
it there is room for one result that is larger. The peer makes the file and nobody names it, so it is gone with the two
of them. The peer copies into memory of its own before it looks at a byte: a worker may say what it likes, or change
what it reported, and all it can spoil is its own result. Both have the ring mapped where the system can promise that
nobody shortens it (``F_SEAL_SHRINK``): reading and writing the file takes half as long again.

The first eight bytes of the file say how far the peer has taken what was put: only the worker believes them.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import pickle
import struct
import tempfile
import time
from contextlib import suppress
from typing import Final

from p2pcpn.errors import PeerError
from p2pcpn.limits import LANDING_BYTES, TASK_RESULT_BYTES_MAX
from p2pcpn.runtime.function.sharing import write_all

# From this size on a result is put there: 64 KiB cost 6 us to both sides, and 40 through the socket.
LANDED_BYTES: Final = 64 << 10
_RING_AT: Final = 4096
_BEHIND_AT: Final = _RING_AT + LANDING_BYTES
_TAKEN: Final = struct.Struct("<Q")
# A ring that is full waits for a peer that seals 100 MB/s; one that does not take anything gets the rest by the socket.
_LOOK_S: Final = 0.0003
_WAIT_S: Final = 1.0

# The result's place among the values of a report, where it begins, and its size.
Placed = tuple[int, int, int]


class Pieces(list[bytes]):
    """A pickle as its pickler writes it. Large ``bytes`` stand there themselves: :meth:`Berth.put` copies them."""

    def write(self, data: bytes | bytearray) -> None:
        """What a pickler writes. What could change, or change its size, is copied."""
        self.append(data if type(data) is bytes else bytes(data))

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return sum(map(len, self))


def pickled(value: object) -> bytes | Pieces:
    """The pickle of ``value``, in pieces where there are several. Raises whatever pickling raises."""
    pieces = Pieces()
    pickle.Pickler(pieces, 5).dump(value)
    return pieces[0] if len(pieces) == 1 else pieces


class Landing:
    """The peer's end."""

    def __init__(self) -> None:
        """Raises ``OSError`` where the system has no memory for it."""
        self._ring: mmap.mmap | None = None
        if not all((hasattr(os, "memfd_create"), hasattr(fcntl, "F_ADD_SEALS"), hasattr(mmap, "MADV_REMOVE"))):
            self.descriptor, path = tempfile.mkstemp(prefix="p2pcpn-results-")
            os.unlink(path)
            os.pwrite(self.descriptor, bytes(_TAKEN.size), 0)
            return
        self.descriptor = os.memfd_create("p2pcpn-results", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, _BEHIND_AT)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
            self._ring = mmap.mmap(self.descriptor, _BEHIND_AT, prot=mmap.PROT_READ)
        except OSError:
            os.close(self.descriptor)
            raise

    def take(self, values: list[bytes], placed: list[Placed], until: int) -> list[bytes]:
        """The values of a report, with those that were put here. Raises :class:`PeerError` where they are not."""
        found = list(values)
        last, ring_bytes, larger = -1, 0, False
        for at, offset, size_bytes in placed:
            if not last < at < len(values) or values[at]:
                raise PeerError("a result is said to be where another one is")
            last = at
            if offset == _BEHIND_AT and not larger and 0 < size_bytes <= TASK_RESULT_BYTES_MAX:
                larger = True
            elif offset >= _RING_AT and 0 < size_bytes <= _BEHIND_AT - offset:
                ring_bytes += size_bytes
            else:
                raise PeerError("a result lies outside of the memory for results")
            if ring_bytes > LANDING_BYTES:
                raise PeerError("results take more of the memory for results than there is")
            found[at] = self._read(offset, size_bytes)
        self.taken(until)
        if larger:
            self._give_back()
        return found

    def _give_back(self) -> None:
        """The system has the memory behind the ring back."""
        if self._ring is None:
            os.ftruncate(self.descriptor, _BEHIND_AT)
            return
        begin = -(-_BEHIND_AT // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        size_bytes = os.fstat(self.descriptor).st_size - begin
        if size_bytes > 0:
            with suppress(OSError), mmap.mmap(self.descriptor, size_bytes, offset=begin) as behind:
                behind.madvise(mmap.MADV_REMOVE)

    def _read(self, offset: int, size_bytes: int) -> bytes:
        if self._ring is not None and offset < _BEHIND_AT:
            with memoryview(self._ring) as ring, ring[offset : offset + size_bytes] as value:
                return bytes(value)
        try:
            data = os.pread(self.descriptor, size_bytes, offset)
        except (OSError, OverflowError, MemoryError) as error:
            raise PeerError(f"a result cannot be taken: {error}") from None
        if len(data) != size_bytes:
            raise PeerError("a result is not where its worker said")
        return data

    def taken(self, until: int) -> None:
        """Everything up to ``until`` may be written over: it was taken, or nobody wants it.

        Raises :class:`PeerError` where the worker has made the file one that cannot be written.
        """
        try:
            os.pwrite(self.descriptor, _TAKEN.pack(min(until, (1 << 64) - 1)), 0)
        except OSError as error:
            raise PeerError(f"a worker's memory for results cannot be used: {error}") from None

    def close(self) -> None:
        if self._ring is not None:
            self._ring.close()
        os.close(self.descriptor)


class Berth:
    """The worker's end. ``until`` counts what was put, ever."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        has_ring = os.fstat(descriptor).st_size >= _BEHIND_AT
        self._ring = mmap.mmap(descriptor, _BEHIND_AT) if has_ring else None
        self._larger_until = 0
        self.until = 0

    def put(self, value: bytes | Pieces, *, wait: bool) -> int | None:
        """Where ``value`` lies now; none where there is no room for it (soon, with ``wait``)."""
        pieces = (value,) if isinstance(value, bytes) else value
        size = sum(map(len, pieces))
        ring = size <= LANDING_BYTES // 2
        at = self.until % LANDING_BYTES
        if ring and at + size > LANDING_BYTES:
            at = 0
        end = self.until + (at - self.until) % LANDING_BYTES + size if ring else self.until + 1
        needed = end - LANDING_BYTES if ring else self._larger_until
        if not self._is_taken(needed, _WAIT_S if wait else 0.0):
            return None
        offset = _RING_AT + at if ring else _BEHIND_AT
        if ring and self._ring is not None:
            with memoryview(self._ring) as memory:
                begin = offset
                for piece in pieces:
                    memory[begin : begin + len(piece)] = piece
                    begin += len(piece)
        else:
            try:
                begin = offset
                for piece in pieces:
                    write_all(self._descriptor, piece, begin)
                    begin += len(piece)
            except OSError:
                return None
        self.until = end
        if not ring:
            self._larger_until = end
        return offset

    def _is_taken(self, needed: int, wait_s: float) -> bool:
        end = time.perf_counter() + wait_s
        while _TAKEN.unpack(os.pread(self._descriptor, _TAKEN.size, 0))[0] < needed:
            if time.perf_counter() >= end:
                return False
            time.sleep(_LOOK_S)
        return True
