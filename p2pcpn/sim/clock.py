"""The virtual clock: what happens next, at which time. Nothing waits; time jumps from one event to the next.

Events of one time happen in the order in which they were asked for, so one seed gives one order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

# Whoever watches is told after so many events: a few times a second.
WATCH_EVENTS = 2000
# Where virtual time 0 lies on the wall clock, which only records and specs speak of.
EPOCH_S = 1_750_000_000.0


class Clock:
    """Virtual time in seconds, and the events to come. ``events`` counts those that have happened.

    ``watch(now, events)`` is called now and then while they happen.
    """

    __slots__ = ("_due", "_number", "events", "now", "watch")

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self.watch: Callable[[float, int], None] | None = None
        self._number = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def __len__(self) -> int:
        return len(self._due)

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Call ``act`` at ``when``, or now where that has passed."""
        self._number += 1
        heapq.heappush(self._due, (max(when, self.now), self._number, act))

    def after(self, wait_s: float, act: Callable[[], None]) -> None:
        """Call ``act`` in ``wait_s``."""
        self.at(self.now + wait_s, act)

    def wall(self) -> float:
        """The wall clock of a computer whose clock is right."""
        return EPOCH_S + self.now

    def run(self, until: float, reached: Callable[[], bool] = lambda: False) -> bool:
        """Let everything happen up to ``until``, or until ``reached()`` after some event; whether it was reached."""
        if reached():
            return True
        due, pop = self._due, heapq.heappop
        while due and due[0][0] <= until:
            self.now, _, act = pop(due)
            self.events += 1
            act()
            if self.watch is not None and not self.events % WATCH_EVENTS:
                self.watch(self.now, self.events)
            if reached():
                return True
        self.now = max(self.now, until)
        return False
