"""Catching up: a program that was not told a result finds it in the logs, and one that is told of all reads nothing."""

from __future__ import annotations

import pytest

from p2pcpn.protocol.relaying import Relaying
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.program import Program
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.world import World

TASKS = 40


def begun(seed: int = 1) -> Program:
    """A small swarm, and a distributed job in it."""
    world = World(seed, 5)
    hosts = [world.host(f"peer-{number}") for number in range(4)]
    world.seeds = [hosts[0].address]
    submitter = world.host("submitter", slots=0, roles=0)
    for host in [*hosts, submitter]:
        world.start(host)
    program = Program(submitter, "job", orchestration="distributed")
    assert world.run(30.0, lambda: program.stewards_known() >= 3)
    program.open()
    program.add([Deed(index, 0.2) for index in range(TASKS)])
    program.close()
    return program


def test_who_is_told_of_all_reads_nothing() -> None:
    program = begun()
    world = program.host.world
    assert world.run(world.clock.now + 60.0, lambda: program.done)
    assert program.caught_up == 0 and sorted(program.delivered) == list(range(TASKS))


def test_what_nobody_tells_is_read_from_the_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relaying, "relayed", lambda self, effects, kept, own, now: [])
    program = begun()
    world = program.host.world
    assert world.run(world.clock.now + 90.0, lambda: program.ended == TASKS)
    assert program.caught_up == TASKS
    assert program.host.peer is not None
    assert not program.host.peer.grantors[program.job].ledger.open, "its stand-in knows, too"


def test_a_wrong_value_in_the_logs_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relaying, "relayed", lambda self, effects, kept, own, now: [])
    program = begun()
    program.arguments[3] = program.arguments[4]  # as if another had been sent
    world = program.host.world
    with pytest.raises(Violation, match="task 3 was settled with a wrong value"):
        world.run(world.clock.now + 90.0, lambda: program.ended == TASKS)


def test_it_ends_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relaying, "relayed", lambda self, effects, kept, own, now: [])
    program = begun()
    world = program.host.world
    assert world.run(world.clock.now + 90.0, lambda: bool(program.host.hearers)), "it reads"
    program.host.crash()
    world.run(world.clock.now + 10.0)
    assert not program.host.hearers and program.caught_up < TASKS
