"""Speeds: how slow each peer of a job is beside the others, and how long its tasks are, both from its receipts.

The length of a task and the speed of its peer are seen only together, as a time. The logarithms of those times are
averaged for each peer; how far a peer's average lies from everybody's is its *slowness*, believed as far as the spread
of lengths allows (James and Stein): where all tasks are alike one receipt tells, where they differ a hundredfold many
are needed. A peer that brought nothing yet is taken to be like the others.
"""

from __future__ import annotations

from collections import deque
from math import copysign, exp, log, sqrt

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.pace import TASK_S_MIN

# Receipts that are remembered of all peers together, for the lengths of tasks.
NEWEST = 128
# A peer's average forgets: it stands for so many of its newest receipts.
RECENT = 48
# What a comparison with fewer others tells of a peer's speed may be chance. *Simulated*: among six peers and jobs of
# short and long tasks in a row even the fastest seemed slow, after three receipts as after six.
SEVERAL = 8
# How far peers of one swarm typically differ: by a factor of two. The variance of the logarithm.
PEERS_VARIANCE = log(2.0) ** 2
ALIKE = (1.0, 1.0)  # the slowness of a peer that brought nothing


class Speeds:
    """See the module. Lengths are seconds on a peer whose slowness is 1."""

    __slots__ = ("_peers", "_newest", "_variance", "_pairs")

    def __init__(self) -> None:
        self._peers: dict[NodeId, tuple[int, float]] = {}  # receipts (at most RECENT), average logarithm
        self._newest: deque[tuple[NodeId, float]] = deque(maxlen=NEWEST)
        self._variance = 0.0  # of lengths at one peer
        self._pairs = 0  # receipts beyond each peer's first, of which the variance is known

    def ran(self, node: NodeId, count: int, ran_s: float) -> None:
        """``count`` tasks took ``ran_s`` seconds together."""
        if count < 1:
            return
        length = log(max(ran_s / count, TASK_S_MIN))
        self._newest.append((node, length))
        self._learn(node, length)

    def at_least(self, node: NodeId, ran_s: float) -> None:
        """A task was stopped after ``ran_s`` seconds, which says nothing of lengths, but that its peer is slow."""
        length = log(max(ran_s, TASK_S_MIN))
        if length > self._peers.get(node, (0, self._middle))[1]:
            self._learn(node, length)

    def _learn(self, node: NodeId, length: float) -> None:
        known, mean = self._peers.get(node, (0, 0.0))
        if known:
            self._pairs = min(self._pairs + 1, NEWEST)
            found = (length - mean) ** 2 * known / (known + 1)
            self._variance += (found - self._variance) / self._pairs
        known = min(known + 1, RECENT)
        self._peers[node] = known, mean + (length - mean) / known

    def forget(self, node: NodeId) -> None:
        """The peer takes part no more; what its tasks took still says how long tasks are."""
        self._peers.pop(node, None)

    def knows(self, node: NodeId) -> bool:
        """Whether the peer brought anything."""
        return node in self._peers

    def tells(self, node: NodeId) -> bool:
        """Whether what the peer brought took long because of the peer, not of the tasks: several others are known to
        compare it with. However many it brought: what one peer runs in a row is often of one length."""
        return node in self._peers and len(self._peers) > SEVERAL

    def __len__(self) -> int:
        """How many receipts the lengths are taken from."""
        return len(self._newest)

    @property
    def _middle(self) -> float:
        """Everybody's average logarithm."""
        return sum(length for _, length in self._newest) / len(self._newest) if self._newest else 0.0

    def slowness(self) -> dict[NodeId, tuple[float, float]]:
        """How many times longer than usual tasks take, for each peer that brought any: as expected, and for sure.

        For sure: nearer to 1 by what may as well be chance (one standard deviation), by which alike peers would differ.
        """
        middle = self._middle
        found: dict[NodeId, tuple[float, float]] = {}
        for node, (known, mean) in self._peers.items():
            differs = (mean - middle) * known * PEERS_VARIANCE / (known * PEERS_VARIANCE + self._spread)
            chance = self.doubt(node)
            found[node] = exp(differs), exp(copysign(max(abs(differs) - chance, 0.0), differs))
        return found

    def doubt(self, node: NodeId) -> float:
        """How far the slowness that is expected of a peer may be wrong: one standard deviation of its logarithm."""
        known, _ = self._peers.get(node, (0, 0.0))
        return sqrt(PEERS_VARIANCE * self._spread / (known * PEERS_VARIANCE + self._spread)) if self._spread else 0.0

    @property
    def _spread(self) -> float:
        """The variance of the logarithm of lengths at one peer. Where nobody brought a second receipt nothing tells
        slow peers from long tasks: half of each."""
        return self._variance if self._pairs else PEERS_VARIANCE

    @property
    def lengths_variance(self) -> float:
        """How far the lengths of tasks vary: the variance of their logarithms, at one peer, or among all by more than
        peers do."""
        middle = self._middle
        among = sum((length - middle) ** 2 for _, length in self._newest) / max(len(self._newest), 1)
        return max(self._variance, among - PEERS_VARIANCE)

    def lengths(self, slowness: dict[NodeId, tuple[float, float]]) -> list[float]:
        """How long the newest tasks would have taken on a peer of slowness 1, shortest first."""
        return sorted(exp(length) / slowness.get(node, ALIKE)[0] for node, length in self._newest)
