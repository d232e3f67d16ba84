"""An hour of a swarm: peers at their real pace, a job each minute, and one peer in ten replaced while it lasts.

Nothing is left out or slowed down that a real peer sends; of what it computes, 15 of 16 key exchanges are spared, and
as many checks of signatures. Where there are ``WARM_PEERS`` or more, the first
peers stand there at its beginning as if they had come together long ago (:mod:`p2pcpn.sim.warm`); fewer join first, one
by one. The submitters, and whoever comes later, join by the way of all. Each minute one of the submitters opens a job.
Meanwhile peers die without a word, evenly, and others with fresh identities take their places. What must hold: every
task of every job ends well, and its result lies on enough holders.
"""

from __future__ import annotations

from functools import partial

from p2pcpn.identity.keys import SAMPLED
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.convergence import job_wrong
from p2pcpn.sim.host import Host
from p2pcpn.sim.large_pages import ask_for_large_pages
from p2pcpn.sim.program import Program
from p2pcpn.sim.replacing import replace
from p2pcpn.sim.report import Report
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.tally import Tally
from p2pcpn.sim.warm import together
from p2pcpn.sim.world import World

WELL_KNOWN = 3
SUBMITTERS = 4
# A peer joins in so much of virtual time each: ten thousand of them in 50 s.
JOIN_S = 0.005
SETTLE_S = 20.0
# So many are not simulated coming together, which costs as much as an hour of them.
WARM_PEERS = 100
# A history of ten thousand peers would be a gigabyte.
HISTORY_PEERS_MAX = 1000
HOUR_S = 3600.0
REPLACED = 0.1
JOB_EACH_S = 60.0
# A job has a task for so many of the peers; the largest is what one segment and its logs hold well.
PEERS_A_TASK = 10
TASKS_MIN, TASKS_MAX = 20, 2000
TAKES_S = (0.5, 5.0)
PAGES_EACH_S = 600.0
# The last job begins a minute before the end; what it waits for may take as long again.
END_S = 120.0


class Play:
    """One run with ``peers`` peers beside the submitters, for ``seconds`` of virtual time after they have joined."""

    def __init__(self, peers: int, seed: int, *, seconds: float = HOUR_S, replaced: float = REPLACED) -> None:
        self.peers = peers
        self.seconds = seconds
        self.world = World(seed, peers, noted=peers <= HISTORY_PEERS_MAX, exchanging=SAMPLED)
        self.tally = Tally()
        self.programs: list[Program] = []
        self.took_s: list[float] = []
        self.figures: dict[str, float] = {}
        self._replaced = round(peers * replaced)
        self._submitters: list[Host] = []

    def run(self) -> None:
        """Play it. Raises :class:`Violation` where a task is lost or a job does not end."""
        first = self._form()
        world = self.world
        began, events, sent = world.clock.now, world.clock.events, world.network.sent
        self._turn_over(first)
        for number in range(max(1, int(self.seconds / JOB_EACH_S))):
            world.clock.at(began + number * JOB_EACH_S, partial(self._submit, number))
        while world.clock.now < began + self.seconds:
            world.run(min(began + self.seconds, world.clock.now + PAGES_EACH_S))
            self._large_pages()
        peer_seconds = self.seconds * len(world.alive)
        self.figures["events"] = world.clock.events - events
        self.figures["events a peer and second"] = round((world.clock.events - events) / peer_seconds, 3)
        self.figures["datagrams a peer and second"] = round((world.network.sent - sent) / peer_seconds, 3)
        self._end_well()

    def _form(self) -> list[Host]:
        world = self.world
        hosts = [world.host(f"peer-{number}") for number in range(self.peers)]
        world.seeds = [host.address for host in hosts[:WELL_KNOWN]]
        self._submitters = [world.host(f"submitter-{number}", slots=0, roles=0) for number in range(SUBMITTERS)]
        warm = hosts if self.peers >= WARM_PEERS else []
        if warm:
            together(world, warm)
            for host in warm:
                self._watch(host)
        self._large_pages()
        began, joining = world.clock.now, [host for host in world.hosts if host.peer is None]
        for number, host in enumerate(joining):
            world.clock.at(began + JOIN_S * number, partial(self._start, host))
        world.run(began + JOIN_S * len(joining) + SETTLE_S)
        self.figures["peers there from the first"] = len(warm)
        return hosts

    def _large_pages(self) -> None:
        """Large ones for the memory of a large swarm, which doubles within the hour."""
        if self.peers >= WARM_PEERS:
            ask_for_large_pages()

    def _start(self, host: Host) -> None:
        self.world.start(host)
        self._watch(host)

    def _watch(self, host: Host) -> None:
        assert host.peer is not None
        self.tally.watch(host.peer)

    def _turn_over(self, first: list[Host]) -> None:
        """That share of the first peers die at times spread evenly, and each time another joins."""
        replace(self.world, first[WELL_KNOWN:], self._replaced, self.seconds, self._join_one)

    def _join_one(self, name: str) -> None:
        self._start(self.world.host(name))

    def _submit(self, number: int) -> None:
        chance = self.world.dice.stream("lengths", number)
        count = max(TASKS_MIN, min(TASKS_MAX, self.peers // PEERS_A_TASK))
        program = Program(self._submitters[number % SUBMITTERS], f"job-{number}", page_tasks=32)
        self.programs.append(program)
        program.open()
        program.add([Deed(index, round(chance.uniform(*TAKES_S), 6)) for index in range(count)])
        program.close()
        self._watch_end(program, self.world.clock.now)

    def _watch_end(self, program: Program, began: float) -> None:
        """How long it took until the last task had ended, to the second."""
        if program.ended == len(program.deeds):
            self.took_s.append(self.world.clock.now - began)
        else:
            self.world.clock.after(1.0, partial(self._watch_end, program, began))

    def _end_well(self) -> None:
        end = self.world.clock.now + END_S
        while what := next((what for program in self.programs if (what := job_wrong(program))), ""):
            if self.world.clock.now >= end:
                raise Violation(f"{what}, {END_S:g} s after the hour")
            self.world.run(self.world.clock.now + 1.0)
        self.figures["jobs"] = len(self.programs)
        self.figures["s for the longest job"] = round(max(self.took_s), 1)
        self.figures["peers replaced"] = self._replaced
        said = self.tally.counts
        self.figures["share of repair in datagrams"] = round(said.upkeep / max(1, said.datagrams), 3)

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        return Report.of(
            self.world, name, self.peers, seed, verdict, self.world.checker.checks,
            tasks=sum(len(program.deeds) for program in self.programs),
            delivered=sum(len(program.delivered) for program in self.programs),
            lost_tasks=sum(len(program.lost()) for program in self.programs),
            faults={"power": self._replaced, "join": self._replaced}, figures=dict(self.figures),
        )  # fmt: skip
