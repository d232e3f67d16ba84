"""Work: the register of jobs is bounded, fair to grantors, and forgets only what is idle."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.work import IDLE_JOB_S, JOINED_TASKS_MAX, SKIPPED_MAX, LeaseTaken, Piece, Work, Works
from p2pcpn.wire.statements import BlobRef
from tests.unit.protocol.leased import GRANTOR_AT, Made

KEY = bytes(32)
LEASE = LeaseTaken(1, 0, GRANTOR_AT, 1, KEY, KEY, KEY, 0.0)


class Register:
    def __init__(self) -> None:
        self.dropped: list[bytes] = []
        self.sessions: set[NodeId] = set()
        self.works = Works(self.sessions, self.dropped.append)

    def add(self, number: int, introducer: int = 1, now: float = 0.0) -> Work | None:
        work = Work(Authority(Made(number).spec), GRANTOR_AT, None, NodeId(bytes([introducer]) * 20))
        return work if self.works.add(work, now) else None


def busy(register: Register, number: int, introducer: int = 1) -> Work:
    work = register.add(number, introducer)
    assert work is not None
    work.leases[LEASE.key] = LEASE
    register.works.changed(work, 0.0)
    return work


def test_an_idle_job_is_forgotten_with_all_that_lies_about_it() -> None:
    register = Register()
    work = register.add(1)
    assert work is not None and register.works.deadline() == IDLE_JOB_S
    register.works.expire(IDLE_JOB_S - 1)
    assert len(register.works.jobs) == 1
    register.works.expire(IDLE_JOB_S)
    assert register.works.jobs == {} and register.dropped == [work.job] and register.works.deadline() is None


def test_a_busy_job_is_not_forgotten() -> None:
    register = Register()
    work = busy(register, 1)
    assert register.works.deadline() is None
    register.works.expire(10 * IDLE_JOB_S)
    assert work.job in register.works.jobs
    work.leases.clear()
    register.works.changed(work, 5.0)
    assert register.works.deadline() == 5.0 + IDLE_JOB_S


def test_a_job_whose_grantor_is_connected_loses_its_pages_alone() -> None:
    register = Register()
    work = register.add(1)
    assert work is not None
    register.sessions.add(NodeId(GRANTOR_AT.id))
    register.works.expire(IDLE_JOB_S)
    assert work.job in register.works.jobs and register.dropped == [work.job]
    assert register.works.deadline() == 2 * IDLE_JOB_S


def test_the_longest_idle_job_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOBS_PER_PEER_MAX", 3)
    register = Register()
    held = busy(register, 1)
    old, new = register.add(2, 2, now=1.0), register.add(3, 3, now=2.0)
    assert old is not None and new is not None
    assert register.add(4, 4) is not None
    assert old.job not in register.works.jobs and held.job in register.works.jobs
    for work in list(register.works.jobs.values()):
        work.running = 1
        register.works.changed(work, 3.0)
    assert not register.works.takes(NodeId(bytes([9]) * 20))
    assert register.add(5, 9) is None


def test_a_grantor_with_its_share_displaces_its_own_jobs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOBS_PER_GRANTOR_MAX", 2)
    register = Register()
    other = register.add(1, 2)
    mine = [register.add(2, 1), register.add(3, 1)]
    assert other is not None and mine[0] is not None
    assert register.works.takes(NodeId(bytes([1]) * 20))
    assert register.add(4, 1) is not None
    assert mine[0].job not in register.works.jobs and other.job in register.works.jobs


def test_a_lease_that_was_decided_earlier_and_said_later_is_taken_once() -> None:
    work = Register().add(1)
    assert work is not None
    work.heard(0, 5)
    assert not work.is_new(0, 5) and work.is_new(0, 4) and work.is_new(0, 6)
    work.heard(0, 4)
    assert not work.is_new(0, 4) and work.is_new(0, 3)
    work.heard(1, 4)  # grantors of different epochs count alike
    assert work.newest == {0: 5, 1: 4} and not work.is_new(0, 4)


def test_few_tokens_that_were_passed_over_are_remembered() -> None:
    work = Register().add(1)
    assert work is not None
    work.heard(0, 1000)
    assert len(work.skipped) == SKIPPED_MAX and work.is_new(0, 999) and not work.is_new(0, 1000 - SKIPPED_MAX - 1)
    work.heard(0, 1002)
    assert len(work.skipped) == SKIPPED_MAX and work.is_new(0, 1001) and not work.is_new(0, 1000)


def piece(first: int, count: int, **options: Any) -> Piece:
    fields: dict[str, Any] = {"functions": (b"f",), "numbers": None, **options}
    return Piece(LEASE, first, arguments=tuple(b"%d" % at for at in range(first, first + count)), **fields)


def told(piece: Piece | None) -> tuple[Any, ...]:
    assert piece is not None
    return piece.first, len(piece.arguments), piece.numbers, piece.parts, piece.inputs


def test_pieces_are_joined_where_they_follow_on_one_another_with_all_that_is_their_tasks() -> None:
    blob = BlobRef(bytes(32), 9, bytes(32))
    input_ = ((1, b"digest"),)
    plain, other = piece(3, 2), piece(5, 1, numbers=(0,), parts=((blob,),), inputs=(input_,))
    both = plain.with_next(other)
    assert told(both) == (3, 3, (0, 0, 0), ((), (), (blob,)), ((), (), input_))
    assert both is not None and both.arguments == plain.arguments + other.arguments
    assert both.size_bytes == plain.size_bytes + other.size_bytes
    assert told(both.cut(0, 2)) == (3, 2, (0, 0), ((), ()), ((), ()))
    assert told(other.with_next(piece(6, 1))) == (5, 2, (0, 0), ((blob,), ()), (input_, ()))


def test_pieces_are_not_joined_over_gaps_nor_with_other_functions_nor_without_end() -> None:
    assert piece(0, 1).with_next(piece(2, 1)) is None
    assert piece(0, 1).with_next(piece(1, 1, functions=(b"g",))) is None
    assert piece(0, JOINED_TASKS_MAX).with_next(piece(JOINED_TASKS_MAX, 1)) is None


def test_so_many_tasks_are_within_a_size_as_their_different_blobs_are_but_one_at_least() -> None:
    one, two, three = (BlobRef(bytes([i]) * 32, 10, bytes(32)) for i in range(3))
    assert piece(0, 4).within(0, 3) == 3
    mixed = piece(0, 5, parts=((one,), (one, b"small result of a task"), (two,), (), (three, one)))
    assert [mixed.within(size_bytes, 5) for size_bytes in (0, 9, 10, 19, 20, 29, 30)] == [1, 1, 2, 2, 4, 4, 5]
    assert mixed.within(1000, 3) == 3


def test_a_register_is_busy_while_one_of_its_jobs_is() -> None:
    register = Register()
    assert not register.works.busy
    register.add(1)
    assert not register.works.busy
    work = busy(register, 2)
    assert register.works.busy
    work.leases.clear()
    register.works.changed(work, 1.0)
    assert not register.works.busy
