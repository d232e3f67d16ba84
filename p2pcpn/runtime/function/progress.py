"""One page of memory that a peer and its worker share: what runs now, and what was taken back.

A worker reports results in batches, so when it dies the last report does not say which task killed it. The page does:
the worker stores the dispatch and position before each task (40 ns; a message would cost a hundred times that), and
the peer reads them after the death. The other way, the peer stores the dispatch it takes back from a worker that is
deep in a long task and reads no messages. Both sides store first and look second, so one of them sees the other; a
processor that delays both stores lets a batch run twice, which at-least-once permits. In the same way the peer ends a
batch behind the task that runs: the worker reports what it meets behind that end as dropped.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from typing import Final

PAGE_BYTES: Final = mmap.PAGESIZE
_DISPATCH: Final = 0
_POSITION: Final = 1
_REVOKED: Final = 2
END: Final = 3
_SEALED: Final = "F_ADD_SEALS"
# No end but the batch's own.
_NONE: Final = (1 << 64) - 1


class Page:
    """The shared cells. The worker's loop stores the position, ``cells[1]``, directly, and reads ``cells[END]``."""

    __slots__ = ("_map", "cells")

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, PAGE_BYTES)
        self.cells = memoryview(self._map).cast("Q")

    def start(self, dispatch: int) -> bool:
        """By the worker: I start this dispatch. False: it was taken back, leave it."""
        self.cells[_POSITION] = 0
        self.cells[END] = _NONE
        self.cells[_DISPATCH] = dispatch
        if self.cells[_REVOKED] != dispatch:
            return True
        self.cells[_DISPATCH] = 0
        return False

    def end(self) -> None:
        """By the worker: nothing runs."""
        self.cells[_DISPATCH] = 0

    def revoke(self, dispatch: int) -> bool:
        """By the peer: take this dispatch back. False: it has started."""
        self.cells[_REVOKED] = dispatch
        return bool(self.cells[_DISPATCH] != dispatch)

    def cut(self, dispatch: int, count: int) -> int | None:
        """By the peer: end this dispatch behind the position that runs; returns that end. ``None``: it moved on, or is
        at none of its ``count`` positions, as the worker has it.

        Then the worker may have met the end for a moment: it reports all that it left out as dropped.
        """
        position = self.position(dispatch)
        if position is None or position >= count:
            return None
        self.cells[END] = position + 1
        if self.position(dispatch) == position:
            return position + 1
        self.cells[END] = _NONE
        return None

    def position(self, dispatch: int) -> int | None:
        """By the peer: the position of this dispatch that runs, or ran when the worker died; ``None``: none does."""
        return self.cells[_POSITION] if self.cells[_DISPATCH] == dispatch else None

    def close(self) -> None:
        """Unmap. No cell may be touched afterwards."""
        self.cells.release()
        self._map.close()


def shared_file() -> int:
    """A descriptor of one zeroed page, in memory where the system can, to be mapped by two processes."""
    if hasattr(os, "memfd_create") and hasattr(fcntl, _SEALED):
        descriptor = os.memfd_create("p2pcpn-progress", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, PAGE_BYTES)
        # A worker that cuts the file short would kill its peer, which has it mapped, by SIGBUS.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return descriptor
    descriptor, path = tempfile.mkstemp(prefix="p2pcpn-progress-")
    os.unlink(path)
    os.ftruncate(descriptor, PAGE_BYTES)
    return descriptor
