"""Thinning: who goes when a swarm shrinks: peers that idle, the newest first, and nobody is asked again at once.

The first stay, for programs know their addresses. One that is asked to leave may find that it cannot, because it is the
last to have something: it is left alone for a while, and counts as on its way.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

N = TypeVar("N", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Standing(Generic[N]):
    """A peer of the swarm, in the order in which they came. ``idle``: it neither runs nor queues anything."""

    name: N
    idle: bool


class Thinning(Generic[N]):
    """The first ``least`` peers stay; whoever was asked to leave is not asked again for ``again_s``."""

    __slots__ = ("_again_s", "_asked", "_least")

    def __init__(self, least: int, again_s: float) -> None:
        self._least = least
        self._again_s = again_s
        self._asked: dict[N, float] = {}  # who was asked to leave, and until when it is not asked again

    def choose(self, there: Sequence[Standing[N]], count: int, now: float) -> list[N]:
        """Which of those that are ``there``, and not leaving, are asked to go so that ``count`` fewer are left."""
        self._asked = {name: until for name, until in self._asked.items() if until > now}
        idle = [peer.name for peer in there[self._least :] if peer.idle and peer.name not in self._asked]
        count -= sum(peer.name in self._asked for peer in there)  # they are on their way, or cannot go
        chosen = idle[::-1][: max(count, 0)]
        self._asked |= dict.fromkeys(chosen, now + self._again_s)
        return chosen
