"""Room: how many bytes of a job may wait or be in flight before whoever submits more is made to wait.

A program that submits faster than its peers compute would otherwise grow until the machine swaps. Who has to wait goes
on when a quarter of the bound is free again, so that it then adds many tasks and not one for each that ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from p2pcpn.client.cutting import Blob, Parted

# Blobs that many calls share are counted with the first of them: the digests of so many are remembered.
SHARED_MAX = 1024
# How long somebody waits without any progress until the job looks why.
LOOK_S = 5.0


class Room:
    """See the module. ``lock`` guards the count: whoever calls :meth:`take` or :meth:`wait` holds it.

    ``exempt`` says whether the calling thread must never wait, for it is the one that makes room; ``look`` is called
    when nothing ended for a while, and raises when nothing ever will.
    """

    def __init__(
        self, lock: threading.RLock, bytes_max: int, exempt: Callable[[], bool], look: Callable[[], None]
    ) -> None:
        self.used_bytes = 0
        self.bytes_max = bytes_max
        self._low_bytes = bytes_max - bytes_max // 4
        self._freed = threading.Condition(lock)
        self._exempt = exempt
        self._look = look
        self._waiting = 0
        self._shut = False
        self._shared: dict[bytes, None] = {}

    @property
    def full(self) -> bool:
        """Whether who adds more should wait."""
        return self.used_bytes >= self.bytes_max

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for room."""
        return self._waiting > 0

    def size_of(self, data: bytes | Blob | Parted) -> int:
        """What a call's arguments take: blobs that an earlier call named take nothing more."""
        if isinstance(data, bytes):
            return len(data)
        if isinstance(data, Blob):
            return self._fresh(data)
        return self.size_of(data.head) + sum(self._fresh(part) for part in data.parts if isinstance(part, Blob))

    def _fresh(self, blob: Blob) -> int:
        name = blob.ref.digest
        with self._freed:
            known = name in self._shared
            self._shared.pop(name, None)
            self._shared[name] = None
            if len(self._shared) > SHARED_MAX:
                del self._shared[next(iter(self._shared))]
        return 0 if known else blob.ref.size_bytes

    def take(self, size_bytes: int) -> None:
        """Add to what is used, however much that makes."""
        self.used_bytes += size_bytes

    def wait(self) -> None:
        """Where the room is full: wait until a quarter is free, or until it is shut."""
        if self.used_bytes < self.bytes_max or self._shut or self._exempt():
            return
        self._waiting += 1
        try:
            while self.used_bytes > self._low_bytes and not self._shut:
                before = self.used_bytes
                if not self._freed.wait(LOOK_S) and self.used_bytes >= before:
                    self._look()
        finally:
            self._waiting -= 1

    def give_back(self, size_bytes: int) -> None:
        """Tasks have ended that took so much. From any thread."""
        with self._freed:
            self.used_bytes -= size_bytes
            if self._waiting and self.used_bytes <= self._low_bytes:
                self._freed.notify_all()

    def shut(self) -> None:
        """Nobody waits any more."""
        with self._freed:
            self._shut = True
            self._freed.notify_all()
