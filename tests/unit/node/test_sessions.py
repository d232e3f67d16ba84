"""Sessions: of two with one peer both ends keep the same, and what waited for the other is said over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from p2pcpn.identity.keys import Keypair
from p2pcpn.node.sessions import LINGER_S, TWIN, News, Sessions
from p2pcpn.wire import messages as m

LESSER, GREATER = sorted((Keypair(b"\1" * 32), Keypair(b"\2" * 32)), key=lambda keypair: keypair.id)


class Handle:
    def __init__(self, wait_s: float, callback: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.wait_s = wait_s
        self.callback = callback
        self.arguments = arguments
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clockwork:
    """A loop whose timers go off when the test says so."""

    def __init__(self) -> None:
        self.handles: list[Handle] = []

    def call_later(self, wait_s: float, callback: Callable[..., None], *arguments: Any) -> Handle:
        self.handles.append(Handle(wait_s, callback, arguments))
        return self.handles[-1]

    def fire(self, wait_s: float) -> None:
        for handle in self.handles:
            if handle.wait_s == wait_s and not handle.cancelled:
                handle.callback(*handle.arguments)


@pytest.fixture
def loop() -> Clockwork:
    return Clockwork()


def answer(text: str) -> m.Message:
    return m.Answer(1, 0, text)


def test_the_first_session_with_a_peer_is_the_session(loop: Any, unwired: Any) -> None:
    sessions = Sessions(LESSER.id, loop)
    session = unwired(GREATER)
    assert GREATER.id not in sessions
    assert sessions.get(GREATER.id) is sessions.outbox(GREATER.id) is None
    assert sessions.opened(session) is News.OPENED
    assert GREATER.id in sessions
    assert sessions.get(GREATER.id) is session
    assert len(sessions) == 1


@pytest.mark.parametrize("first", ["lesser", "greater"])
def test_of_two_dialled_at_once_both_ends_keep_that_of_the_lesser_id(first: str, loop: Any, unwired: Any) -> None:
    for me, other in ((LESSER, GREATER), (GREATER, LESSER)):
        sessions = Sessions(me.id, loop)
        made = {"lesser": unwired(other, dialed=me is LESSER), "greater": unwired(other, dialed=me is GREATER)}
        for dialer in (first, "greater" if first == "lesser" else "lesser"):
            news = sessions.opened(made[dialer])
            assert news is (News.OPENED if dialer == first else News.NONE)  # the machines have one line all the time
        assert sessions.get(other.id) is made["lesser"]
        assert not made["greater"].ended  # not yet: something may be on its way over it


def test_what_waited_is_said_over_the_twin_that_stays(loop: Any, unwired: Any) -> None:
    sessions = Sessions(LESSER.id, loop)
    loser, winner = unwired(GREATER, dialed=False, takes=0), unwired(GREATER, dialed=True)
    sessions.opened(loser)
    box = sessions.outbox(GREATER.id)
    assert box is not None
    box.say(answer("waits"))
    assert sessions.held_bytes > 0
    assert sessions.opened(winner) is News.NONE
    assert [message.text for message in winner.sent] == ["waits"]
    assert sessions.held_bytes == 0


def test_the_losing_twin_is_read_for_a_while_and_then_closed(loop: Any, unwired: Any) -> None:
    sessions = Sessions(LESSER.id, loop)
    winner, loser = unwired(GREATER, dialed=True), unwired(GREATER, dialed=False)
    sessions.opened(winner)
    sessions.opened(loser)
    assert not loser.ended
    loop.fire(LINGER_S)
    assert loser.why == TWIN
    assert not winner.ended
    assert sessions.closed(loser) is False
    assert sessions.get(GREATER.id) is winner


def test_a_peer_that_dials_again_has_lost_the_session_it_dialled(loop: Any, unwired: Any) -> None:
    sessions = Sessions(LESSER.id, loop)
    old, new = unwired(GREATER, takes=0), unwired(GREATER)
    sessions.opened(old)
    box = sessions.outbox(GREATER.id)
    assert box is not None
    box.say(answer("lost"))
    assert sessions.opened(new) is News.REPLACED
    assert sessions.get(GREATER.id) is new
    assert new.sent == []  # the machines say again what matters
    assert len(box) == 0


@pytest.mark.parametrize("dialed", [False, True])
def test_a_peer_that_was_restarted_is_another_and_its_older_self_is_not(dialed: bool, loop: Any, unwired: Any) -> None:
    sessions = Sessions(LESSER.id, loop)
    old, new = unwired(GREATER, dialed=not dialed, boot=1), unwired(GREATER, dialed=dialed, boot=2)
    sessions.opened(old)
    assert sessions.opened(new) is News.REPLACED
    assert sessions.opened(unwired(GREATER, dialed=not dialed, boot=1)) is News.NONE
    assert sessions.get(GREATER.id) is new


def test_a_session_that_has_ended_makes_room_for_any(loop: Any, unwired: Any) -> None:
    sessions = Sessions(LESSER.id, loop)
    old, new = unwired(GREATER, dialed=True), unwired(GREATER, dialed=False)
    sessions.opened(old)
    old.close("lost")
    assert sessions.opened(new) is News.REPLACED
    assert sessions.closed(old) is False  # its end is told later, and ends nothing any more
    assert sessions.get(GREATER.id) is new


def test_a_session_that_ends_takes_what_waited_with_it(loop: Any, unwired: Any) -> None:
    sessions = Sessions(LESSER.id, loop)
    session = unwired(GREATER, takes=0)
    sessions.opened(session)
    box = sessions.outbox(GREATER.id)
    assert box is not None
    box.say(answer("lost"))
    assert sessions.closed(session) is True
    assert sessions.closed(session) is False
    assert len(box) == len(sessions) == 0


def test_a_peer_that_takes_more_is_sent_what_waits(loop: Any, unwired: Any) -> None:
    sessions = Sessions(LESSER.id, loop)
    session, stranger = unwired(GREATER, takes=0), unwired(GREATER)
    sessions.opened(session)
    box = sessions.outbox(GREATER.id)
    assert box is not None
    box.say(answer("waits"))
    session.takes = None
    sessions.writable(stranger)
    assert session.sent == []
    sessions.writable(session)
    assert [message.text for message in session.sent] == ["waits"]


def test_closing_stops_the_timers_of_twins_and_outboxes(loop: Any, unwired: Any) -> None:
    sessions = Sessions(LESSER.id, loop)
    sessions.opened(unwired(GREATER, dialed=True, takes=0))
    sessions.opened(unwired(GREATER, dialed=False))
    box = sessions.outbox(GREATER.id)
    assert box is not None
    box.say(answer("waits"))
    assert len([handle for handle in loop.handles if not handle.cancelled]) == 2
    sessions.close()
    assert not [handle for handle in loop.handles if not handle.cancelled]
