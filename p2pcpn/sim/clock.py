"""The virtual clock: what happens next, at which time. Nothing waits; time jumps from one event to the next.

Events of one time happen in the order in which they were asked for, so one seed gives one order. What is to come lies
in slices of time, unsorted; a slice is sorted once it begins, and what is asked for within it then waits in a heap
beside it. One heap of all that ten thousand peers wait for is deep, and most of what it compares is in no cache.
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
# Some hundred events of ten thousand peers, and shorter than most datagrams are under way.
SLICES_PER_S = 32.0
# What is due later lies in one slice together.
FAR_S = 1e9

Event = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class Clock:
    """Virtual time in seconds, and the events to come. ``events`` counts those that have happened.

    ``watch(now, events)`` is called now and then while they happen.
    """

    __slots__ = ("_begun", "_near", "_number", "_order", "_slice", "_slices", "events", "now", "watch")

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self.watch: Callable[[float, int], None] | None = None
        self._number = 0
        self._slices: dict[int, list[Event]] = {}  # of those that have not begun
        self._order: list[int] = []  # their numbers, a heap
        self._begun = -1  # the number of the newest that has
        self._slice: list[Event] = []  # what is left of it, the next at the end
        self._near: list[Event] = []  # what was asked for since it began, a heap

    def __len__(self) -> int:
        return self._number - self.events

    def at(self, when: float, act: Callable[..., None], *given: Any) -> None:
        """Call ``act`` with what is ``given`` at ``when``, or now where that has passed."""
        self._number = number = self._number + 1
        when = when if when > self.now else self.now
        place = int((when if when < FAR_S else FAR_S) * SLICES_PER_S)
        if place <= self._begun:
            heapq.heappush(self._near, (when, number, act, given))
            return
        waiting = self._slices.get(place)
        if waiting is None:
            self._slices[place] = [(when, number, act, given)]
            heapq.heappush(self._order, place)
        else:
            waiting.append((when, number, act, given))

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
        while (event := self._next(until)) is not None:
            self.now, _, act, given = event
            self.events += 1
            act(*given)
            if self.watch is not None and not self.events % WATCH_EVENTS:
                self.watch(self.now, self.events)
            if reached is not None and reached():
                return True
        self.now = max(self.now, until)
        return False

    def _next(self, until: float) -> Event | None:
        """What happens next, if that is at ``until`` or before."""
        while not self._slice and not self._near:
            if not self._order:
                return None
            self._begun = heapq.heappop(self._order)
            self._slice = self._slices.pop(self._begun)
            self._slice.sort(reverse=True)
        if not self._near or (self._slice and self._slice[-1] < self._near[0]):
            return self._slice.pop() if self._slice[-1][0] <= until else None
        return heapq.heappop(self._near) if self._near[0][0] <= until else None


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
