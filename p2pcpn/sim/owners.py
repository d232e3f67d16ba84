"""Owners: ten tasks of one beside a flood of another's, two floods beside each other; one is paused, then cancelled.

The swarm is that of ``lengths``: peers of several sizes and speeds. What must hold: the ten take hardly longer than
alone with half of the swarm; two owners with work for all slots get equal time of them; a paused job runs nowhere once
what it had begun has ended, and a cancelled one a moment later; neither holds a lease then, and their slots are the
other owner's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from p2pcpn.protocol.effects import Effect
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.sim import lengths
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.host import Host
from p2pcpn.sim.program import Program
from p2pcpn.sim.report import Report
from p2pcpn.sim.runtime import Deed
from p2pcpn.wire.statements import Cancel, Pause, signed

FLOOD: Final = 20_000
FLOOD_EACH: Final = 400  # what a peer can run of it in the time
FEW: Final = 10
TASK_S: Final = 0.2
# The flood is everywhere by then, and two floods have shared the slots for long enough to be compared.
FILL_S: Final = 3.0
SHARED_S: Final = 20.0
# Half of the swarm, the end of whatever runs at the slowest peer, and the moments before a busy peer claims.
STRETCH: Final = 2.0
GRACE_S: Final = 1.0
UNFAIR_MAX: Final = 1.15
# A word to each peer and a process killed.
STOP_S: Final = 1.0
PAGE_TASKS: Final = 256


class Play(lengths.Play):
    """See the module."""

    def __init__(self, peers: int, seed: int, flood: int = FLOOD) -> None:
        super().__init__(peers, seed, {}, ())
        self.flood = max(flood, FLOOD_EACH * peers)
        self.cancelled: list[Program] = []
        self.figures: dict[str, float] = {}

    def run(self) -> None:
        """Play all of it. Raises :class:`Violation`."""
        self.form()
        one, other = self.submitters
        alone_s = self._few(other, "alone")
        many = self._begin(one, "many", self.flood)
        self.world.run(self.world.clock.now + FILL_S)
        beside_s = self._few(other, "beside")
        self.figures |= {"ten alone, s": round(alone_s, 3), "ten beside, s": round(beside_s, 3)}
        self._require_flood(many)
        if beside_s > STRETCH * alone_s + max(lengths.SLOWNESS) * TASK_S + GRACE_S:
            raise Violation(f"ten tasks took {beside_s:.3f} s beside {self.flood}, and {alone_s:.3f} s alone")
        more = self._begin(other, "more", self.flood)
        self.world.run(self.world.clock.now + FILL_S)
        self._shared(many, more)
        self._pause(many, more)
        self._cancel(many, more)
        self._cancel(more, None)

    def _begin(self, host: Host, name: str, count: int) -> Program:
        program = Program(host, name, page_tasks=PAGE_TASKS)
        self.programs.append(program)
        program.open()
        for first in range(0, count, 4096):
            program.add([Deed(index, TASK_S) for index in range(first, min(first + 4096, count))])
        program.close()
        return program

    def _few(self, host: Host, name: str) -> float:
        """How long ten tasks take now."""
        began = self.world.clock.now
        program = self._begin(host, name, FEW)
        self.world.run(began + 600.0, lambda: program.ended == FEW)
        return self.world.clock.now - began

    def _require_flood(self, program: Program) -> None:
        if program.ended > self.flood * 0.9:
            raise Violation("the flood is over before anything was measured: it is too small for so many slots")

    def _shared(self, many: Program, more: Program) -> None:
        """Two owners with work for all slots get equal time of them."""
        self._ran.clear()
        self.world.run(self.world.clock.now + SHARED_S)
        self._require_flood(many)
        used = {
            program.owner.public: sum(run.ended - run.began for run in self._ran if run.owner == program.owner.public)
            for program in (many, more)
        }
        ratio = max(used.values()) / max(min(used.values()), 1e-9)
        self.figures["slot time of two owners, ratio"] = round(ratio, 3)
        if ratio > UNFAIR_MAX:
            raise Violation(f"of two owners with equal rights one got {ratio:.2f} times the slot time of the other")

    def _pause(self, program: Program, other: Program) -> None:
        """A paused job waits when what it had begun has ended, and goes on as soon as it may."""
        for number, paused in ((1, True), (2, False)):
            statement = signed(Pause(program.job, number, paused), program.owner)
            self._order(program, lambda grantor, said=statement: grantor.pause_job(said, self.world.clock.now))  # type: ignore[misc]
            self.world.run(self.world.clock.now + STOP_S + max(lengths.SLOWNESS) * TASK_S)
            works = [host.peer.worker.works.get(program.job) for host in self.world.alive if host.peer is not None]
            if paused:
                self._require_stopped(program, other)
            elif not any(work is not None and work.running for work in works):
                raise Violation("a job that was paused does not go on")

    def _order(self, program: Program, act: Callable[[Grantor], list[Effect]]) -> None:
        peer = program.host.peer
        assert peer is not None
        program.host.follow(peer.with_grantor(program.job, act, self.world.clock.now))

    def _cancel(self, program: Program, other: Program | None) -> None:
        """A moment after its cancel a job runs nowhere and holds nothing; whoever else has work has the slots."""
        self.cancelled.append(program)
        statement = signed(Cancel(program.job, program.host.wall()), program.owner)
        self._order(program, lambda grantor: grantor.cancel_job(statement, self.world.clock.now))
        self.world.run(self.world.clock.now + STOP_S)
        self._require_stopped(program, other)

    def _require_stopped(self, program: Program, other: Program | None) -> None:
        assert program.host.peer is not None
        if program.host.peer.grantors[program.job].leases:
            raise Violation("a job that was stopped still holds leases")
        for host in self.world.alive:
            self._has_stopped(host, program, other)

    @staticmethod
    def _has_stopped(host: Host, program: Program, other: Program | None) -> None:
        assert host.peer is not None
        worker = host.peer.worker
        work = worker.works.get(program.job)
        if work is not None and (work.running or work.queued or work.leases):
            raise Violation(f"{host.name} still works for a job that was stopped")
        beside = None if other is None else worker.works.get(other.job)
        if beside is not None and beside.queued and worker.running < host.slots:
            raise Violation(f"{host.name} leaves slots of a stopped job idle, while another's tasks wait")

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        world = self.world
        kept = [program for program in self.programs if program not in self.cancelled]
        return Report.of(
            world, name, self.peers, seed, verdict, world.checker.checks,
            tasks=sum(len(program.deeds) for program in self.programs),
            delivered=sum(len(program.delivered) for program in self.programs),
            lost_tasks=sum(len(program.lost()) for program in kept if verdict == "ok"), figures=self.figures,
        )  # fmt: skip
