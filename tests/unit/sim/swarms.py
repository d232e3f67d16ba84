"""Small virtual swarms for tests: formed, and with a job under way."""

from __future__ import annotations

from p2pcpn.sim.host import Host
from p2pcpn.sim.program import Program
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.world import World


def formed(peers: int = 4, seed: int = 1, submitter: bool = False, rate: float | None = None) -> World:
    """A swarm whose peers know each other. The submitter, where there is one, is the last host.

    With a ``rate`` each has a clock of its own.
    """
    world = World(seed, peers)
    hosts = [world.host(f"peer-{number}", rate=rate) for number in range(peers)]
    if submitter:
        hosts.append(world.host("submitter", slots=0, roles=0, rate=rate))
    world.seeds = [hosts[0].address]
    for host in hosts:
        world.start(host)
    world.run(3.0)
    return world


def submitting(
    peers: int = 4, seed: int = 1, deeds: list[Deed] | None = None, rate: float | None = None
) -> tuple[World, Program]:
    """A formed swarm and a program with an open job, which was given ``deeds``."""
    world = formed(peers, seed, submitter=True, rate=rate)
    program = Program(world.hosts[-1], "job")
    program.open()
    if deeds:
        program.add(deeds)
    return world, program


def finished(world: World, program: Program) -> None:
    """Let the job be closed and done."""
    program.close()
    assert world.run(world.clock.now + 60.0, lambda: program.done), "the job does not end"


def some_deeds(count: int = 12, takes_s: float = 0.05) -> list[Deed]:
    """Tasks of every sort, most of them plain."""
    words = {1: "large", 2: "raises"}
    return [Deed(index, takes_s, words.get(index, "value")) for index in range(count)]


def named(world: World, name: str) -> Host:
    """The host with that name."""
    return next(host for host in world.hosts if host.name == name)
