"""Healing: both sides of a partition settle tasks with results of their own, others took those, and then all are one.

Every result differs from place to place. A third of the tasks takes nothing, a third takes one result each, the last
third takes what became of that. The side whose results lose has made more of them than the other.

::

    submitter cut off   with two peers, the stewards without it ──> healed: it resumes its job ──> one consistent set
    stewards parted     the submitter dead, a grantor each side ──> healed: the newest reviews ──> one consistent set
"""

from __future__ import annotations

from typing import Final

from p2pcpn.protocol.canonical import Canon, Stated, stated
from p2pcpn.sim.program import Program
from p2pcpn.sim.reading import read_back
from p2pcpn.sim.report import Report
from p2pcpn.sim.restoring import lines_of
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.takeover import AGREE_S, END_S, SILENT_S, TAKEN_S
from p2pcpn.sim.takeover import Play as Takeover

TASKS: Final = 48
# The first third takes so long that little of it has ended when the sides part; the smaller side has not done with it
# when the other has with the second third.
FIRST_TAKES_S: Final = 10.0
TAKES_S: Final = 4.0
PARTED_S: Final = 25.0
# The record that points to the job has spread.
TOLD_S: Final = 3.0


class Play(Takeover):
    """One run with ``peers`` peers. ``stale`` counts tasks that had taken a result which lost, when all were one."""

    def __init__(self, peers: int, seed: int, tasks: int = TASKS) -> None:
        super().__init__(peers, seed, tasks - tasks % 3)
        self.stale: dict[str, int] = {}

    def run(self) -> None:
        """Play both acts. Raises :class:`Violation`."""
        self._join()
        for act in (self._submitter_cut_off, self._stewards_parted):
            act()
        for program in self.programs:
            read_back(self.world, program.name, program.owner.public, program.job)

    def _deeds(self, name: str) -> list[Deed]:
        third = self.tasks // 3
        first = [Deed(index, FIRST_TAKES_S, Deed.VARIES) for index in range(third)]
        return first + [Deed(index, TAKES_S, Deed.MADE, (index - third,)) for index in range(third, self.tasks)]

    def _submitter_cut_off(self) -> None:
        program = self._begin("submitter cut off")
        stewards = {steward.contact.id for steward in self._spec(program).stewards}
        near = [host for host in self.world.alive if host.roles and host.id not in stewards][:2]
        self.world.network.cut([[program.host.number, *(host.number for host in near)]])
        self._granted(program, program.name, SILENT_S, 1)
        self._heals(program)

    def _stewards_parted(self) -> None:
        program = self._begin("stewards parted")
        keepers = {steward.contact.id for steward in self._spec(program).stewards}
        self.world.run(self.world.clock.now + TOLD_S)
        program.host.crash()
        first = self._granted(program, "submitter killed", TAKEN_S, 1)
        near = [host for host in self.world.alive if host.roles and host.id not in keepers][:2]
        self.world.network.cut([[first.number, *(host.number for host in near)]])
        alone = "the stewards without a grantor take no job over"
        self._demand(2 * SILENT_S, lambda: "" if len(self._grantors(program)) > 1 else alone, program.name)
        self._heals(program)

    def _heals(self, program: Program) -> None:
        """Both sides go on for a while; then all is one, and so are the results."""
        self.world.run(self.world.clock.now + PARTED_S)
        self.world.network.heal()
        self.world.sessions.heal()
        self.stale[program.name] = len(self._canon(program).stale)
        self._demand(AGREE_S, lambda: self._not_one(program), program.name)
        self._demand(END_S, lambda: self._unsettled(program), program.name)

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        found = super().report(name, seed, verdict)
        found.figures.update({f"{act}: took what lost": float(count) for act, count in self.stale.items()})
        return found

    def _unsettled(self, program: Program) -> str:
        canon = self._canon(program)
        missing = set(range(self.tasks)) - set(canon.results)
        return f"{len(missing)} tasks have no result that counts, the first is {min(missing)}" if missing else ""

    def _canon(self, program: Program) -> Canon[Stated]:
        """What counts of all that lies on disks of the living."""
        found: Canon[Stated] = Canon()
        for host in self.world.alive:
            for line in lines_of(host.disk, program.job):
                for each in stated(*line):
                    found.add(each)
        found.settle()
        return found
