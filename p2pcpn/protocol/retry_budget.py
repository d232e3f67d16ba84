"""The retry budget of a job: how many of its tasks may run again, earned by those that end, so that no swarm melts.

A task has a budget of its own (``retries``), and a job of a million tasks could still spend all its time on runs that
end in vain. So what is to run again takes a token here first (gRPC's retry throttling, Finagle's ``RetryBudget``):
each task that ends earns half of one, and what was earned is forgotten in ten seconds, for it says nothing of a swarm
that fails since. A few tokens are always there, and a few come each second. A task that finds none waits; it is never
failed for that: only its own budget ends it.

So the runs of a job that are extra are at most ``BURST + FLOOR_PER_S · seconds + EARNED · tasks that ended``.
"""

from __future__ import annotations

from math import exp

# A job that has just begun, and one whose tasks take minutes, may run so many again at once: what a peer of many slots
# takes with it when it dies.
BURST = 100.0
# Where nothing succeeds at all so many go on trying, as many as Finagle lets through: whoever is there notices at once
# that the swarm works again, and it costs nobody anything.
FLOOR_PER_S = 10.0
# What each end earns. Where one run of three fails there is one retry to each two successes: up to there none waits.
EARNED = 0.5
# What was earned and not spent halves in seven seconds.
FORGOTTEN_S = 10.0
# A token that is there but for rounding is there.
ROUNDING = 1e-6


class RetryBudget:
    """See the module. Times are the caller's ``now``, which never goes back. ``spent`` counts what was let through."""

    __slots__ = ("spent", "_tokens", "_at")

    def __init__(self, now: float) -> None:
        self.spent = 0
        self._tokens = BURST
        self._at = now

    def _passes(self, now: float) -> None:
        past_s, self._at = max(now - self._at, 0.0), max(now, self._at)
        if self._tokens < BURST:
            self._tokens = min(BURST, self._tokens + FLOOR_PER_S * past_s)
        else:
            self._tokens = BURST + (self._tokens - BURST) * exp(-past_s / FORGOTTEN_S)

    def ended(self, count: int, now: float) -> None:
        """``count`` tasks have ended with a result."""
        self._passes(now)
        self._tokens += EARNED * count

    def left(self, now: float) -> int:
        """How many tasks may run again now."""
        self._passes(now)
        return int(self._tokens + ROUNDING)

    def spend(self, count: int) -> None:
        """``count`` tasks, at most :meth:`left`, run again."""
        self._tokens = max(0.0, self._tokens - count)
        self.spent += count

    def again_at(self) -> float:
        """When the next may, by the floor alone; in the past where one may now."""
        return self._at + max(0.0, 1.0 - self._tokens) / FLOOR_PER_S
