"""A peer of the hash table alone: pairs and DHT, composed as in a whole peer, without gossip, membership or jobs.

It greets, signs, keeps and finds records like any other, and answers whoever probes it. For what looks at the hash
table by itself: swarms of thousands in one process, simulated attacks on lookups.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable

from p2pcpn.errors import PeerError
from p2pcpn.protocol.dht import Dht
from p2pcpn.protocol.effects import Effect, Heard, Send
from p2pcpn.protocol.pairs import PairFailed, PairMade, Pairs
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.protocol.setup import Setup
from p2pcpn.wire.addresses import Address, Contact
from p2pcpn.wire.datagrams import Ack, Compound, Find, Get, Nodes, Ping, Put, Stored, Value


class TablePeer:
    """See the module. Its effects are ``SendBytes``, ``Commit`` and ``Notify``; ``wall()`` is the wall clock."""

    def __init__(self, setup: Setup, *, rng: random.Random, now: float, wall: Callable[[], float]) -> None:
        self.contact = setup.contact
        self.wall = wall
        self.pairs = Pairs(
            setup.keypair, setup.boot, rng, swarm_key=setup.rules.swarm_key, roles=setup.roles,
            port=setup.contact.port, puzzle=setup.puzzle, difficulty=setup.difficulty,
            network_group=setup.network_group,
        )  # fmt: skip
        self.dht = Dht(setup.keypair.id, rng, setup.network_group, RoundTrips(), now)
        # Answers others' questions in the table's place, where attacks are simulated.
        self.liar: Callable[[Contact, Find | Get | Put], list[Effect]] | None = None

    def datagram_received(self, data: bytes, address: Address, now: float) -> list[Effect]:
        """Bytes from the socket."""
        return self.perform(self.pairs.receive(data, address, now), now)

    def deadline(self) -> float | None:
        """When :meth:`expire` is due next."""
        times = (self.pairs.deadline(), self.dht.deadline())
        return min((time for time in times if time is not None), default=None)

    def expire(self, now: float) -> list[Effect]:
        """Do whatever is due."""
        return self.perform([*self.pairs.expire(now), *self.dht.expire(now, self.wall())], now)

    def perform(self, effects: Iterable[Effect], now: float) -> list[Effect]:
        """Turn the machines' effects into what a driver can do."""
        done: list[Effect] = []
        pending: deque[Effect] = deque(effects)
        while pending:
            effect = pending.popleft()
            if isinstance(effect, Send):
                pending.extendleft(reversed(self.pairs.send(effect.to, effect.message, now)))
            elif isinstance(effect, Heard):
                pending.extendleft(reversed(self._heard(effect.sender, effect.value, now)))
            else:
                done.append(effect)
        return done

    def _heard(self, sender: Contact, value: object, now: float) -> list[Effect]:
        if isinstance(value, Compound):
            value = value.message
        if isinstance(value, PairMade):
            return self.dht.heard(sender, now)
        if isinstance(value, PairFailed):
            return self.dht.failed(sender, now)
        if isinstance(value, Ping):
            return [Send(sender, Ack(value.nonce, 0)), *self.dht.heard(sender, now)]
        if self.liar is not None and isinstance(value, Find | Get | Put):
            heard = self.dht.heard(sender, now)
            return [*self.liar(sender, value), *heard]
        if isinstance(value, Find | Get | Put | Nodes | Value | Stored):
            try:
                return self.dht.receive(sender, value, now, self.wall())
            except PeerError:
                return []  # nothing but the DHT's own answers would have come of it
        return []
