"""Restoring: a peer that starts again has what its earlier life had on disk."""

from __future__ import annotations

from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.effects import Write
from p2pcpn.sim import restoring
from p2pcpn.wire import messages as m
from p2pcpn.wire.statements import Handover, signed
from tests.unit.sim.swarms import finished, some_deeds, submitting


def test_a_steward_has_its_jobs_segments_statements_and_logs_again() -> None:
    world, program = submitting(deeds=some_deeds())
    finished(world, program)
    steward = next(host for host in world.hosts if list(host.disk.scan("segments")))
    take = signed(Handover(program.job, 1, steward.keypair.public), program.owner)
    program.host.follow([fx.Tell(steward.contact, m.Take(77, take))])
    world.run(world.clock.now + 1.0)
    assert steward.peer is not None
    before = steward.peer.steward.jobs[program.job]
    steward.crash()
    world.start(steward)
    assert steward.peer is not None
    after = steward.peer.steward.jobs[program.job]
    assert (after.tasks, after.segments, after.total) == (before.tasks, before.segments, 12)
    assert after.authority.handover is not None
    assert [(key, log.count) for key, log in after.logs.items()] == [
        (key, log.count) for key, log in before.logs.items()
    ]


def test_a_worker_offers_again_what_nobody_acknowledged() -> None:
    world, program = submitting(deeds=some_deeds(takes_s=0.2))
    world.run(world.clock.now + 0.15)
    world.network.cut([[program.host.number]])
    world.run(world.clock.now + 2.0)
    worker = next(host for host in world.hosts if list(host.disk.scan("journal")))
    worker.crash()
    world.start(worker)
    assert worker.peer is not None and worker.peer.worker.journal.count > 0
    world.network.heal()
    world.sessions.heal()
    finished(world, program)
    assert len(program.delivered) == 12


def test_what_settles_a_job_is_read_from_disk() -> None:
    world, program = submitting(deeds=some_deeds())
    finished(world, program)
    steward = next(host for host in world.hosts if list(host.disk.scan("segments")))
    segments, settled = restoring.job_state(steward.disk, steward.peer.steward.jobs[program.job].authority)
    assert len(segments) == 1 and sum(count for _, count in settled) == 12
    row = next(row for _, row in steward.disk.scan("logs"))
    assert restoring.log_message(3, row).body == restoring.log_answer(4, row).body == row[1]


def test_states_of_running_tasks_come_back_with_their_job() -> None:
    world, program = submitting(deeds=some_deeds())
    finished(world, program)
    steward = next(host for host in world.hosts if list(host.disk.scan("segments")))
    steward.disk.commit((Write("states", (program.job, 3), (1, b"state")),), lambda durable: None)
    world.run(world.clock.now + 1.0)
    assert [(state.index, state.sealed) for state in restoring.states(steward.disk, program.job)] == [(3, b"state")]
    steward.crash()
    world.start(steward)
    assert steward.peer is not None and len(steward.peer.steward.jobs[program.job].states) == 1
