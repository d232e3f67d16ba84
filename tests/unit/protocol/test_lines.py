"""Lines: order is kept, a peer is dialled once, and what waits has a bound and no gaps."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.effects import (
    Dial,
    Effect,
    Tell,
    TellBlob,
    TellLog,
    TellSegment,
    Transmit,
    TransmitBlob,
    TransmitLog,
    TransmitSegment,
)
from p2pcpn.protocol.lines import PATIENT, Lines, message_bytes
from p2pcpn.wire import messages as m
from tests.unit.protocol.leased import GRANTOR, GRANTOR_AT, STRANGER_AT, Made

PEER = NodeId(GRANTOR.id)


def tell(number: int) -> Tell:
    return Tell(GRANTOR_AT, m.Goodbye(str(number)))


def test_what_is_said_before_a_session_waits_in_order_behind_one_dial() -> None:
    lines = Lines()
    assert lines.tell(tell(1)) == [Dial(GRANTOR_AT)]
    assert lines.tell(TellBlob(GRANTOR_AT, 2, bytes(32), bytes(20), 1.0)) == []
    assert lines.tell(TellLog(GRANTOR_AT, 3, bytes(20), PEER, 0, 7)) == []
    assert lines.tell(TellSegment(GRANTOR_AT, 4, bytes(20), 5)) == []
    assert lines.opened(GRANTOR_AT, GRANTOR.public) == [
        Transmit(PEER, m.Goodbye("1")),
        TransmitBlob(PEER, 2, bytes(32), bytes(20), 1.0),
        TransmitLog(PEER, 3, bytes(20), PEER, 0, 7),
        TransmitSegment(PEER, 4, bytes(20), 5),
    ]
    assert lines.tell(tell(4)) == [Transmit(PEER, m.Goodbye("4"))]
    assert lines.open == {PEER: GRANTOR_AT} and lines.keys == {PEER: GRANTOR.public}
    assert lines.opened(GRANTOR_AT, GRANTOR.public) == []


def test_copies_and_acknowledgements_are_patient_and_all_else_is_urgent() -> None:
    made = Made()
    extend, nothing = made.segment(1), m.Results(made.spec, b"", False)
    patient: list[m.Message] = [
        m.Answer(1, 0, ""), m.Append(1, made.spec, b""), extend, m.Settled(made.job, [(1, 0)]),
        m.Mandate(0, made.job, 1, GRANTOR_AT, None, 0, 0, 0),
        m.Checkpoint(made.job, 1, 0, 1, b""), m.States(made.job, 0, [m.LeftState(0, 1, b"")]),
    ]  # fmt: skip
    urgent: list[m.Message] = [
        made.grant((0, 1)), nothing, m.Ask(1, made.job), m.Goodbye(""),
        m.Further(made.job, 0, 1, made.slices([(0, 1)]), extend),
    ]  # fmt: skip
    assert {type(message) for message in patient} == set(PATIENT)
    lines = Lines()
    for message in [*patient, *urgent]:
        lines.tell(Tell(GRANTOR_AT, message))
    waited = lines.opened(GRANTOR_AT, GRANTOR.public)
    said = [effect for message in [*patient, *urgent] for effect in lines.tell(Tell(GRANTOR_AT, message))]
    expected = [Transmit(PEER, message, urgent=False) for message in patient]
    assert waited == said == expected + [Transmit(PEER, message) for message in urgent]


def test_a_segment_costs_what_it_holds_however_it_travels() -> None:
    made = Made()
    extend = made.segment(3)
    slices = made.slices([(0, 3)])
    assert message_bytes(extend) > message_bytes(m.Goodbye("")) + len(extend.pages[0])
    alone, both = m.Further(made.job, 0, 1, slices), m.Further(made.job, 0, 1, slices, extend)
    assert message_bytes(both) - message_bytes(alone) == message_bytes(extend)


def test_a_session_that_ended_is_dialled_anew() -> None:
    lines = Lines()
    lines.opened(GRANTOR_AT, GRANTOR.public)
    lines.closed(PEER)
    assert lines.open == {} and lines.keys == {}
    assert lines.tell(tell(1)) == [Dial(GRANTOR_AT)]


def test_a_dial_that_fails_drops_what_waited_and_the_next_word_dials_again() -> None:
    lines = Lines()
    lines.tell(tell(1))
    lines.tell(tell(2))
    lines.failed(PEER)
    assert lines.dropped == 2
    lines.failed(PEER)
    assert lines.tell(tell(3)) == [Dial(GRANTOR_AT)]
    assert lines.opened(GRANTOR_AT, GRANTOR.public) == [Transmit(PEER, m.Goodbye("3"))]


def test_each_peer_has_its_own_line() -> None:
    lines = Lines()
    lines.tell(tell(1))
    assert lines.tell(Tell(STRANGER_AT, m.Goodbye("x"))) == [Dial(STRANGER_AT)]
    assert len(lines.opened(STRANGER_AT, bytes(32))) == 1


def bulky() -> list[m.Message]:
    made = Made()
    extend = made.segment(2)
    large = bytes(2000)
    return [
        m.Extend(0, extend.segment, [large], False),
        m.Results(made.spec, large, False),
        m.Append(0, made.spec, large),
        m.Output(made.job, 1, 1, large),
    ]


@pytest.mark.parametrize("message", bulky())
def test_what_waits_is_bounded_in_bytes_and_nothing_follows_a_gap(
    monkeypatch: pytest.MonkeyPatch, message: m.Message
) -> None:
    monkeypatch.setattr(limits, "LINE_WAITING_BYTES_MAX", 2000)
    lines = Lines()
    lines.tell(tell(1))
    lines.tell(Tell(GRANTOR_AT, message))
    lines.tell(tell(2))
    assert lines.dropped == 2
    said: list[Effect] = lines.opened(GRANTOR_AT, GRANTOR.public)
    assert said == [Transmit(PEER, m.Goodbye("1"))]


def test_what_waits_is_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINE_WAITING_MAX", 3)
    lines = Lines()
    for number in range(5):
        lines.tell(tell(number))
    assert lines.dropped == 2 and len(lines.opened(GRANTOR_AT, GRANTOR.public)) == 3
