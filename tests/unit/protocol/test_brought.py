"""Brought blobs: who takes part in a job brings what it needs; guests' owners and outsiders have a part of the disk."""

from __future__ import annotations

from collections import Counter

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.brought import ENTRY_BYTES, Brought
from p2pcpn.wire.statements import Role
from tests.unit.protocol.swarm import Job, Member, Swarm

DISK_BYTES = 16 * 16 * ENTRY_BYTES  # a sixteenth of it: a blob of 15 entries, or so many
SHARE_BYTES = DISK_BYTES // 16 - ENTRY_BYTES
LARGE = 1 << 40


class Cast:
    """A submitter, two stewards that run nothing, a worker, and somebody who has no part in the job."""

    def __init__(self) -> None:
        self.swarm = Swarm()
        add = self.swarm.add
        self.one = add(slots=0, roles=Role.STORAGE).start()
        self.two = add(slots=0, roles=Role.STORAGE).start(self.one)
        self.worker = add(roles=Role.COMPUTE).start(self.one)
        self.submitter = add(slots=0, roles=0).start(self.one)
        self.other = add(slots=0, roles=0).start(self.one)
        assert self.swarm.run(10, lambda: self.worker.id in self.swarm.knows(self.submitter))
        self.worker.takes_s = None
        self.job = self.begin(1)
        self.brought = Brought(self.one.peer, DISK_BYTES)
        assert self.swarm.run(10, lambda: bool(self.worker.batches))

    def begin(self, number: int) -> bytes:
        job = Job(self.submitter, stewards=(self.one, self.two), number=number).extend(1, 1)
        assert self.swarm.run(5, lambda: job.job in self.one.peer.steward.jobs)
        return job.job

    def guest(self, job: bytes) -> None:
        steward = self.one.peer.steward
        kept = steward.jobs[job]
        kept.guest = b"network"
        steward.guests.add(kept.guest, job)
        steward.guests.quota.take(kept.guest, kept.disk_bytes)

    def takes(self, source: Member, size_bytes: int, job: bytes = b"") -> bool:
        return self.brought.take(job or self.job, source.id, size_bytes)


def test_who_has_a_part_in_a_job_may_bring_what_it_likes_and_an_outsider_a_sixteenth() -> None:
    cast = Cast()
    assert all(cast.takes(member, LARGE) for member in (cast.submitter, cast.two))
    assert cast.takes(cast.other, SHARE_BYTES) and not cast.takes(cast.other, 0)
    assert cast.takes(cast.worker, SHARE_BYTES) and not cast.takes(cast.worker, 0), "its grantor is another"
    granting = Brought(cast.submitter.peer, DISK_BYTES)
    assert granting.take(cast.job, cast.worker.id, LARGE) and granting.take(cast.job, cast.one.id, LARGE)
    assert not granting.take(cast.job, cast.other.id, SHARE_BYTES + 1)
    working = Brought(cast.worker.peer, DISK_BYTES)
    assert working.take(cast.job, cast.other.id, LARGE), "what tasks take is let go of with them"


def test_outsiders_together_have_a_quarter() -> None:
    cast = Cast()
    sources = [NodeId(bytes([number]) * 20) for number in range(5)]
    assert [cast.brought.take(cast.job, node, SHARE_BYTES) for node in sources] == [True] * 4 + [False]


def test_of_a_guests_job_even_its_submitter_brings_a_part_and_it_is_free_again_when_the_job_is_gone() -> None:
    cast = Cast()
    other = cast.begin(2)
    cast.guest(cast.job)
    assert cast.takes(cast.submitter, SHARE_BYTES) and not cast.takes(cast.two, 0)
    assert cast.takes(cast.submitter, LARGE, other), "whose owner is trusted, or was here first"
    cast.guest(other)
    assert not cast.takes(cast.submitter, 0, other), "one owner, one part"
    cast.one.peer.steward.forget(cast.job)
    assert cast.takes(cast.submitter, SHARE_BYTES, other)


def test_what_lies_here_of_an_earlier_life_is_its_owners_where_he_is_a_guest() -> None:
    cast = Cast()
    assert not cast.brought.restores
    cast.brought.restore(cast.job, LARGE)
    cast.guest(cast.job)
    assert cast.brought.restores
    cast.brought.restore(cast.job, SHARE_BYTES)
    cast.brought.restore(bytes(20), LARGE)
    assert not cast.takes(cast.submitter, 0)


def test_a_disk_without_a_bound_has_room() -> None:
    cast = Cast()
    cast.guest(cast.job)
    brought = Brought(cast.one.peer, None)
    assert all(brought.take(cast.job, node, LARGE) for node in (cast.submitter.id, cast.other.id))


def test_jobs_that_are_gone_are_forgotten_however_much_room_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOBS_PER_PEER_MAX", 2)
    cast = Cast()
    for number in (2, 3, 4):
        job = cast.begin(number) if number < 3 else cast.job
        cast.takes(cast.other, 1, job)
        if number < 3:
            cast.one.peer.steward.forget(job)
    cast.brought._jobs[b"gone"] = cast.brought._jobs[cast.job].copy()
    assert cast.takes(cast.other, 1)
    assert set(cast.brought._jobs) == {cast.job}


def test_who_is_refused_again_and_again_has_the_logs_of_strangers_looked_through_once_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cast, looked = Cast(), list[int]()
    assert cast.takes(cast.other, SHARE_BYTES)
    foreign = cast.one.peer.steward.foreign
    monkeypatch.setattr(foreign, "jobs", lambda: looked.append(1) or [b"logged"])
    for number in range(50):
        cast.brought._jobs[b"gone %d" % number] = Counter()
    cast.brought._jobs[b"logged"] = Counter()
    assert not cast.takes(cast.other, 0) and looked == [1]
    assert set(cast.brought._jobs) == {cast.job, b"logged"}


def test_a_stranger_whose_log_of_an_unknown_job_is_kept_has_a_sixteenth_for_its_blobs() -> None:
    cast = Cast()
    job, steward = bytes(20), cast.one.peer.steward
    assert cast.takes(cast.submitter, LARGE, job), "a member of the swarm"
    cast.one.peer.lines.keys.pop(cast.other.id, None)
    steward.foreign.take(job, cast.other.id, 100, cast.swarm.wall() + 60.0, b"network")
    assert cast.takes(cast.other, SHARE_BYTES, job) and not cast.takes(cast.other, 0, job)
    steward.foreign.drop(job)
    assert cast.takes(cast.other, SHARE_BYTES), "its log has expired"
