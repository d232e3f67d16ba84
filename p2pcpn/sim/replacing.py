"""Replacing: peers die without a word, disks and all, one after the other, and each time a fresh one joins.

Who comes has an identity of its own and an empty disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from p2pcpn.sim.host import Host
from p2pcpn.sim.world import World

_FRESH = "fresh-"


def replace(
    world: World, mortal: Sequence[Host], count: int, seconds: float, join: Callable[[str], object]
) -> list[Host]:
    """Have ``count`` of ``mortal``, taken by chance, die at times spread evenly over the coming ``seconds``: these.

    ``join`` is given the name of each peer that takes a place, and starts it.
    """
    chance = world.dice.stream("turnover")
    victims = chance.sample(mortal, min(count, len(mortal)))
    began = world.clock.now
    for number, host in enumerate(victims):
        at = began + seconds * (number + chance.random()) / len(victims)
        world.clock.at(at, partial(_swap, world, host, join))
    return victims


def _swap(world: World, host: Host, join: Callable[[str], object]) -> None:
    host.crash(power=True)
    host.disk.blobs.clear()
    join(f"{_FRESH}{len(world.hosts)}")


def newcomers(world: World) -> list[Host]:
    """Who lives and took somebody's place; all who live, where nobody did."""
    return [host for host in world.alive if host.name.startswith(_FRESH)] or world.alive
