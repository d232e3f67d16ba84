"""Convergence: what is missing is named, and nothing when nothing is."""

from __future__ import annotations

from p2pcpn.protocol.effects import Write
from p2pcpn.sim.convergence import Search, copies_wrong, job_wrong, keys_of, neighbours_wrong, settled_on_disks
from tests.unit.sim.swarms import finished, formed, some_deeds, submitting


def test_a_dead_neighbour_is_named_until_nobody_has_it() -> None:
    world = formed(4)
    assert neighbours_wrong(world) == ""
    world.hosts[2].crash()
    assert "dead neighbour" in neighbours_wrong(world)
    assert world.run(world.clock.now + 120.0, lambda: not neighbours_wrong(world))


def test_who_has_no_neighbours_or_suspects_one_is_named() -> None:
    world = formed(2)
    peer = world.hosts[0].peer
    assert peer is not None
    doubts, peer.membership._doubts = peer.membership._doubts, {world.hosts[1].id: None}  # type: ignore[dict-item]
    assert "suspects" in neighbours_wrong(world)
    peer.membership._doubts = doubts
    peer.neighbourhood.gone(world.hosts[1].id)
    assert "no neighbours" in neighbours_wrong(world)


def test_a_job_is_wrong_until_every_task_ended_and_lies_on_enough_disks() -> None:
    world, program = submitting(deeds=some_deeds())
    assert "12 of 12 tasks" in job_wrong(program)
    program.delivered.update(range(12))
    assert "too few holders" in job_wrong(program)
    program.delivered.clear()
    finished(world, program)
    assert job_wrong(program) == "" and copies_wrong(world, program) == ""
    assert settled_on_disks(world, program.job) == set(range(12))
    holders = [host for host in world.hosts[:-1] if list(host.disk.scan("logs", (program.job,)))]
    blobs, holders[0].disk.blobs = holders[0].disk.blobs, {}
    assert "without a blob" in copies_wrong(world, program)
    holders[0].disk.blobs = blobs
    for holder in holders:
        holder.disk.commit((Write("logs", (program.job,), None),), lambda durable: None)
    world.run(world.clock.now + 1.0)
    assert "lies on" in copies_wrong(world, program)


def test_records_that_are_not_found_are_named() -> None:
    world, program = submitting(deeds=some_deeds())
    finished(world, program)
    world.run(world.clock.now + 2.0)
    search = Search(world.alive[:2], [*keys_of(program), bytes(20)])
    assert "do not end" in search.wrong()
    assert world.run(world.clock.now + 30.0, lambda: search.over)
    assert "does not find the record 00000000" in search.wrong()
    search = Search(world.alive[:2], keys_of(program))
    assert world.run(world.clock.now + 30.0, lambda: search.over)
    assert search.wrong() == ""
