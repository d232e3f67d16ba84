"""Rounds: whose turn it is to be probed, where a ping serves both of its ends.

A neighbour that pinged us a moment ago lives, and knows that we do. So where all is well its turn comes one round after
the last ping between us, whoever sent it; a round is a pause for each neighbour. Where two watch each other, one ping
in a round is enough, and a death is found as soon as with one from each: at any moment the turns of those who watch a
peer lie anywhere in the coming round, so the first of 32 comes to it after a thirty-third of that. What else was heard
is no such contact: gossip would put turns off again and again, and nobody asks after the silence that follows it.

*Who asks*: who was asked last, ``SOONER`` than the other would. So each has its turn, nobody needs to agree on
anything, and one ping seldom crosses the other: that little is longer than a ping is under way. It is short beside a
pause, the time in which the first watcher is to find a death: half of the next pings between a dead peer and those who
watch it were its own to send, and these watchers come so much later. Turns drawn from a tenth of a round would let them
come later than a whole pause.

*A ping out of turn puts nothing off* that is further away than half a round. Where somebody is in doubt, or leases are
out, all neighbours are asked in shuffled rounds, at the pace of the hour. If these pings counted, a death would be
followed by minutes in which no watcher is due: the next one was found after 42 s instead of 29, *simulated*. Half a
round is enough for two whose turns lie anywhere to fall in with each other.

*No bursts*: two probes are a pause apart, half a pause where all is well, for most turns are others' then, and who is
due need not stand in line for long. The first turn of a new neighbour lies anywhere in the coming round.
"""

from __future__ import annotations

import random
from collections.abc import Collection

# Of a pause: 5 s where all is well.
SOONER = 1 / 4
# Two probes are so far apart where all is well, and new neighbours looked for at least so often, in pauses.
APART = 1 / 2
LOOK = 3.0
# Of a round: a ping that is sooner than this after the last one in its turn is out of turn.
IN_TURN = 1 / 2


class Rounds:
    """The turns of the neighbours of one peer, each ``calm_s`` times their number after the last where all is well."""

    def __init__(self, rng: random.Random, calm_s: float, now: float) -> None:
        self._rng = rng
        self._calm_s = calm_s
        self._since_s: dict[bytes, float] = {}  # from when each one's round counts
        self._first: bytes | None = None  # who has waited longest, once it was looked for
        self._order: list[bytes] = []  # what is left of a shuffled round
        self._looked_s = now

    def met(self, node: bytes, now: float) -> None:
        """``node`` asked us whether we live: next time we ask first, and it does a little later if we do not.

        That puts its turn off, never forward: nobody needs to look at the deadline for a ping.
        """
        since_s = self._since_s.get(node)
        if since_s is None:
            return
        sooner_s = SOONER * self._calm_s
        if node == self._first:
            self._first = None
        if now - since_s < sooner_s:  # ours is on its way as well: let it not be so each time
            self._since_s[node] = since_s + sooner_s * self._rng.random()
        elif now - since_s >= max(sooner_s, IN_TURN * self._round_s):
            self._since_s[node] = now - sooner_s

    def asked(self, node: bytes, now: float) -> None:
        """We ask ``node``."""
        since_s = self._since_s.get(node)
        if since_s is not None and since_s + self._round_s <= now:
            self._since_s[node] = now
            self._first = None

    def deadline(self, pause_s: float) -> float:
        """When :meth:`turn` may name somebody, or has to look who is a neighbour now."""
        if pause_s < self._calm_s or not self._since_s:
            return self._looked_s + pause_s
        first_s = self._since_s[self._longest()] + self._round_s
        return max(self._looked_s + APART * pause_s, min(first_s, self._looked_s + LOOK * pause_s))

    def hurry(self, pause_s: float, now: float) -> None:
        """Probes are ``pause_s`` apart from now on. The next is not due earlier than now: a calm peer looked around a
        minute ago perhaps, and whoever finds itself late for what it was never asked to do takes it that it slept."""
        self._looked_s = max(self._looked_s, now - pause_s)

    def turn(
        self, neighbours: Collection[bytes], pause_s: float, now: float, *, the_same: bool = False
    ) -> bytes | None:
        """Whose turn it is among ``neighbours`` at this pace: where all is well who has waited longest, if that was for
        a round, and otherwise each once in a round, in a new order each round. ``the_same``: as it was asked last."""
        self._looked_s = now
        if not the_same:
            self._renew(neighbours, now)
        if pause_s < self._calm_s:
            return self._shuffled(neighbours)
        if not self._since_s:
            return None
        node = self._longest()
        return node if self._since_s[node] + self._round_s <= now else None

    @property
    def _round_s(self) -> float:
        return self._calm_s * len(self._since_s)

    def _longest(self) -> bytes:
        """Who has waited longest: looked for when somebody's turn was put off, not at each look at the deadline."""
        node = self._first
        if node is None:
            node = self._first = min(self._since_s, key=self._since_s.__getitem__)
        return node

    def _renew(self, neighbours: Collection[bytes], now: float) -> None:
        self._first = None
        for node in [node for node in self._since_s if node not in neighbours]:
            del self._since_s[node]
        for node in neighbours:
            if node not in self._since_s:  # many come at the same time, and are not to be due at the same time
                self._since_s[node] = now - self._rng.random() * self._calm_s * len(neighbours)

    def _shuffled(self, neighbours: Collection[bytes]) -> bytes | None:
        while self._order:
            node = self._order.pop()
            if node in neighbours:
                return node
        self._order = self._rng.sample(list(neighbours), len(neighbours))
        return self._order.pop() if self._order else None
