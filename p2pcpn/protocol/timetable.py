"""A timetable: keys, and when each is due."""

from __future__ import annotations

import heapq


class Timetable:
    """Keys and when each is due; a key is due once."""

    def __init__(self) -> None:
        self._due_s: dict[bytes, float] = {}
        self._order: list[tuple[float, bytes]] = []

    def set(self, key: bytes, due_s: float) -> None:
        """``key`` is due at ``due_s`` and at no other time."""
        self._due_s[key] = due_s
        heapq.heappush(self._order, (due_s, key))
        if len(self._order) > 64 + 4 * len(self._due_s):  # mostly entries that were put off
            self._order = sorted((due_s, key) for key, due_s in self._due_s.items())

    def hasten(self, key: bytes, due_s: float) -> None:
        """``key`` is due at ``due_s`` if it was due later, or never."""
        if self._due_s.get(key, float("inf")) > due_s:
            self.set(key, due_s)

    def drop(self, key: bytes) -> None:
        """``key`` is never due."""
        self._due_s.pop(key, None)

    def deadline(self) -> float | None:
        """When the next key is due."""
        order, due_s = self._order, self._due_s
        while order:
            next_s, key = order[0]
            if due_s.get(key) == next_s:
                return next_s
            heapq.heappop(order)
        return None

    def take(self, now: float) -> bytes | None:
        """The next key that is due, or ``None``."""
        due_s = self.deadline()
        if due_s is None or due_s > now:
            return None
        key = heapq.heappop(self._order)[1]
        del self._due_s[key]
        return key
