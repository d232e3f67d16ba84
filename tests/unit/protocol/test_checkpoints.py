"""Checkpoints at a grantor: the newest state of each open task, sealed for its next run, within a bound."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.checkpoints import ENTRY_BYTES, SWEEP_EACH, Checkpoints
from p2pcpn.protocol.ledger import Ledger
from p2pcpn.wire.messages import Checkpoint, Grant, Resume
from p2pcpn.wire.sealing import checkpoint_key, resume_key, seal, unseal
from tests.unit.protocol.granting import KEYS, ME, Table, Worker

JOB = bytes(20)
OLD, NEW = bytes([1]) * 32, bytes([2]) * 32


def said(index: int, state: bytes, number: int = 1, key: bytes = OLD) -> Checkpoint:
    return Checkpoint(JOB, 1, index, number, seal(checkpoint_key(key), number, state))


def kept(tasks: int) -> tuple[Checkpoints, Ledger]:
    ledger = Ledger()
    ledger.extend(tasks)
    return Checkpoints(JOB, ledger), ledger


def test_the_newest_state_goes_ahead_of_the_next_lease_sealed_for_it() -> None:
    states, _ = kept(4)
    states.take(said(1, b"old"), OLD, [(0, 4)])
    states.take(said(1, b"new", 2), OLD, [(0, 4)])
    states.take(said(3, b"other", 3), OLD, [(0, 4)])
    found = states.ahead_of(7, NEW, [(0, 2)])
    assert [(resume.token, resume.index) for resume in found] == [(7, 1)]
    assert unseal(resume_key(NEW, 1), found[0].number, found[0].sealed) == b"new"
    again = states.ahead_of(7, NEW, [(0, 2)])
    assert again[0].number != found[0].number  # no nonce twice under one key
    assert states.ahead_of(8, NEW, [(0, 1)]) == []
    assert (states.taken, states.handed, len(states)) == (3, 2, 2)


def test_what_does_not_open_or_was_not_leased_is_refused() -> None:
    states, _ = kept(4)
    with pytest.raises(PeerError, match="not leased"):
        states.take(said(2, b"state"), OLD, [(0, 2)])
    with pytest.raises(PeerError, match="do not open"):
        states.take(said(1, b"state", key=NEW), OLD, [(0, 2)])
    assert len(states) == 0


def test_states_of_ended_tasks_and_what_there_is_no_room_for_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINTS_BYTES_MAX", 3 * (10 + ENTRY_BYTES))
    states, ledger = kept(SWEEP_EACH)
    for index in range(4):
        states.take(said(index, bytes(10)), OLD, [(0, 4)])
    assert [resume.index for resume in states.ahead_of(2, NEW, [(0, 4)])] == [1, 2, 3]
    ledger.take(2, ME.id)
    ledger.settle([(1, 1)])
    for number in range(SWEEP_EACH):
        states.take(said(2, b"x", number), OLD, [(0, 4)])
    assert [resume.index for resume in states.ahead_of(3, NEW, [(0, 4)])] == [2, 3] or 3 in states._states
    assert 1 not in states._states


def test_states_without_a_byte_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINTS_BYTES_MAX", 3 * ENTRY_BYTES)
    states, _ = kept(8)
    for index in range(8):
        states.take(said(index, b""), OLD, [(0, 8)])
    assert list(states._states) == [5, 6, 7]
    for index in (5, 6, 7):
        states._drop(index)
        states._drop(index)
    assert states._bytes == 0


def test_of_two_runs_of_a_task_the_one_that_began_later_is_not_heard() -> None:
    table = Table()
    table.extend(1)
    one, two = table.worker(10, slots=1), table.worker(11, slots=1)
    book = table.grantor.book
    second = book.hedge(one.last.token, 0, book.participants.peers[two.node], table.now + 100, table.now)

    def leaves(worker: Worker, token: int, state: bytes) -> None:
        sealed = seal(checkpoint_key(KEYS.results(0, ME.id, token)), 1, state)
        message = Checkpoint(table.job, token, 0, 1, sealed)
        table.act(lambda grantor, now: grantor.running.checkpoint(worker.contact, message, now))

    leaves(one, one.last.token, b"ahead")
    leaves(two, second, b"behind")
    assert table.grantor.checkpoints._states == {0: b"ahead"}
    table.session_closed(one.node)
    table.peer_dead(one.node)
    leaves(two, second, b"alone")
    assert table.grantor.checkpoints._states == {0: b"alone"}


def test_a_lost_peers_task_goes_to_another_with_its_state() -> None:
    table = Table()
    table.extend(1)
    one = table.worker(10, slots=1)
    token = one.last.token
    sealed = seal(checkpoint_key(KEYS.results(0, ME.id, token)), 1, b"half way")
    message = Checkpoint(table.job, token, 0, 1, sealed)
    table.act(lambda grantor, now: grantor.running.checkpoint(one.contact, message, now))
    two = table.worker(11, slots=1)
    table.act(lambda grantor, now: grantor.running.checkpoint(two.contact, message, now))  # not its lease: nothing
    table.session_closed(one.node)
    table.peer_dead(one.node)
    kinds = [type(said) for said in two.said if isinstance(said, (Grant, Resume))]
    assert kinds == [Resume, Grant]
    resume = two.of(Resume)[0]
    key = two.grants[-1][0].result_key
    assert unseal(resume_key(key, 0), resume.number, resume.sealed) == b"half way"


def test_a_state_is_of_use_until_its_task_has_ended() -> None:
    states, ledger = kept(2)
    states.put(0, b"state")
    states.put(1, b"other")
    assert (states.of(0), states.of(5), states.open(5)) == (b"state", None, False)
    ledger.settle([(0, 1)])
    assert (states.of(0), states.open(0), states.of(1)) == (None, False, b"other")
