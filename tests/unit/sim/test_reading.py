"""Reading back: whoever asks through any peer sees what was settled, and what was seen is noted."""

from __future__ import annotations

import pytest

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import history as h
from p2pcpn.protocol.effects import Write
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.log_reading import WAIT_S
from p2pcpn.sim.host import Host
from p2pcpn.sim.program import Program
from p2pcpn.sim.reading import AGAIN_S, Reading, reads_whole
from p2pcpn.sim.world import World
from tests.unit.sim.swarms import finished, some_deeds, submitting


def read_through(world: World, program: Program, host: Host, wait_s: float = 30.0) -> Reading:
    reading = Reading(host, program.owner.public, program.job)
    end = world.clock.now + wait_s
    while not reading.over and world.clock.now < end:
        reading.step()
        world.run(world.clock.now + 0.25)
    return reading


def done() -> tuple[World, Program]:
    world, program = submitting(6, deeds=some_deeds())
    finished(world, program)
    world.run(world.clock.now + 2.0)
    return world, program


def test_every_peer_shows_the_same_results_and_what_was_seen_is_noted() -> None:
    world, program = done()
    seen = []
    for host in world.alive:
        reading = read_through(world, program, host)
        assert reading.over and sorted(reading.results) == list(range(12)) and not reading.conflicts, host.name
        reading.end()
        assert world.history is not None
        last = world.history[-1].event
        assert isinstance(last, h.Saw) and last.spans == ((0, 12),) and last.epochs == (0,) * 12
        seen.append(last)
    assert len(set(seen)) == 1
    assert not any(host.hearers for host in world.hosts)


def test_a_job_is_read_whole_or_not_within_its_time() -> None:
    world, program = done()
    asker = world.hosts[0]
    assert not reads_whole(asker, program.owner.public, program.job, 12, 0.0)
    assert reads_whole(asker, program.owner.public, program.job, 12, 30.0)
    began = world.clock.now
    assert not reads_whole(asker, program.owner.public, program.job, 13, 5.0)
    assert world.clock.now >= began + 5.0 and not asker.hearers


def test_a_holder_that_is_gone_is_passed_over() -> None:
    world, program = done()
    holders = [host for host in world.hosts[:-1] if list(host.disk.scan("logs", (program.job,)))]
    asker = next(host for host in world.hosts[:-1] if host is not holders[0])
    holders[0].crash()
    program.host.crash()
    reading = read_through(world, program, asker)
    assert reading.over and len(reading.results) == 12


def test_a_job_whose_owner_died_before_its_record_was_kept_is_found_by_who_lies_near_it() -> None:
    # Seed 55 of `faults` with 50 peers: a computer lost 0.8 s after it had opened its job.
    world, program = done()
    program.host.crash(power=True)
    for host in world.alive:
        assert host.peer is not None
        host.peer.dht.records._held.pop(record_key(program.owner.public, program.job), None)
    reading = read_through(world, program, world.alive[0])
    assert reading.over and len(reading.results) == 12


def test_a_peer_that_keeps_nothing_of_a_job_is_no_answer_to_itself() -> None:
    # Seeds 27 and 42 of `faults`: a reader that lies near the job ended with nothing read.
    world, program = done()
    stranger = world.host("stranger")
    world.start(stranger)
    world.run(world.clock.now + 5.0)
    reading = Reading(stranger, program.owner.public, program.job)
    reading._stewards[NodeId(stranger.id)] = stranger.contact
    reading.step()
    assert not reading.over


def test_a_reader_does_not_end_where_nobody_has_the_log_any_more() -> None:
    world, program = done()
    for host in world.hosts:
        host.disk.commit((Write("logs", (program.job,), None),), lambda durable: None)
    world.run(world.clock.now + 1.0)
    reading = read_through(world, program, world.alive[0], wait_s=10.0)
    assert not reading.over and not reading.results


def test_who_was_silent_keeps_no_reader_from_the_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    world, program = done()
    asker = world.alive[0]
    asker.disk.commit((Write("logs", (program.job,), None),), lambda durable: None)
    world.run(world.clock.now + 1.0)
    dead = [host for host in world.alive if host is not asker]
    for host in dead:
        host.crash()
    reading = Reading(asker, program.owner.public, program.job)
    reading._logs.headed(program.host.id, [(0, 1)], [dead[0].contact])
    reading.step()
    assert reading._logs.pending
    world.run(world.clock.now + max(WAIT_S, AGAIN_S))
    begun: list[bool] = []
    monkeypatch.setattr(reading._logs, "begin", lambda: begun.append(True))
    reading.step()
    assert begun == [True]


def test_a_reader_whose_peer_restarted_asks_no_more() -> None:
    world, program = done()
    asker = world.alive[1]
    reading = Reading(asker, program.owner.public, program.job)
    reading.step()
    asker.crash()
    reading.step()
    world.start(asker)
    reading.step()
    reading._more()
    world.run(world.clock.now + 5.0)
    assert not reading.over
