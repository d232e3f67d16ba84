"""Lookups: what the hash table finds where a fifth of its peers lie, where half fall silent, where datagrams are lost.

::

    join ──> put, and put anew ──> half fall silent (silent) ──> get · find (hostile) · put

``hostile``: a fifth of the peers are a gang (:mod:`p2pcpn.sim.gang`). A get is right that finds the newest version, a
find when every honest peer among the nearest eight of the swarm is named. ``silent``: half of the peers stop without
a word, and nobody has time to notice. ``loss-5``, ``loss-10``: so many datagrams in a hundred are lost. In all but the
first every record has to be found that a living peer holds. Times are those of a virtual network with round trips of
up to 150 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.operations import GetDone, LookupDone, PutDone
from p2pcpn.protocol.table import distance
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.gang import Gang, turn_hostile
from p2pcpn.sim.network import Weather
from p2pcpn.sim.report import Report
from p2pcpn.sim.tables import Done, TableHost, TableSwarm
from p2pcpn.wire.statements import Record, Signed, signed

JOIN_S = 10.0
RETENTION_S = 86_400.0
RECORDS = 50
GETS_EACH = 4
FINDS = 100
EVERY_S = 0.05
WAIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Adversity:
    """What goes wrong, and which share of lookups has to be right all the same."""

    hostile: float = 0.0
    silent: float = 0.0
    loss: float = 0.0
    right: float = 1.0


ADVERSITIES = {
    "hostile": Adversity(hostile=0.2, right=0.99),
    "silent": Adversity(silent=0.5),
    "loss-5": Adversity(loss=0.05),
    "loss-10": Adversity(loss=0.1),
}


class Play:
    """One run."""

    def __init__(self, adversity: Adversity, peers: int, seed: int) -> None:
        self.adversity = adversity
        self.peers = peers
        self.world = self.swarm = TableSwarm(peers, seed)
        self._chance = self.swarm.dice.stream("lookups")
        self._owner = Keypair(self.swarm.dice.bytes("owner"))
        self.hostile: list[TableHost] = []
        self.took_s: dict[str, list[float]] = {"get": [], "find": [], "put": []}
        self.right = self.wrong = 0
        self._open = 0

    @property
    def honest(self) -> list[TableHost]:
        """Who neither lies nor has stopped."""
        return [host for host in self.swarm.hosts if host not in self.hostile and host.runs]

    def run(self) -> None:
        """Play all acts. Raises :class:`Violation`."""
        swarm, adversity = self.swarm, self.adversity
        others = swarm.hosts[1:]
        self.hostile = self._chance.sample(others, int(adversity.hostile * self.peers))
        gang = Gang([host.contact for host in self.hostile], swarm.dice.stream("gang"))
        for host in self.hostile:
            turn_hostile(host.peer, gang)
        swarm.join(JOIN_S)
        swarm.network.weather = Weather(loss=adversity.loss)
        for seq in (1, 2):
            for number in range(RECORDS):
                item = self._record(number, seq)
                if seq == 1:
                    gang.seen[self._key(number)] = item
                self._at(number, partial(self._put, item))
            self._finish()
        self.took_s["put"].clear()
        for host in self._chance.sample(others, int(adversity.silent * self.peers)):
            host.stop()
        for turn in range(RECORDS * GETS_EACH):
            self._at(turn, partial(self._get, turn % RECORDS))
        if adversity.hostile:
            for turn in range(FINDS):
                self._at(turn, self._find)
        if adversity.silent:
            for number in range(RECORDS):
                self._at(number, partial(self._put, self._record(RECORDS + number, 1)))
        self._finish()
        share = self.right / (self.right + self.wrong)
        if share < adversity.right:
            raise Violation(f"{self.wrong} of {self.right + self.wrong} lookups are wrong")

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to; lookups are told as tasks."""
        swarm = self.swarm
        figures = {"lookups wrong": float(self.wrong)}
        for verb, times in self.took_s.items():
            if times:
                times = sorted(times)
                figures[f"{verb} p50, s"] = round(times[len(times) // 2], 3)
                figures[f"{verb} p95, s"] = round(times[len(times) * 95 // 100], 3)
        asked = self.right + self.wrong
        return Report.of(
            swarm, name, self.peers, seed, verdict, asked, tasks=asked, delivered=self.right, figures=figures,
            faults={"hostile": len(self.hostile), "silent": sum(not host.runs for host in swarm.hosts)},
        )  # fmt: skip

    # --- acts ---------------------------------------------------------------------------------------------------------

    def _at(self, turn: int, act: Callable[[TableHost], None]) -> None:
        """Let somebody honest do it in its turn."""
        self._open += 1
        self.swarm.clock.after(turn * EVERY_S, lambda: act(self._chance.choice(self.honest)))

    def _finish(self) -> None:
        if not self.swarm.clock.run(self.swarm.clock.now + WAIT_S, lambda: not self._open):
            raise Violation(f"{self._open} lookups do not end")

    def _ended(self, verb: str, began_s: float) -> None:
        self._open -= 1
        self.took_s[verb].append(self.swarm.clock.now - began_s)

    def _judge(self, right: bool) -> None:
        self.right += right
        self.wrong += not right

    def _record(self, number: int, seq: int) -> Signed:
        value = b"%d, version %d" % (number, seq)
        return signed(Record(b"%d" % number, seq, self.swarm.clock.wall(), RETENTION_S, value), self._owner)

    def _key(self, number: int) -> bytes:
        return record_key(self._owner.public, b"%d" % number)

    def _put(self, item: Signed, host: TableHost) -> None:
        clock, began_s = self.swarm.clock, self.swarm.clock.now

        def ended(done: Done) -> None:
            assert isinstance(done, PutDone)
            self._ended("put", began_s)

        host.ask(lambda ticket: host.peer.dht.put(item, ticket, clock.now, clock.wall()), ended)

    def _get(self, number: int, host: TableHost) -> None:
        clock, key, began_s = self.swarm.clock, self._key(number), self.swarm.clock.now
        if not any(key in holder.peer.dht.records for holder in self.honest):
            self._open -= 1  # whoever held it has stopped: nobody can find it
            return

        def ended(done: Done) -> None:
            assert isinstance(done, GetDone)
            self._ended("get", began_s)
            self._judge(done.record is not None and done.record.seq == 2)

        host.ask(lambda ticket: host.peer.dht.get(key, ticket, clock.now, clock.wall()), ended)

    def _find(self, host: TableHost) -> None:
        clock, began_s = self.swarm.clock, self.swarm.clock.now
        target = self._chance.randbytes(20)

        def ended(done: Done) -> None:
            assert isinstance(done, LookupDone)
            self._ended("find", began_s)
            near = sorted(
                (it for it in self.swarm.hosts if it is not host), key=lambda it: distance(it.keypair.id, target)
            )
            due = {it.contact for it in near[: limits.RECORD_COPIES] if it not in self.hostile}
            self._judge(due <= set(done.contacts))

        host.ask(lambda ticket: host.peer.dht.find(target, ticket, clock.now), ended)
