"""Hearing: the worker has its tasks at once, the steward its copy once it is proved; what is false is stopped."""

from __future__ import annotations

import msgspec

from p2pcpn.protocol import effects as fx
from p2pcpn.wire import messages as m
from tests.unit.protocol.swarm import Job, Member, Swarm


def grown() -> tuple[Member, Member, Member]:
    one, two, three = Swarm().grown(3)
    for member in (one, two, three):
        member.takes_s = 0.01
    return one, two, three


def test_a_segment_of_the_owners_node_is_leased_and_kept_and_answered() -> None:
    one, two, three = grown()
    job = Job(two, stewards=(one, three)).extend(4)
    assert two.swarm.run(5, lambda: job.grantor.custody.whole() == 2 and not job.grantor.ledger.open)
    assert {len(member.peer.steward.jobs[job.job].segments) for member in (one, three)} == {1}
    assert one.peer.hearing.deadline() is None


def test_segments_that_come_together_are_answered_together() -> None:
    one, two, three = grown()
    job = Job(two, stewards=(one, three))
    for _ in range(5):
        job.extend(1)
    assert two.swarm.run(5, lambda: job.grantor.custody.whole() == 2)
    answers = [said for node, said in two.said if node == one.id and isinstance(said, m.Answer) and said.also]
    assert answers, "five copies are no five answers"


def test_a_false_segment_of_the_owners_node_ends_its_session() -> None:
    one, two, three = grown()
    job = Job(two, stewards=(one, three)).extend(1)
    assert two.swarm.run(5, lambda: job.grantor.custody.whole() == 2)
    said = job.made.segment(1)
    false = msgspec.structs.replace(said, segment=msgspec.structs.replace(said.segment, signature=bytes(64)))
    now = two.swarm.now
    assert not [e for e in one.peer.message_received(two.id, false, now) if isinstance(e, fx.Hangup)]
    due = one.peer.hearing.deadline()
    assert due is not None and due > now
    effects = one.peer.hearing.prove(due)
    assert [e.peer for e in effects if isinstance(e, fx.Hangup)] == [two.id]
    assert one.peer.counters["disproved Extend"] == 1
    assert len(one.peer.steward.jobs[job.job].segments) == 1


def test_a_segment_from_anybody_else_is_checked_first() -> None:
    one, two, three = grown()
    job = Job(two, stewards=(one, three)).extend(1)
    assert two.swarm.run(5, lambda: job.grantor.custody.whole() == 2)
    said = job.made.segment(1)
    false = msgspec.structs.replace(said, segment=msgspec.structs.replace(said.segment, signature=bytes(64)))
    three.swarm.connect(three, one.contact)
    assert one.peer.message_received(three.id, false, two.swarm.now) == []
    assert one.peer.counters["refused Extend"] == 1 and one.peer.hearing.deadline() is None


def test_a_task_that_is_named_brings_its_segment_and_is_run_and_kept() -> None:
    swarm = Swarm()
    one, three = swarm.grown(2)
    two = swarm.add(slots=0)  # it runs nothing itself
    two.start(one)
    assert swarm.run(10, lambda: swarm.knows(two) == {one.id, three.id})
    one.takes_s = three.takes_s = 0.01
    job = Job(two, stewards=(one, three))
    for _ in range(8):
        job.extend(1)
        assert swarm.run(5, lambda: not job.grantor.ledger.open)
    assert swarm.run(5, lambda: job.grantor.custody.whole() == 2)
    named = [said for member in (one, three) for _, said in member.said if isinstance(said, m.Further)]
    assert named and all(said.extend is not None for said in named), "a peer that keeps the job is told both at once"
    assert {len(member.peer.steward.jobs[job.job].segments) for member in (one, three)} == {8}


def test_a_task_whose_segment_is_false_is_not_run() -> None:
    one, two, three = grown()
    job = Job(two, stewards=(one, three)).extend(1)
    assert two.swarm.run(5, lambda: job.grantor.custody.whole() == 2)
    said = job.made.segment(1)
    false = msgspec.structs.replace(said, segment=msgspec.structs.replace(said.segment, key=bytes(32)))
    slices = [m.PageSlice(1, 1, 0, 1, bytes(32))]
    assert one.peer.message_received(two.id, m.Further(job.job, 0, 1, slices, false), two.swarm.now) == []
    assert one.peer.counters["refused Further"] == 1
    (back,) = one.peer.message_received(two.id, m.Further(job.job, 0, 9, slices), two.swarm.now)
    assert isinstance(back, fx.Transmit) and isinstance(back.message, m.Return) and back.message.code == "missing"
