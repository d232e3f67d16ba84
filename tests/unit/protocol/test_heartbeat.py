"""A grantor's sign of life: while tasks are open, once more at the end, and to whom it has deposed."""

from __future__ import annotations

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.heartbeat import BEAT_S, FAR_BEATS, Heartbeat
from tests.unit.protocol.leased import GRANTOR_AT, STRANGER_AT


def test_it_beats_while_tasks_are_open_and_says_once_that_none_is() -> None:
    heart = Heartbeat(10.0, beating=True)
    assert heart.deadline(0, 0) is None
    assert heart.deadline(3, 3) == 10.0 + BEAT_S
    assert not heart.due(3, 3, 11.0)
    assert heart.due(3, 3, 12.0) and not heart.due(3, 3, 12.0)
    assert heart.deadline(3, 1) == 14.0
    assert heart.deadline(3, 0) == 14.0 and heart.due(3, 0, 14.0)
    assert heart.deadline(3, 0) is None and not heart.due(3, 0, 99.0)
    assert heart.deadline(4, 1) == 14.0 + BEAT_S


def test_the_last_word_is_said_at_once_and_once() -> None:
    heart = Heartbeat(10.0, beating=True)
    assert heart.due(3, 0, 10.5, last=True)
    assert not heart.due(3, 0, 10.6, last=True)


def test_nobody_is_told_where_nobody_would_take_over() -> None:
    heart = Heartbeat(10.0, beating=False)
    assert heart.deadline(3, 3) is None and not heart.due(3, 3, 99.0, last=True)


def test_who_granted_before_is_told_now_and_then_until_it_answers() -> None:
    heart = Heartbeat(0.0, beating=True)
    heart.depose(GRANTOR_AT, 7)
    told = []
    for beat in range(1, 2 * FAR_BEATS + 1):
        assert heart.due(3, 3, beat * BEAT_S)
        told.append(heart.told)
    assert told.count((GRANTOR_AT, 7)) == 2 and told[FAR_BEATS - 1] == (GRANTOR_AT, 7)
    heart.answered(NodeId(STRANGER_AT.id), 7)
    heart.answered(NodeId(GRANTOR_AT.id), 8)
    assert heart.deposed == GRANTOR_AT
    heart.answered(NodeId(GRANTOR_AT.id), 7)
    assert heart.told is None
