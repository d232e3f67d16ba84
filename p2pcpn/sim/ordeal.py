"""The ordeal: programs compute while everything goes wrong at once; then all heals, and nothing may be lost.

Beside what churn does, processes stand still for up to a minute, computers are lost with their disks, wall clocks are
wrong by minutes and monotonic ones drift. A program says all its tasks and closes its job before; then its computer may
stand still or be lost, and stewards take the job over. A program whose node granted to the end must have all results,
on as many disks as were promised; of every job readers through three peers must see one and the same result of each
task that nobody gave up.

::

    join ──> jobs said and closed, kept by stewards ──> faults ──> heal ──> jobs end ──> read back ──> verdict on all
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from p2pcpn import limits
from p2pcpn.protocol.history import Failed, indices
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.convergence import copies_wrong, job_wrong, settled_on_disks
from p2pcpn.sim.faults import HARDER, Faults
from p2pcpn.sim.host import Host
from p2pcpn.sim.network import Weather
from p2pcpn.sim.program import REPLICAS, Program
from p2pcpn.sim.reading import read_back
from p2pcpn.sim.report import Report
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.world import PEER_ROLES, World

PROGRAMS = 3
WELL_KNOWN = 3
JOIN_S = 3.0
JOIN_WAIT_S = 60.0
# For how long faults come, by chance: most seeds are short, so that many are played; in a long one a pause of a minute
# has room. (seconds, share of the seeds)
SPANS: tuple[tuple[float, float], ...] = ((6.0, 0.8), (20.0, 0.17), (60.0, 0.03))
# This share of the seeds loses the computer of one program for good.
BEREFT_SHARE = 0.4
KEPT_WAIT_S = 30.0
# Tasks of each program. The longest take so much of the time of faults that their leases live through some.
TASKS = 60
TAKES_SHARE = 0.4
# Two clocks differ by ten minutes at most, which records tolerate; quartz drifts by a ten-thousandth.
SKEW_S = 290.0
DRIFT = 1e-4
CALM = Weather(0.02, 0.005, 0.005)
# Leases of the silent end after 30 s, and their tasks run again; lost holders are replaced.
HEAL_WAIT_S = 240.0


class Play:
    """One run with ``peers`` peers, all from ``seed``."""

    def __init__(self, peers: int, seed: int) -> None:
        self.peers = peers
        self.world = World(seed, peers)
        self.chance = self.world.dice.stream("ordeal")
        spans, shares = zip(*SPANS, strict=True)
        self.faults_s: float = self.chance.choices(spans, shares)[0]
        self.submitters = [self.host(f"submitter-{number}", submits=True) for number in range(PROGRAMS)]
        self.programs = [Program(host, f"job-{number}") for number, host in enumerate(self.submitters)]
        self.hosts = [self.host(f"peer-{number}") for number in range(peers)]
        self.world.seeds = [host.address for host in self.hosts[:WELL_KNOWN]]
        spared = [*self.submitters, self.hosts[0]]
        self.faults = Faults(self.world, HARDER, CALM, spared=spared, all_on=False)
        self.faults.make = self.host

    def host(self, name: str, *, submits: bool = False) -> Host:
        """A computer whose clocks are its own."""
        clocks = self.world.dice.stream("clocks", name)
        rate = 1.0 + clocks.uniform(-DRIFT, DRIFT)
        if submits:
            host = self.world.host(name, slots=0, roles=0, rate=rate)
        else:
            host = self.world.host(name, roles=PEER_ROLES, rate=rate)
        host.skew_s = clocks.uniform(-SKEW_S, SKEW_S)
        return host

    def run(self) -> None:
        """Play all acts. Raises :class:`Violation`."""
        self._join()
        for program in self.programs:
            program.open()
            program.add([self._deed(index) for index in range(TASKS)])
            program.close()
        if not self.world.run(self.world.clock.now + KEPT_WAIT_S, self._kept):
            raise Violation(f"no steward keeps a whole job within {KEPT_WAIT_S:g} s")
        self.faults.begin()
        if self.chance.random() < BEREFT_SHARE:
            wait_s = self.chance.uniform(0.0, self.faults_s)
            self.world.clock.after(wait_s, partial(self.faults.lose, self.chance.choice(self.submitters)))
        self.world.run(self.world.clock.now + self.faults_s)
        self.faults.heal()
        for program in self.programs:
            self._demand(HEAL_WAIT_S, partial(self._open, program), program.name)
            if self._granted_here(program) and (what := copies_wrong(self.world, program)):
                raise Violation(f"{program.name}: {what}")
        for program in self.programs:
            read_back(self.world, program.name, program.owner.public, program.job)

    def _kept(self) -> bool:
        """Whether of each job as many stewards as results have replicas hold everything."""
        wanted = min(REPLICAS, limits.STEWARDS, self.peers)
        return all(p.kept is not None and p.kept.tasks == TASKS and p.kept.whole >= wanted for p in self.programs)

    def _granted_here(self, program: Program) -> bool:
        """Whether the program's own node granted the job to its end."""
        peer = program.host.peer
        grantor = None if peer is None else peer.grantors.get(program.job)
        return grantor is not None and grantor.granting and grantor.epoch == 0

    def _open(self, program: Program) -> str:
        """What of a job is open still: its own node knows, or whoever may read it."""
        if self._granted_here(program):
            return job_wrong(program)
        ended = self._ended(program)
        left = [deed.index for deed in program.deeds if deed.index not in ended]
        return f"{len(left)} of {len(program.deeds)} tasks are not settled, the first is {left[0]}" if left else ""

    def _ended(self, program: Program) -> set[int]:
        """What lies settled on the disk of a peer that lives, and what grantors gave up, of all epochs.

        A grantor may die between a settlement and the segment of its log that says so: then its successor has the task
        run again, and no reader can see a result before.
        """
        noted = self.world.history
        assert noted is not None
        ended = settled_on_disks(self.world, program.job)
        for line in noted:
            if isinstance(line.event, Failed) and line.event.job == program.job.hex():
                ended.update(indices(line.event.spans))
        return ended

    def _join(self) -> None:
        world = self.world
        world.network.weather = Weather(CALM.loss, CALM.doubled, CALM.jitter_s)
        for number, host in enumerate([*self.hosts, *self.submitters]):
            at = 0.0 if number < WELL_KNOWN else self.chance.uniform(0.1, JOIN_S)
            world.clock.at(at, partial(world.start, host))
        world.run(JOIN_S)
        wanted = min(limits.STEWARDS, self.peers)
        if not world.run(JOIN_S + JOIN_WAIT_S, lambda: self._known() >= wanted):
            raise Violation(f"a submitter knows {self._known()} storage peers, not {wanted}")

    def _known(self) -> int:
        return min(program.stewards_known() for program in self.programs)

    def _deed(self, index: int) -> Deed:
        length, how = self.chance.random(), self.chance.random()
        word = "poison" if how < 0.01 else "raises" if how < 0.04 else "large" if how < 0.08 else "value"
        return Deed(index, round(TAKES_SHARE * self.faults_s * length**3, 6), word)

    def _demand(self, wait_s: float, wrong: Callable[[], str], name: str) -> None:
        """Let the world go on until nothing is ``wrong``."""
        end = self.world.clock.now + wait_s
        while what := wrong():
            if self.world.clock.now >= end:
                raise Violation(f"{name}: {what}, {wait_s:g} s after the faults ended")
            self.world.run(min(end, self.world.clock.now + 0.5))

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        return Report.of(
            self.world, name, self.peers, seed, verdict, self.world.checker.checks,
            tasks=sum(len(program.deeds) for program in self.programs),
            delivered=sum(len(program.delivered) for program in self.programs),
            lost_tasks=sum(len(self._lost(program)) for program in self.programs), faults=dict(self.faults.counts),
        )  # fmt: skip

    def _lost(self, program: Program) -> list[int]:
        """Tasks that ended nowhere."""
        if self._granted_here(program):
            return program.lost()
        ended = self._ended(program)
        return [deed.index for deed in program.deeds if deed.index not in ended]
