"""Proving: what the owner's own node says is looked at soon, in order, many by one signature; nothing else passes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.identity.keys import verify
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.proving import PUT_OFF_BYTES_MAX, PUT_OFF_MAX, PUT_OFF_S, Proving, proved, together
from p2pcpn.wire import messages as m
from p2pcpn.wire import statements
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.statements import Segment, opened
from tests.unit.protocol.leased import GRANTOR_AT, STRANGER_AT, Made


def forged(said: m.Extend) -> m.Extend:
    """The same segment, under a signature that is none."""
    return msgspec.structs.replace(said, segment=msgspec.structs.replace(said.segment, signature=bytes(64)))


def said_of(made: Made, count: int) -> list[m.Extend]:
    return [made.segment(1) for _ in range(count)]


class Verified:
    """Counts what is verified."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(statements, "verify", self.verify)

    def verify(self, key: bytes, message: bytes, signature: bytes) -> bool:
        self.count += 1
        return verify(key, message, signature)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> Verified:
    return Verified(monkeypatch)


# --- when -----------------------------------------------------------------------------------------------------------


def test_segments_wait_a_little_from_the_first_on_and_come_in_order() -> None:
    proving, said = Proving(), said_of(Made(), 3)
    assert (proving.deadline(), proving.due(100.0)) == (None, ([], []))
    for number, message in enumerate(said):
        proving.put_off(GRANTOR_AT, message, 100.0 + number / 1000)
        assert proving.deadline() == 100.0 + PUT_OFF_S
    assert proving.due(100.0 + PUT_OFF_S / 2) == ([], [])
    assert proving.due(100.0 + PUT_OFF_S) == ([(GRANTOR_AT, message) for message in said], [])
    assert (proving.deadline(), proving.due(200.0)) == (None, ([], []))


def test_more_bytes_than_may_wait_are_due_at_once() -> None:
    proving, said = Proving(), Made().segment(1)
    large = msgspec.structs.replace(said, pages=[bytes(PUT_OFF_BYTES_MAX // 2)])
    proving.put_off(GRANTOR_AT, large, 100.0)
    assert proving.due(100.0) == ([], [])
    proving.put_off(GRANTOR_AT, large, 100.0)
    assert proving.deadline() == 100.0
    assert len(proving.due(100.0)[0]) == 2
    proving.put_off(GRANTOR_AT, large, 100.0)  # counted anew
    assert proving.deadline() == 100.0 + PUT_OFF_S


def test_more_segments_than_may_wait_are_due_at_once() -> None:
    proving, said = Proving(), Made().segment(1)
    for _ in range(PUT_OFF_MAX - 1):
        proving.put_off(GRANTOR_AT, said, 100.0)
    assert proving.due(100.0) == ([], [])
    proving.put_off(GRANTOR_AT, said, 100.0)
    assert len(proving.due(100.0)[0]) == PUT_OFF_MAX


# --- by which signature ---------------------------------------------------------------------------------------------


def test_the_last_of_a_chain_is_checked_and_speaks_for_those_before_it(verified: Verified) -> None:
    one, two = said_of(Made(1), 4), said_of(Made(2), 3)
    mixed = [*zip(one, two, strict=False)]
    said = [(GRANTOR_AT, message) for pair in mixed for message in pair] + [(GRANTOR_AT, one[3])]
    assert proved(said) == (said, [])
    assert verified.count == 2  # one a job
    for _, message in said:
        assert opened(message.segment, Segment)  # remembered
    assert verified.count == 2


def test_where_the_chain_has_a_gap_both_sides_are_checked(verified: Verified) -> None:
    first, _, third = said_of(Made(), 3)
    said = [(GRANTOR_AT, first), (GRANTOR_AT, third)]
    assert proved(said) == (said, [])
    assert verified.count == 2


def test_a_wrong_signature_at_the_end_speaks_for_nobody(verified: Verified) -> None:
    first, second = said_of(Made(), 2)
    right, wrong = proved([(GRANTOR_AT, first), (STRANGER_AT, forged(second))])
    assert right == [(GRANTOR_AT, first)]
    assert verified.count == 2
    [(sender, message, why)] = wrong
    assert (sender, message) == (STRANGER_AT, forged(second))
    assert "signature" in str(why)


def test_another_body_under_the_place_that_a_right_segment_names_is_wrong() -> None:
    honest, other = Made(), Made()
    first, second = said_of(honest, 2)
    forgery = forged(other.segment(2))
    right, wrong = proved([(GRANTOR_AT, forgery), (GRANTOR_AT, second)])
    assert right == [(GRANTOR_AT, second)]
    assert [message for _, message, _ in wrong] == [forgery]
    assert proved([(GRANTOR_AT, first)]) == ([(GRANTOR_AT, first)], [])


def test_what_is_no_segment_is_wrong() -> None:
    made = Made()
    said = [(GRANTOR_AT, made.segment(1)), (GRANTOR_AT, m.Extend(1, made.spec, [], True))]
    right, wrong = proved(said)
    assert right == said[:1]
    assert len(wrong) == 1


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_a_segment_is_right_when_its_owner_signed_it_or_one_that_follows_without_a_gap(signatures: list[bool]) -> None:
    messages = [
        message if right else forged(message)
        for message, right in zip(said_of(Made(), len(signatures)), signatures, strict=True)
    ]
    right, wrong = proved([(GRANTOR_AT, message) for message in messages])
    # Behind the last right signature nothing is right, and before it all is.
    end = max((number + 1 for number, signed in enumerate(signatures) if signed), default=0)
    assert [message for _, message in right] == messages[:end]
    assert [message for _, message, _ in wrong] == messages[end:]


# --- answers --------------------------------------------------------------------------------------------------------


def commit(to: Contact, request: int, code: int = m.AnswerCode.DONE) -> fx.Commit:
    write = fx.Write("segments", (b"job", request), (request,))
    return fx.Commit(
        (write,), (fx.Tell(to, m.Answer(request, code, "")),), (fx.Tell(to, m.Answer(request, 4, "its disk refused")),)
    )


def test_commits_in_a_row_for_one_peer_are_one_with_one_answer() -> None:
    [made] = together([commit(GRANTOR_AT, number) for number in (5, 6, 7)])
    assert isinstance(made, fx.Commit)
    assert [write.key[1] for write in made.writes] == [5, 6, 7]
    assert made.then == (fx.Tell(GRANTOR_AT, m.Answer(5, 0, "", [6, 7])),)
    assert made.otherwise == (fx.Tell(GRANTOR_AT, m.Answer(5, 4, "its disk refused", [6, 7])),)


def test_commits_for_different_peers_and_other_effects_stay_apart_and_in_order() -> None:
    alone = [
        commit(GRANTOR_AT, 1), commit(STRANGER_AT, 2), fx.Tell(STRANGER_AT, m.Answer(3, 2, "")),
        commit(STRANGER_AT, 4), commit(STRANGER_AT, 5, m.AnswerCode.FULL), fx.Commit((), (fx.Notify("x"),)),
        commit(STRANGER_AT, 6),
    ]  # fmt: skip
    assert together(alone) == alone
    assert together([]) == []
