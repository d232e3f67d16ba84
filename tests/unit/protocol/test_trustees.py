"""Trustees: the stewards of a job, what each was sent, and who has it all."""

from __future__ import annotations

import itertools

from p2pcpn.protocol import trustees as module
from p2pcpn.protocol.effects import Tell, TellBlob, Turn
from p2pcpn.protocol.trustees import Trustees
from p2pcpn.wire.messages import Answer
from tests.unit.protocol.granting import at, keypair

A, B = keypair(10), keypair(11)


def both() -> Trustees:
    """Two stewards."""
    counter = itertools.count(1)
    return Trustees([at(A, 5010), at(B, 5011)], lambda: next(counter))


def test_every_steward_is_told_under_a_number_of_its_own() -> None:
    stewards = both()
    assert stewards.tell(lambda request: Answer(request, 0, "")) == [
        Tell(at(A, 5010), Answer(1, 0, "")), Tell(at(B, 5011), Answer(2, 0, "")),
    ]  # fmt: skip


def test_a_steward_is_whole_when_it_was_introduced_and_answered_everything() -> None:
    stewards = both()
    stewards.tell(lambda request: Answer(request, 0, ""))
    assert stewards.answered(A.id, 1)
    assert not stewards.answered(A.id, 1)
    assert not stewards.answered(A.id, 2)
    assert not stewards.answered(keypair(12).id, 2)
    assert stewards.whole() == 0
    stewards.all[A.id].introduced = True
    assert stewards.whole() == 1


def test_a_lost_steward_is_told_nothing_and_counts_no_more() -> None:
    stewards = both()
    stewards.tell(lambda request: Answer(request, 0, ""))
    stewards.lose(A.id)
    stewards.lose(keypair(12).id)
    assert stewards.get(A.id) is None
    assert not stewards.all[A.id].unanswered
    assert len(stewards.tell(lambda request: Answer(request, 0, ""))) == 1
    assert list(stewards.live) == [B.id]


def test_blobs_go_to_as_many_stewards_as_there_are_copies_once() -> None:
    stewards = both()
    sent = stewards.send_blobs([b"x", b"y", b"x"], 1, b"job", 60.0)
    assert sent == [
        TellBlob(at(A, 5010), request, name, b"job", 60.0, Turn.LATER) for request, name in ((1, b"x"), (2, b"y"))
    ]
    assert stewards.send_blobs([b"x"], 1, b"job", 60.0) == []
    assert list(stewards.all[A.id].unanswered) == [1, 2]


def test_a_blob_is_owed_until_each_copy_is_acknowledged_or_its_steward_is_lost() -> None:
    stewards = both()
    stewards.send_blobs([b"x", b"y"], 2, b"job", 60.0)
    assert stewards.owed(b"x") and stewards.owed(b"y") and not stewards.owed(b"z")
    assert stewards.answered(A.id, 1)
    assert stewards.owed(b"x")
    stewards.lose(B.id)
    assert not stewards.owed(b"x") and stewards.owed(b"y")
    assert stewards.answered(A.id, 2)
    assert not stewards.owed(b"y")


def test_blobs_are_remembered_within_a_bound() -> None:
    stewards = both()
    digests = [number.to_bytes(4, "big") for number in range(module.BLOBS_REMEMBERED + 5)]
    stewards.send_blobs(digests, 1, b"job", 60.0)
    assert len(stewards.all[A.id].blobs) == module.BLOBS_REMEMBERED


def test_a_steward_that_was_not_sent_what_others_were_is_not_whole() -> None:
    stewards = both()
    for trustee in stewards.all.values():
        trustee.introduced = True
    assert stewards.send_blobs([], 1, b"job", 60.0) == [] and stewards.whole() == 2
    stewards.send_blobs([b"x"], 1, b"job", 60.0)
    assert stewards.whole() == 0
    assert stewards.answered(A.id, 1) and stewards.whole() == 1
