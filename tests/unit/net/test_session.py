"""An established session: order, back-pressure, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.net.session import BAD_FRAME, BAD_MESSAGE, CLOSED, LOST, UNREAD, Session
from p2pcpn.wire.frames import FrameReader, FrameWriter
from p2pcpn.wire.handshake import Agreed, Profile

PEER = Keypair(bytes([1]) * 32)
HERE, THERE = bytes([1]) * 32, bytes([2]) * 32  # the keys of the two directions


class FakeTransport:
    """Takes everything; ``stuck`` says how many bytes lie unread."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.stuck = 0
        self.reading = True
        self.closing = False
        self.aborted = False

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""

    def get_write_buffer_size(self) -> int:
        return self.stuck

    def writelines(self, chunks: Iterable[bytes]) -> None:
        self.written.append(b"".join(chunks))

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True


class FakeLoop:
    """A clock that stands still and calls that wait to be made."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: list[Callable[[], None]] = []
        self.later: list[FakeTimer] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> FakeTimer:
        self.later.append(FakeTimer(delay_s, call))
        return self.later[-1]

    def turn(self) -> None:
        calls, self.soon = self.soon, []
        for call in calls:
            call()


class FakeTimer:
    def __init__(self, delay_s: float, call: Callable[[], None]) -> None:
        self.delay_s = delay_s
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Owner:
    def __init__(self) -> None:
        self.messages: list[list[bytes]] = []
        self.ends: list[str] = []
        self.pending = 0
        self.writable = 0
        self.gone = 0
        self.react: Callable[[Session], None] = lambda session: None

    def session_messages(self, session: Session, messages: list[bytes]) -> None:
        self.messages.append(messages)
        self.react(session)

    def session_writable(self, session: Session) -> None:
        self.writable += 1

    def session_pending(self, session: Session, change: int) -> None:
        self.pending += change

    def session_ended(self, session: Session, reason: str) -> None:
        self.ends.append(reason)

    def connection_gone(self, connection: asyncio.BaseProtocol) -> None:
        self.gone += 1


class World:
    """One session, and the other end of it as a frame reader and writer."""

    def __init__(self) -> None:
        self.owner, self.loop, self.transport = Owner(), FakeLoop(), FakeTransport()
        profile = Profile(1, 1, PEER.public, 4000, 9, 0, 3)
        self.session = Session(
            self.owner,
            cast(Any, self.transport),
            Agreed(HERE, THERE, PEER.id, profile, 1, b"transcript"),
            ("192.0.2.1", 50_000),
            dialed=True,
            loop=cast(Any, self.loop),
        )
        self.peer_writer, self.peer_reader = FrameWriter(THERE), FrameReader(HERE)

    def arrives(self, *messages: bytes) -> bytes:
        return b"".join(self.peer_writer.write(messages))

    def left(self) -> list[bytes]:
        data, self.transport.written = b"".join(self.transport.written), []
        return self.peer_reader.feed(data)


def test_a_session_says_who_is_at_the_other_end() -> None:
    session = World().session
    assert session.remote.id == PEER.id and session.remote.key == PEER.public
    assert session.remote.address == ("192.0.2.1", 50_000) and session.remote.listen == ("192.0.2.1", 4000)
    assert session.dialed and session.transcript == b"transcript" and PEER.id.hex()[:8] in repr(session)


def test_what_is_hastened_leaves_at_once_with_all_before_it_and_the_rest_of_the_turn_together() -> None:
    world = World()
    world.session.hasten()
    world.session.send(b"a copy", urgent=False)
    world.session.hasten()
    assert world.transport.written == []  # nothing of it is urgent
    world.session.send(b"a lease")
    world.session.hasten()
    assert world.left() == [b"a copy", b"a lease"]
    for word in (b"more", b"and more"):
        world.session.send(word)
        world.session.hasten()
    assert world.transport.written == []
    world.loop.turn()
    assert len(world.transport.written) == 1 and world.left() == [b"more", b"and more"]
    world.session.send(b"in another turn")
    world.session.hasten()
    assert world.left() == [b"in another turn"]


def test_what_one_turn_sends_leaves_in_one_write_and_one_frame() -> None:
    world = World()
    for number in range(10):
        world.session.send(bytes([number]))
    assert world.transport.written == [] and world.session.buffered == 10
    world.loop.turn()
    assert len(world.transport.written) == 1
    assert world.left() == [bytes([number]) for number in range(10)]
    assert world.session.statistics()["frames_out"] == 1


def test_much_is_sent_at_once_and_a_turn_with_nothing_left_sends_nothing() -> None:
    world = World()
    world.session.send(b"small")
    world.session.send(bytes(limits.FRAME_BATCH_BYTES))
    assert len(world.transport.written) == 1
    world.loop.turn()
    assert world.left() == [b"small", bytes(limits.FRAME_BATCH_BYTES)] and world.session.buffered == 0


def test_a_patient_message_leaves_with_the_next_urgent_one_in_order() -> None:
    world = World()
    for number in range(3):
        world.session.send(bytes([number]), urgent=False)
    world.loop.turn()
    assert world.transport.written == [] and world.session.buffered == 3
    assert [timer.delay_s for timer in world.loop.later] == [limits.PATIENCE_S]
    world.session.send(b"now")
    world.session.send(b"last", urgent=False)
    world.loop.turn()
    assert len(world.transport.written) == 1
    assert world.left() == [b"\0", b"\1", b"\2", b"now", b"last"]
    world.loop.later[0].call()
    assert world.transport.written == []


def test_patient_messages_alone_leave_together_after_a_while() -> None:
    world = World()
    for word in (b"one", b"two"):
        world.session.send(word, urgent=False)
    (timer,) = world.loop.later
    timer.call()
    assert len(world.transport.written) == 1 and world.left() == [b"one", b"two"]
    world.session.send(b"three", urgent=False)
    assert len(world.loop.later) == 2  # the next has its own
    world.loop.later[1].call()
    assert world.left() == [b"three"]


def test_patience_ends_where_a_frame_is_full() -> None:
    world = World()
    world.session.send(b"small", urgent=False)
    world.session.send(bytes(limits.FRAME_BATCH_BYTES), urgent=False)
    assert world.left() == [b"small", bytes(limits.FRAME_BATCH_BYTES)]


def test_no_patient_message_is_lost_when_the_session_is_closed() -> None:
    world = World()
    world.session.send(b"patient", urgent=False)
    world.session.close()
    assert world.left() == [b"patient"] and world.loop.later[0].cancelled
    assert world.session.statistics()["messages_unsent"] == 0


@pytest.mark.parametrize(
    "end", [lambda session: session.abort("why not"), lambda session: session.connection_lost(None)]
)
def test_patient_messages_of_a_session_that_is_gone_are_counted_as_unsent(end: Callable[[Session], None]) -> None:
    world = World()
    world.session.send(b"patient", urgent=False)
    end(world.session)
    world.session.send(b"late", urgent=False)
    assert [timer.cancelled for timer in world.loop.later] == [True]
    assert world.left() == [] and world.session.statistics()["messages_unsent"] == 2


def test_messages_are_delivered_as_they_complete() -> None:
    world = World()
    data = world.arrives(b"one", b"two") + world.arrives(b"three")
    world.session.data_received(data[:-1])
    assert world.owner.messages == [[b"one", b"two"]] and world.owner.pending > 0
    world.session.data_received(data[-1:])
    assert world.owner.messages == [[b"one", b"two"], [b"three"]] and world.owner.pending == 0
    counts = world.session.statistics()
    assert (counts["messages_in"], counts["frames_in"], counts["bytes_in"]) == (3, 2, len(data))


def test_it_reads_into_the_memory_of_its_owner() -> None:
    world = World()
    world.owner.scratch = memoryview(bytearray(4096))
    data = world.arrives(b"one", b"two")
    world.session.get_buffer(-1)[: len(data)] = data
    world.session.buffer_updated(len(data))
    assert world.owner.messages == [[b"one", b"two"]]


def test_the_wait_for_a_message_is_counted_from_its_first_byte() -> None:
    world = World()
    data = world.arrives(bytes(1000))
    for at in (0, 100, 200):
        world.loop.now += 1
        world.session.data_received(data[at : at + 100])
    assert world.session.pending == 300 and world.session.pending_since == 101.0 and world.session.active_at == 103.0


def test_garbage_ends_the_session_and_nothing_more_is_delivered() -> None:
    world = World()
    world.session.data_received(bytes(100))
    world.session.data_received(world.arrives(b"late"))
    assert world.owner.ends == [BAD_FRAME] and world.transport.aborted and world.owner.messages == []


def test_a_message_the_consumer_refuses_ends_the_session() -> None:
    world = World()

    def refuse(session: Session) -> None:
        raise PeerError("nonsense")

    world.owner.react = refuse
    world.session.data_received(world.arrives(b"nonsense"))
    assert world.owner.ends == [BAD_MESSAGE] and world.transport.aborted


def test_a_consumer_may_close_while_it_takes_messages() -> None:
    world = World()
    world.owner.react = lambda session: session.close("enough")
    data = world.arrives(b"one") + world.arrives(b"two")
    world.session.data_received(data[:-1])
    assert world.owner.ends == ["enough"] and world.owner.pending == 0


def test_reading_pauses_while_the_consumer_holds_too_much() -> None:
    world = World()
    world.session.hold(limits.SESSION_HELD_BYTES_MAX)
    assert world.transport.reading
    world.session.hold(1)
    assert not world.transport.reading
    world.session.release(1)
    assert not world.transport.reading
    world.session.release(limits.SESSION_HELD_BYTES_MAX // 2)
    assert world.transport.reading


def test_a_peer_that_does_not_read_makes_the_session_unwritable_and_then_loses_it() -> None:
    world = World()
    world.session.pause_writing()
    assert not world.session.writable
    world.session.resume_writing()
    assert world.session.writable and world.owner.writable == 1
    world.session.pause_writing()
    world.transport.stuck = limits.SESSION_UNSENT_BYTES_MAX
    world.session.send(bytes(limits.FRAME_BATCH_BYTES))
    assert world.owner.ends == []
    world.transport.stuck += 1
    world.session.send(bytes(limits.FRAME_BATCH_BYTES))
    assert world.owner.ends == [UNREAD] and world.transport.aborted


def test_close_sends_what_is_queued_and_gives_up_after_a_while() -> None:
    world = World()
    world.session.send(b"last words")
    world.session.close()
    world.session.close("again")
    assert world.left() == [b"last words"] and world.transport.closing and not world.transport.aborted
    assert world.owner.ends == [CLOSED] and not world.session.writable
    world.loop.later[0].call()
    assert world.transport.aborted


def test_after_the_end_messages_are_dropped_and_counted() -> None:
    world = World()
    world.session.send(b"queued")
    world.session.abort("why not")
    world.session.send(b"late")
    world.loop.turn()
    assert world.transport.written == [] and world.session.statistics()["messages_unsent"] == 2


def test_a_lost_connection_ends_the_session_once() -> None:
    world = World()
    world.session.connection_lost(None)
    world.session.close()
    assert world.owner.ends == [LOST] and world.owner.gone == 1


def test_a_connection_that_closed_in_time_is_not_aborted_later() -> None:
    world = World()
    world.session.close()
    world.session.connection_lost(None)
    assert world.loop.later[0].cancelled and world.owner.ends == [CLOSED]


def test_holding_and_releasing_after_the_end_leaves_the_transport_alone() -> None:
    world = World()
    world.session.hold(limits.SESSION_HELD_BYTES_MAX + 1)
    world.session.close()
    world.session.release(limits.SESSION_HELD_BYTES_MAX + 1)
    assert not world.transport.reading
    with pytest.raises(AssertionError):
        world.session.release(1)
