"""The vigil over those who keep a job: who has not answered for how long, whose sessions do not hold, who is shunned.

A keeper that owes an answer is looked at every few seconds. One that stays silent for very long, or whose sessions are
lost again and again though it is said to live, is given up.
"""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId

# How often silent keepers are looked at (and others looked for where they are too few).
LOOK_S = 5.0
# After so many looks without an answer (30 s) it is asked whether it lives; then, should it, again and again.
PROBE_LOOKS = 6
# It may live and be slow: the largest blob, 4 GiB, takes six minutes over 100 Mbit/s. After ten it is no keeper.
SILENT_LOOKS = 120
# Nor is one that lost so many sessions in a row.
DOUBTS_MAX = 3
# One that died is tried again after this; one that refused (it is full, or keeps nothing) much later.
DEAD_S = limits.DEAD_S
REFUSED_S = limits.DEAD_S_MAX


class Vigil:
    """See the module. It knows keepers by id alone; whether one owes an answer is told by the caller."""

    __slots__ = ("_silent", "_doubts", "_in_doubt", "_shunned")

    def __init__(self) -> None:
        self._silent: dict[NodeId, int] = {}  # looks since it owes us an answer
        self._doubts: dict[NodeId, int] = {}  # lost sessions since its last answer
        self._in_doubt: dict[NodeId, None] = {}
        self._shunned: dict[NodeId, float] = {}

    def answered(self, peer: NodeId) -> None:
        """It has something on disk: it lives and its session works."""
        self._silent.pop(peer, None)
        self._doubts.pop(peer, None)

    def doubt(self, peer: NodeId) -> bool:
        """Its session is lost while it owes an answer; false when that was once too often."""
        self._in_doubt[peer] = None
        self._doubts[peer] = self._doubts.get(peer, 0) + 1
        return self._doubts[peer] <= DOUBTS_MAX

    def resolved(self, peer: NodeId) -> bool:
        """It is known to live: whether it was in doubt."""
        if peer not in self._in_doubt:
            return False
        del self._in_doubt[peer]
        return True

    def look(self, peer: NodeId, owes: bool) -> int:
        """One look at a keeper; for how many looks it has been silent."""
        looks = self._silent[peer] = self._silent.get(peer, 0) + 1 if owes else 0
        return looks

    def give_up(self, peer: NodeId, until: float) -> None:
        """It is a keeper no more, and is not chosen again before ``until``."""
        for memory in (self._silent, self._doubts, self._in_doubt):
            memory.pop(peer, None)
        self._shunned[peer] = until

    def shuns(self, peer: NodeId) -> bool:
        """Whether it is not chosen now."""
        return peer in self._shunned

    def relent(self, now: float) -> None:
        """Those whose time has passed may be chosen again."""
        for peer in [peer for peer, until in self._shunned.items() if until <= now]:
            del self._shunned[peer]
