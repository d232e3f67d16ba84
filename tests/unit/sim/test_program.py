"""A program that submits: it feeds, closes, and knows what is lost."""

from __future__ import annotations

from p2pcpn.protocol import events
from p2pcpn.sim.program import PAGE_TASKS, Program
from p2pcpn.sim.runtime import Deed
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import BlobRef
from tests.unit.sim.swarms import finished, some_deeds, submitting


def test_a_job_is_fed_in_segments_and_ends_when_all_is_replicated() -> None:
    world, program = submitting(deeds=some_deeds(PAGE_TASKS + 2))
    program.add([Deed(PAGE_TASKS + 2, 0.1), Deed(PAGE_TASKS + 3, 0.1, "poison")])
    assert not program.done and len(program.lost()) == PAGE_TASKS + 4
    finished(world, program)
    assert program.lost() == [] and program.ended == PAGE_TASKS + 4
    assert program.kept is not None and program.kept.tasks == PAGE_TASKS + 4
    assert program.replicated is not None and program.replicated.settled == len(program.delivered)


def test_events_of_other_jobs_are_nothing_to_it() -> None:
    _, program = submitting(deeds=some_deeds())
    program._event(events.GaveUp(bytes(20), [1], "another's"))
    assert not program.given_up
    program._event(events.GaveUp(program.job, [1], "its own"))
    assert program.given_up == {1} and 1 in program.lost()
    program.host.world.died[1] = None
    assert 1 not in program.lost()


def test_a_large_result_that_is_not_at_hand_is_asked_of_its_worker() -> None:
    world, program = submitting(deeds=some_deeds(takes_s=20.0))
    world.run(world.clock.now + 1.0)
    worker = world.hosts[1]
    assert worker.shelf is not None and program.host.shelf is not None
    sealed = b"not what was to come"
    worker.shelf.keep(digest(sealed), sealed)
    value = BlobRef(digest(sealed), len(sealed), bytes(32))
    arrived: list[int] = []
    world.checker.arrived = lambda program, index, value: arrived.append(index)  # type: ignore[method-assign]
    program._event(events.Delivered(program.job, [1], b"\0", [value], worker.id, []))
    assert program.delivered == set()
    world.run(world.clock.now + 2.0)
    assert arrived == [1] and program.delivered == {1}
    assert value.digest in program.host.shelf.blobs


def test_who_would_be_its_stewards_is_known_before_it_is_opened() -> None:
    world, program = submitting(deeds=some_deeds())
    named = Program(program.host, "another", stewards=2).stewards_now()
    assert len(named) == 2 and named <= {host.id for host in world.alive}
