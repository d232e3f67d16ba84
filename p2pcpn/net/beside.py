"""Beside: memory that two peers of one machine share for the bytes of blobs, handed over by a Unix socket.

The giver makes a ring: memory without a name (memfd) that keeps its size for good and that nobody but the giver can
write (``F_SEAL_SHRINK``, ``F_SEAL_GROW``, ``F_SEAL_FUTURE_WRITE``). The taker names a place, a datagram socket of the
abstract namespace that is there for this one descriptor; what comes with another token, of another user, or is not such
memory is closed again. The taker copies, out of a mapping that nobody can shorten under it, and looks only at its copy:
a giver that changes what it has put, or says wrong places, spoils a blob whose digest will tell. Nothing has a name in
the file system, so nothing is left behind when a process dies.

Linux alone has all of this; elsewhere :func:`possible` is false.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import Final

from p2pcpn.errors import PeerError
from p2pcpn.limits import RING_BYTES, RING_PART_BYTES, RING_PLACE_DATAGRAMS_MAX, RING_TOKEN_BYTES
from p2pcpn.wire.addresses import Address

# Linux 5.1: who has it mapped already goes on writing, nobody else ever does. The module fcntl has no name for it.
_FUTURE_WRITE: Final = 0x10
# A part begins at a multiple of this: whoever copies it reads whole lines of the processor's cache.
_ALIGNED: Final = 64
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid


def possible() -> bool:
    """Whether this system has all that is needed."""
    return (
        hasattr(os, "memfd_create")
        and hasattr(fcntl, "F_ADD_SEALS")
        and hasattr(socket, "AF_UNIX")
        and hasattr(socket, "SCM_CREDENTIALS")
    )


def near(address: Address) -> bool:
    """Whether a connection from there is one of this machine. Only a reason to ask: what counts is the hand-over."""
    return address[0].startswith("127.") or address[0] == "::1"


class Giving:
    """The giver's end. Raises ``OSError`` where the system has no memory for it.

    Parts lie one behind the other, each in one piece; room comes back in that order, as the taker says it took them.
    """

    def __init__(self) -> None:
        descriptor = os.memfd_create("p2pcpn-beside", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._descriptor: int | None = descriptor
        try:
            os.ftruncate(descriptor, RING_BYTES)
            self._memory = mmap.mmap(descriptor, RING_BYTES)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                with suppress(OSError):  # a kernel without huge pages: the ring is as good in small ones
                    self._memory.madvise(mmap.MADV_HUGEPAGE)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _FUTURE_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        except (OSError, ValueError) as error:
            self._let_go()
            raise OSError("no memory to share") from error
        self._view = memoryview(self._memory)
        self._given: deque[int] = deque()  # bytes of each part that was not taken yet, with what was left free before
        self._used = 0
        self._at = 0
        self.accepted = False
        self.parts = 0  # given, ever

    def hand(self, place: bytes, token: bytes) -> bool:
        """Hand the ring over at ``place``, once; whether it could be sent there."""
        if self._descriptor is None:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.connect(b"\0" + place)
                socket.send_fds(sock, [token], [self._descriptor])
            except OSError:
                return False
            finally:
                self._let_go()
        return True

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def room(self, size: int) -> bool:
        """Whether a part of ``size`` bytes can be put now; else the taker must take others first."""
        _, skipped = self._next(size)
        return self._used + skipped + _aligned(size) <= RING_BYTES

    def part(self, size: int) -> tuple[int, memoryview]:
        """Where the next part lies, and its memory: to be filled and released before the taker is told of it."""
        at, skipped = self._next(size)
        self._given.append(skipped + _aligned(size))
        self._used += self._given[-1]
        assert self._used <= RING_BYTES
        self._at = at + _aligned(size)
        self.parts += 1
        return at, self._view[at : at + size]

    def _next(self, size: int) -> tuple[int, int]:
        """Where the next part lies, and what is left free before it, at the end."""
        assert 0 < size <= RING_PART_BYTES
        if self._at + size > RING_BYTES:
            return 0, RING_BYTES - self._at
        return self._at, 0

    def taken(self, parts: int) -> None:
        """So many more parts were taken. Raises :class:`PeerError` where so many were not given."""
        if parts > len(self._given):
            raise PeerError("more was taken from a ring than was put there")
        for _ in range(parts):
            self._used -= self._given.popleft()

    @property
    def handed(self) -> bool:
        """Whether it is out of our hands."""
        return self._descriptor is None

    def close(self) -> None:
        """Nothing is given any more."""
        self._let_go()
        self._view.release()
        self._memory.close()


class Place:
    """Where one ring may be handed over: ``name`` and ``token`` are for the giver. Raises ``OSError``."""

    def __init__(self) -> None:
        self.name = b"p2pcpn-" + secrets.token_hex(16).encode()
        self.token = secrets.token_bytes(RING_TOKEN_BYTES)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._sock.bind(b"\0" + self.name)
        except OSError:
            self._sock.close()
            raise

    def take(self) -> Taking | None:
        """The ring that was handed over here, if it is one and its giver is of our user; the place is gone then."""
        try:
            for _ in range(RING_PLACE_DATAGRAMS_MAX):
                descriptors, token, user = self._receive()
                try:
                    if token == self.token and user == os.getuid() and len(descriptors) == 1 and _kept(descriptors[0]):
                        return Taking(descriptors[0])
                finally:
                    for descriptor in descriptors:
                        os.close(descriptor)
        except OSError:
            pass  # nothing was sent here, or the system has no descriptor left
        finally:
            self.close()
        return None

    def _receive(self) -> tuple[list[int], bytes, int | None]:
        room = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4)
        data, ancillary, _, _ = self._sock.recvmsg(RING_TOKEN_BYTES + 1, room, socket.MSG_CMSG_CLOEXEC)
        descriptors: list[int] = []
        user = None
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                count = len(content) // 4
                descriptors += struct.unpack(f"{count}i", content[: count * 4])
            elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                user = _CREDENTIALS.unpack(content)[1]
        return descriptors, data, user

    def close(self) -> None:
        """Nothing is taken here any more."""
        self._sock.close()


class Taking:
    """The taker's end of the ring that ``descriptor`` is, which is the caller's still. Raises ``OSError``.

    A mapping is read in two thirds of the time that ``pread`` takes: the system looks up no page for it.
    """

    def __init__(self, descriptor: int) -> None:
        try:
            self._memory = mmap.mmap(descriptor, RING_BYTES, prot=mmap.PROT_READ)
        except ValueError as error:
            raise OSError("memory of another size") from error
        self._view = memoryview(self._memory)
        self.parts = 0  # taken since the giver was told last
        self.part_bytes = 0

    def read(self, at: int, size: int) -> bytes:
        """A copy of the part that is said to lie at ``at``. Raises :class:`PeerError` where there is none."""
        if not 0 < size <= RING_PART_BYTES or not 0 <= at <= RING_BYTES - size:
            raise PeerError("a part of a blob lies outside of its ring")
        with self._view[at : at + size] as part:
            data = bytes(part)
        self.parts += 1
        self.part_bytes += size
        return data

    def close(self) -> None:
        """Nothing is taken any more."""
        self._view.release()
        self._memory.close()


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _kept(descriptor: int) -> bool:
    """Whether it is memory of a ring's size that nobody can shorten: no file, pipe or device answers so.

    Reading it never waits, as reading a pipe or a file of another program could.
    """
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        found = os.fstat(descriptor)
    except OSError:
        return False
    wanted = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _FUTURE_WRITE
    return seals & wanted == wanted and found.st_size == RING_BYTES
