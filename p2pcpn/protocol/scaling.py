"""Scaling: how many of something there should be, peers of a swarm or slots of a peer, so that work does not queue.

::

            waiting for ``grow_s``: twice as many, or as many as are wanted
    ┌────── least ──────────────────────────────────────────────▶ most ──────┐
    └────── never more needed in ``idle_s`` than so many: that is enough ◀───┘

Growing is quick and in steps, because whoever waits is a person; shrinking looks at the most that was needed in all of
the time before, because whatever goes has to be made again. So it does not flap: between a step up and one down lies
``idle_s``, between one down and one up ``rest_s``.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

# The time before is remembered in so many parts, whatever its length.
PARTS = 16


@dataclass(frozen=True, slots=True)
class Bounds:
    """``least`` to ``most`` units; ``idle_s`` without need before any goes, ``rest_s`` between going and coming."""

    least: int
    most: int
    idle_s: float = 30.0
    grow_s: float = 0.5
    rest_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is seen at one time: ``units`` there are, with ``slots`` in all, of which ``busy`` run something, and tasks
    that could run at once if there were ``waiting`` more."""

    units: int
    slots: int
    busy: int
    waiting: int


class Scale:
    """See the module. One direction at a time, never outside the bounds; an observation now and then is enough."""

    def __init__(self, bounds: Bounds) -> None:
        assert 0 <= bounds.least <= bounds.most and bounds.most > 0
        self.bounds = bounds
        self._short_since: float | None = None
        self._needs: deque[tuple[float, int]] = deque(maxlen=PARTS + 1)  # (begin of a part, most units needed in it)
        self._since: float | None = None
        self._grew_at = self._shrank_at = -math.inf

    def observe(self, load: Load, now: float) -> int:
        """How many units there should be now."""
        bounds = self.bounds
        each = max(1, load.slots // load.units) if load.units else 1
        queues = load.waiting if load.busy >= load.slots else 0  # else it is over, or not for these
        need = -(-(load.busy + queues) // each)
        self._note(need, now)
        if load.units < bounds.least:
            return bounds.least
        if load.units > bounds.most:
            return bounds.most
        if queues:
            return self._grown(load, min(need, bounds.most), now)
        self._short_since = None
        return self._shrunk(load, now)

    def _note(self, need: int, now: float) -> None:
        self._since = now if self._since is None else self._since
        if self._needs and now < self._needs[-1][0] + self.bounds.idle_s / PARTS:
            begin, most = self._needs.pop()
            self._needs.append((begin, max(most, need)))
        else:
            self._needs.append((now, need))
        while len(self._needs) > 1 and self._needs[1][0] <= now - self.bounds.idle_s:
            self._needs.popleft()

    def _grown(self, load: Load, need: int, now: float) -> int:
        self._short_since = now if self._short_since is None else self._short_since
        if now - self._short_since < self.bounds.grow_s or now - self._shrank_at < self.bounds.rest_s:
            return load.units
        wanted = min(need, max(2 * load.units, 1))
        if wanted <= load.units:
            return load.units
        self._short_since, self._grew_at = now, now  # the new ones get as long to take what waits
        return wanted

    def _shrunk(self, load: Load, now: float) -> int:
        bounds = self.bounds
        patience_s = max(bounds.idle_s, bounds.rest_s)
        if self._since is None or now - self._since < bounds.idle_s or now - self._grew_at < patience_s:
            return load.units
        wanted = max(bounds.least, max(need for _, need in self._needs))
        if wanted >= load.units:
            return load.units
        self._shrank_at = now
        return wanted
