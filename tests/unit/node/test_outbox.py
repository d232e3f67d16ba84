"""The outbox: what a session does not take waits in order, within bounds, and a peer that takes nothing is hung up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.net.session import UNREAD
from p2pcpn.node.outbox import STUCK_S, Outbox
from p2pcpn.node.rush import Rush
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
        self.now = 100.0

    def time(self) -> float:
        return self.now

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


def test_what_nobody_waits_for_is_said_so_to_the_session(loop: Any, unwired: Any) -> None:
    session = unwired(PEER)
    box = Outbox(session, loop)
    a, b, c = words("a", "b", "c")
    box.say(a, urgent=False)
    box.say(b)
    box.stream(iter([c]), 10)
    assert (said(session), session.urgent) == (["a", "b", "c"], [False, True, True])


def test_a_patient_message_that_had_to_wait_keeps_its_place_and_waits_no_longer(loop: Any, unwired: Any) -> None:
    session = unwired(PEER, takes=0)
    box = Outbox(session, loop)
    for text, urgent in (("a", False), ("b", True), ("c", False)):
        box.say(words(text)[0], urgent=urgent)
    session.takes = None
    box.drain()
    assert (said(session), session.urgent) == (["a", "b", "c"], [True] * 3)


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


# --- copies ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def rush(loop: Any) -> Rush:
    rush = Rush(loop)
    rush.note()
    return rush


def test_copies_go_at_once_where_nobody_waits_for_anything(loop: Any, unwired: Any) -> None:
    session = unwired(PEER)
    box = Outbox(session, loop)
    box.later(b"x", iter(words("a", "b")), 100)
    assert said(session) == ["a", "b"]
    assert (box.later_bytes, loop.waiting) == (0, [])


def test_copies_wait_for_a_quiet_moment(loop: Any, rush: Rush, unwired: Any) -> None:
    session = unwired(PEER)
    box = Outbox(session, loop, rush)
    box.later(b"x", iter(words("a")), 100)
    box.later(b"y", iter(words("b")), 10)
    assert (said(session), box.later_bytes, len(box), box.held_bytes) == ([], 110, 0, 0)
    (look,) = loop.waiting
    assert look.wait_s == limits.QUIET_S
    box.say(words("c")[0])  # goes ahead
    loop.now += limits.QUIET_S
    look.callback()
    assert said(session) == ["c", "a", "b"]
    assert box.later_bytes == 0


def test_what_somebody_waits_for_is_in_a_hurry_for_all_sessions(loop: Any, rush: Rush, unwired: Any) -> None:
    loop.now += limits.QUIET_S
    one, two = (Outbox(unwired(PEER), loop, rush) for _ in range(2))
    one.stream(iter(words("a")), 10)
    two.later(b"x", iter(words("b")), 10)
    assert said(two.session) == []


def test_a_copy_that_is_needed_now_goes_in_order(loop: Any, rush: Rush, unwired: Any) -> None:
    session = unwired(PEER, takes=1)
    box = Outbox(session, loop, rush)
    box.later(b"x", iter(words("x")), 10)
    box.later(b"y", iter(words("y", "z")), 20)
    box.later(b"y", iter(words("again")), 20)
    box.say(words("a")[0])
    box.hurry(b"y")
    box.hurry(b"y")  # there is nothing left of it
    box.say(words("grant")[0])
    assert (box.later_bytes, box.held_bytes > 40) == (10, True)
    session.takes = None
    box.drain()
    assert said(session) == ["a", "y", "z", "again", "grant"]


def test_copies_that_are_overdue_take_turns_with_the_others(loop: Any, rush: Rush, unwired: Any) -> None:
    session = unwired(PEER, takes=0)
    box = Outbox(session, loop, rush)
    box.later(b"x", iter(words("x", "y")), 10)
    for message in words("a", "b", "c"):
        box.say(message)
    loop.now += limits.LATER_S
    session.takes = None
    box.drain()
    assert said(session) == ["a", "x", "b", "y", "c"]


@pytest.mark.parametrize("bound", ["LATER_ITEMS_MAX", "LATER_BYTES_MAX"])
def test_copies_that_are_too_many_wait_no_longer(
    bound: str, loop: Any, rush: Rush, unwired: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, bound, 2)
    session = unwired(PEER)
    box = Outbox(session, loop, rush)
    for number in range(3):
        box.later(bytes([number]), iter(words(str(number))), 1)
    assert said(session) == ["0"]


def test_who_asks_for_copies_without_end_is_hung_up_on(
    loop: Any, rush: Rush, unwired: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_ITEMS_MAX", 2)
    session = unwired(PEER)
    box = Outbox(session, loop, rush)
    for _ in range(3):
        box.later(b"x", iter(words("a")), 1)
    assert session.why == UNREAD
    assert (box.later_bytes, loop.waiting) == (0, [])
    box.later(b"x", iter(words("a")), 1)
    assert box.later_bytes == 0


def test_a_peer_that_takes_no_copies_is_hung_up_on(loop: Any, rush: Rush, unwired: Any) -> None:
    session = unwired(PEER, takes=0)
    box = Outbox(session, loop, rush)
    box.later(b"x", iter(words("a")), 1)
    (watch,) = loop.waiting
    assert watch.wait_s == STUCK_S
    watch.callback()
    assert session.why == UNREAD


def test_copies_move_to_another_session(loop: Any, rush: Rush, unwired: Any) -> None:
    one, two = Outbox(unwired(PEER), loop, rush), Outbox(unwired(PEER), loop, rush)
    one.later(b"x", iter(words("a")), 1)
    one.move_to(two)
    assert (one.later_bytes, two.later_bytes) == (0, 1)
    two.hurry(b"x")
    assert said(two.session) == ["a"]


def test_an_iterator_without_room_beside_the_session_holds_up_what_is_behind_it_until_there_is(
    unwired: Any, loop: Any
) -> None:
    session = unwired(PEER)
    box = Outbox(session, loop)
    room = False

    def parts() -> Iterator[m.Message | None]:
        while not room:
            yield None
        yield from words("a", "b")

    box.stream(parts(), 2)
    box.say(words("c")[0])
    box.stream(iter(words("d")), 1)
    assert said(session) == []
    assert [handle.wait_s for handle in loop.waiting] == [STUCK_S]
    room = True
    box.drain()
    assert said(session) == ["a", "b", "c", "d"]
    assert (len(box), loop.waiting) == (0, [])


def test_a_copy_without_room_beside_the_session_lets_messages_pass_and_is_hung_up_on_at_last(
    unwired: Any, loop: Any
) -> None:
    session = unwired(PEER)
    box = Outbox(session, loop)
    box.later(b"copy", iter([None] * 9), 1)
    box.say(words("a")[0])
    assert said(session) == ["a"]
    (watch,) = loop.waiting
    watch.callback()
    assert session.why == UNREAD


def test_a_look_for_a_quiet_moment_does_not_begin_the_watch_anew(unwired: Any, loop: Any) -> None:
    session = unwired(PEER)
    rush = Rush(loop)
    box = Outbox(session, loop, rush)
    rush.note()
    box.later(b"copy", iter(words("a")), 1)
    (look,) = loop.waiting
    box.stream(iter([None] * 9), 1)
    watches = len(loop.waiting)
    look.callback()
    assert (said(session), len(loop.waiting)) == ([], watches)


def test_what_cannot_go_yet_is_waited_for_however_long_that_takes(unwired: Any, loop: Any) -> None:
    session, other = unwired(PEER), unwired(Keypair(b"\2" * 32))
    rush = Rush(loop)
    box, fresh = Outbox(session, loop, rush), Outbox(other, loop, rush)
    box.stream(iter([None, *words("a")]), 1)
    loop.now += 10 * limits.QUIET_S
    assert (rush.waiting, rush.lets(loop.now)) == (1, False)
    assert rush.lets(loop.now - limits.LATER_S)  # but not for ever
    box.move_to(fresh)
    assert (rush.waiting, said(other)) == (0, ["a"])
    loop.now += limits.QUIET_S
    assert rush.lets(loop.now)
    fresh.stream(iter([None] * 9), 1)
    assert rush.waiting == 1
    fresh.clear()
    assert rush.waiting == 0
