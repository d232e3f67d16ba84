"""Waiting: the calls of a job between the threads that make them and the loop that cuts them into segments."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from p2pcpn import limits
from p2pcpn.client.cutting import Call


class Waiting:
    """Calls in lists of a segment's length, so that a million of them are never copied or searched.

    Whoever calls :meth:`add` holds ``lock``; everything else is for the loop's thread.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._fresh: list[Call] = []
        self._full: deque[list[Call]] = deque()
        self._cut = 0  # of the first list, how many are cut already

    def __bool__(self) -> bool:
        return bool(self._fresh or self._full)

    def add(self, call: Call) -> None:
        """One more, the last in line."""
        self._fresh.append(call)
        if len(self._fresh) >= limits.SEGMENT_TASKS_MAX:
            self._full.append(self._fresh)
            self._fresh = []

    def first(self) -> tuple[Sequence[Call], int] | None:
        """The calls that are first in line, and at which of them they begin; none when nothing waits."""
        if not self._full:
            with self._lock:
                if not self._fresh:
                    return None
                self._full.append(self._fresh)
                self._fresh = []
        return self._full[0], self._cut

    def cut(self, end: int) -> None:
        """Of the calls that :meth:`first` named, those before ``end`` wait no longer."""
        self._cut = end
        if end >= len(self._full[0]):
            self._full.popleft()
            self._cut = 0

    def clear(self) -> None:
        """Nothing waits any more."""
        with self._lock:
            self._fresh = []
            self._full.clear()
            self._cut = 0
