"""Turnover: half of a swarm is replaced bit by bit over ten hours, and no record is lost.

Records are put by many owners, once: nobody who wrote one repeats it. Then peers die without a word and others with
fresh identities and empty disks take their places, evenly, until half of all that stood at the beginning are gone. At
the end every record is looked up from peers that were not there when it was written. Nothing but the holders' own
repair keeps a record in between; what that costs is counted (:mod:`p2pcpn.sim.tally`).

What differs from real peers is their setup: they keep ``REPLICAS`` copies instead of eight, and speak more rarely where
nothing happens (``PULSE``). When calm they probe and compare rumors once a minute, real ones each 20 and 40 seconds, so
deaths are noticed later, which makes it harder; they say each four hours what they are, instead of each five minutes,
which has nothing to do with records. Repair runs at its own pace.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.operations import GetDone, PutDone
from p2pcpn.protocol.setup import Pulse
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.host import Host
from p2pcpn.sim.replacing import newcomers, replace
from p2pcpn.sim.report import Report
from p2pcpn.sim.tally import Counts, Tally
from p2pcpn.sim.world import World
from p2pcpn.wire.statements import Record, signed

HOURS = 10.0
JOIN_S = 30.0
SETTLE_S = 30.0
REPLACED_AN_HOUR = 0.05
REPLICAS = 3
RECORDS_PER_PEER = 10
# So many lookups and puts at a time: a peer runs 64 of its own.
AT_ONCE = 64
OPERATION_S = 60.0
# A lookup that ends without the record is tried from so many peers before it counts as lost.
TRIES = 3
WELL_KNOWN = 5
RETENTION_S = 7 * 86_400.0
# Calm peers speak four times as rarely as that (protocol/membership.py).
PULSE = Pulse(probe_s=15.0, compare_s=15.0, advert_s=4 * 3600.0)


class Play:
    """One run: ``peers`` peers, ten records for each of them, ``replicas`` copies of each record.

    Of the first peers the share ``replaced_an_hour`` is replaced in each of the ``hours``: half of them in ten.
    """

    def __init__(
        self,
        peers: int,
        seed: int,
        *,
        hours: float = HOURS,
        replaced_an_hour: float = REPLACED_AN_HOUR,
        replicas: int = REPLICAS,
        records_per_peer: int = RECORDS_PER_PEER,
    ) -> None:
        self.peers = peers
        self.hours = hours
        self.share = hours * replaced_an_hour
        self.replicas = replicas
        self.world = World(seed, peers, record_copies=replicas, pulse=PULSE)
        self.owners = [Keypair(self.world.dice.bytes("owner", number)) for number in range(max(1, peers // 10))]
        self.keys: dict[bytes, bytes] = {}  # of each record its value
        self._records = records_per_peer * peers
        self._waiting: dict[tuple[int, int], bytes] = {}
        self._found: dict[bytes, bytes | None] = {}
        self._copies: list[int] = []
        self._ticket = 1 << 20
        self._replaced = 0
        self.lost = 0
        self.tally = Tally()
        self.figures: dict[str, float] = {}

    def run(self) -> None:
        """Play it. Raises :class:`Violation` where a record is lost."""
        self._join()
        first = list(self.world.hosts)
        self._put_all()
        self._replace(first)
        self._look_up()
        if self.lost:
            raise Violation(f"{self.lost} of {len(self.keys)} records are lost")

    # --- acts -------------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        world, chance = self.world, self.world.dice.stream("joining")
        for number in range(self.peers):
            host = world.host(f"peer-{number}", slots=1)
            if number < WELL_KNOWN:
                world.seeds.append(host.address)
            world.clock.at(0.0 if number < WELL_KNOWN else chance.uniform(0.5, JOIN_S), partial(self._start, host))
        world.run(JOIN_S + SETTLE_S)

    def _start(self, host: Host) -> None:
        self.world.start(host)
        assert host.peer is not None
        self.tally.watch(host.peer)
        host.listeners.append(partial(self._event, host))

    def _put_all(self) -> None:
        chance = self.world.dice.stream("putting")
        pending = [(self.owners[n % len(self.owners)], b"%d" % n) for n in range(self._records)]
        while pending or self._waiting:
            for _ in range(min(AT_ONCE * 4 - len(self._waiting), len(pending))):
                owner, salt = pending.pop()
                self._put(chance.choice(self.world.alive), owner, salt)
            self._go_on()
        short = sum(copies < self.replicas for copies in self._copies)
        if short:
            raise Violation(f"{short} of {self._records} records have fewer than {self.replicas} copies from the first")

    def _put(self, host: Host, owner: Keypair, salt: bytes) -> None:
        """Have a record kept; whoever puts it forgets it at once, as a client does that leaves."""
        assert host.peer is not None
        value = b"value of " + salt
        key = record_key(owner.public, salt)
        self.keys[key] = value
        envelope = signed(Record(salt, 1, host.wall(), RETENTION_S, value), owner)
        now, ticket = self.world.clock.now, self._next(host, key)
        host.follow(host.peer.dht.put(envelope, ticket, now, host.wall()))

    def _replace(self, first: list[Host]) -> None:
        """That share of the peers die, one after the other, and each time another joins."""
        world, seconds = self.world, self.hours * 3600.0
        victims = replace(world, first[WELL_KNOWN:], round(self.peers * self.share), seconds, self._join_one)
        before, counted = world.network.sent, self.tally.counts
        world.run(world.clock.now + seconds)
        self._replaced = len(victims)
        self.figures["peers replaced"] = len(victims)
        self.figures["datagrams a peer and second"] = round((world.network.sent - before) / seconds / self.peers, 3)
        self._state_repair(self.tally.counts.since(counted), seconds)

    def _state_repair(self, said: Counts, seconds: float) -> None:
        """What it took to keep the records, beside all that was said meanwhile."""
        peer_seconds = seconds * self.peers
        self.figures["datagrams for repair"] = said.upkeep
        self.figures["datagrams for repair, a peer and second"] = round(said.upkeep / peer_seconds, 3)
        self.figures["share of repair in datagrams"] = round(said.upkeep / max(1, said.datagrams), 3)
        self.figures["MB for repair"] = round(said.upkeep_bytes / 1e6, 1)
        self.figures["bytes for repair, a peer and second"] = round(said.upkeep_bytes / peer_seconds, 1)
        self.figures["share of repair in bytes"] = round(said.upkeep_bytes / max(1, said.bytes), 3)

    def _join_one(self, name: str) -> None:
        self._start(self.world.host(name, slots=1))

    def _look_up(self) -> None:
        """Every record, from peers that came after it was put; it is lost where none of some peers finds it."""
        chance = self.world.dice.stream("asking")
        fresh = newcomers(self.world)
        missing = list(self.keys)
        for _ in range(TRIES):
            pending, missing = missing, []
            self._found.clear()
            asked = list(pending)
            while pending or self._waiting:
                for _ in range(min(AT_ONCE * 4 - len(self._waiting), len(pending))):
                    self._get(chance.choice(fresh), pending.pop())
                self._go_on()
            missing = [key for key in asked if self._found.get(key) != self.keys[key]]
            if not missing:
                break
            self.world.run(self.world.clock.now + SETTLE_S)
        self.lost = len(missing)
        self.figures["records"] = len(self.keys)
        self.figures["records lost"] = self.lost
        copies = [0] * len(self.keys)
        for number, key in enumerate(self.keys):
            copies[number] = sum(_holds(host, key) for host in self.world.alive)
        self.figures["copies of a record, mean"] = round(sum(copies) / len(copies), 2)
        self.figures["copies of a record, least"] = min(copies)

    def _get(self, host: Host, key: bytes) -> None:
        assert host.peer is not None
        host.follow(host.peer.dht.get(key, self._next(host, key), self.world.clock.now, host.wall()))

    # --- small things -----------------------------------------------------------------------------------------------

    def _next(self, host: Host, key: bytes) -> int:
        self._ticket += 1
        self._waiting[host.number, self._ticket] = key
        return self._ticket

    def _event(self, host: Host, event: Any) -> None:
        if isinstance(event, (GetDone, PutDone)):
            key = self._waiting.pop((host.number, event.ticket), None)
            if key is None:
                return
            if isinstance(event, PutDone):
                self._copies.append(len(event.holders) + event.own_copy)
            else:
                self._found[key] = None if event.record is None else event.record.value

    def _go_on(self) -> None:
        """Until there is room for the next operation. Raises :class:`Violation` for one that does not end."""
        count = len(self._waiting)
        if not self.world.run(self.world.clock.now + OPERATION_S, lambda: len(self._waiting) < max(1, count)):
            raise Violation(f"{count} operations of the DHT do not end")

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        world = self.world
        return Report.of(
            world, name, self.peers, seed, verdict, world.checker.checks,
            faults={"power": self._replaced, "join": self._replaced}, figures=dict(self.figures),
        )  # fmt: skip


def _holds(host: Host, key: bytes) -> bool:
    return host.peer is not None and key in host.peer.dht.records
