"""Stragglers: many jobs in a swarm whose peers differ in speed, each held against an omniscient scheduler.

``stragglers``: one peer in ten is ten times slower than the others; the same jobs are played with and without hedging.
``unequal``: a peer computes at full, half or quarter speed, and tasks differ by a factor of twenty; beside the time of
each job it is measured how evenly the peers were busy.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from p2pcpn.sim.checker import Violation
from p2pcpn.sim.dice import Dice
from p2pcpn.sim.host import Host
from p2pcpn.sim.network import one_site
from p2pcpn.sim.program import Program
from p2pcpn.sim.report import Report
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.schedules import jain, omniscient_s, quantile
from p2pcpn.sim.world import World

JOIN_S = 3.0
BETWEEN_S = 1.0
PAGE_TASKS = 32
# A job that takes so many times its ideal has come to a stand.
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One scenario: how slow peer ``number`` is, what tasks of a job take on a fast one, and what is promised."""

    jobs: int
    tasks: tuple[float, float]  # of a job, for each slot: from, to
    slowness: Callable[[int], float]
    takes_s: Callable[[random.Random], float]
    ratio: tuple[float, float]  # at most so many times the ideal, for so large a share of all jobs
    jain: float | None
    unhedged: bool  # the same without hedging, too


def _mixed(rng: random.Random) -> float:
    """Short and long tasks, and all between: each tenfold length is as frequent as the next (0.2 to 4 s)."""
    return 0.2 * math.pow(20.0, rng.random())


KINDS = {
    "stragglers": Kind(
        100, (3.0, 6.0), lambda number: 10.0 if number % 10 == 5 else 1.0, lambda rng: rng.uniform(0.5, 1.5),
        (1.5, 0.99), None, True,
    ),
    "unequal": Kind(
        12, (15.0, 40.0), lambda number: (1.0, 2.0, 4.0)[number % 3], _mixed, (1.2, 1.0), 0.95, False,
    ),
}  # fmt: skip


@dataclass(slots=True)
class Played:
    """One job: what it took, what it would have taken at best, and how evenly peers were busy meanwhile."""

    took_s: float
    ideal_s: float
    jain: float
    tasks: int
    runs: int
    hedges: int

    @property
    def ratio(self) -> float:
        return self.took_s / self.ideal_s


class Season:
    """All jobs of a kind, one after the other, in a world of their own."""

    def __init__(self, kind: Kind, peers: int, seed: int, *, hedge: bool) -> None:
        self.kind = kind
        self.hedge = hedge
        self.played: list[Played] = []
        self.programs: list[Program] = []
        self._dice = Dice(seed)
        self.world = World(seed, peers, one_site())
        self.world.ran = self._ran
        self.submitter = self.world.host("submitter", slots=0, roles=0)
        self._runs = 0
        self._busy: dict[int, float] = {}
        for number in range(peers):
            host = self.world.host(f"peer-{number}", slots=1)
            host.load, host.slowness = 0.0, kind.slowness(number)

    def _ran(self, host: Host, owner: bytes, index: int, began: float) -> None:
        self._runs += 1
        self._busy[host.number] = self._busy.get(host.number, 0.0) + host.clock.now - began

    def play(self) -> None:
        """Form the swarm and play all jobs. Raises :class:`Violation`."""
        world = self.world
        hosts = world.hosts[1:]
        world.seeds = [host.address for host in hosts[:3]]
        for number, host in enumerate(hosts):
            world.clock.at(0.01 * number, partial(world.start, host))
        world.clock.at(JOIN_S, partial(world.start, self.submitter))
        world.run(JOIN_S + 1.0)
        for number in range(self.kind.jobs):
            self._job(number, hosts)
            world.run(world.clock.now + BETWEEN_S)
            self.programs[-1].forget()

    def _job(self, number: int, hosts: list[Host]) -> None:
        world, rng = self.world, self._dice.stream("job", number)
        count = int(len(hosts) * rng.uniform(*self.kind.tasks))
        takes_s = [round(self.kind.takes_s(rng), 6) for _ in range(count)]
        ideal_s = omniscient_s(takes_s, [host.slowness for host in hosts])
        self._runs, self._busy = 0, {host.number: 0.0 for host in hosts}
        program = Program(self.submitter, f"job {number}", page_tasks=PAGE_TASKS, hedge=self.hedge)
        self.programs.append(program)
        began = world.clock.now
        program.open()
        program.add([Deed(index, length) for index, length in enumerate(takes_s)])
        program.close()
        if not world.run(began + PATIENCE * ideal_s + 60.0, lambda: program.ended == count):
            raise Violation(f"job {number}: {program.ended} of {count} tasks have ended in {PATIENCE:g} times its time")
        fair = jain(list(self._busy.values()))
        self.played.append(Played(world.clock.now - began, ideal_s, fair, count, self._runs, program.hedges))


class Play:
    """A kind's season, and the same without hedging where that is asked for."""

    def __init__(self, name: str, peers: int, seed: int) -> None:
        self.kind = KINDS[name]
        self.season = Season(self.kind, peers, seed, hedge=True)
        self.unhedged = Season(self.kind, peers, seed, hedge=False) if self.kind.unhedged else None
        self.world = self.season.world

    def run(self) -> None:
        """Play everything. Raises :class:`Violation` for what was promised and is not so."""
        self.season.play()
        if self.unhedged is not None:
            self.unhedged.world.clock.watch = self.world.clock.watch
            self.unhedged.play()
        ratio, share = self.kind.ratio
        found = quantile([played.ratio for played in self.season.played], share)
        if found > ratio:
            raise Violation(f"a job took {found:.3f} times its ideal, {ratio:g} are allowed")
        fair = self._fair(self.season)
        if self.kind.jain is not None and fair < self.kind.jain:
            raise Violation(f"peers were busy by shares whose fairness is {fair:.3f}, {self.kind.jain:g} is promised")

    @staticmethod
    def _fair(season: Season) -> float:
        """Fairness over the season: each job counts."""
        return sum(played.jain for played in season.played) / max(len(season.played), 1)

    def figures(self) -> dict[str, float]:
        """What was measured, by words."""
        found: dict[str, float] = {"jobs": len(self.season.played)}
        for word, season in (("", self.season), (" without hedging", self.unhedged)):
            if season is None or not season.played:
                continue
            ratios = [played.ratio for played in season.played]
            for share, name in ((0.5, "p50"), (0.99, "p99"), (1.0, "longest")):
                found[f"{name} job time by ideal{word}"] = round(quantile(ratios, share), 3)
            found[f"Jain index of busy time{word}"] = round(self._fair(season), 4)
        found["second leases by task"] = (
            round(
                sum(played.hedges for played in self.season.played)
                / sum(played.tasks for played in self.season.played),
                4,
            )
            if self.season.played
            else 0.0
        )
        return found

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        world, programs = self.world, self.season.programs
        return Report.of(
            world, name, len(world.hosts) - 1, seed, verdict, world.checker.checks,
            tasks=sum(len(program.deeds) for program in programs),
            delivered=sum(len(program.delivered) for program in programs),
            lost_tasks=sum(len(program.lost()) for program in programs), figures=self.figures(),
        )  # fmt: skip
