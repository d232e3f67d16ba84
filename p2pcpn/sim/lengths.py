"""Lengths: jobs of short, long and mixed tasks, one after the other in one swarm, held against an ideal schedule.

Peers have one, two or four slots and compute at three speeds. In some jobs another peer joins in the middle, and a
second job runs beside. What must hold: no slot idles for long while unstarted tasks lie leased at somebody else, no
task runs twice but those that were hedged, and a job takes hardly longer than any schedule that leaves no slot idle.
How long slots idled, how a job compares with a list schedule without any network, and how soon after the first slot
fell idle for good the last task started is measured beside.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heapify, heapreplace

from p2pcpn.protocol.peer import Peer
from p2pcpn.sim.checker import Checker, Violation
from p2pcpn.sim.dice import Dice
from p2pcpn.sim.host import Host
from p2pcpn.sim.network import one_site
from p2pcpn.sim.program import Program
from p2pcpn.sim.report import Report
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.world import World

SLOTS = (1, 2, 4)
SLOWNESS = (1.0, 2.0, 4.0)
JOIN_S = 3.0
SETTLE_S = 5.0  # logs are kept and acknowledged
PAGE_TASKS = 128
# Where there are many slots, each has fewer tasks: so many in all.
TASKS_MAX = 2000
# No schedule that leaves no slot idle takes longer than work by slots, and the longest task at the slowest peer.
# A job may take a little more, and these seconds: claims, first leases, a newcomer that has not heard of it.
STRETCH = 1.1
GRACE_S = 1.5
# An idle slot gets what lies unstarted at others within this: a look or two, a message each way, a lease. What lies
# behind tasks of another job is only known to do so after a while.
IDLE_S_MAX = 0.2
IDLE_BESIDE_S_MAX = 1.5

Takes = Callable[[int, int, random.Random], list[float]]


def _uniform(takes_s: float, count: int) -> Takes:
    return lambda slots, each, rng: [takes_s] * (min(count, each) * slots)


def _mixed(short_s: float, long_s: float, share: float, count: int) -> Takes:
    return lambda slots, each, rng: [
        long_s if rng.random() < share else short_s for _ in range(min(count, each) * slots)
    ]


def _parts(*parts: tuple[float, int]) -> Takes:
    return lambda slots, each, rng: [takes_s for takes_s, count in parts for _ in range(min(count, each) * slots)]


# For so many slots, and at most so many tasks for each: how long each task takes at the fastest, in order.
POPULATIONS: dict[str, Takes] = {
    "1 us": _uniform(1e-6, 500),
    "100 us": _uniform(1e-4, 500),
    "10 ms": _uniform(0.01, 100),
    "1 s": _uniform(1.0, 10),
    "10 min": _uniform(600.0, 2),
    "1% long": _mixed(0.001, 1.0, 0.01, 300),
    "two kinds": _mixed(0.001, 1.0, 0.5, 30),
    "long first": _parts((10.0, 1), (0.001, 300)),
    "long last": _parts((0.001, 300), (10.0, 1)),
    "gets longer": _parts((0.001, 200), (1.0, 10)),
    "gets shorter": _parts((1.0, 10), (0.001, 200)),
}


# What is played with a second job beside, and with a peer that joins in the middle.
CROWDED = ("10 ms", "1 s", "1% long", "two kinds", "gets longer")


def ideal_s(takes_s: list[float], slots: list[float]) -> float:
    """How long a list schedule takes: each task in turn to the slot that is free first. ``slots``: their slowness."""
    free = [(0.0, number, slowness) for number, slowness in enumerate(slots)]
    heapify(free)
    end = 0.0
    for length in takes_s:
        at, number, slowness = free[0]
        at += length * slowness
        end = max(end, at)
        heapreplace(free, (at, number, slowness))
    return end


def bound_s(takes_s: list[float], slots: list[float], slowest: float) -> float:
    """Graham's bound: no schedule that leaves no slot idle takes longer, in whatever order the tasks are.

    A slot as slow as ``slowest`` may join and take the last task.
    """
    return sum(takes_s) / sum(1 / slowness for slowness in slots) + max(takes_s) * slowest


@dataclass(slots=True)
class Played:
    """What one job came to. Times are virtual seconds, those of slots summed over them."""

    name: str
    tasks: int
    ideal_s: float
    bound_s: float
    took_s: float
    idle_s: float  # of slots, while unstarted tasks lay at other peers
    idle_s_max: float  # the longest at a stretch
    spread_s: float  # from the first slot that fell idle for good to the start of the last task
    runs: int
    hedges: int
    messages: dict[str, int]
    beside: bool = False  # with a second job, whose tasks are counted, too


class Watch(Checker):
    """A checker that also sees who idles while unstarted tasks lie at somebody else."""

    def __init__(self) -> None:
        super().__init__()
        self.idle_s = 0.0
        self.idle_s_max = 0.0
        self._at: dict[int, tuple[int, int]] = {}  # by host: its idle slots, its unstarted tasks
        self._idle = 0
        self._unstarted = 0
        self._since: dict[int, float] = {}  # by host with an idle slot: since when tasks lie elsewhere
        self._seen_at = 0.0
        self.jobs: list[bytes] = []  # who knows none of them cannot be said to idle

    def after(self, host: Host) -> None:
        """See :class:`Checker`."""
        super().after(host)
        if host.slots:
            self._look(host)

    def _look(self, host: Host) -> None:
        now = host.clock.now
        self.idle_s += (now - self._seen_at) * min(self._idle, self._unstarted)
        self._seen_at = now
        idle, unstarted = _state(host, self.jobs)
        was_idle, was_unstarted = self._at.get(host.number, (0, 0))
        self._idle += idle - was_idle
        self._unstarted += unstarted - was_unstarted
        self._at[host.number] = (idle, unstarted)
        for number, (slots, own) in self._at.items() if self._since or self._unstarted else ():
            if slots and self._unstarted > own:
                since = self._since.setdefault(number, now)
                self.idle_s_max = max(self.idle_s_max, now - since)
            elif number in self._since:
                self.idle_s_max = max(self.idle_s_max, now - self._since.pop(number))

    def begin(self) -> None:
        """Measure anew, for jobs that open from now on."""
        self.idle_s = self.idle_s_max = 0.0
        self._idle = self._unstarted = 0
        self._at.clear()
        self._since.clear()
        self.jobs.clear()

    def opened(self, program: Program) -> None:
        """See :class:`Checker`."""
        super().opened(program)
        self.jobs.append(program.job)


def _takes_part(peer: Peer, jobs: list[bytes]) -> bool:
    """Whether a peer was ever leased anything of these jobs: until then it may still wait before it claims."""
    return any(job in peer.worker.works and peer.worker.works[job].newest for job in jobs)


def _state(host: Host, jobs: list[bytes]) -> tuple[int, int]:
    """A host's idle slots, and the tasks that lie there unstarted."""
    if host.peer is None or host.runtime is None or not _takes_part(host.peer, jobs):
        return 0, 0
    at = host.runtime.running()
    batches = host.peer.worker.turns.batches
    behind = sum(batch.count - at[number] - 1 if number in at else batch.count for number, batch in batches.items())
    return host.slots - len(at), host.peer.worker.queued + max(behind, 0)


@dataclass(slots=True)
class Ran:
    """One run of a task, as its process saw it."""

    host: Host
    owner: bytes
    index: int
    began: float
    ended: float


class Play:
    """Jobs of all ``populations`` in one swarm of ``peers``, then ``crowded`` ones with a second job and a newcomer."""

    def __init__(
        self,
        peers: int,
        seed: int,
        populations: dict[str, Takes] = POPULATIONS,
        crowded: Sequence[str] = CROWDED,
    ) -> None:
        self.peers = peers
        self.seed = seed
        self.populations = populations
        self.crowded = crowded
        self.programs: list[Program] = []
        self.played: list[Played] = []
        self._ran: list[Ran] = []
        self.world = World(seed, peers, one_site())
        self.watch = self.world.checker = Watch()
        self.world.ran = self._note
        self.submitters = [self.world.host(f"submitter-{number}", slots=0, roles=0) for number in range(2)]

    def _note(self, host: Host, owner: bytes, index: int, began: float) -> None:
        self._ran.append(Ran(host, owner, index, began, host.clock.now))

    def run(self) -> None:
        """Play all jobs. Raises :class:`Violation`."""
        self.form()
        for name in self.populations:
            self._held(self.job(name))
        for name in self.crowded:
            self._held(self.job(name, beside=True, joins=True))

    def form(self) -> None:
        """The swarm comes together."""
        world = self.world
        hosts = [self._host(number) for number in range(self.peers)]
        world.seeds = [host.address for host in hosts[:3]]
        for number, host in enumerate(hosts):
            world.clock.at(0.01 * number, partial(world.start, host))
        for host in self.submitters:
            world.clock.at(JOIN_S, partial(world.start, host))
        world.run(JOIN_S + 1.0)

    def _host(self, number: int) -> Host:
        host = self.world.host(f"peer-{number}", slots=SLOTS[number % 3])
        host.load = 0.0
        host.slowness = SLOWNESS[(number + number // 3) % 3]
        return host

    @property
    def slots(self) -> list[float]:
        """How slow each slot of the swarm is."""
        return [host.slowness for host in self.world.alive for _ in range(host.slots)]

    def job(self, name: str, *, beside: bool = False, joins: bool = False) -> Played:
        """Play one job of a population to its end. Raises :class:`Violation` when it has none."""
        world, slots = self.world, self.slots
        each = max(1, TASKS_MAX // len(slots))
        lengths = self.populations[name](len(slots), each, Dice(self.seed).stream("lengths", name))
        ideal = ideal_s(lengths, slots)
        newcomer = self._host(len(world.hosts)) if joins else None
        bound = bound_s(lengths * (1 + beside), slots, max(slots) if newcomer is None else max(SLOWNESS))
        before, self._ran = dict(world.trace.counts), []
        self.watch.begin()
        began = world.clock.now
        programs = [self._submit(host, name, lengths) for host in self.submitters[: 1 + beside]]
        if newcomer is not None:
            world.clock.after(ideal / 3 + 0.1, partial(world.start, newcomer))
        if not world.run(began + 10 * bound + 60.0, lambda: all(p.ended == len(p.deeds) for p in programs)):
            raise Violation(f"{name}: {programs[0].ended} of {len(lengths)} tasks have ended in ten times their time")
        found = Played(
            name, sum(len(program.deeds) for program in programs), ideal, bound, world.clock.now - began,
            self.watch.idle_s, self.watch.idle_s_max, self._spread(), len(self._ran),
            sum(program.hedges for program in programs),
            {word: count - before.get(word, 0) for word, count in world.trace.counts.items()}, beside,
        )  # fmt: skip
        self.played.append(found)
        world.run(world.clock.now + SETTLE_S)
        return found

    @staticmethod
    def _held(played: Played) -> None:
        """Raises :class:`Violation` for a job that took too long, left slots idle or ran tasks twice."""
        name, idle_s_max = played.name, IDLE_BESIDE_S_MAX if played.beside else IDLE_S_MAX
        if played.idle_s_max > idle_s_max:
            raise Violation(f"{name}: a slot idled for {played.idle_s_max:.3f} s while tasks lay at others")
        if played.took_s > STRETCH * played.bound_s + GRACE_S:
            raise Violation(f"{name}: took {played.took_s:.3f} s, where {played.bound_s:.3f} s are enough")
        if played.runs > played.tasks + played.hedges:
            raise Violation(f"{name}: {played.runs - played.tasks} tasks ran twice, {played.hedges} were hedged")

    def _submit(self, host: Host, name: str, lengths: list[float]) -> Program:
        program = Program(host, f"{name} {len(self.programs)}", page_tasks=PAGE_TASKS)
        self.programs.append(program)
        program.open()
        deeds = [Deed(index, takes_s) for index, takes_s in enumerate(lengths)]
        for first in range(0, len(deeds), 4096):
            program.add(deeds[first : first + 4096])
        program.close()
        return program

    def _spread(self) -> float:
        """How long after the first slot was free for good the last task started."""
        last_began = max(run.began for run in self._ran)
        by_host: dict[int, list[float]] = {}
        slots = {}
        for run in self._ran:
            by_host.setdefault(run.host.number, []).append(run.ended)
            slots[run.host.number] = run.host.slots
        idle_from = min(sorted(ends)[-min(slots[n], len(ends))] for n, ends in by_host.items())
        return max(0.0, last_began - idle_from)

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        world = self.world
        return Report.of(
            world, name, self.peers, seed, verdict, world.checker.checks,
            tasks=sum(len(program.deeds) for program in self.programs),
            delivered=sum(len(program.delivered) for program in self.programs),
            lost_tasks=sum(len(program.lost()) for program in self.programs),
        )  # fmt: skip
