"""Scenarios: what is simulated, by name. A swarm forms, computes while faults come, heals, and is held to its word.

::

    join ──> job opens ──> fed, faults on ──> heal, close ──> all tasks, copies ──> records ──> neighbours
             └──────────────── safety is checked after every event ───────────────────────────────────┘
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from p2pcpn import limits
from p2pcpn.errors import UsageError
from p2pcpn.protocol.verdict import judge
from p2pcpn.sim import (
    healing,
    hour,
    leaving,
    lengths,
    lookups,
    modes,
    ordeal,
    outliving,
    owners,
    parting,
    stragglers,
    takeover,
    turnover,
)
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.convergence import Search, copies_wrong, job_wrong, keys_of, neighbours_wrong
from p2pcpn.sim.faults import KINDS, Faults, plant_canary
from p2pcpn.sim.host import Host
from p2pcpn.sim.network import Weather
from p2pcpn.sim.program import Program
from p2pcpn.sim.reading import read_back
from p2pcpn.sim.report import Report
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.world import World

PEERS_MIN, PEERS_MAX = 2, 100_000
WELL_KNOWN = 3
FEED_S = 0.5
# How soon a program that waits for a result sees that it is there.
CALL_S = 0.002
JOIN_WAIT_S = 30.0
# After healing: leases of the silent end after 30 s, their tasks run again, holders that were lost are replaced.
JOB_WAIT_S = 180.0
RECORDS_WAIT_S = 60.0
COPIES_WAIT_S = 60.0
SEARCH_AGAIN_S = 5.0
ASKERS = 5
# Who was started again when the faults ended has found its way into the swarm by then.
JOIN_AGAIN_S = 5.0
# Each of 32 neighbours is probed once in two rounds of 5 s a probe; then it is suspected for some seconds.
NEIGHBOURS_WAIT_S = 2 * limits.NEIGHBOURHOOD_MAX * limits.PROBE_IDLE_S + 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One scenario's numbers. ``kinds`` are the faults that may come; ``all_on``: each does, whatever the seed."""

    tasks: int = 200
    join_s: float = 3.0
    faults_s: float = 20.0
    kinds: tuple[str, ...] = ()
    all_on: bool = False
    weather: Weather = field(default_factory=Weather)
    takes_s: float = 1.0  # most tasks take less
    calls: bool = False  # each task is added when the one before has ended


class Play:
    """One run of a plan. ``canary`` plants a bug that the checker must find."""

    def __init__(self, plan: Plan, peers: int, seed: int, canary: bool) -> None:
        self.plan = plan
        self.peers = peers
        self.canary = canary
        self.world = World(seed, peers)
        self.submitter = self.world.host("submitter", slots=0, roles=0)
        self.program = Program(self.submitter, "job")
        self.well_known = [self.world.host(f"peer-{number}") for number in range(min(WELL_KNOWN, peers))]
        self.world.seeds = [host.address for host in self.well_known]
        spared = [self.submitter, *self.well_known[:1]]
        self.faults = Faults(self.world, plan.kinds, plan.weather, spared=spared, all_on=plan.all_on)

    def run(self) -> None:
        """Play all acts. Raises :class:`Violation`."""
        self._join()
        self._compute()
        self._end_well()
        self._find_records()
        read_back(self.world, self.program.name, self.program.owner.public, self.program.job)
        self._agree_who_lives()

    def _join(self) -> None:
        world, chance = self.world, self.world.dice.stream("joining")
        world.network.weather = Weather(self.plan.weather.loss, self.plan.weather.doubled, self.plan.weather.jitter_s)
        for host in self.well_known:
            world.clock.at(0.0, partial(world.start, host))
        for number in range(len(self.well_known), self.peers):
            host = world.host(f"peer-{number}")
            world.clock.at(chance.uniform(0.1, self.plan.join_s), partial(world.start, host))
        world.clock.at(self.plan.join_s, partial(world.start, self.submitter))
        world.run(self.plan.join_s)
        stewards = min(limits.STEWARDS, self.peers)
        if not world.run(
            self.plan.join_s + JOIN_WAIT_S,
            lambda: self.submitter.peer is not None and self.program.stewards_known() >= stewards,
        ):
            raise Violation(f"the submitter knows {self.program.stewards_known()} storage peers, not {stewards}")

    def _compute(self) -> None:
        world = self.world
        self.program.open()
        if self.canary:
            assert self.submitter.peer is not None
            plant_canary(self.submitter.peer.grantors[self.program.job].ledger, world.clock)
        self._call() if self.plan.calls else self._feed()
        self.faults.begin()
        world.run(world.clock.now + self.plan.faults_s)
        self.faults.heal()
        self.program.close()

    def _call(self) -> None:
        """Add a task when the one before has ended, again and again."""
        index = len(self.program.deeds)
        if self.program.closed or index == self.plan.tasks:
            return
        if self.program.ended == index:
            chance = self.world.dice.stream("deeds", index)
            self.program.add([_deed(index, chance.random(), chance.random(), self.plan)])
        self.world.clock.after(CALL_S, self._call)

    def _feed(self) -> None:
        """Add tasks bit by bit, so that the job lasts as long as the faults do."""
        rounds = max(1, int(self.plan.faults_s / FEED_S) - 1)
        share = -(-self.plan.tasks // rounds)
        first = len(self.program.deeds)
        count = min(share, self.plan.tasks - first)
        if count <= 0:
            return
        chance = self.world.dice.stream("deeds", first)
        self.program.add(
            [_deed(index, chance.random(), chance.random(), self.plan) for index in range(first, first + count)]
        )
        self.world.clock.after(FEED_S, self._feed)

    def _demand(self, wait_s: float, wrong: Callable[[], str], each_s: float = 0.5) -> None:
        """Let the world go on until nothing is ``wrong``. Raises :class:`Violation` when that takes too long."""
        end = self.world.clock.now + wait_s
        while what := wrong():
            if self.world.clock.now >= end:
                raise Violation(f"{what}, {wait_s:g} s after the faults ended")
            self.world.run(min(end, self.world.clock.now + each_s))

    def _end_well(self) -> None:
        self._demand(JOB_WAIT_S, lambda: job_wrong(self.program))
        if self.program.was_taken_over:  # its grantor speaks for its own log alone: a steward's may be on its way still
            self._demand(COPIES_WAIT_S, lambda: copies_wrong(self.world, self.program))
        elif what := copies_wrong(self.world, self.program):
            raise Violation(what)

    def _find_records(self) -> None:
        """Any peer finds the records that lead to the job; who was just started again may need a second search."""
        world = self.world
        world.run(world.clock.now + JOIN_AGAIN_S)
        chance = world.dice.stream("askers")
        askers: list[Host] = chance.sample(world.alive, min(ASKERS, len(world.alive)))
        end = world.clock.now + RECORDS_WAIT_S
        while True:
            search = Search(askers, keys_of(self.program))
            world.run(end, lambda search=search: search.over)  # type: ignore[misc]
            what = search.wrong()
            if not what:
                return
            if world.clock.now >= end:
                raise Violation(what)
            world.run(min(end, world.clock.now + SEARCH_AGAIN_S))

    def _agree_who_lives(self) -> None:
        self._demand(NEIGHBOURS_WAIT_S, lambda: neighbours_wrong(self.world), each_s=5.0)

    def report(self, name: str, seed: int, verdict: str) -> Report:
        """What this run came to."""
        world = self.world
        return Report.of(
            world, name, self.peers, seed, verdict, world.checker.checks, tasks=len(self.program.deeds),
            delivered=len(self.program.delivered), lost_tasks=len(self.program.lost()), faults=dict(self.faults.counts),
        )  # fmt: skip


def _deed(index: int, length: float, how: float, plan: Plan) -> Deed:
    """Most tasks are short and give a small value; a few do everything else a task can do."""
    takes_s = round(plan.takes_s * (0.02 + length * length), 6)
    word = "poison" if how < 0.005 else "raises" if how < 0.03 else "large" if how < 0.06 else "value"
    return Deed(index, takes_s, word)


SCENARIOS: dict[str, Plan] = {
    # Nothing goes wrong at all.
    "quiet": Plan(faults_s=10.0),
    # One datagram in ten is lost, some come twice or late.
    "loss": Plan(weather=Weather(0.1, 0.02, 0.02), kinds=("storm", "double", "reorder"), all_on=True),
    # The network falls into two parts, again and again.
    "partition": Plan(kinds=("partition",), all_on=True, weather=Weather(0.01)),
    # Peers come, go and come back, and everything else that the seed turns on.
    "churn": Plan(tasks=400, faults_s=15.0, kinds=KINDS, weather=Weather(0.03, 0.005, 0.005)),
    # The same, for a program that waits for each result before it adds another task.
    "calls": Plan(
        tasks=1000, faults_s=15.0, kinds=KINDS, weather=Weather(0.03, 0.005, 0.005), takes_s=0.02, calls=True
    ),
}


# Scenarios with a play of their own: jobs of tasks of all lengths; one load in each way to orchestrate; owners beside
# each other; a swarm in parts; half of it replaced; an hour of everything at the real pace; and all that can go wrong.
LENGTHS, MODES, OWNERS, PARTING, DURABLE, HOUR = "lengths", "modes", "owners", "parting", "durable", "hour"
FAULTS = "faults"
# As much turnover as in DURABLE, in a tenth of the time.
FLEETING = "fleeting"
TAKEOVER = "takeover"
HEALING = "healing"
# Jobs end, their owners go, and then nearly everybody who kept their results.
OUTLIVING = "outliving"
# Nearly everybody drains while jobs run, and the rest of them afterwards.
LEAVING = "leaving"
# With fewer some act leaves too few to compute, to keep three copies or to take over: what is not kept then was never
# promised. The acts of takeover end four peers, and two stewards are to divide a job among them after that.
PEERS_MIN_OF = {DURABLE: 3, FLEETING: 3, LEAVING: 3, OWNERS: 3, TAKEOVER: 6}
Load = tuple[Sequence[str], int]  # modes, and tasks a slot
_Other = (
    hour.Play
    | leaving.Play
    | lengths.Play
    | lookups.Play
    | modes.Play
    | ordeal.Play
    | outliving.Play
    | parting.Play
    | stragglers.Play
    | takeover.Play
    | turnover.Play
)
_OTHERS: dict[str, Callable[..., _Other]] = {
    LENGTHS: lambda peers, seed: lengths.Play(peers, seed),
    OWNERS: lambda peers, seed: owners.Play(peers, seed),
    MODES: modes.Play,
    PARTING: lambda peers, seed: parting.Play(peers, seed),
    **{name: partial(lookups.Play, adversity) for name, adversity in lookups.ADVERSITIES.items()},
    **{name: partial(stragglers.Play, name) for name in stragglers.KINDS},
    DURABLE: lambda peers, seed: turnover.Play(peers, seed),
    FLEETING: lambda peers, seed: turnover.Play(peers, seed, hours=1.0, replaced_an_hour=0.5),
    HOUR: lambda peers, seed: hour.Play(peers, seed),
    FAULTS: lambda peers, seed: ordeal.Play(peers, seed),
    TAKEOVER: lambda peers, seed: takeover.Play(peers, seed),
    HEALING: lambda peers, seed: healing.Play(peers, seed),
    OUTLIVING: lambda peers, seed: outliving.Play(peers, seed),
    LEAVING: lambda peers, seed: leaving.Play(peers, seed),
}


def names() -> list[str]:
    """The scenarios there are."""
    return sorted([*SCENARIOS, *_OTHERS])


def check(name: str, peers: int, load: Load | None = None) -> None:
    """Raises :class:`UsageError` for a scenario that is not there or takes no ``load``, and for too few peers or too
    many."""
    if name not in names():
        raise UsageError(f"there is no scenario {name!r}; there are {', '.join(names())}")
    least = PEERS_MIN_OF.get(name, PEERS_MIN)
    if not least <= peers <= PEERS_MAX:
        raise UsageError(f"scenario {name} has {least} to {PEERS_MAX} peers, not {peers}")
    if load is not None and name != MODES:
        raise UsageError(f"scenario {MODES} alone is played in one mode, or with another number of tasks")


def load(of: Sequence[str], tasks_a_slot: int | None) -> Load | None:
    """What is asked of scenario ``modes``, where it is not what it plays by itself."""
    if not of and tasks_a_slot is None:
        return None
    return tuple(of) or modes.MODES, modes.TASKS_A_SLOT if tasks_a_slot is None else tasks_a_slot


def run(
    name: str,
    *,
    peers: int = 50,
    seed: int = 1,
    canary: bool = False,
    watch: Callable[[float, int], None] | None = None,
    load: Load | None = None,
) -> Report:
    """Simulate a scenario with ``peers`` peers beside the submitter. The same arguments give the same report.

    ``watch(virtual seconds, events)`` is told now and then how far it is.
    ``load`` is for scenario ``modes``: which of them, and how many tasks a slot. Raises :class:`UsageError` for a
    scenario that is not there, or takes no ``load``; for too few peers or too many.
    """
    check(name, peers, load)
    if load is not None:
        play: _Other | Play = modes.Play(peers, seed, *load)
    else:
        play = _OTHERS[name](peers, seed) if name in _OTHERS else Play(SCENARIOS[name], peers, seed, canary)
    play.world.clock.watch = watch
    # A world makes objects that stay, and hardly a cycle: *measured*, looking for some takes 7 % of a run.
    collecting = gc.isenabled()
    gc.disable()
    verdict = "ok"
    try:
        play.run()
    except Violation as violation:
        verdict = str(violation)
    finally:
        if collecting:
            gc.enable()
    report = play.report(name, seed, verdict)
    if isinstance(play.world, World) and play.world.history is not None:
        play.world.end()
        report.judged(judge(play.world.history, over=verdict == "ok"))
    return report
