"""Takeover: whoever grants a job dies, stands still or is cut off, and the job goes on, or waits where it is to wait.

::

    killed       submitter dies at a third ──> a steward grants, dies at two thirds ──> the next one grants ──> the end
    asleep       submitter stands still    ──> a steward grants ──> it wakes, steps down ──> the end
    cut off      submitter and two peers   ──> both sides grant ──> healed: one grants     ──> the end
    centralised  submitter dies            ──> nobody grants
    lots         a steward dies at a third ──> another grants its lot, all is told to the submitter ──> the end
    forsaken     submitter dies at a third, a steward at two thirds ──> the others grant            ──> the end
    divided      submitter divides its job, dies at a third, a steward at two thirds ──> the others grant   ──> the end
    dozing       submitter divides its job, stands still ──> its stewards grant all ──> it wakes, is told   ──> the end
    half way     submitter dies when one steward has its last tasks ──> all stewards have them      ──> the end
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from p2pcpn import limits
from p2pcpn.protocol.authority import DISTRIBUTED
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.convergence import settled_on_disks
from p2pcpn.sim.host import Host
from p2pcpn.sim.program import Program
from p2pcpn.sim.reading import read_back
from p2pcpn.sim.report import Report
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.world import World
from p2pcpn.wire.statements import Spec

TASKS: Final = 120
TAKES_S: Final = 1.0
PAGE_TASKS: Final = 8
JOIN_S: Final = 3.0
JOIN_WAIT_S: Final = 30.0
# A greeting, a comparison and a lookup, and the greetings of who was named in it.
KNOWN_WAIT_S: Final = 3.0
WELL_KNOWN: Final = 2
# From a death to the next grantor: a session that is lost, two probes, a turn for each that died with it.
TAKEN_S: Final = 12.0
# Silence of somebody who looks alive, and a probe; behind a partition membership is in doubt about others, too.
SILENT_S: Final = 30.0
END_S: Final = 400.0
AGREE_S: Final = 60.0
# A message in which a steward says how many tasks it knows of, a second's wait, and a segment.
SPREAD_S: Final = 6.0
# For so long nobody takes over what nobody may.
UNTAKEN_S: Final = 60.0
# One peer is too many for the submitter of a job that is to be divided.
DIVIDED_PEERS: Final = 1


class Play:
    """One run with ``peers`` peers. ``took_s`` is from each loss to the next grantor, ``spread_s`` until all stewards
    knew of tasks that one had; ``untaken_s`` is for how long a job that nobody may take over is watched."""

    def __init__(self, peers: int, seed: int, tasks: int = TASKS, *, untaken_s: float = UNTAKEN_S) -> None:
        self.peers = peers
        self.tasks = tasks
        self.untaken_s = untaken_s
        self.world = World(seed, peers)
        self.hosts = [self.world.host(f"peer-{number}") for number in range(peers)]
        self.world.seeds = [host.address for host in self.hosts[:WELL_KNOWN]]
        self.programs: list[Program] = []
        self.took_s: dict[str, float] = {}
        self.spread_s = 0.0

    def run(self) -> None:
        """Play all acts. Raises :class:`Violation`."""
        self._join()
        for act in (
            self._killed, self._asleep, self._cut_off, self._lots, self._forsaken, self._divided, self._dozing,
        ):  # fmt: skip
            act()
        self._half_way()
        self._centralised()
        for program in self.programs[:-1]:
            read_back(self.world, program.name, program.owner.public, program.job)

    def _join(self) -> None:
        world, chance = self.world, self.world.dice.stream("joining")
        for host in self.hosts:
            world.clock.at(chance.uniform(0.0, JOIN_S), partial(world.start, host))
        world.run(JOIN_S + 5.0)

    # --- acts --------------------------------------------------------------------------------------------------------

    def _begin(
        self, name: str, orchestration: str = "hybrid", *, later: int = 0, peers_max: int = limits.GRANTOR_PEERS
    ) -> Program:
        """A submitter of its own, and its job, less ``later`` tasks, with which it is still to come. With more than
        ``peers_max`` peers it divides the job."""
        world = self.world
        there = [host for host in self.hosts if host.peer is not None]  # earlier acts have killed some
        world.seeds = [host.address for host in there[:WELL_KNOWN]]
        host = world.host(f"submitter-{name}", slots=0, roles=0)
        world.start(host)
        program = Program(host, name, page_tasks=PAGE_TASKS, orchestration=orchestration, peers_max=peers_max)
        stewards = min(limits.STEWARDS, len(there))
        living = {host.id for host in there}  # a job whose stewards had all died before would be known to nobody
        if not world.run(
            world.clock.now + KNOWN_WAIT_S,
            lambda: program.stewards_known() >= stewards and not living.isdisjoint(program.stewards_now()),
        ):
            raise Violation(f"the submitter knows {program.stewards_known()} storage peers, not {stewards}")
        self.programs.append(program)
        program.open()
        program.add(self._deeds(name)[: self.tasks - later])
        if (
            orchestration != "centralised" and not later
        ):  # what nobody ends is not closed: a closed job has to come to an end
            program.close()
        self._demand(JOIN_WAIT_S, lambda: "" if program.kept and program.kept.whole else "no steward has the job", name)
        return program

    def _deeds(self, name: str) -> list[Deed]:
        chance = self.world.dice.stream("deeds", name)
        takes_s = [TAKES_S * (0.2 + chance.random()) for _ in range(self.tasks)]
        return [Deed(index, round(took, 6)) for index, took in enumerate(takes_s)]

    def _killed(self) -> None:
        program = self._begin("killed")
        self._until_settled(program, self.tasks // 3)
        program.host.crash(power=True)
        first = self._granted(program, "submitter killed", TAKEN_S, 1)
        self._until_settled(program, 2 * self.tasks // 3)
        grantor = self._grantor(first, program)
        if grantor.ledger.open:  # what has ended nobody need take over
            first.crash()
            self._granted(program, "its successor killed", TAKEN_S, grantor.epoch + 1)
        self._ends(program)

    def _asleep(self) -> None:
        program = self._begin("asleep")
        self._until_settled(program, self.tasks // 4)
        self.world.network.cut([[program.host.number]])
        program.host.sleep()
        self._granted(program, "submitter asleep", SILENT_S, 1)
        self._until_settled(program, self.tasks // 2)
        self.world.network.heal()
        self.world.sessions.heal()
        program.host.wake()
        self._demand(AGREE_S, lambda: self._not_one(program), program.name)
        if self._grants(program.host, program):
            raise Violation("a submitter that slept goes on as if nobody had taken its job over")
        self._ends(program)

    def _cut_off(self) -> None:
        program = self._begin("cut off")
        self._until_settled(program, self.tasks // 4)
        stewards = {steward.contact.id for steward in self._spec(program).stewards}
        near = [host for host in self.world.alive if host.roles and host.id not in stewards][:2]
        self.world.network.cut([[program.host.number, *(host.number for host in near)]])
        self._granted(program, "submitter cut off", SILENT_S, 1)
        self.world.run(self.world.clock.now + 5.0)
        if not self._grants(program.host, program):
            raise Violation("who was cut off from its stewards grants no more, though nobody could tell it to")
        self.world.network.heal()
        self.world.sessions.heal()
        self._demand(AGREE_S, lambda: self._not_one(program), program.name)
        self._ends(program)

    def _lots(self) -> None:
        """The submitter of a distributed job lives; a steward's computer loses its power."""
        program = self._begin("lots", "distributed")
        self._until_settled(program, self.tasks // 3)
        self._steward_dies(program, "a steward of lots killed")
        self._ends(program)
        self._demand(
            AGREE_S, lambda: "" if program.ended == self.tasks else "its program was not told all", program.name
        )

    def _forsaken(self) -> None:
        """The submitter of a distributed job dies, and a steward after it."""
        program = self._begin("forsaken", "distributed")
        self._until_settled(program, self.tasks // 3)
        program.host.crash(power=True)
        self._until_settled(program, 2 * self.tasks // 3)
        self._steward_dies(program, "forsaken, a steward killed")
        self._ends(program)

    def _half_way(self) -> None:
        """The submitter of a distributed job is cut off from all its stewards but one, brings that one more tasks, and
        dies: they are granted by all."""
        name, later = "half way", self.tasks // 2
        program = self._begin(name, DISTRIBUTED, later=later)
        stewards = {steward.contact.id for steward in self._spec(program).stewards}
        keepers = [host for host in self.world.alive if host.id in stewards]
        self._until_settled(program, self.tasks // 4)
        self.world.network.cut([[program.host.number, keepers[0].number]])
        program.add(self._deeds(name)[self.tasks - later :])
        self.world.run(self.world.clock.now + 0.5)
        program.host.crash(power=True)
        had = [self._tasks_at(host, program) for host in keepers]
        if had != [self.tasks] + [self.tasks - later] * (len(keepers) - 1):
            raise Violation(f"{name}: the stewards have {had} tasks, and it was to be one that has all")
        self.world.network.heal()
        self.world.sessions.heal()
        began = self.world.clock.now

        def lacking() -> str:
            fewest = min(self._tasks_at(host, program) for host in keepers)
            return f"a steward knows of {fewest} tasks" if fewest < self.tasks else ""

        self._demand(SPREAD_S, lacking, name)
        self.spread_s = self.world.clock.now - began
        self._ends(program)

    @staticmethod
    def _tasks_at(host: Host, program: Program) -> int:
        kept = None if host.peer is None else host.peer.steward.jobs.get(program.job)
        return 0 if kept is None else kept.tasks

    def _divided(self) -> None:
        """The submitter of a divided job dies, which granted its stem, and a steward after it."""
        program = self._begin_divided("divided")
        self._until_settled(program, self.tasks // 3)
        program.host.crash(power=True)
        self._until_settled(program, 2 * self.tasks // 3)
        self._steward_dies(program, "divided, a steward killed")
        self._ends(program)

    def _dozing(self) -> None:
        """The submitter of a divided job stands still; nobody waits for it, and it takes nothing back."""
        program = self._begin_divided("dozing")
        self._until_settled(program, self.tasks // 4)
        self.world.network.cut([[program.host.number]])
        program.host.sleep()
        self._until_settled(program, self.tasks)
        self.world.network.heal()
        self.world.sessions.heal()
        program.host.wake()
        self._ends(program)
        self._demand(
            AGREE_S, lambda: "" if program.ended == self.tasks else "its program was not told all", program.name
        )

    def _begin_divided(self, name: str) -> Program:
        program = self._begin(name, peers_max=DIVIDED_PEERS)

        def wrong() -> str:
            lots = {grantor.book.lot for host in self.world.alive for grantor in self._lots_at(host, program)}
            return "" if program.is_divided and len(lots) > 1 else "nobody divides it"

        self._demand(JOIN_WAIT_S, wrong, program.name)
        return program

    def _steward_dies(self, program: Program, loss: str) -> None:
        """Who grants most of what is open; another grants it soon. Where all has ended meanwhile nobody need."""

        def granting() -> list[tuple[Host, Grantor]]:
            found = [(host, grantor) for host in self.world.alive for grantor in self._lots_at(host, program)]
            return [each for each in found if each[1].ledger.open]

        def over() -> bool:
            return len(self._settled(program)) == self.tasks

        self._demand(TAKEN_S, lambda: "" if granting() or over() else "nobody grants what is open", program.name)
        if not granting():
            return
        victim, lost = max(granting(), key=lambda each: (each[1].ledger.open, each[1].epoch))
        lot, epoch = lost.book.lot, lost.epoch
        victim.crash(power=True)
        began = self.world.clock.now

        def heir() -> bool:
            grantors = [grantor for host in self.world.alive for grantor in self._lots_at(host, program)]
            return any(grantor.book.lot == lot and grantor.epoch > epoch for grantor in grantors)

        self._demand(TAKEN_S, lambda: "" if heir() else f"{loss}: nobody takes its lot over", program.name)
        self.took_s[loss] = self.world.clock.now - began

    @staticmethod
    def _lots_at(host: Host, program: Program) -> list[Grantor]:
        granted = [] if host.peer is None else host.peer.jobs.granted.of(program.job)
        return [grantor for grantor in granted if grantor.granting]

    def _centralised(self) -> None:
        program = self._begin("centralised", "centralised")
        self._until_settled(program, self.tasks // 4)
        program.host.crash(power=True)
        self.world.run(self.world.clock.now + self.untaken_s)
        if self._grantors(program):
            raise Violation("a job that nobody may take over was taken over")

    # --- what is demanded --------------------------------------------------------------------------------------------

    def _demand(self, wait_s: float, wrong: Callable[[], str], act: str) -> None:
        end = self.world.clock.now + wait_s
        while what := wrong():
            if self.world.clock.now >= end:
                raise Violation(f"{act}: {what}, {wait_s:g} s later")
            self.world.run(min(end, self.world.clock.now + 0.25))

    def _until_settled(self, program: Program, count: int) -> None:
        self._demand(END_S, lambda: "" if len(self._settled(program)) >= count else "it does not get on", program.name)

    def _granted(self, program: Program, loss: str, wait_s: float, epoch: int) -> Host:
        """Another host than the submitter grants in ``epoch`` or later, soon."""
        began = self.world.clock.now

        def heirs() -> list[Host]:
            found = [host for host in self._grantors(program) if host is not program.host]
            return [host for host in found if self._grantor(host, program).epoch >= epoch]

        self._demand(wait_s, lambda: "" if heirs() else f"{loss}: nobody takes the job over", program.name)
        self.took_s[loss] = self.world.clock.now - began
        return heirs()[0]

    def _ends(self, program: Program) -> None:
        """All tasks are settled, in logs that lie on disks of the living."""
        everything = set(range(self.tasks))

        def wrong() -> str:
            missing = everything - self._settled(program)
            return f"{len(missing)} tasks are not settled, the first is {min(missing)}" if missing else ""

        self._demand(END_S, wrong, program.name)
        self._demand(AGREE_S, lambda: self._not_one(program), program.name)

    def _not_one(self, program: Program) -> str:
        """One host grants the job or each lot of it, and the stewards that live know of its epoch."""
        if program.orchestration == DISTRIBUTED or program.is_divided:
            return self._not_one_each(program)
        grantors = self._grantors(program)
        if len(grantors) != 1:
            return f"{len(grantors)} hosts grant the job"
        epoch = self._grantor(grantors[0], program).epoch
        for host in self.world.alive:
            assert host.peer is not None
            kept = host.peer.steward.jobs.get(program.job)
            if kept is not None and kept.authority.epoch != epoch:
                return f"{host.name} knows of epoch {kept.authority.epoch}, {grantors[0].name} grants in {epoch}"
        return ""

    def _not_one_each(self, program: Program) -> str:
        epochs: dict[int, int] = {}
        for host in self.world.alive:
            for grantor in self._lots_at(host, program):
                if grantor.book.lot in epochs:
                    return f"two hosts grant lot {grantor.book.lot}"
                epochs[grantor.book.lot] = grantor.epoch
        for host in self.world.alive:
            assert host.peer is not None
            kept = host.peer.steward.jobs.get(program.job)
            for tenure in [] if kept is None else kept.authority.tenures:
                if tenure.lot in epochs and tenure.epoch != epochs[tenure.lot]:
                    return (
                        f"{host.name} knows of epoch {tenure.epoch} of a lot, which is granted in {epochs[tenure.lot]}"
                    )
        return ""

    # --- small facts -------------------------------------------------------------------------------------------------

    @staticmethod
    def _grants(host: Host, program: Program) -> bool:
        grantor = None if host.peer is None else host.peer.grantors.get(program.job)
        return grantor is not None and grantor.granting

    def _grantors(self, program: Program) -> list[Host]:
        return [host for host in self.world.alive if self._grants(host, program)]

    @staticmethod
    def _grantor(host: Host, program: Program) -> Grantor:
        assert host.peer is not None
        return host.peer.grantors[program.job]

    @staticmethod
    def _spec(program: Program) -> Spec:
        assert program.host.peer is not None
        return program.host.peer.grantors[program.job].spec

    def _settled(self, program: Program) -> set[int]:
        """What logs on disks of living hosts settle."""
        return settled_on_disks(self.world, program.job)

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        world = self.world
        figures = {f"{loss} to its successor, s": round(took_s, 2) for loss, took_s in self.took_s.items()}
        figures["one steward's tasks to all, s"] = round(self.spread_s, 2)
        return Report.of(world, name, self.peers, seed, verdict, world.checker.checks, figures=figures)
