"""Replacing: so many die, each at a time of its own, and whoever comes has an empty disk and another identity."""

from __future__ import annotations

from p2pcpn.sim.replacing import newcomers, replace
from p2pcpn.sim.world import World


def swarm(count: int) -> World:
    world = World(7, count)
    for number in range(count):
        host = world.host(f"peer-{number}", slots=1)
        world.seeds = world.seeds or [host.address]
        world.start(host)
        host.disk.blobs[b"blob"] = b"kept"
    world.run(5.0)
    return world


def test_that_many_of_the_mortal_go_one_after_the_other_and_as_many_come() -> None:
    world = swarm(6)
    first, times = list(world.hosts), []

    def join(name: str) -> None:
        times.append(world.clock.now)
        world.start(world.host(name, slots=1))

    victims = replace(world, first[1:], 3, 60.0, join)
    assert newcomers(world) == first and len(set(map(id, victims))) == 3 and first[0] not in victims
    world.run(65.0)
    fresh = newcomers(world)
    assert len(fresh) == 3 and not set(map(id, fresh)) & set(map(id, first))
    assert len({host.id for host in world.hosts}) == 9 and not any(host.disk.blobs for host in [*victims, *fresh])
    assert all(host.peer is None for host in victims) and len(world.alive) == 6
    assert [int((time - 5.0) // 20.0) for time in times] == [0, 1, 2]


def test_no_more_go_than_there_are() -> None:
    world = swarm(3)
    assert len(replace(world, world.hosts[1:], 9, 1.0, lambda name: None)) == 2
    world.run(7.0)
    assert [host.name for host in world.alive] == ["peer-0"]
