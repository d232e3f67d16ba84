"""Virtual peers of the hash table alone, under the clock and network of the simulator: what lookups are tried out on.

Their disks answer at once. Keys, greetings, datagrams and records are those of real peers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.admission import Rules
from p2pcpn.protocol.operations import GetDone, LookupDone, PutDone
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.protocol.setup import Setup
from p2pcpn.protocol.table_peer import TablePeer
from p2pcpn.sim import trace
from p2pcpn.sim.clock import Clock
from p2pcpn.sim.dice import Dice
from p2pcpn.sim.network import Network, Weather, sites
from p2pcpn.sim.trace import Trace
from p2pcpn.wire.addresses import Address, Contact, contact
from p2pcpn.wire.statements import Role

PORT = 4000
WELL_KNOWN = 3
SETTLE_S = 10.0

Done = GetDone | PutDone | LookupDone


class TableHost:
    """One virtual computer with a peer of the hash table on it."""

    def __init__(self, swarm: TableSwarm, number: int) -> None:
        self.number = number
        self.keypair = Keypair(swarm.dice.bytes("key", number))
        self.address: Address = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", PORT)
        self.contact: Contact = contact(self.keypair.id, self.address)
        self._swarm = swarm
        site = swarm.dice.stream("site", number).randrange(len(swarm.network.graph))
        self._port = swarm.network.attach(self.address, number, site, swarm.dice.stream("network", number))
        self._timer_at = float("inf")
        self._ticket = 0
        self._waiting: dict[int, Callable[[Done], None]] = {}
        setup = Setup(
            keypair=self.keypair, boot=1, contact=self.contact, rules=Rules((), "", 0, swarm.swarm_key), slots=0,
            roles=Role.STORAGE, network_group=lambda address: address,
        )  # fmt: skip
        self.peer = TablePeer(setup, rng=swarm.dice.stream("peer", number), now=swarm.clock.now, wall=swarm.clock.wall)

    def start(self, bootstrap: list[Address]) -> None:
        """Listen, and ask ``bootstrap`` for the way in."""
        self._port.receive = self._datagram
        others = [contact(ANYBODY, address) for address in bootstrap if address != self.address]
        if others:
            self._done(self.peer.perform(self.peer.dht.bootstrap(others, self._swarm.clock.now), self._swarm.clock.now))

    def stop(self) -> None:
        """Hear nothing and say nothing any more."""
        self._port.receive = None
        self._timer_at = float("inf")

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped."""
        return self._port.receive is not None

    def ask(self, begin: Callable[[int], list[fx.Effect]], then: Callable[[Done], None]) -> None:
        """Begin an operation of the DHT under a fresh ticket; ``then`` gets what came of it."""
        self._ticket += 1
        self._waiting[self._ticket] = then
        self._done(self.peer.perform(begin(self._ticket), self._swarm.clock.now))

    def _datagram(self, data: bytes, sender: Address, source: int) -> None:
        now = self._swarm.clock.now
        self._swarm.trace.note(trace.DATAGRAM, now, source, self.number, data)
        self._done(self.peer.datagram_received(data, sender, now))

    def _done(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, fx.SendBytes):
                self._swarm.network.send(self._port, self.address, effect.address, effect.data)
            elif isinstance(effect, fx.Commit):
                self._done(self.peer.perform(effect.then, self._swarm.clock.now))
            elif isinstance(effect, fx.Notify) and isinstance(effect.event, Done):
                self._waiting.pop(effect.event.ticket)(effect.event)
        due = self.peer.deadline() if self.runs else None
        if due is not None and due < self._timer_at:
            self._timer_at = due
            self._swarm.clock.at(due, partial(self._rings, due))

    def _rings(self, due: float) -> None:
        if self.runs and due == self._timer_at:
            self._timer_at = float("inf")
            self._done(self.peer.expire(self._swarm.clock.now))


class TableSwarm:
    """``peers`` hosts on one virtual network. The same seed and the same calls give the same trace."""

    def __init__(self, peers: int, seed: int) -> None:
        self.dice = Dice(seed)
        self.clock = Clock()
        self.trace = Trace()
        self.network = Network(self.clock, sites(peers, self.dice), Weather())
        self.swarm_key = self.dice.bytes("swarm key")
        self.hosts = [TableHost(self, number) for number in range(1, peers + 1)]

    def join(self, join_s: float) -> None:
        """Start all, the well-known first, spread over ``join_s``; returns when they have settled."""
        known = [host.address for host in self.hosts[:WELL_KNOWN]]
        chance = self.dice.stream("joining")
        for host in self.hosts:
            at = 0.0 if host.number <= WELL_KNOWN else chance.uniform(0.5, join_s)
            self.clock.at(at, partial(host.start, known))
        self.clock.run(join_s + SETTLE_S)
