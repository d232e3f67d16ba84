"""Parting: a swarm that starts in two parts, is cut in two, is flapped at and slept through, and is one each time.

::

    two parts form from one list ──> one swarm ──> cut until both halves are buried ──> one swarm
    ──> some come and go every few seconds ──> all are back ──> one sleeps for an hour ──> nobody is accused

One swarm means: everybody can be reached from everybody over neighbours and tables, and what was put on one side is
found from the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import networkx

from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.peer import Peer
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.convergence import Search
from p2pcpn.sim.host import Host
from p2pcpn.sim.report import Report
from p2pcpn.sim.world import World

JOIN_S = 3.0
# Formed, apart, for so long; then cut until the last of the other half is buried (two rounds of probes, a suspicion).
APART_S = 60.0
CUT_S = 400.0
# A bootstrap or one of the dead is asked each two minutes at least; two rounds of that, and lookups.
REUNION_S = 300.0
FLAPPERS_SHARE = 0.1
FLAP_S, FLAPPING_S = 3.0, 180.0
# With a tenth of the peers flapping: datagrams a peer and second, some 150 bytes each.
FLAPPING_TRAFFIC_MAX = 20.0
# Who flapped for so long has no place for at most five minutes (neighbourhood.HOLD_S_MAX); then it is chosen again.
STEADY_S = 400.0
SLEEP_S = 3600.0
AWAKE_S = 180.0
RECORDS = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each act lasts; an act of no length is left out."""

    apart_s: float = APART_S
    cut_s: float = CUT_S
    flapping_s: float = FLAPPING_S
    sleep_s: float = SLEEP_S


class Play:
    """One run with ``peers`` peers. ``traffic`` is datagrams a peer and second in each act, ``took_s`` each reunion."""

    def __init__(self, peers: int, seed: int, plan: Plan | None = None) -> None:
        self.plan = plan or Plan()
        self.peers = peers
        self.world = World(seed, peers)
        self.hosts = [self.world.host(f"peer-{number}") for number in range(peers)]
        # One list for everybody; each part has one of the two.
        self.world.seeds = [self.hosts[0].address, self.hosts[1].address]
        self.traffic: dict[str, float] = {}
        self.took_s: dict[str, float] = {}
        self._put = 0

    def run(self) -> None:
        """Play all acts. Raises :class:`Violation`."""
        self._form()
        for name, length_s, act in (
            ("apart", self.plan.apart_s, self._apart), ("cut", self.plan.cut_s, self._apart),
            ("flapping", self.plan.flapping_s, self._flap), ("sleep", self.plan.sleep_s, self._sleep),
        ):  # fmt: skip
            if length_s:
                act(name, length_s)

    # --- acts -------------------------------------------------------------------------------------------------------

    def _form(self) -> None:
        world, chance = self.world, self.world.dice.stream("joining")
        if self.plan.apart_s:
            self._cut()
        for host in self.hosts:
            world.clock.at(chance.uniform(0.0, JOIN_S), partial(world.start, host))
        world.run(JOIN_S + 5.0)

    def _cut(self) -> None:
        self.world.network.cut([[host.number for host in self.hosts[1::2]]])

    def _apart(self, name: str, length_s: float) -> None:
        """Two halves that cannot hear one another, then can."""
        world = self.world
        self._cut()
        self._measure(name, length_s)
        if self._parts() < 2 and name == "cut":
            raise Violation("a swarm that was cut in two for long still counts on the other half")
        world.network.heal()
        world.sessions.heal()
        began = world.clock.now
        self._demand(REUNION_S, self._not_one, name)
        self.took_s[name] = world.clock.now - began
        self._demand(REUNION_S, self._not_found, name)

    def _flap(self, name: str, length_s: float) -> None:
        """A tenth of the peers is there for three seconds and gone for three, at its own times."""
        world = self.world
        self._measure("quiet", min(60.0, length_s))
        count = max(1, int(len(self.hosts) * FLAPPERS_SHARE))
        flappers = self.hosts[-count:]
        chance = world.dice.stream("flapping")
        until = world.clock.now + length_s
        for host in flappers:
            world.clock.after(chance.uniform(0.0, 2 * FLAP_S), partial(self._turn, host, until, True))
        self._measure(name, length_s + 2 * FLAP_S)
        if self.traffic[name] > FLAPPING_TRAFFIC_MAX:
            raise Violation(f"{count} flapping peers make {self.traffic[name]:.1f} datagrams a peer and second")
        self._demand(STEADY_S, lambda: self._not_back(flappers), name)

    def _turn(self, host: Host, until: float, off: bool) -> None:
        """Pull the cable of ``host``, or put it in again; never pulled once it is over."""
        world = self.world
        islands = [number for number in world.network.islands if number != host.number]
        over = world.clock.now >= until
        if off and not over:
            islands.append(host.number)
        world.network.cut([[number] for number in islands])
        world.sessions.heal()
        if not (over and not off):
            world.clock.after(FLAP_S, partial(self._turn, host, until, not off))

    def _sleep(self, name: str, length_s: float) -> None:
        """One peer stands still for an hour: it wakes with old clocks, records and sessions, and harms nobody."""
        world, sleeper = self.world, self.hosts[len(self.hosts) // 2]
        writer = self.hosts[0]
        self._write(writer, b"slept", b"before")
        world.run(world.clock.now + 5.0)
        assert sleeper.peer is not None
        world.network.cut([[sleeper.number]])
        sleeper.sleep()
        world.run(world.clock.now + 1.0)
        self._write(writer, b"slept", b"after")
        self._measure(name, length_s)
        dead = self._buried(sleeper)
        world.network.heal()
        world.sessions.heal()
        sleeper.wake()
        end = world.clock.now + AWAKE_S
        while world.clock.now < end:
            world.run(world.clock.now + 1.0)
            if self._buried(sleeper) > dead or sleeper.peer.membership.statistics()["suspected"]:
                raise Violation("a peer that slept for an hour accuses others of it")
        self._demand(REUNION_S, self._not_one, name)
        asked = [sleeper, *self.world.dice.stream("asked").sample(self.world.alive, min(5, self.peers))]
        for host in asked:
            self._demand(60.0, partial(self._not_newest, host, writer), name)

    # --- what is demanded -------------------------------------------------------------------------------------------

    def _demand(self, wait_s: float, wrong: Callable[[], str], act: str) -> None:
        end = self.world.clock.now + wait_s
        while what := wrong():
            if self.world.clock.now >= end:
                raise Violation(f"{act}: {what}, {wait_s:g} s after it was over")
            self.world.run(min(end, self.world.clock.now + 2.0))

    def _parts(self) -> int:
        graph = networkx.Graph()
        for host in self.world.alive:
            assert host.peer is not None
            graph.add_node(bytes(host.id))
            near = host.peer.neighbourhood.contacts()
            graph.add_edges_from((bytes(host.id), contact.id) for contact in near)
        return int(networkx.number_connected_components(graph))

    def _not_one(self) -> str:
        """Both halves name each other in their neighbourhoods, and everybody somebody of the other."""
        if self._parts() > 1:
            return f"the swarm is in {self._parts()} parts"
        halves = [{host.id for host in self.hosts[half::2]} for half in (0, 1)]
        for half in (0, 1):
            for host in self.hosts[half::2]:
                assert host.peer is not None
                known = [*host.peer.neighbourhood.contacts(), *host.peer.dht.table.contacts()]
                if not any(contact.id in halves[1 - half] for contact in known):
                    return f"{host.name} knows nobody of the other half"
        return ""

    def _not_found(self) -> str:
        """Records that were put on one side now are found from the other."""
        self._put += 1
        keys = []
        for number, host in enumerate(self.hosts[:RECORDS]):
            salt = b"found %d %d" % (self._put, number)
            self._write(host, salt, b"value")
            keys.append(record_key(host.keypair.public, salt))
        self.world.run(self.world.clock.now + 5.0)
        search = Search(self.hosts[-RECORDS:], keys)
        self.world.run(self.world.clock.now + 30.0, lambda: search.over)
        return search.wrong()

    def _not_back(self, flappers: list[Host]) -> str:
        """Who flapped and stays now is somebody's neighbour again, and nobody is suspected."""
        neighbours = {contact.id for host in self.world.alive for contact in _peer(host).neighbourhood.contacts()}
        for host in flappers:
            if host.id not in neighbours:
                return f"{host.name} has no place any more"
        return f"the swarm is in {self._parts()} parts" if self._parts() > 1 else ""

    def _not_newest(self, host: Host, writer: Host) -> str:
        """``host`` finds the version that was written while one slept."""
        key = record_key(writer.keypair.public, b"slept")
        search = Search([host], [key])
        found: list[bytes] = []

        def heard(event: object) -> None:
            record = getattr(event, "record", None)
            if getattr(event, "key", None) == key and record is not None:
                found.append(record.value)

        host.listeners.append(heard)
        self.world.run(self.world.clock.now + 30.0, lambda: search.over)
        host.listeners.remove(heard)
        return "" if found == [b"after"] else f"{host.name} finds {found} where the newest is 'after'"

    # --- small things -----------------------------------------------------------------------------------------------

    def _measure(self, name: str, length_s: float) -> None:
        before = self.world.network.sent
        self.world.run(self.world.clock.now + length_s)
        self.traffic[name] = (self.world.network.sent - before) / length_s / len(self.hosts)

    def _write(self, host: Host, salt: bytes, value: bytes) -> None:
        host.follow(_peer(host).put_record(salt, value, 86_400.0, host.keypair, 0, self.world.clock.now))

    @staticmethod
    def _buried(host: Host) -> int:
        return _peer(host).membership.statistics()["dead"]

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        world = self.world
        return Report.of(
            world, name, self.peers, seed, verdict, world.checker.checks,
            figures={
                **{f"reunion after {act}, s": round(took_s, 1) for act, took_s in self.took_s.items()},
                **{f"datagrams a peer and second, {act}": round(count, 2) for act, count in self.traffic.items()},
            },
        )  # fmt: skip


def _peer(host: Host) -> Peer:
    assert host.peer is not None
    return host.peer
