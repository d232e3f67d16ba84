"""Faults: what goes wrong in a virtual world, how often, and how it is made good again.

A seed turns each kind on or off (after TigerBeetle's simulator): a bug that needs quiet in one corner and storm in
another is found by some seed. :meth:`Faults.heal` ends them all; from then on liveness may be demanded.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from p2pcpn.protocol.ledger import LEASED, SETTLED, Ledger
from p2pcpn.sim import trace
from p2pcpn.sim.clock import Clock
from p2pcpn.sim.host import Host
from p2pcpn.sim.network import Weather
from p2pcpn.sim.world import World

KINDS = ("kill", "power", "join", "storm", "double", "reorder", "partition", "slow", "disk", "process")
# For hosts that have clocks of their own: processes stopped for a while; computers lost with their disks.
HARDER = (*KINDS, "pause", "lost")
# A kind is on for this share of the seeds.
ON_SHARE = 0.7
# At most this share of the peers is down at a time; an eighth of those that go never come back.
DOWN_SHARE_MAX = 0.25
NEVER_BACK_SHARE = 0.125
DOWN_S_MIN, DOWN_S_MAX = 0.5, 12.0
PAUSE_S_MIN, PAUSE_S_MAX = 1.0, 60.0
# This share of the peers has a fault of one kind in ten seconds; of large swarms as many as of one of this size.
PEERS_PER_10_S = 0.06
PEERS_COUNTED_MAX = 80
STORM_LOSS = 0.3
# A ledger with a bug forgets something so often.
CANARY_S = 0.05


class Faults:
    """Faults of the kinds ``kinds`` on ``world`` from now on. ``spared`` hosts never stop; ``chosen`` are on."""

    def __init__(
        self, world: World, kinds: tuple[str, ...], calm: Weather, *, spared: list[Host], all_on: bool
    ) -> None:
        self.world = world
        self.calm = calm
        self.spared = spared
        switch = world.dice.stream("switch")
        self.chosen = tuple(kind for kind in kinds if switch.random() < ON_SHARE or all_on)
        self.make: Callable[[str], Host] = world.host  # how whoever joins is made
        self.counts: dict[str, int] = dict.fromkeys(self.chosen, 0)
        self._healed = False
        self._gone: list[Host] = []
        self._joined = 0

    def begin(self) -> None:
        """Let every kind come at its own times."""
        for kind in self.chosen:
            self._again(kind, self.world.dice.stream("fault", kind))

    def _again(self, kind: str, dice: random.Random) -> None:
        each_s = 10.0 / max(1.0, PEERS_PER_10_S * min(len(self.world.hosts), PEERS_COUNTED_MAX))
        if kind in ("storm", "double", "reorder", "partition", "disk"):  # they concern many peers at once
            each_s = 6.0
        self.world.clock.after(dice.expovariate(1 / each_s), partial(self._happen, kind, dice))

    def _happen(self, kind: str, dice: random.Random) -> None:
        if self._healed:
            return
        self.counts[kind] += 1
        self.world.trace.note(trace.FAULT, self.world.clock.now, 0, 0, kind.encode())
        self.world.fate(kind)
        _HAPPEN[kind](self, dice)
        self._again(kind, dice)

    def _victim(self, dice: random.Random) -> Host | None:
        """A running peer by chance, unless too many are down."""
        alive = [host for host in self.world.alive if host not in self.spared]
        if not alive or len(self.world.alive) < (1 - DOWN_SHARE_MAX) * len(self.world.hosts):
            return None
        return dice.choice(alive)

    def _later(self, dice: random.Random, undo: Callable[[], None]) -> None:
        self.world.clock.after(dice.uniform(DOWN_S_MIN, DOWN_S_MAX), undo)

    # --- kinds ------------------------------------------------------------------------------------------------------

    def _stop(self, dice: random.Random, power: bool) -> None:
        host = self._victim(dice)
        if host is None:
            return
        host.crash(power=power)
        if dice.random() < NEVER_BACK_SHARE:
            self._gone.append(host)
        else:
            self._later(dice, partial(self._back, host))

    def _back(self, host: Host) -> None:
        if host.peer is None and host not in self._gone:
            self.world.start(host)

    def _kill(self, dice: random.Random) -> None:
        self._stop(dice, False)

    def _power(self, dice: random.Random) -> None:
        self._stop(dice, True)

    def _join(self, dice: random.Random) -> None:
        self._joined += 1
        self.world.start(self.make(f"joined-{self._joined}"))

    def _storm(self, dice: random.Random) -> None:
        self.world.network.weather.loss = dice.uniform(self.calm.loss, STORM_LOSS)
        self._later(dice, self._calm)

    def _double(self, dice: random.Random) -> None:
        self.world.network.weather.doubled = dice.uniform(0.0, 0.2)
        self._later(dice, self._calm)

    def _reorder(self, dice: random.Random) -> None:
        self.world.network.weather.jitter_s = dice.uniform(0.0, 0.3)
        self._later(dice, self._calm)

    def _calm(self) -> None:
        calm = self.calm
        self.world.network.weather = Weather(calm.loss, calm.doubled, calm.jitter_s)

    def _partition(self, dice: random.Random) -> None:
        numbers = [host.number for host in self.world.hosts]
        dice.shuffle(numbers)
        self.world.network.cut([numbers[: dice.randint(1, max(1, len(numbers) // 2))]])
        self._later(dice, self._rejoin)

    def _rejoin(self) -> None:
        self.world.network.heal()
        self.world.sessions.heal()

    def _slow(self, dice: random.Random) -> None:
        host = dice.choice(self.world.hosts)
        host.slowness, host.port.lag_s = dice.uniform(2.0, 10.0), dice.uniform(0.0, 0.2)
        self._later(dice, partial(self._quick, host))

    @staticmethod
    def _quick(host: Host) -> None:
        host.slowness, host.port.lag_s = 1.0, 0.0

    def _disk(self, dice: random.Random) -> None:
        host = dice.choice(self.world.hosts)
        if host not in self.spared:
            host.disk.refusing = True
            self._later(dice, partial(self._writable, host))

    @staticmethod
    def _writable(host: Host) -> None:
        host.disk.refusing = False

    def _process(self, dice: random.Random) -> None:
        programs = [program for program in self.world.checker.programs.values() if program.deeds]
        if programs:
            self.world.kill_process_of(dice.randrange(len(programs[0].deeds)))

    def _pause(self, dice: random.Random) -> None:
        """A process stands still, most often for seconds; a submitter's, too."""
        awake = [host for host in self.world.alive if not host.paused]
        if len(awake) < (1 - DOWN_SHARE_MAX) * len(self.world.hosts):
            return
        host = dice.choice(awake)
        host.pause()
        wait_s = PAUSE_S_MIN * (PAUSE_S_MAX / PAUSE_S_MIN) ** dice.random()
        self.world.clock.after(wait_s, partial(self._resume, host, host.boot))

    @staticmethod
    def _resume(host: Host, life: int) -> None:
        if host.paused and host.boot == life:
            host.resume()

    def _lost(self, dice: random.Random) -> None:
        """A computer is gone with its disk, and somebody new comes in its place."""
        host = self._victim(dice)
        if host is not None:
            self.lose(host)
            self._join(dice)

    def lose(self, host: Host) -> None:
        """A computer is gone for good, with its disk."""
        if host.peer is not None:
            host.crash(power=True)
        self._gone.append(host)

    # --- the end ----------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """End every fault. Who is gone for good stays so."""
        self._healed = True
        self._calm()
        self._rejoin()
        for host in self.world.hosts:
            self._resume(host, host.boot)
            self._quick(host)
            self._writable(host)
            self._back(host)


_HAPPEN: dict[str, Callable[[Faults, random.Random], None]] = {
    "kill": Faults._kill,
    "power": Faults._power,
    "join": Faults._join,
    "storm": Faults._storm,
    "double": Faults._double,
    "reorder": Faults._reorder,
    "partition": Faults._partition,
    "slow": Faults._slow,
    "disk": Faults._disk,
    "process": Faults._process,
    "pause": Faults._pause,
    "lost": Faults._lost,
}


def plant_canary(ledger: Ledger, clock: Clock) -> None:
    """Let ``ledger`` forget, again and again, the first index that it has settled, which waits again: a checker that
    sees nothing wrong is no checker."""
    first = ledger.states.find(SETTLED)
    if first >= 0:
        ledger.states[first] = LEASED
        ledger.leased += 1
        ledger.give_back([(first, 1)])
    clock.after(CANARY_S, plant_canary, ledger, clock)
