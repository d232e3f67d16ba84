"""Draining: a virtual peer leaves by the machines of real ones: it hands on what it has, or stays after all."""

from __future__ import annotations

import pytest

from p2pcpn.protocol.departure import Stage
from p2pcpn.sim.draining import Draining
from p2pcpn.sim.host import Host
from p2pcpn.sim.program import Program
from p2pcpn.sim.runtime import Deed
from p2pcpn.sim.world import World
from tests.unit.sim.swarms import finished, formed, some_deeds, submitting


def kept_by(program: Program, world: World) -> list[Host]:
    return [host for host in world.alive if any(host.disk.scan("logs", (program.job,)))]


def test_a_keeper_that_drains_leaves_as_many_copies_behind_as_there_were() -> None:
    world, program = submitting(deeds=some_deeds())
    finished(world, program)
    program.host.crash(power=True)
    before = kept_by(program, world)
    draining = Draining(before[0])
    draining.begin(10.0)
    assert draining.machine.stage is Stage.RUNNING and not draining.over
    assert world.run(world.clock.now + 40.0, lambda: draining.over)
    assert draining.gone and before[0].peer is None and not before[0].disk.blobs
    assert draining.machine.behind == {} and len(kept_by(program, world)) >= min(len(before), len(world.alive)) - 1
    assert not draining.undo()


def test_it_stays_where_it_is_told_so_in_time_and_takes_work_again() -> None:
    world, program = submitting(deeds=[Deed(index, 3.0) for index in range(12)])
    assert world.run(world.clock.now + 10.0, lambda: any(h.peer and h.peer.worker.running for h in world.alive))
    (host, *_) = [host for host in world.alive if host.peer is not None and host.peer.worker.running]
    assert host.peer is not None
    draining = Draining(host)
    draining.begin(60.0)
    world.run(world.clock.now + 1.0)
    assert host.peer.presence.draining and draining.since_s is not None
    assert draining.undo() and draining.over and draining.since_s is None
    assert not host.peer.presence.draining and not draining.undo()
    draining.begin(0.0)  # and leaves at once: what runs, runs elsewhere
    assert world.run(world.clock.now + 60.0, lambda: draining.gone)
    program.close()
    assert world.run(world.clock.now + 120.0, lambda: program.ended == 12) and program.lost() == []


def test_a_careful_one_that_is_alone_stays() -> None:
    world = formed(1)
    (host,) = world.hosts
    program = Program(host, "job", replicas=1)
    program.open()
    program.add([Deed(0, 0.1)])
    program.close()
    assert world.run(world.clock.now + 30.0, lambda: program.ended == 1)
    draining = Draining(host)
    draining.begin(0.0, careful=True)
    assert world.run(world.clock.now + 80.0, lambda: draining.over)
    assert host.peer is not None and draining.machine.stage is Stage.STAYING and not host.peer.presence.draining


def test_who_dies_meanwhile_leaves_no_more() -> None:
    world, program = submitting(deeds=some_deeds())
    finished(world, program)
    host = kept_by(program, world)[0]
    draining = Draining(host)
    draining.begin(600.0)
    host.crash()
    world.run(world.clock.now + 5.0)
    assert draining.over and not draining.gone
    world.start(host)
    world.run(world.clock.now + 5.0)
    assert host.peer is not None and not host.peer.presence.draining


@pytest.mark.parametrize("number", [1, 2])
def test_it_counts_the_segments_of_a_log_up_to_the_first_that_is_missing(number: int) -> None:
    world = formed(2)
    host = world.hosts[1]
    draining = Draining(host)
    for at in (0, 1, 2):
        if at != number:
            host.disk._tables.setdefault("logs", {})[b"job", b"grantor", 3, at] = (b"", b"")
    assert draining._logs(b"job") == {(b"grantor", 3): number}
