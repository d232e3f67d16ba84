"""Stalling: what is said when a job waits, and how often the same is said again.

The machines report every few seconds for as long as nobody may run what waits. A person wants to read it once, then
whatever is new, and after a long while that it is still so.
"""

from __future__ import annotations

from collections.abc import Mapping

# After 30 s, then every five minutes: one line in a terminal that was left alone for the night is missed, 100 are not.
AGAIN_S = (30.0, 300.0)
# Peers whose words are remembered, 300 bytes each: the first that were heard are forgotten first.
REMEMBERED_MAX = 1024


class Stalling:
    """See the module. Times are the caller's ``now``."""

    def __init__(self) -> None:
        self._said: dict[bytes, tuple[str, float, int]] = {}  # by peer: its words, when they are due again, how often

    def news(self, reasons: Mapping[bytes, str], now: float) -> list[tuple[bytes, str]]:
        """Which of ``reasons``, peers' words, are to be said now."""
        found: list[tuple[bytes, str]] = []
        for peer, why in reasons.items():
            words, due, times = self._said.get(peer, ("", now, 0))
            if why == words and now < due:
                continue
            times = times if why == words else 0
            self._said.pop(peer, None)
            self._said[peer] = why, now + AGAIN_S[min(times, len(AGAIN_S) - 1)], times + 1
            found.append((peer, why))
        while len(self._said) > REMEMBERED_MAX:
            del self._said[next(iter(self._said))]
        return found
