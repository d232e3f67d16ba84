"""The virtual shelf: blobs that are brought, asked for, and not to be had."""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.protocol import effects as fx
from p2pcpn.sim.host import Host
from p2pcpn.sim.program import Program
from p2pcpn.sim.shelf import BLOB_WAIT_S
from p2pcpn.sim.world import World
from p2pcpn.wire import messages as m
from p2pcpn.wire.sealing import digest
from tests.unit.sim.swarms import formed, some_deeds, submitting

DATA = b"blob" * (limits.BLOB_PART_BYTES // 2)
NAME = digest(DATA)


def with_blob() -> tuple[World, Program, Host, Host]:
    """A job that two peers know, one of which has the blob."""
    world, program = submitting(deeds=some_deeds(takes_s=20.0))
    world.run(world.clock.now + 1.0)
    a, b = program.host, world.hosts[1]
    assert a.shelf is not None
    a.shelf.keep(NAME, DATA)
    return world, program, a, b


def gathering(world: World, program: Program, asker: Host, sender: Host, *names: bytes) -> list[object]:
    """What comes of it when ``asker`` gathers blobs from ``sender``."""
    told: list[object] = []
    asker.listeners.append(told.append)
    effect = fx.Gather(sender.contact, names, program.job, 60.0, (fx.Notify("had"),), (fx.Notify("not had"),))
    asker.perform([effect])
    world.run(world.clock.now + 1.0)
    return [event for event in told if isinstance(event, str)]


def test_a_blob_that_is_told_arrives_part_by_part_and_is_kept() -> None:
    world, program, a, b = with_blob()
    a.follow(
        [fx.TellBlob(b.contact, 7, NAME, program.job, 60.0), fx.TellBlob(b.contact, 8, bytes(32), program.job, 60.0)]
    )
    world.run(world.clock.now + 1.0)
    assert b.shelf is not None and b.shelf.blobs[NAME] == b.disk.blobs[NAME] == DATA
    assert world.trace.counts["PutBlob"] >= 2 and world.trace.counts["blobs missing"] == 1
    b.crash()
    world.start(b)
    assert b.shelf is not None and NAME in b.shelf.blobs


def test_blobs_of_unknown_jobs_are_refused() -> None:
    world = formed(3)
    a, b = world.hosts[:2]
    assert a.shelf is not None and b.shelf is not None
    a.shelf.keep(NAME, DATA)
    a.follow([fx.TellBlob(b.contact, 7, NAME, bytes(20), 60.0)])
    world.run(world.clock.now + 1.0)
    assert NAME not in b.shelf.blobs and world.trace.counts["Answer"] > 0


def test_what_is_lacking_is_asked_for_and_then_goes_on() -> None:
    world, program, a, b = with_blob()
    assert gathering(world, program, b, a, NAME) == ["had"]
    assert b.disk.blobs[NAME] == DATA
    assert gathering(world, program, b, a, NAME) == ["had"]


def test_what_nobody_has_is_not_had() -> None:
    world, program, a, b = with_blob()
    assert gathering(world, program, b, a, NAME, bytes(32), bytes([1]) * 32) == ["not had"]


def test_a_wrong_blob_a_refusing_disk_and_a_lost_session_are_not_had() -> None:
    world, program, a, b = with_blob()
    assert a.shelf is not None
    a.shelf.blobs[bytes(32)] = b"another"
    assert gathering(world, program, b, a, bytes(32)) == ["not had"]
    b.disk.refusing = True
    assert gathering(world, program, b, a, NAME) == ["not had"]
    # It is in memory by now, which is not what whoever gathers was promised (seed 67 of `calls` with 12 peers).
    assert gathering(world, program, b, a, NAME) == ["not had"]
    b.disk.refusing = False
    assert gathering(world, program, b, a, NAME) == ["had"] and b.disk.blobs[NAME] == DATA
    world, program, a, b = with_blob()
    world.network.cut([[b.number]])
    assert gathering(world, program, b, a, NAME) == []
    world.run(world.clock.now + BLOB_WAIT_S)
    assert world.trace.counts["blobs not had"] == 1
    world, program, a, b = with_blob()
    world.clock.after(0.0, a.crash)
    assert gathering(world, program, b, a, NAME) == ["not had"]


def test_answers_to_other_questions_are_left_to_the_machines() -> None:
    _, _, a, b = with_blob()
    assert b.shelf is not None
    assert not b.shelf.take(a.id, m.Answer(999, 0, ""))
    assert not b.shelf.take(a.id, m.ListJobs(1, bytes(32)))
    assert b.shelf.take(a.id, m.BlobData(999, NAME, 4, 0, b"blob"))
