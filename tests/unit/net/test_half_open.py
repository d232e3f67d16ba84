"""Connections that have proved nothing yet: few, and short-lived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.net.half_open import (
    BAD_HANDSHAKE,
    BAD_LENGTH,
    HUNG_UP,
    SLOW,
    STOPPED,
    UNSUPPORTED,
    HalfOpen,
    ephemeral_secret,
    peer_address,
)
from p2pcpn.wire.handshake import OPEN_SWARM_KEY, Agreed, Handshake, Profile

ALICE, BOB = Keypair(bytes([1]) * 32), Keypair(bytes([2]) * 32)


class FakeTransport:
    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.aborted = False

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 4000) if name == "peername" else None

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True


class FakeLoop:
    def __init__(self) -> None:
        self.timers: list[FakeTimer] = []

    def call_later(self, delay_s: float, call: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(delay_s, call))
        return self.timers[-1]


class FakeTimer:
    def __init__(self, delay_s: float, call: Callable[[], None]) -> None:
        self.delay_s = delay_s
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Side:
    """A half-open connection, and its owner."""

    def __init__(self, me: Keypair, *, dialed: bool, versions: tuple[int, int] = (1, 1), made: bool = True) -> None:
        self.transport, self.loop = FakeTransport(), FakeLoop()
        self.done: list[tuple[Agreed, bytes]] = []
        self.failures: list[str] = []
        self.errors: list[PeerError] = []
        self.gone = 0
        handshake = Handshake(
            initiator=dialed,
            me=me,
            psk=OPEN_SWARM_KEY,
            profile=Profile(*versions, me.public, 0, 1, 0, 0),
            ephemeral_secret=ephemeral_secret(),
        )
        self.connection = HalfOpen(
            self, handshake, dialed=dialed, message_1_wait_s=2.0, handshake_wait_s=5.0, loop=cast(Any, self.loop)
        )
        if made:
            self.connection.connection_made(cast(Any, self.transport))

    def half_open_made(self, connection: HalfOpen) -> None: ...

    def half_open_done(self, connection: HalfOpen, agreed: Agreed, rest: bytes) -> None:
        self.done.append((agreed, rest))

    def half_open_failed(self, connection: HalfOpen, reason: str, error: PeerError) -> None:
        self.failures.append(reason)
        self.errors.append(error)

    def connection_gone(self, connection: asyncio.BaseProtocol) -> None:
        self.gone += 1

    def out(self) -> bytes:
        data, self.transport.written = self.transport.written, b""
        return data


def test_three_messages_make_a_session_of_both_ends() -> None:
    a, b = Side(ALICE, dialed=True), Side(BOB, dialed=False)
    b.connection.data_received(a.out())
    a.connection.data_received(b.out())
    b.connection.data_received(a.out() + b"the first frame")
    assert a.done[0][0].id == BOB.id and b.done[0][0].id == ALICE.id
    assert a.done[0][1] == b"" and b.done[0][1] == b"the first frame"
    assert all(timer.cancelled for timer in a.loop.timers + b.loop.timers)
    assert not a.transport.closed and not b.transport.closed


def test_it_reads_no_more_than_a_message_at_a_time() -> None:
    a, b = Side(ALICE, dialed=True), Side(BOB, dialed=False)
    data = a.out()
    memory = memoryview(b.connection.get_buffer(-1))
    assert len(memory) == limits.HANDSHAKE_BYTES_MAX
    memory[: len(data)] = data
    b.connection.buffer_updated(len(data))
    a.connection.data_received(b.out())
    assert a.done


def test_one_byte_at_a_time_is_enough_if_it_is_quick() -> None:
    a, b = Side(ALICE, dialed=True), Side(BOB, dialed=False)
    for receiver, sender in ((b, a), (a, b), (b, a)):
        for byte in sender.out():
            receiver.connection.data_received(bytes([byte]))
    assert a.done and b.done


def test_the_first_message_has_two_seconds_and_the_rest_the_remaining_three() -> None:
    a, b = Side(ALICE, dialed=True), Side(BOB, dialed=False)
    assert [timer.delay_s for timer in b.loop.timers] == [2.0]
    b.connection.data_received(a.out())
    assert b.loop.timers[0].cancelled and b.loop.timers[1].delay_s == 3.0
    assert [timer.delay_s for timer in a.loop.timers] == [5.0]
    b.loop.timers[1].call()
    assert b.failures == [SLOW] and b.transport.aborted


@pytest.mark.parametrize("length", [0, 47, limits.HANDSHAKE_BYTES_MAX + 1, 0xFFFF])
def test_a_lying_length_is_dropped_at_once(length: int) -> None:
    b = Side(BOB, dialed=False)
    b.connection.data_received(length.to_bytes(2, "big"))
    assert b.failures == [BAD_LENGTH] and b.transport.aborted


def test_garbage_of_the_right_length_is_dropped() -> None:
    b = Side(BOB, dialed=False)
    b.connection.data_received((60).to_bytes(2, "big") + bytes(range(60)))
    assert b.failures == [BAD_HANDSHAKE] and b.transport.aborted and b.out() == b""


def test_without_a_common_version_both_ends_hear_it_and_the_connection_closes_plainly() -> None:
    a, b = Side(ALICE, dialed=True, versions=(2, 3)), Side(BOB, dialed=False)
    b.connection.data_received(a.out())
    assert b.failures == [UNSUPPORTED] and b.transport.closed and not b.transport.aborted
    a.connection.data_received(b.out())
    assert a.failures == [UNSUPPORTED] and "we speak 2 to 3" in str(a.errors[0])


def test_hanging_up_is_a_failure_once() -> None:
    a = Side(ALICE, dialed=True)
    a.connection.connection_lost(None)
    a.connection.fail(STOPPED, PeerError("later"))
    a.connection.data_received(bytes(10))
    assert a.failures == [HUNG_UP] and a.gone == 1


def test_a_connection_given_up_before_it_was_made_is_dropped_when_it_is() -> None:
    a = Side(ALICE, dialed=True, made=False)
    a.connection.fail(STOPPED, PeerError("given up"))
    assert a.failures == []
    a.connection.connection_made(cast(Any, a.transport))
    assert a.transport.aborted and a.out() == b"" and a.loop.timers == []


def test_a_transport_without_an_address_has_an_empty_one() -> None:
    class Nameless(FakeTransport):
        def get_extra_info(self, name: str) -> Any:
            return None

    assert peer_address(cast(Any, Nameless())) == ("", 0)
