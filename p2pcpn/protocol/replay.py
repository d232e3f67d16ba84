"""The replay window: each sequence number of a pair is accepted once, and none that is too old to be remembered.

A bitmap of the last :data:`p2pcpn.limits.REPLAY_WINDOW` numbers behind the newest, as in RFC 6479 and WireGuard.
"""

from __future__ import annotations

from p2pcpn import limits

_FULL = (1 << limits.REPLAY_WINDOW) - 1


class Window:
    """Numbers up to and including ``newest`` count as seen at the start."""

    __slots__ = ("_seen", "newest")

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self._seen = _FULL  # bit i: number newest - i was seen

    def accept(self, sequence: int) -> bool:
        """Whether ``sequence`` comes for the first time; from then on it has been seen."""
        ahead = sequence - self.newest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & _FULL if ahead < limits.REPLAY_WINDOW else 1
            self.newest = sequence
            return True
        if -ahead >= limits.REPLAY_WINDOW or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True
