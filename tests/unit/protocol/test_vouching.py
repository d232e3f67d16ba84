"""Vouching: who says that it grants a job is believed when another steward has heard of it, or its owner says so."""

from __future__ import annotations

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.vouching import Vouching
from p2pcpn.wire.statements import Handover, signed
from tests.unit.protocol.leased import GRANTOR, ME, OWNER, STEWARDS, STRANGER, Made

# Epochs of a hybrid job with two stewards: 0 the submitter, 1 A, 2 B, 3 the owner's, 4 A, 5 B ...
A, B = STEWARDS


def vouching(*, orchestration: str = "hybrid") -> tuple[Vouching, Authority, Made]:
    made = Made(orchestration=orchestration)
    authority = Authority(made.spec)
    return Vouching(authority), authority, made


def believed(of: Vouching, *claims: tuple[Keypair, int]) -> list[bool]:
    return [of.believes(key.id, epoch) for key, epoch in claims]


def test_a_stewards_word_alone_is_not_believed_while_another_answers() -> None:
    of, _, _ = vouching()
    of.names(A.id, [4])
    assert believed(of, (A, 4)) == [True], "nobody else answers"
    of.names(B.id, [2])
    assert believed(of, (A, 4)) == [False]
    of.names(B.id, [4])
    assert believed(of, (A, 4)) == [True]
    of.names(B.id, [5])
    assert believed(of, (A, 4)) == [True], "who knows of a newer one does not deny it"
    of.names(B.id, [])
    assert believed(of, (A, 4), (A, 1)) == [False, False]
    of.silent(B.id)
    assert believed(of, (A, 4)) == [True]


def test_who_keeps_a_log_of_an_epoch_has_heard_of_it_though_it_was_away_when_that_was_said() -> None:
    of, _, _ = vouching()
    of.names(A.id, [4])
    of.names(B.id, [1], [(bytes(A.id), 1, 3), (bytes(STRANGER.id), 4, 1), (bytes(B.id), 4, 1)])
    assert believed(of, (A, 4)) == [False], "the epoch is neither a stranger's nor its own"
    of.names(B.id, [1], [(bytes(A.id), 1, 3), (bytes(A.id), 4, 1)])
    assert believed(of, (A, 4)) == [True]


def test_what_the_spec_or_the_owners_signature_gives_needs_nobody_who_has_heard_of_it() -> None:
    of, authority, made = vouching()
    for key in (A, B):
        of.names(key.id, [])
    assert believed(of, (GRANTOR, 0), (A, 1)) == [True, False]
    authority.hand_over(signed(Handover(made.job, 3, ME.public), OWNER))
    assert believed(of, (ME, 3)) == [True]
    of, _, _ = vouching(orchestration="distributed")
    for key in (A, B):
        of.names(key.id, [])
    assert believed(of, (A, 1), (B, 2), (B, 3)) == [True, True, False]


def test_an_epoch_is_vouched_for_in_its_own_lot_alone() -> None:
    of, _, _ = vouching(orchestration="distributed")  # lot 0: 1 A, 3 B, 5 A; lot 1: 2 B, 4 A
    of.names(A.id, [3, 4])
    of.names(B.id, [5])
    assert believed(of, (B, 3), (A, 4), (A, 5)) == [True, False, True]
    of.names(B.id, [5, 4])
    assert believed(of, (A, 4)) == [True]


def test_an_epoch_that_is_not_its_own_is_nobodys_to_claim_and_strangers_vouch_for_nothing() -> None:
    of, _, _ = vouching()
    of.names(B.id, [2])
    of.names(STRANGER.id, [4])
    assert believed(of, (A, 2), (STRANGER, 4), (A, 4)) == [False, False, False]


def test_an_epoch_is_known_when_two_have_heard_of_it_or_the_only_one_that_answers() -> None:
    of, _, _ = vouching()
    of.names(A.id, [4])
    assert of.known(4) and not of.known(5)
    of.names(B.id, [2])
    assert of.known(2) and not of.known(4)
    of.silent(B.id)
    assert of.known(4)
    of.names(B.id, [5])
    assert of.known(4) and not of.known(5)
