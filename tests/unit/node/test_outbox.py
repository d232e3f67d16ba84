"""The outbox: what a session does not take waits in order, within bounds, and a peer that takes nothing is hung up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.net.session import UNREAD
from p2pcpn.node.outbox import STUCK_S, Outbox
from p2pcpn.wire import messages as m

PEER = Keypair(b"\1" * 32)


class Handle:
    def __init__(self, wait_s: float, callback: Callable[[], None]) -> None:
        self.wait_s = wait_s
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clockwork:
    """A loop whose timers go off when the test says so."""

    def __init__(self) -> None:
        self.handles: list[Handle] = []

    def call_later(self, wait_s: float, callback: Callable[[], None]) -> Handle:
        self.handles.append(Handle(wait_s, callback))
        return self.handles[-1]

    @property
    def waiting(self) -> list[Handle]:
        return [handle for handle in self.handles if not handle.cancelled]


@pytest.fixture
def loop() -> Clockwork:
    return Clockwork()


def words(*texts: str) -> list[m.Message]:
    return [m.Answer(1, 0, text) for text in texts]


def said(session: Any) -> list[str]:
    return [message.text for message in session.sent]


def test_what_the_session_takes_is_sent_at_once(loop: Any, unwired: Any) -> None:
    session = unwired(PEER)
    box = Outbox(session, loop)
    for message in words("a", "b"):
        box.say(message)
    box.stream(iter(words("c", "d")), 100)
    assert said(session) == ["a", "b", "c", "d"]
    assert (len(box), box.held_bytes) == (0, 0)
    assert not loop.waiting


def test_what_it_does_not_take_waits_in_order(loop: Any, unwired: Any) -> None:
    session = unwired(PEER, takes=1)
    box = Outbox(session, loop)
    for message in words("a", "b"):
        box.say(message)
    box.stream(iter(words("c", "d")), 100)
    box.say(words("e")[0])
    assert said(session) == ["a"]
    assert len(box) == 3
    assert box.held_bytes > 100
    session.takes = 3
    box.drain()
    assert said(session) == ["a", "b", "c"]
    session.takes = None
    box.say(words("f")[0])  # it is not sent before what waits
    box.drain()
    assert said(session) == ["a", "b", "c", "d", "e", "f"]
    assert (len(box), box.held_bytes) == (0, 0)


def test_a_stream_is_read_only_as_far_as_there_is_room(loop: Any, unwired: Any) -> None:
    read: list[str] = []

    def parts() -> Iterator[m.Message]:
        for message, text in zip(words(*"abcd"), "abcd", strict=True):
            read.append(text)
            yield message

    session = unwired(PEER, takes=2)
    box = Outbox(session, loop)
    box.stream(parts(), 4)
    assert read == ["a", "b"]
    session.takes = None
    box.drain()
    assert said(session) == ["a", "b", "c", "d"]


def test_the_bytes_that_wait_are_counted_by_what_a_message_holds(loop: Any, unwired: Any) -> None:
    session = unwired(PEER, takes=0)
    box = Outbox(session, loop)
    box.say(words("a")[0])
    small = box.held_bytes
    box.say(m.Output(b"\1" * 20, 1, 1, bytes(10_000)))
    assert box.held_bytes == 2 * small + 10_000


def test_a_peer_that_takes_nothing_for_a_whole_lease_is_hung_up_on(loop: Any, unwired: Any) -> None:
    session = unwired(PEER, takes=1)
    box = Outbox(session, loop)
    for message in words("a", "b", "c"):
        box.say(message)
    assert [handle.wait_s for handle in loop.waiting] == [STUCK_S]  # one, however much waits
    session.takes = 2
    box.drain()  # it took something: it has a whole lease again
    assert [handle.wait_s for handle in loop.waiting] == [STUCK_S]
    assert len(loop.handles) == 2
    loop.waiting[0].callback()
    assert session.why == UNREAD
    assert (len(box), box.held_bytes) == (0, 0)


def test_who_asks_for_more_and_takes_nothing_is_hung_up_on_no_later(loop: Any, unwired: Any) -> None:
    session = unwired(PEER, takes=0)
    box = Outbox(session, loop)
    box.stream(iter(words("a")), 10)
    (watch,) = loop.waiting
    box.stream(iter(words("b")), 10)
    assert loop.waiting == [watch]
    watch.callback()
    assert session.why == UNREAD


def test_a_peer_that_takes_everything_is_watched_no_longer(loop: Any, unwired: Any) -> None:
    session = unwired(PEER, takes=0)
    box = Outbox(session, loop)
    box.say(words("a")[0])
    session.takes = None
    box.drain()
    assert not loop.waiting


def test_too_many_bytes_end_the_session(loop: Any, unwired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OUTBOX_BYTES_MAX", 30_000)
    session = unwired(PEER, takes=0)
    box = Outbox(session, loop)
    output = m.Output(b"\1" * 20, 1, 1, bytes(10_000))
    box.say(output)
    box.stream(iter([output]), 1 << 40)  # on disk until there is room: it is no memory
    box.say(output)
    assert not session.ended
    session.takes = 3
    box.drain()  # what was taken counts no more
    for _ in range(2):
        box.say(output)
    assert not session.ended
    box.say(output)
    assert session.why == UNREAD
    assert (len(box), box.held_bytes) == (0, 0)


def test_too_many_items_end_the_session(loop: Any, unwired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OUTBOX_ITEMS_MAX", 3)
    session = unwired(PEER, takes=0)
    box = Outbox(session, loop)
    for number in range(3):
        box.stream(iter(words(str(number))), 0)
    assert not session.ended
    box.stream(iter(words("3")), 0)
    assert session.why == UNREAD


def test_nothing_waits_for_a_session_that_has_ended(loop: Any, unwired: Any) -> None:
    session = unwired(PEER)
    session.close("gone")
    box = Outbox(session, loop)
    box.say(words("a")[0])
    box.stream(iter(words("b")), 10)
    assert (len(box), box.held_bytes, session.sent) == (0, 0, [])
    assert not loop.waiting


def test_a_session_that_ends_while_something_is_sent_loses_the_rest(loop: Any, unwired: Any) -> None:
    session = unwired(PEER, takes=0)
    box = Outbox(session, loop)
    for message in words("a", "b"):
        box.say(message)
    session.takes, session.dies_sending = None, True
    box.drain()
    assert said(session) == ["a"]
    box.clear()
    assert (len(box), box.held_bytes) == (0, 0)
    assert not loop.waiting


def test_what_waits_moves_to_another_session_in_order(loop: Any, unwired: Any) -> None:
    old, new = unwired(PEER, takes=0), unwired(PEER)
    box, other = Outbox(old, loop), Outbox(new, loop)
    box.say(words("a")[0])
    box.stream(iter(words("b", "c")), 10)
    box.say(words("d")[0])
    box.move_to(other)
    assert said(new) == ["a", "b", "c", "d"]
    assert said(old) == []
    assert (len(box), box.held_bytes) == (0, 0)
    assert not loop.waiting


def test_the_watch_of_a_session_that_has_ended_does_nothing(loop: Any, unwired: Any) -> None:
    session = unwired(PEER, takes=0)
    box = Outbox(session, loop)
    box.say(words("a")[0])
    session.close("goodbye")
    loop.waiting[0].callback()
    assert session.why == "goodbye"
    assert len(box) == 0


def test_the_bounds_leave_a_sender_room_to_be_congested_first() -> None:
    assert limits.CONGESTED_BYTES < limits.OUTBOX_BYTES_MAX
    assert limits.OUTBOX_ANSWERS_MAX < limits.OUTBOX_ITEMS_MAX
