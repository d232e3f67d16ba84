"""The world: hosts from one seed, and nothing that escapes from a machine unseen."""

from __future__ import annotations

import pytest

from p2pcpn.sim import run
from p2pcpn.sim import world as worlds
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.world import SLOTS_MAX, World
from tests.unit.sim.swarms import formed


def test_the_same_seed_makes_the_same_hosts_and_one_more_changes_none() -> None:
    few, many = World(1, 4), World(1, 4)
    many.host("another")
    a, b = few.host("peer-0"), many.host("peer-0")
    assert a.id == b.id and a.slots == b.slots <= SLOTS_MAX and a.port.access_s == b.port.access_s
    assert World(2, 4).host("peer-0").id != a.id


def test_peers_that_start_find_each_other() -> None:
    world = formed(4)
    assert len(world.alive) == 4
    assert all(host.peer is not None and len(host.peer.neighbourhood) == 3 for host in world.alive)
    world.hosts[1].crash()
    assert world.hosts[1] not in world.alive


def test_what_virtual_peers_check_once_for_all_changes_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []
    for shared in (1, worlds.CHECKS_SHARED):
        monkeypatch.setattr(worlds, "CHECKS_SHARED", shared)
        traces.append(run("churn", peers=6, seed=3).trace_hash)
    assert traces[0] == traces[1]


def test_whatever_a_machine_raises_is_a_violation() -> None:
    world = World(1, 2)
    world.clock.at(1.0, lambda: [][0])
    with pytest.raises(Violation, match="IndexError"):
        world.run(2.0)


def test_a_violation_is_passed_on_as_it_is() -> None:
    world = World(1, 2)

    def break_() -> None:
        raise Violation("broken")

    world.clock.at(1.0, break_)
    with pytest.raises(Violation, match=r"\Abroken\Z"):
        world.run(2.0)


def test_a_worker_process_dies_of_a_task_once() -> None:
    world = World(1, 2)
    world.kill_process_of(5)
    assert [world.dies(5), world.dies(5), world.dies(6)] == [True, False, False]
    world.kill_process_of(5)
    assert not world.dies(5) and list(world.died) == [5]
