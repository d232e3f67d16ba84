"""Outliving: jobs end and their owners go; then nearly all peers are replaced bit by bit, and no result is lost.

::

    swarm forms ──> some owners' jobs run and end ──> the owners go ──> peers die without a word, others with empty
    disks take their places ──> each job is read through peers that came after it had ended: every result

Each death costs a disk; nothing comes back. What restores the copies is those who keep a job (``protocol/aftercare``)
at the pace of real peers, and all that is said over sessions after the owners went is theirs, so it can be stated.
Peers probe and compare rumors more rarely than real ones, so deaths are noticed later, which makes it harder.
"""

from __future__ import annotations

from functools import partial

from p2pcpn import limits
from p2pcpn.protocol.setup import Pulse
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.convergence import headers_on
from p2pcpn.sim.host import Host
from p2pcpn.sim.program import Program
from p2pcpn.sim.reading import reads_whole
from p2pcpn.sim.replacing import newcomers, replace
from p2pcpn.sim.report import Report
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.world import World
from p2pcpn.wire.pages import cut

HOURS = 10.0
# Of the peers that stood when the jobs ended.
REPLACED_AN_HOUR = 0.09
JOBS_PER_PEER = 0.6
JOBS_PER_OWNER = 5
TASKS = 24
REPLICAS = 2
WELL_KNOWN = 3
JOIN_S = 10.0
WAIT_S = 120.0
READ_WAIT_S = 120.0
# The last deaths are noticed, waited for and made good.
SETTLE_S = 1800.0
PULSE = Pulse(probe_s=30.0, compare_s=30.0, advert_s=1800.0)


class Play:
    """One run with ``peers`` peers; of those the share ``replaced_an_hour`` is replaced in each of the ``hours``."""

    def __init__(
        self,
        peers: int,
        seed: int,
        *,
        hours: float = HOURS,
        replaced_an_hour: float = REPLACED_AN_HOUR,
        pulse: Pulse = PULSE,
    ) -> None:
        self.peers = peers
        self.hours = hours
        self.share = hours * replaced_an_hour
        self.world = World(seed, peers, pulse=pulse, noted=False)
        self.jobs: list[Program] = []
        self.lost: list[str] = []
        self._replaced = 0
        self.figures: dict[str, float] = {}

    def run(self) -> None:
        """Play it. Raises :class:`Violation` where a result is lost."""
        self._join()
        first = self.world.alive
        self._compute()
        self._replace(first)
        self._read()
        self._count()
        if self.lost:
            raise Violation(f"the results of {len(self.lost)} of {len(self.jobs)} jobs are lost, first {self.lost[0]}")

    # --- acts -------------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        world, chance = self.world, self.world.dice.stream("joining")
        for number in range(self.peers):
            host = world.host(f"peer-{number}")
            if number < WELL_KNOWN:
                world.seeds.append(host.address)
            world.clock.at(chance.uniform(0.0, JOIN_S), partial(world.start, host))
        world.run(JOIN_S + 5.0)

    def _compute(self) -> None:
        """Jobs of owners that come, wait until all results lie where they should, and go."""
        world = self.world
        count = max(1, round(self.peers * JOBS_PER_PEER))
        owners = [world.host(f"owner-{number}", slots=0, roles=0) for number in range(-(-count // JOBS_PER_OWNER))]
        for host in owners:
            world.start(host)
        self.jobs = [
            Program(owners[number // JOBS_PER_OWNER], f"job-{number}", replicas=REPLICAS) for number in range(count)
        ]
        stewards = min(limits.STEWARDS, self.peers)
        self._demand(
            lambda: all(job.stewards_known() >= stewards for job in self.jobs), "the owners know too few peers"
        )
        chance = world.dice.stream("deeds")
        for job in self.jobs:
            job.open()
            hows = ["large" if chance.random() < 0.1 else "value" for _ in range(TASKS)]
            job.add([Deed(index, round(0.2 + chance.random(), 6), how) for index, how in enumerate(hows)])
            job.close()
        self._demand(lambda: all(job.done for job in self.jobs), "the jobs do not end")
        for host in owners:
            host.crash(power=True)

    def _demand(self, reached: object, what: str) -> None:
        assert callable(reached)
        if not self.world.run(self.world.clock.now + WAIT_S, reached):
            raise Violation(f"{what} within {WAIT_S:g} s")

    def _replace(self, first: list[Host]) -> None:
        """That share of the peers die, one after the other, and each time another joins."""
        world, seconds = self.world, self.hours * 3600.0
        mortal = [host for host in first if host.address not in world.seeds]
        victims = replace(world, mortal, round(self.peers * self.share), seconds, self._join_one)
        before = world.sessions.sent_bytes
        world.run(world.clock.now + seconds + SETTLE_S)
        self._replaced = len(victims)
        sent = world.sessions.sent_bytes - before
        kept = sum(self._log_bytes(job) for job in self.jobs)
        self.figures["peers replaced"] = len(victims)
        self.figures["KB of logs and large results"] = round(kept / 1e3, 1)
        self.figures["KB said to keep them"] = round(sent / 1e3, 1)
        self.figures["bytes a peer and second"] = round(sent / seconds / self.peers, 2)

    def _join_one(self, name: str) -> None:
        self.world.start(self.world.host(name))

    def _read(self) -> None:
        """Each job, through a peer that came after it had ended."""
        world = self.world
        chance = world.dice.stream("reading")
        fresh = newcomers(world)
        for job in self.jobs:
            reader = chance.choice(fresh)
            if not reads_whole(reader, job.owner.public, job.job, TASKS, READ_WAIT_S) or not self._has_blobs(job):
                self.lost.append(job.name)
        self.figures["jobs"] = len(self.jobs)
        self.figures["jobs lost"] = len(self.lost)

    # --- who has what ------------------------------------------------------------------------------------------------

    def _keepers(self, job: Program) -> list[Host]:
        """Who lives and has every result of a job on disk, its large ones too."""
        return [host for host in self.world.alive if self._settled(host, job) == TASKS and self._blobs(host, job)]

    @staticmethod
    def _settled(host: Host, job: Program) -> int:
        return len({index for said in headers_on(host, job.job) for index in cut(said.spans)})

    @staticmethod
    def _blobs(host: Host, job: Program) -> bool:
        return all(name in host.disk.blobs for said in headers_on(host, job.job) for name in said.blobs)

    def _has_blobs(self, job: Program) -> bool:
        return bool(self._keepers(job))

    def _log_bytes(self, job: Program) -> int:
        """What one copy of a job's results is, where there is any."""
        for host in self._keepers(job)[:1]:
            rows = [row for _, row in host.disk.scan("logs", (job.job,))]
            names = dict.fromkeys(name for said in headers_on(host, job.job) for name in said.blobs)
            return sum(len(header) + len(body) for header, body in rows) + sum(len(host.disk.blobs[n]) for n in names)
        return 0

    def _count(self) -> None:
        """How many copies there are at the end, and how many of those who kept a job first are left."""
        copies = [len(self._keepers(job)) for job in self.jobs]
        self.figures["copies of a job, mean"] = round(sum(copies) / len(copies), 2)
        self.figures["copies of a job, least"] = min(copies)
        self.figures["jobs with none of their first keepers left"] = sum(
            not any(host.name.startswith("peer") for host in self._keepers(job)) for job in self.jobs
        )
        cares = [host.peer.aftercare for host in self.world.alive if host.peer is not None]
        self.figures["copies restored by those who live"] = sum(care.restored for care in cares)
        self.figures["copies dropped by those who live"] = sum(care.released for care in cares)

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        world = self.world
        return Report.of(
            world, name, self.peers, seed, verdict, world.checker.checks, tasks=len(self.jobs) * TASKS,
            delivered=sum(len(job.delivered) for job in self.jobs),
            faults={"power": self._replaced, "join": self._replaced}, figures=dict(self.figures),
        )  # fmt: skip
