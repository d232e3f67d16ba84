"""Leaving: peers drain while jobs run, some are told to stay, and in the end all that were there first have left.

::

    swarm forms ──> jobs run, most peers drain one after the other, others join ──> jobs end, their owners go
    ──> all that are left of the first drain, too ──> each job is read through peers that came later: every result

Disks go with those who leave. Nobody who was told to leave begins another task, and each has left in the time it was
given, and what handing over takes.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

from p2pcpn import limits
from p2pcpn.protocol import departure as d
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.draining import Draining
from p2pcpn.sim.host import Host
from p2pcpn.sim.program import Program
from p2pcpn.sim.reading import reads_whole
from p2pcpn.sim.report import Report
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.world import World
from p2pcpn.wire import pages
from p2pcpn.wire.statements import LogHeader, read

WELL_KNOWN = 2
JOIN_S = 5.0
JOBS_PER_PEER = 0.3
TASKS = 60
REPLICAS = 2
WAIT_S = 180.0
READ_WAIT_S = 60.0
# Of the first peers, while jobs run; within so many seconds.
DRAINED_SHARE = 0.6
DRAINING_S = 20.0
UNDONE_SHARE = 0.2
PATIENCE_S = (0.0, 2.0, 60.0)
# Afterwards the rest of the first leave, so long after one another.
APART_S = 3.0


class Play:
    """One run with ``peers`` peers beside those whose addresses are known, and who only show the way."""

    def __init__(self, peers: int, seed: int) -> None:
        self.peers = peers
        self.world = World(seed, peers)
        self.world.ran = self._ran
        self.jobs: list[Program] = []
        self.leaving: dict[int, Draining] = {}  # by the host's number
        self.figures: dict[str, float] = {}
        self._first: list[Host] = []
        self._owners: list[Host] = []
        self._late: list[str] = []  # tasks that were begun by somebody who was to leave

    def run(self) -> None:
        """Play it. Raises :class:`Violation`."""
        self._join()
        self._open()
        self._drain_some()
        self._end()
        self._drain_the_rest()
        self._read()
        self._count()

    # --- acts -------------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        world, chance = self.world, self.world.dice.stream("joining")
        for number in range(WELL_KNOWN):
            known = world.host(f"known-{number}", slots=0, roles=0)
            world.seeds.append(known.address)
            world.start(known)
        for number in range(self.peers):
            host = world.host(f"peer-{number}")
            self._first.append(host)
            world.clock.at(chance.uniform(0.1, JOIN_S), partial(world.start, host))
        world.run(JOIN_S + 5.0)

    def _open(self) -> None:
        """Owners come, each with a job."""
        world, chance = self.world, self.world.dice.stream("deeds")
        count = max(1, round(self.peers * JOBS_PER_PEER))
        self._owners = [world.host(f"owner-{number}", slots=0, roles=0) for number in range(count)]
        for host in self._owners:
            world.start(host)
        self.jobs = [Program(host, f"job-{number}", replicas=REPLICAS) for number, host in enumerate(self._owners)]
        stewards = min(limits.STEWARDS, self.peers)
        self._demand(
            lambda: all(job.stewards_known() >= stewards for job in self.jobs), "the owners know too few peers"
        )
        for job in self.jobs:
            job.open()
            hows = ["large" if chance.random() < 0.1 else "value" for _ in range(TASKS)]
            job.add([Deed(index, round(0.1 + 2.0 * chance.random(), 6), how) for index, how in enumerate(hows)])

    def _drain_some(self) -> None:
        """Most of the first leave while the jobs run; some are told to stay, and to leave again."""
        world, chance = self.world, self.world.dice.stream("draining")
        began = world.clock.now
        for host in chance.sample(self._first, max(1, round(len(self._first) * DRAINED_SHARE))):
            at, patience_s = began + DRAINING_S * chance.random(), chance.choice(PATIENCE_S)
            world.clock.at(at, partial(self._drain, host, patience_s))
            if chance.random() < UNDONE_SHARE:
                world.clock.at(at + 2.0 * chance.random(), partial(self._stay, host))
                world.clock.at(at + 5.0, partial(self._drain, host, patience_s))
        world.run(began + DRAINING_S)

    def _drain(self, host: Host, patience_s: float) -> None:
        """That peer begins to leave, and another joins."""
        if host.peer is None:
            return
        known = self.leaving.get(host.number)
        if known is None:
            known = self.leaving[host.number] = Draining(host)
            self.world.start(self.world.host(f"fresh-{len(self.world.hosts)}"))
        known.begin(patience_s)
        bound_s = patience_s + d.SETTLE_S + 2 * d.HAND_OVER_S + limits.HANDOVER_S + 2.0
        self.world.clock.after(bound_s, partial(self._has_left, known, self.world.clock.now))

    def _stay(self, host: Host) -> None:
        self.figures["told to stay in time"] = self.figures.get("told to stay in time", 0) + (
            host.peer is not None and self.leaving[host.number].undo()
        )

    def _has_left(self, leaving: Draining, since_s: float) -> None:
        if not leaving.over and leaving.since_s == since_s:
            raise Violation(f"{leaving.host.name} has not left: it is {leaving.machine.stage.word}")

    def _end(self) -> None:
        """The jobs end, and their owners go."""
        for job in self.jobs:
            job.close()
        self._demand(lambda: all(job.done for job in self.jobs), "the jobs do not end")
        for host in self._owners:
            host.crash(power=True)

    def _drain_the_rest(self) -> None:
        """Nobody who was there when the jobs began stays."""
        for host in self._first:
            self._drain(host, 10.0)
            self.world.run(self.world.clock.now + APART_S)
        self._demand(lambda: all(host.peer is None for host in self._first), "some of the first have not left")

    def _read(self) -> None:
        """Each job, through a peer that came later."""
        world, chance = self.world, self.world.dice.stream("reading")
        fresh = [host for host in world.alive if host.name.startswith("fresh")]
        lost = []
        for job in self.jobs:
            reader = chance.choice(fresh)
            if not reads_whole(reader, job.owner.public, job.job, TASKS, READ_WAIT_S) or not self._has_blobs(job):
                lost.append(job.name)
        if lost:
            raise Violation(f"the results of {len(lost)} of {len(self.jobs)} jobs are lost, first {lost[0]}")

    def _has_blobs(self, job: Program) -> bool:
        """Whether somebody has each large result."""
        rows = [row for host in self.world.alive for _, row in host.disk.scan("logs", (job.job,))]
        names = {name for header, _ in rows for name in read(pages.SIGNED.decode(header), LogHeader).blobs}
        return all(any(name in host.disk.blobs for host in self.world.alive) for name in names)

    # --- what is demanded -------------------------------------------------------------------------------------------

    def _demand(self, reached: object, what: str) -> None:
        assert callable(reached)
        if not self.world.run(self.world.clock.now + WAIT_S, reached):
            raise Violation(f"{what} within {WAIT_S:g} s")

    def _ran(self, host: Host, owner: bytes, index: int, began: float) -> None:
        leaving = self.leaving.get(host.number)
        if leaving is not None and leaving.since_s is not None and began > leaving.since_s:
            self._late.append(host.name)

    def _count(self) -> None:
        behind: Counter[str] = Counter()
        for leaving in self.leaving.values():
            behind.update(leaving.machine.behind)
        self.figures["peers that left"] = sum(leaving.gone for leaving in self.leaving.values())
        self.figures["tasks stopped, to run elsewhere"] = behind["tasks"]
        self.figures["results left behind"] = behind["results"]
        self.figures["jobs with too few copies elsewhere"] = behind["jobs"]
        if self._late:
            raise Violation(f"{self._late[0]} began a task though it was to leave; so did {len(self._late) - 1} others")

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        world = self.world
        return Report.of(
            world, name, self.peers, seed, verdict, world.checker.checks, tasks=len(self.jobs) * TASKS,
            delivered=sum(len(job.delivered) for job in self.jobs), faults={"drain": len(self.leaving)},
            figures=dict(self.figures),
        )  # fmt: skip
