"""The vigil: silence, doubt and shunning of those who keep a job."""

from __future__ import annotations

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.vigil import DOUBTS_MAX, Vigil

A = NodeId(b"a" * 20)


def test_the_looks_at_a_keeper_that_owes_an_answer_are_counted() -> None:
    vigil = Vigil()
    assert [vigil.look(A, True) for _ in range(3)] == [1, 2, 3]


def test_an_answer_or_nothing_to_answer_ends_the_silence() -> None:
    vigil = Vigil()
    vigil.look(A, True)
    vigil.answered(A)
    assert vigil.look(A, True) == 1
    assert vigil.look(A, False) == 0
    assert vigil.look(A, True) == 1


def test_sessions_that_are_lost_again_and_again_are_too_much() -> None:
    vigil = Vigil()
    assert all(vigil.doubt(A) for _ in range(DOUBTS_MAX))
    assert not vigil.doubt(A)
    vigil.answered(A)
    assert vigil.doubt(A)


def test_a_doubt_is_resolved_once() -> None:
    vigil = Vigil()
    assert not vigil.resolved(A)
    vigil.doubt(A)
    assert vigil.resolved(A)
    assert not vigil.resolved(A)


def test_who_was_given_up_is_shunned_for_its_time() -> None:
    vigil = Vigil()
    vigil.doubt(A)
    vigil.give_up(A, 30.0)
    assert not vigil.resolved(A)
    vigil.relent(29.0)
    assert vigil.shuns(A)
    vigil.relent(30.0)
    assert not vigil.shuns(A)
