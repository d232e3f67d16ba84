"""Convergence: what is missing is named, and nothing when nothing is."""

from __future__ import annotations

from p2pcpn.protocol.effects import Write
from p2pcpn.sim.convergence import (
    Search,
    copies_wrong,
    headers_on,
    job_wrong,
    keys_of,
    neighbours_wrong,
    settled_on_disks,
)
from p2pcpn.wire.pages import cut
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


def test_what_no_living_peer_has_from_the_beginning_of_its_log_is_not_settled() -> None:
    world, program = submitting(deeds=some_deeds())
    finished(world, program)
    holders = [host for host in world.hosts if list(headers_on(host, program.job))]
    segments = {said.number: said for host in holders for said in headers_on(host, program.job)}
    last, first = segments[len(segments) - 1], segments[0]
    assert last is not first and settled_on_disks(world, program.job) == set(range(12))
    for gone, left in ((last, set(range(12)) - set(cut(last.spans))), (first, set())):
        key = (program.job, bytes(gone.grantor), gone.epoch, gone.number)
        for holder in holders:
            holder.disk.commit((Write("logs", key, None),), lambda durable: None)
        world.run(world.clock.now + 0.5)
        assert settled_on_disks(world, program.job) == left


def test_a_hole_in_a_log_hides_what_is_behind_it() -> None:
    world, program = submitting(deeds=some_deeds())
    finished(world, program)
    for host in world.hosts:
        for said in headers_on(host, program.job):
            if not said.number:
                key = (program.job, bytes(said.grantor), said.epoch, 0)
                host.disk.commit((Write("logs", key, None),), lambda durable: None)
    world.run(world.clock.now + 0.5)
    assert any(list(headers_on(host, program.job)) for host in world.alive)
    assert settled_on_disks(world, program.job) == set()


def test_what_lies_on_disks_of_the_dead_is_not_settled() -> None:
    world, program = submitting(deeds=some_deeds())
    finished(world, program)
    for host in world.hosts:
        if list(headers_on(host, program.job)):
            host.crash()
    assert settled_on_disks(world, program.job) == set()


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
