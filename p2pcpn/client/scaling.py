"""Scaling a swarm: its peers are asked what waits and who idles; some are added, or drained when they idle.

How many there should be is decided by ``protocol/scaling.py``. Who goes is the one that came last of those that idle;
one that is the last to have something stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from p2pcpn.errors import P2pcpnError
from p2pcpn.protocol.scaling import Load, Scale
from p2pcpn.protocol.thinning import Standing, Thinning

log = logging.getLogger("p2pcpn.scaling")

LOOK_S: Final = 0.25
# An idle peer that could not leave is not asked again for so many times the idle time.
AGAIN: Final = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One peer as it is seen now. ``wanted``: slots that grantors call for, as far as it has heard."""

    name: int | str
    slots: int
    running: int
    queued: int
    wanted: int
    draining: bool = False


class Crowd(Protocol):
    """The peers that are scaled."""

    def look(self) -> Sequence[Seen]:
        """Those that answer, in the order in which they came."""

    def grow(self, count: int, wanted: int) -> None:
        """Add so many, to be ``wanted`` in all."""

    def drain(self, names: Sequence[int | str], wanted: int) -> None:
        """Ask these to leave, so that ``wanted`` are left, and wait for none of them."""


class Scaler:
    """See the module. :meth:`run` until ``stop`` is set; ``clock`` is monotonic."""

    def __init__(
        self,
        scale: Scale,
        crowd: Crowd,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], object] = log.info,
    ) -> None:
        self._scale = scale
        self._crowd = crowd
        self._clock = clock
        self._thinning: Thinning[int | str] = Thinning(scale.bounds.least, AGAIN * scale.bounds.idle_s)
        self._tell = say
        self.said = ""

    def run(self, stop: threading.Event) -> None:
        """Look several times a second, and act on it."""
        while not stop.wait(LOOK_S):
            try:
                self.step()
            except P2pcpnError as error:
                self._say(str(error))

    def step(self) -> int:
        """One look: how many peers there should be now."""
        seen = self._crowd.look()
        there = [peer for peer in seen if not peer.draining]
        load = Load(
            units=len(there), slots=sum(peer.slots for peer in there), busy=sum(peer.running for peer in there),
            waiting=max((peer.wanted for peer in seen), default=0),
        )  # fmt: skip
        wanted = self._scale.observe(load, self._clock())
        if wanted > load.units:
            slots = "1 more slot is" if load.waiting == 1 else f"{load.waiting} more slots are"
            self._say(f"{slots} called for: {_become(load.units, wanted)}")
            self._crowd.grow(wanted - load.units, wanted)
        elif wanted < load.units:
            self._shrink(there, load.units - wanted)
        return wanted

    def _shrink(self, there: list[Seen], count: int) -> None:
        chosen = self._thinning.choose(
            [Standing(peer.name, not peer.running and not peer.queued) for peer in there], count, self._clock()
        )
        if not chosen:
            return
        wanted = len(there) - len(chosen)
        self._say(f"idle: {_become(len(there), wanted)}")
        self._crowd.drain(chosen, wanted)

    def _say(self, text: str) -> None:
        if text != self.said:
            self._tell(text)
        self.said = text


def _become(there: int, wanted: int) -> str:
    return f"1 peer becomes {wanted}" if there == 1 else f"{there} peers become {wanted}"
