"""Lengths: jobs of short, long and mixed tasks, one after the other in one swarm, held against an ideal schedule.

Peers have one, two or four slots and compute at three speeds; one joins in the middle of a job, and a second job may
run beside. What is measured: how long a job takes beside the same tasks on the same slots without any network, how
long slots idle while unstarted tasks lie leased at somebody else, and how soon after the first slot fell idle for good
the last task started.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heapify, heapreplace

from p2pcpn.protocol.peer import Peer
from p2pcpn.sim.checker import Checker, Violation
from p2pcpn.sim.dice import Dice
from p2pcpn.sim.host import Host
from p2pcpn.sim.network import one_site
from p2pcpn.sim.program import Program
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.world import World

SLOTS = (1, 2, 4)
SLOWNESS = (1.0, 2.0, 4.0)
JOIN_S = 3.0
PAGE_TASKS = 128
# A job may take so many times what an ideal schedule of it takes, and these seconds: claims, first leases, the tail.
STRETCH = 1.25
GRACE_S = 1.0
# An idle slot gets what lies unstarted at others within this: a look, a message each way, a lease.
IDLE_S_MAX = 0.25

Takes = Callable[[int, random.Random], list[float]]


def _uniform(takes_s: float, each: int) -> Takes:
    return lambda slots, rng: [takes_s] * (each * slots)


def _mixed(short_s: float, long_s: float, share: float, each: int) -> Takes:
    return lambda slots, rng: [long_s if rng.random() < share else short_s for _ in range(each * slots)]


def _parts(*parts: tuple[float, int]) -> Takes:
    return lambda slots, rng: [takes_s for takes_s, each in parts for _ in range(each * slots)]


# For so many slots: how long each task takes at a peer of speed 1, in the order of submission.
POPULATIONS: dict[str, Takes] = {
    "1 us": _uniform(1e-6, 500),
    "100 us": _uniform(1e-4, 500),
    "10 ms": _uniform(0.01, 100),
    "1 s": _uniform(1.0, 10),
    "10 min": _uniform(600.0, 6),
    "1% long": _mixed(0.001, 1.0, 0.01, 300),
    "two kinds": _mixed(0.001, 1.0, 0.5, 30),
    "long first": _parts((10.0, 1), (0.001, 300)),
    "long last": _parts((0.001, 300), (10.0, 1)),
    "gets longer": _parts((0.001, 200), (1.0, 10)),
    "gets shorter": _parts((1.0, 10), (0.001, 200)),
}


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


@dataclass(slots=True)
class Played:
    """What one job came to. Times are virtual seconds, those of slots summed over them."""

    name: str
    tasks: int
    ideal_s: float
    took_s: float
    idle_s: float  # of slots, while unstarted tasks lay at other peers
    idle_s_max: float  # the longest at a stretch
    spread_s: float  # from the first slot that fell idle for good to the start of the last task
    runs: int
    messages: dict[str, int]


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

    def taken(self) -> tuple[float, float]:
        """(idle_s, idle_s_max) since the last call."""
        found = self.idle_s, self.idle_s_max
        self.idle_s = self.idle_s_max = 0.0
        self._since.clear()
        return found


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


@dataclass(slots=True)
class Play:
    """Jobs of all ``populations`` in one swarm of ``peers``, and one more peer that joins in the middle of each."""

    peers: int
    seed: int
    populations: dict[str, Takes] = field(default_factory=lambda: dict(POPULATIONS))
    beside: bool = False
    joins: bool = False
    world: World = field(init=False)
    watch: Watch = field(init=False)
    submitters: list[Host] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)
    played: list[Played] = field(default_factory=list)
    _ran: list[Ran] = field(default_factory=list)

    def run(self) -> None:
        """Play all jobs. Raises :class:`Violation`."""
        self._form()
        for name, takes in self.populations.items():
            self.played.append(self._job(name, takes))

    def _form(self) -> None:
        world = self.world = World(self.seed, self.peers, one_site())
        self.watch = world.checker = Watch()
        world.ran = lambda host, owner, index, began: self._ran.append(Ran(host, owner, index, began, world.clock.now))
        hosts = [self._host(number) for number in range(self.peers)]
        world.seeds = [host.address for host in hosts[:3]]
        for number, host in enumerate(hosts):
            world.clock.at(0.01 * number, partial(world.start, host))
        self.submitters = [world.host(f"submitter-{number}", slots=0, roles=0) for number in range(2)]
        for host in self.submitters:
            world.clock.at(JOIN_S, partial(world.start, host))
        world.run(JOIN_S + 1.0)

    def _host(self, number: int) -> Host:
        host = self.world.host(f"peer-{number}", slots=SLOTS[number % 3])
        host.load = 0.0
        host.slowness = SLOWNESS[(number + number // 3) % 3]
        return host

    def _slots(self) -> list[float]:
        return [host.slowness for host in self.world.alive for _ in range(host.slots)]

    def _job(self, name: str, takes: Takes) -> Played:
        world = self.world
        chance = Dice(self.seed).stream("lengths", name)
        slots = self._slots()
        lengths = takes(len(slots), chance)
        if self.beside:
            self._submit(self.submitters[1], name, lengths)
        before, self._ran = dict(world.trace.counts), []
        self.watch.taken()
        self.watch.jobs = [program.job for program in self.programs[len(self.programs) - self.beside :]]
        began = world.clock.now
        program = self._submit(self.submitters[0], name, lengths)
        ideal = ideal_s(lengths, slots)
        if self.joins:
            late = self._host(len(world.hosts))
            world.clock.after(ideal / 3 + 0.1, partial(world.start, late))
        programs = self.programs[-2:] if self.beside else [program]
        limit_s = 20 * ideal * len(programs) + 120.0
        if not world.run(began + limit_s, lambda: all(p.ended == len(p.deeds) for p in programs)):
            raise Violation(f"{name}: {program.ended} of {len(lengths)} tasks have ended after {limit_s:g} s")
        took_s = world.clock.now - began
        idle_s, idle_s_max = self.watch.taken()
        messages = {word: count - before.get(word, 0) for word, count in world.trace.counts.items()}
        ran, spread_s = self._ran, self._spread()
        world.run(world.clock.now + 5.0)  # logs and acknowledgements
        return Played(name, len(lengths), ideal, took_s, idle_s, idle_s_max, spread_s, len(ran), messages)

    def _submit(self, host: Host, name: str, lengths: list[float]) -> Program:
        program = Program(host, f"{name} {len(self.programs)}", page_tasks=PAGE_TASKS)
        self.programs.append(program)
        program.open()
        self.watch.jobs.append(program.job)
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
