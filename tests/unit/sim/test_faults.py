"""Faults: each kind does its harm, heals, and is turned on by some seeds only."""

from __future__ import annotations

import pytest

from p2pcpn.protocol import history
from p2pcpn.protocol.ledger import SETTLED
from p2pcpn.sim import faults
from p2pcpn.sim.faults import KINDS, Faults, plant_canary
from p2pcpn.sim.network import Weather
from p2pcpn.sim.world import World
from tests.unit.sim.swarms import formed, some_deeds, submitting


def on(world: World, *kinds: str, all_on: bool = True) -> Faults:
    return Faults(world, kinds, Weather(0.01), spared=world.hosts[:1], all_on=all_on)


def happen(it: Faults, kind: str, count: int = 1) -> None:
    for number in range(count):
        faults._HAPPEN[kind](it, it.world.dice.stream("test", kind, number))


def test_peers_are_killed_and_start_again_but_never_all_of_them() -> None:
    world = formed(8)
    it = on(world, "kill", "power")
    happen(it, "kill", 5)
    happen(it, "power", 5)
    down = [host for host in world.hosts if host.peer is None]
    assert 1 <= len(down) <= 3 and world.hosts[0].peer is not None
    world.run(world.clock.now + faults.DOWN_S_MAX + 1.0)
    assert all(host.peer is not None or host in it._gone for host in world.hosts)


def test_some_that_go_never_come_back() -> None:
    world = formed(12)
    it = on(world, "kill")
    for number in range(40):
        faults._HAPPEN["kill"](it, world.dice.stream("many", number))
        world.run(world.clock.now + 5.0)
    it.heal()
    assert it._gone and all((host.peer is None) == (host in it._gone) for host in world.hosts)


def test_other_peers_join_now_and_then() -> None:
    world = formed(3)
    it = on(world, "join")
    happen(it, "join", 2)
    assert [host.name for host in world.alive][-2:] == ["joined-1", "joined-2"]


def test_the_weather_turns_bad_and_good_again() -> None:
    world = formed(3)
    it = on(world, "storm", "double", "reorder")
    for kind in ("storm", "double", "reorder"):
        happen(it, kind)
    weather = world.network.weather
    assert weather.loss > 0.01 and weather.doubled > 0.0 and weather.jitter_s > 0.001
    world.run(world.clock.now + faults.DOWN_S_MAX)
    assert world.network.weather == Weather(0.01)


def test_cuts_slow_hosts_and_refusing_disks_pass() -> None:
    world = formed(4)
    it = on(world, "partition", "slow", "disk")
    for kind in ("partition", "slow", "disk"):
        happen(it, kind, 4)
    assert world.network.islands
    assert any(host.slowness > 1.0 and host.port.lag_s > 0.0 for host in world.hosts)
    assert any(host.disk.refusing for host in world.hosts) and not world.hosts[0].disk.refusing
    world.run(world.clock.now + faults.DOWN_S_MAX)
    assert not world.network.islands
    assert all(host.slowness == 1.0 and not host.disk.refusing for host in world.hosts)


def test_a_worker_process_dies_of_a_task_that_is_good() -> None:
    world, program = submitting(deeds=some_deeds())
    happen(on(world, "process"), "process")
    assert any(world.dies(deed.index) for deed in program.deeds)


def test_processes_stand_still_and_go_on() -> None:
    world = formed(6, rate=1.0)
    it = on(world, "pause")
    happen(it, "pause", 4)
    assert 1 <= sum(host.paused for host in world.hosts) <= 2
    world.run(world.clock.now + faults.PAUSE_S_MAX)
    assert not any(host.paused for host in world.hosts)
    happen(it, "pause")
    it.heal()
    assert not any(host.paused for host in world.hosts)


def test_a_lost_computer_is_replaced_by_a_new_one() -> None:
    world = formed(6)
    it = on(world, "lost")
    happen(it, "lost")
    world.run(world.clock.now + 60.0)
    it.heal()
    assert [host.name for host in world.hosts if host.peer is None] == [host.name for host in it._gone] != []
    assert world.hosts[-1].name == "joined-1" and world.hosts[-1].peer is not None
    world.end()
    assert world.history is not None
    gone = world.history[-1].event
    assert isinstance(gone, history.Fault) and gone.peers == tuple(host.id.hex() for host in it._gone)


def test_kinds_come_at_their_own_times_until_all_is_healed() -> None:
    world = formed(6)
    it = on(world, "slow", "storm", "kill")
    it.begin()
    world.run(world.clock.now + 60.0)
    assert all(it.counts.values())
    it.heal()
    counts = dict(it.counts)
    world.run(world.clock.now + 60.0)
    assert it.counts == counts


def test_a_seed_turns_kinds_on_or_off() -> None:
    chosen = {on(World(seed, 2), *KINDS, all_on=False).chosen for seed in range(8)}
    assert len(chosen) > 4 and all(0 < len(kinds) <= len(KINDS) for kinds in chosen)


def test_the_canary_forgets_what_it_settled() -> None:
    world, program = submitting(deeds=some_deeds())
    assert program.host.peer is not None
    ledger = program.host.peer.grantors[program.job].ledger
    assert ledger.settle([(0, 2)]) == [(0, 2)]
    waiting = ledger.waiting
    plant_canary(ledger, world.clock)
    assert ledger.waiting == waiting + 1 and ledger.states[0] != SETTLED and ledger.states[1] == SETTLED
    assert ledger.settle([(0, 1)]) == [(0, 1)], "what is forgotten is settled again"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_survived_by_a_swarm_that_is_idle(kind: str) -> None:
    world = formed(4)
    it = on(world, kind)
    happen(it, kind)
    it.heal()
    world.run(world.clock.now + 2.0)
    assert world.checker.checks > 0
