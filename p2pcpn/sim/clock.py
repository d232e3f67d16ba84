"""The virtual clock: what happens next, at which time. Nothing waits; time jumps from one event to the next.

Events of one time happen in the order in which they were asked for, so one seed gives one order.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from functools import partial
from typing import Any

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
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def __len__(self) -> int:
        return len(self._due)

    def at(self, when: float, act: Callable[..., None], *given: Any) -> None:
        """Call ``act`` with what is ``given`` at ``when``, or now where that has passed."""
        self._number = number = self._number + 1
        heapq.heappush(self._due, (when if when > self.now else self.now, number, act, given))

    def after(self, wait_s: float, act: Callable[..., None], *given: Any) -> None:
        """Call ``act`` with what is ``given`` in ``wait_s``."""
        self.at(self.now + wait_s, act, *given)

    def wall(self) -> float:
        """The wall clock of a computer whose clock is right."""
        return EPOCH_S + self.now

    def run(self, until: float, reached: Callable[[], bool] | None = None) -> bool:
        """Let everything happen up to ``until``, or until ``reached()`` after some event; whether it was reached."""
        if reached is not None and reached():
            return True
        due, pop = self._due, heapq.heappop
        while due and due[0][0] <= until:
            self.now, _, act, given = pop(due)
            self.events += 1
            act(*given)
            if self.watch is not None and not self.events % WATCH_EVENTS:
                self.watch(self.now, self.events)
            if reached is not None and reached():
                return True
        self.now = max(self.now, until)
        return False


class OwnClock:
    """A computer's own clock: it runs at ``rate`` of the world's, and what is due while the computer stands waits."""

    __slots__ = ("_clock", "_held", "_rate")

    def __init__(self, clock: Clock, rate: float = 1.0) -> None:
        self._clock = clock
        self._rate = rate
        self._held: list[Callable[[], None]] | None = None

    @property
    def now(self) -> float:
        """Seconds on it."""
        return self._clock.now * self._rate

    def at(self, when: float, act: Callable[..., None], *given: Any) -> None:
        """Call ``act`` with what is ``given`` when this clock shows ``when``: a rounding before rang for ever."""
        world = when / self._rate
        while world * self._rate < when:
            world = math.nextafter(world, math.inf)
        self._clock.at(world, self.reached, partial(act, *given) if given else act)

    def after(self, wait_s: float, act: Callable[..., None], *given: Any) -> None:
        """Call ``act`` with what is ``given`` when ``wait_s`` have passed on it."""
        self.at(self.now + wait_s, act, *given)

    def wall(self) -> float:
        """The wall clock of a computer whose clock is right."""
        return self._clock.wall()

    # --- standing still ---------------------------------------------------------------------------------------------

    @property
    def standing(self) -> bool:
        """Whether the computer stands."""
        return self._held is not None

    def reached(self, act: Callable[[], None]) -> None:
        """Do ``act`` now, or when the computer goes on."""
        if self._held is None:
            act()
        else:
            self._held.append(act)

    def stop(self) -> None:
        """The computer stands from now on. Time does not."""
        if self._held is None:
            self._held = []

    def go(self) -> None:
        """What was due meanwhile happens now, in its order."""
        held, self._held = self._held or [], None
        for act in held:
            act()


# What a computer asks: the world's clock, or one of its own.
Timekeeper = Clock | OwnClock
