"""Quota: the disk that a steward gives, in all and to each owner. What is refused once costs nobody else his share."""

from __future__ import annotations


class Quota:
    """Bytes taken by owner; at most ``each_bytes`` by one and ``all_bytes`` together."""

    def __init__(self, all_bytes: int, each_bytes: int) -> None:
        self._all_bytes = all_bytes
        self._each_bytes = each_bytes
        self._taken: dict[bytes, int] = {}
        self.taken_bytes = 0

    def of(self, owner: bytes) -> int:
        """What ``owner`` has taken."""
        return self._taken.get(owner, 0)

    def fits(self, owner: bytes, size_bytes: int) -> bool:
        """Whether ``owner`` may have so much more."""
        return self.taken_bytes + size_bytes <= self._all_bytes and self.of(owner) + size_bytes <= self._each_bytes

    def take(self, owner: bytes, size_bytes: int) -> None:
        """``owner`` has so much more; what lies on disk already counts even where it fits no more."""
        self._taken[owner] = self.of(owner) + size_bytes
        self.taken_bytes += size_bytes

    def give_back(self, owner: bytes, size_bytes: int) -> None:
        """So much of ``owner`` is gone from the disk."""
        self.taken_bytes -= size_bytes
        left = self.of(owner) - size_bytes
        if left:
            self._taken[owner] = left
        else:
            del self._taken[owner]
