"""Modes: one load under each way to orchestrate, in one swarm: what a task costs, how soon it begins, who bears it.

Where there are ``WARM_PEERS`` or more they have come together long ago (:mod:`p2pcpn.sim.warm`); fewer join first.
Each mode has a submitter of its own, so that none finds the sessions of another, all in one place; and a job that is
not counted goes before all: the first one in a swarm meets peers that do not know each other. What the swarm says while
no job runs is measured before, and taken off: the rest is what the job costs. Whoever takes part in most of what is
said is the busiest peer; its share shows whether one peer bears a job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from p2pcpn import limits
from p2pcpn.errors import UsageError
from p2pcpn.sim import trace
from p2pcpn.sim.checker import Checker, Violation
from p2pcpn.sim.convergence import job_wrong
from p2pcpn.sim.host import Host
from p2pcpn.sim.lengths import ideal_s
from p2pcpn.sim.program import Program
from p2pcpn.sim.report import Report
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.trace import Trace
from p2pcpn.sim.warm import together
from p2pcpn.sim.world import World

MODES = ("centralised", "hybrid", "distributed")
WELL_KNOWN = 3
# A peer joins in so much of virtual time each: ten thousand of them in 50 s.
JOIN_S = 0.005
SETTLE_S = 20.0
# For so long it is counted what a swarm says without a job.
IDLE_S = 10.0
TASKS_A_SLOT = 4
# So many stewards at least: where five of them, with a session for each peer, would leave many peers out, it is one for
# so many peers that one grantor should serve.
STEWARD_PEERS = limits.GRANTOR_PEERS
TAKES_S = (0.5, 1.5)
# Segments of the largest size are added one after the other.
SEGMENT_TASKS = 4096
PAGE_TASKS = 128
# A job takes at most so many times what a list schedule would, and these seconds.
STRETCH_MAX, GRACE_S = 10.0, 120.0
# After a job its logs are kept and acknowledged, and its sessions close.
REST_S = 30.0
# A grantor's book of 125,000 tasks takes longer to look through than an event.
LOOK_EVENTS = 64
# So many are not simulated coming together, which costs more than the jobs.
WARM_PEERS = 100
# A history of ten thousand peers would be a gigabyte.
HISTORY_PEERS_MAX = 1000


class Tally(Trace):
    """A trace that also counts, for each host, what arrived there or came from there."""

    __slots__ = ("by_host", "datagrams", "messages")

    def __init__(self) -> None:
        super().__init__()
        self.datagrams = self.messages = 0
        self.by_host: Counter[int] = Counter()

    def note(self, kind: int, now: float, source: int, target: int, data: bytes) -> None:
        """See :class:`Trace`."""
        super().note(kind, now, source, target, data)
        if kind == trace.DATAGRAM:
            self.datagrams += 1
        elif kind == trace.MESSAGE:
            self.messages += 1
        else:
            return
        self.by_host[source] += 1
        self.by_host[target] += 1


class Watch(Checker):
    """A checker that also sees when the first claim of a job is in somebody's hands; it looks into each ``every``-th
    event."""

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        self.job = b""
        self.claimed_at: float | None = None
        self._every = every
        self._events = 0

    def after(self, host: Host) -> None:
        """See :class:`Checker`."""
        self._events += 1
        self._hearing = None
        if not self._events % self._every:
            super().after(host)
        if self.claimed_at is not None or not self.job or host.peer is None:
            return
        if any(grantor.participants for grantor in host.peer.jobs.granted.of(self.job)):
            self.claimed_at = host.clock.now


@dataclass(frozen=True, slots=True)
class Played:
    """One job under one mode. Times are virtual seconds; shares are of all that was said meanwhile."""

    mode: str
    tasks: int
    claim_s: float
    job_s: float
    ideal_s: float
    messages: float  # a task: over sessions and in datagrams, less what an idle swarm says
    busiest: float  # share of all messages in which one peer took part


def stewards_for(peers: int) -> int:
    """How many stewards the jobs name in a swarm of that size."""
    return min(max(limits.STEWARDS, -(-peers // STEWARD_PEERS)), limits.STEWARDS_MAX)


class Play:
    """The load under each of ``modes`` in one swarm of ``peers``: ``tasks_a_slot`` for each slot that there is.

    Raises :class:`UsageError` for a mode that is not there, or no tasks.
    """

    def __init__(self, peers: int, seed: int, modes: Sequence[str] = MODES, tasks_a_slot: int = TASKS_A_SLOT) -> None:
        if unknown := [mode for mode in modes if mode not in MODES]:
            raise UsageError(f"there is no mode {unknown[0]!r}; there are {', '.join(MODES)}")
        if tasks_a_slot < 1:
            raise UsageError(f"a slot gets one task at least, not {tasks_a_slot}")
        self.peers = peers
        self.modes = modes
        self.tasks_a_slot = tasks_a_slot
        self.world = World(seed, peers, noted=peers <= HISTORY_PEERS_MAX)
        self.tally = self.world.trace = Tally()
        self.watch = self.world.checker = Watch(1 if peers <= HISTORY_PEERS_MAX else LOOK_EVENTS)
        self.submitters = [self.world.host(f"submitter-{n}", slots=0, roles=0) for n in range(len(modes) + 1)]
        self.programs: list[Program] = []
        self.played: list[Played] = []
        self._idle_rate = 0.0  # datagrams and messages a second

    def run(self) -> None:
        """Play all. Raises :class:`Violation` when a job does not end, or loses a task."""
        self.form()
        self.first()
        for number, mode in enumerate(self.modes, 1):
            self.played.append(self.job(mode, self.submitters[number]))

    def form(self) -> None:
        """The swarm comes together, and is looked at while nobody asks anything of it."""
        world = self.world
        hosts = [world.host(f"peer-{number}") for number in range(self.peers)]
        world.seeds = [host.address for host in hosts[:WELL_KNOWN]]
        for host in self.submitters:
            host.port.site, host.port.access_s = self.submitters[0].port.site, self.submitters[0].port.access_s
        if self.peers >= WARM_PEERS:
            together(world, hosts)
        began, joining = world.clock.now, [host for host in world.hosts if host.peer is None]
        for number, host in enumerate(joining):
            world.clock.at(began + JOIN_S * number, partial(world.start, host))
        world.run(began + JOIN_S * len(joining) + SETTLE_S)
        before = self._said()
        world.run(world.clock.now + IDLE_S)
        self._idle_rate = (self._said() - before) / IDLE_S

    def first(self) -> Played:
        """The job that is not counted: a short one, which as many peers take part in."""
        return self.job("hybrid", self.submitters[0], 1)

    def _said(self) -> int:
        return self.tally.datagrams + self.tally.messages

    def job(self, mode: str, submitter: Host, tasks_a_slot: int | None = None) -> Played:
        """The load under one mode, to its end; of ``tasks_a_slot``, where it is another."""
        world = self.world
        slots = [host.slowness for host in world.alive for _ in range(host.slots)]
        chance = world.dice.stream("lengths")
        lengths = [round(chance.uniform(*TAKES_S), 6) for _ in range((tasks_a_slot or self.tasks_a_slot) * len(slots))]
        ideal = ideal_s(lengths, slots)
        began, before, said = world.clock.now, Counter(self.tally.by_host), self._said()
        program = Program(
            submitter, submitter.name, page_tasks=PAGE_TASKS, orchestration=mode, stewards=stewards_for(self.peers)
        )
        self.programs.append(program)
        self.watch.claimed_at = None
        program.open()
        self.watch.job = program.job
        for first in range(0, len(lengths), SEGMENT_TASKS):
            some = lengths[first : first + SEGMENT_TASKS]
            program.add([Deed(first + at, takes_s) for at, takes_s in enumerate(some)])
        program.close()
        if not world.run(began + STRETCH_MAX * ideal + GRACE_S, lambda: program.ended == len(program.deeds)):
            raise Violation(
                f"{mode}: {program.ended} of {len(lengths)} tasks have ended in {STRETCH_MAX:g} times their time"
            )
        took_s = world.clock.now - began
        total = self._said() - said
        by_host = self.tally.by_host - before
        assert self.watch.claimed_at is not None
        found = Played(
            mode, len(lengths), self.watch.claimed_at - began, took_s, ideal,
            max(0.0, total - took_s * self._idle_rate) / len(lengths), max(by_host.values()) / total,
        )  # fmt: skip
        world.run(world.clock.now + REST_S)
        if what := job_wrong(program):
            raise Violation(f"{mode}: {what}")
        return found

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        figures = {}
        for played in self.played:
            for word, figure in (
                ("messages a task", played.messages),
                ("s to the first claim", played.claim_s),
                ("s for the job", played.job_s),
                ("s by an ideal schedule", played.ideal_s),
                ("share of the busiest peer", played.busiest),
            ):
                figures[f"{played.mode}: {word}"] = round(figure, 4)
        return Report.of(
            self.world, name, self.peers, seed, verdict, self.world.checker.checks,
            tasks=sum(len(program.deeds) for program in self.programs),
            delivered=sum(len(program.delivered) for program in self.programs),
            lost_tasks=sum(len(program.lost()) for program in self.programs), figures=figures, options=self._options,
        )  # fmt: skip

    @property
    def _options(self) -> str:
        """What was asked for beside the size of the swarm, where that is not all there is."""
        found = "" if tuple(self.modes) == MODES else "".join(f" --mode {mode}" for mode in self.modes)
        return found + ("" if self.tasks_a_slot == TASKS_A_SLOT else f" --tasks-a-slot {self.tasks_a_slot}")
