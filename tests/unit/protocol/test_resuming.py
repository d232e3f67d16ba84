"""Resuming: a state waits for its lease, its task begins with it, and what a task leaves goes to the grantor."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.effects import Tell
from p2pcpn.protocol.resuming import Resuming
from p2pcpn.wire.messages import Checkpoint, Resume
from p2pcpn.wire.sealing import checkpoint_key, resume_key, seal, unseal
from tests.unit.protocol.leased import GRANTOR, GRANTOR_AT, STRANGER, STRANGER_AT, Bench, Made


def resume(made: Made, token: int, index: int, state: bytes = b"state", number: int = 1) -> Resume:
    key = made.keys.results(0, GRANTOR.id, token)
    return Resume(made.job, token, index, number, seal(resume_key(key, index), number, state))


def test_a_task_begins_with_the_state_that_was_said_ahead_of_its_lease() -> None:
    bench, made = Bench(slots=2), Made()
    bench.know(made, 4)
    bench.worker.resumed(GRANTOR_AT, GRANTOR.public, resume(made, 1, 1))
    bench.take(made, (0, 2))
    assert [run.states for run in bench.runs.values()] == [None, (b"state",)]


def test_a_state_of_another_lease_or_peer_or_key_is_none() -> None:
    bench, made = Bench(slots=2), Made()
    bench.know(made, 4)
    with pytest.raises(PeerError, match="no part in the job"):
        bench.worker.resumed(STRANGER_AT, STRANGER.public, resume(made, 1, 0))
    assert not bench.worker._resuming._waiting
    bench.worker.resumed(GRANTOR_AT, GRANTOR.public, resume(made, 2, 0))
    wrong = resume(made, 1, 1)
    bench.worker.resumed(GRANTOR_AT, GRANTOR.public, Resume(wrong.job, 1, 1, 9, wrong.sealed))
    bench.worker.resumed(GRANTOR_AT, GRANTOR.public, resume(made, 1, 3))
    bench.worker.resumed(GRANTOR_AT, GRANTOR.public, Resume(bytes(20), 1, 1, 9, wrong.sealed))  # no such job
    bench.take(made, (0, 2))
    assert [run.states for run in bench.runs.values()] == [None, None]


def test_what_waits_is_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    resuming, made = Resuming(), Made()
    monkeypatch.setattr(limits, "RESUMES_MAX", 3)
    for index in range(5):
        resuming.said(GRANTOR_AT.id, resume(made, 1, index))
    assert [key[3] for key in resuming._waiting] == [2, 3, 4]
    monkeypatch.setattr(limits, "CHECKPOINTS_BYTES_MAX", 2 * len(resume(made, 1, 0).sealed))
    resuming.said(GRANTOR_AT.id, resume(made, 1, 4))
    assert [key[3] for key in resuming._waiting] == [3, 4]


def test_a_running_task_leaves_its_state_with_the_grantor_and_begins_with_it_when_it_starts_again_here() -> None:
    bench, made = Bench(slots=1), Made()
    bench.know(made, 2)
    bench.take(made, (0, 1))
    number = next(iter(bench.runs))
    for state in (b"one", b"two"):
        said = bench.do(bench.worker.checkpoint(number, 0, state))
    assert len(said) == 1 and isinstance(said[0], Tell) and isinstance(said[0].message, Checkpoint)
    message = said[0].message
    key = made.keys.results(0, GRANTOR.id, 1)
    assert (message.index, message.number) == (0, 2)
    assert unseal(checkpoint_key(key), message.number, message.sealed) == b"two"
    assert bench.worker.turns.batches[number].lease.states == {0: b"two"}
    assert bench.worker.checkpoint(number, 5, b"beyond") == []
    assert bench.worker.checkpoint(number, 0, bytes(limits.CHECKPOINT_BYTES_MAX + 1)) == []
    assert bench.worker.checkpoint(99, 0, b"no such batch") == []
    bench.worker.session_closed(GRANTOR.id, bench.now)
    assert bench.worker.checkpoint(number, 0, b"nobody listens") == []


def test_states_for_a_job_that_is_forgotten_go_with_it() -> None:
    bench, made, other = Bench(slots=1), Made(), Made(2)
    bench.know(made, 2)
    bench.know(other, 2)
    for each in (made, other):
        bench.worker.resumed(GRANTOR_AT, GRANTOR.public, resume(each, 1, 0))
    bench.worker._works._drop(made.job)
    assert [key[1] for key in bench.worker._resuming._waiting] == [other.job]
    bench.worker._works._drop(other.job)
    assert bench.worker._resuming._bytes == 0


def test_the_state_of_a_task_that_has_ended_goes_from_its_lease() -> None:
    bench, made = Bench(slots=1), Made()
    bench.know(made, 8)
    bench.take(made, (0, 8), slots=1)
    bench.ran(1, ran_s=0.001)
    lease = bench.worker.turns.batches[2].lease
    lease.states.update(dict.fromkeys(range(1, 8), b"state"))
    bench.ran(2, 2)
    assert set(lease.states) == {3, 4, 5, 6, 7}
    bench.died(2, 2)
    assert set(lease.states) == {6, 7}
