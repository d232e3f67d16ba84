"""The TCP side of a node: listening, dialling, bounds."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import msgspec
import pytest

from p2pcpn.errors import PeerError, Unreachable, UsageError
from p2pcpn.identity.keys import Keypair, puzzle_bits
from p2pcpn.net.half_open import BAD_HANDSHAKE, BAD_LENGTH, CROWDED, HUNG_UP, SLOW, STOPPED, UNSUPPORTED
from p2pcpn.net.listener import SessionBounds, SessionServer
from p2pcpn.net.session import BAD_FRAME, CLOSED, FULL, IDLE, LOST, STALLED, Session
from p2pcpn.wire.addresses import Address
from p2pcpn.wire.handshake import OPEN_SWARM_KEY, Profile, UnsupportedVersion

HOST = "127.0.0.1"


class Node:
    """A session server that remembers what it was told, and lets a test wait for it."""

    def __init__(
        self,
        bounds: SessionBounds | None = None,
        psk: bytes = OPEN_SWARM_KEY,
        versions: tuple[int, int] = (1, 1),
        on_message: Callable[[Session, list[bytes]], None] | None = None,
    ) -> None:
        self.me = Keypair(os.urandom(32))
        self.opened: list[Session] = []
        self.messages: list[bytes] = []
        self.ends: list[tuple[Session, str]] = []
        self.address: Address = ("", 0)
        self._on_message = on_message
        self.server = SessionServer(
            self.me,
            psk,
            Profile(*versions, self.me.public, 0, 1, 0, 3),
            on_open=self._open,
            on_message=self._message,
            on_close=self._close,
            bounds=bounds,
            rng=random.Random(1),
        )

    def _open(self, session: Session) -> None:
        self.opened.append(session)

    def _message(self, session: Session, messages: list[bytes]) -> None:
        if self._on_message is not None:
            self._on_message(session, messages)
        self.messages += messages

    def _close(self, session: Session, reason: str) -> None:
        self.ends.append((session, reason))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until ``holds``, which is looked at in each turn of the loop: both ends live in it."""
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0)

    def dropped(self, reason: str) -> int:
        return self.server.statistics().get(f"dropped {reason}", 0)


@asynccontextmanager
async def swarm(*nodes: Node) -> AsyncIterator[None]:
    try:
        for node in nodes:
            node.address = await node.server.listen(HOST)
        yield
    finally:
        for node in nodes:
            await node.server.close()


async def raw(node: Node) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stranger's connection."""
    return await asyncio.open_connection(*node.address)


@contextmanager
def silence() -> Iterator[Address]:
    """An address where connections are made, by the kernel, and nobody ever answers."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        sock.listen()
        yield sock.getsockname()


async def hang_up(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@pytest.mark.asyncio
async def test_two_nodes_exchange_messages_of_all_sizes() -> None:
    a, b = Node(), Node()
    async with swarm(a, b):
        session = await a.server.dial(*b.address, expected=b.me.id)
        assert a.opened == [session] and session.dialed and session.remote.listen == b.address
        await b.until(lambda: bool(b.opened))
        back = b.opened[0]
        assert not back.dialed and back.remote.id == a.me.id and back.remote.listen == a.address
        assert back.transcript == session.transcript
        sent = [b"", b"one", bytes(100_000), os.urandom(3 << 20), b"last"]
        for message in sent:
            session.send(message)
            back.send(message)
        await a.until(lambda: len(a.messages) == 5)
        await b.until(lambda: len(b.messages) == 5)
        assert a.messages == b.messages == sent
        session.close()
        await b.until(lambda: bool(b.ends))
        await a.until(lambda: bool(a.ends))
        assert a.ends == [(session, CLOSED)] and b.ends == [(back, LOST)]
        assert list(a.server.sessions) == list(b.server.sessions) == []


@pytest.mark.asyncio
async def test_small_messages_leave_at_once_and_dead_peers_are_noticed() -> None:
    a, b = Node(), Node()
    async with swarm(a, b):
        session = await a.server.dial(*b.address)
        sock = session._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.asyncio
async def test_a_bound_socket_can_be_given() -> None:
    node = Node()
    sock = socket.socket()
    sock.bind((HOST, 0))
    try:
        assert await node.server.listen(sock=sock) == sock.getsockname()
        assert node.server.profile.port == sock.getsockname()[1]
    finally:
        await node.server.close()
    assert sock.fileno() == -1


def test_a_swarm_key_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match="32 bytes"):
        Node(psk=b"short")


@pytest.mark.asyncio
async def test_an_unexpected_node_is_refused() -> None:
    a, b = Node(), Node()
    async with swarm(a, b):
        with pytest.raises(PeerError, match="expected"):
            await a.server.dial(*b.address, expected=a.me.id)
        await b.until(lambda: b.dropped(HUNG_UP) == 1)
        assert a.opened == b.opened == []


@pytest.mark.asyncio
async def test_another_swarm_key_opens_nothing() -> None:
    a, b = Node(psk=bytes([1]) * 32), Node()
    async with swarm(a, b):
        with pytest.raises(PeerError, match="hung up"):
            await a.server.dial(*b.address)
        assert b.dropped(BAD_HANDSHAKE) == 1 and a.opened == b.opened == []


@pytest.mark.asyncio
async def test_without_a_common_version_the_caller_hears_which_there_are() -> None:
    a, b = Node(versions=(2, 2)), Node()
    async with swarm(a, b):
        with pytest.raises(UnsupportedVersion) as raised:
            await a.server.dial(*b.address)
        assert raised.value.versions == (1, 1)
        assert a.dropped(UNSUPPORTED) == b.dropped(UNSUPPORTED) == 1


@pytest.mark.asyncio
async def test_where_nobody_listens_a_dial_ends_unreachable() -> None:
    a, b = Node(), Node()
    async with swarm(b):
        pass
    with pytest.raises(Unreachable, match="no peer answers"):
        await a.server.dial(*b.address)
    assert a.dropped("unreachable") == 1
    await a.server.close()


@pytest.mark.asyncio
async def test_a_listener_that_says_nothing_does_not_hold_a_dial() -> None:
    a = Node(SessionBounds(handshake_wait_s=0.1))
    with silence() as address, pytest.raises((Unreachable, PeerError)):
        await a.server.dial(*address)
    await a.server.close()


@pytest.mark.asyncio
async def test_a_node_does_not_open_a_session_with_itself() -> None:
    a = Node()
    async with swarm(a):
        with pytest.raises(PeerError, match="itself"):
            await a.server.dial(*a.address)


@pytest.mark.asyncio
async def test_garbage_and_lying_lengths_are_dropped_and_counted_without_a_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = Node()
    async with swarm(node):
        for data in (b"\xff\xff", b"GET / HTTP/1.1\r\n\r\n", b"\0\x40" + bytes(64)):
            reader, writer = await raw(node)
            writer.write(data)
            with suppress(ConnectionError):
                assert await reader.read() == b""
            await hang_up(writer)
        assert node.dropped(BAD_LENGTH) == 2 and node.dropped(BAD_HANDSHAKE) == 1
        assert node.server.statistics()["half_open"] == 0
    assert caplog.records == []


@pytest.mark.asyncio
async def test_who_sends_too_slowly_is_dropped() -> None:
    node = Node(SessionBounds(message_1_wait_s=0.05, handshake_wait_s=0.1))
    async with swarm(node):
        reader, writer = await raw(node)
        writer.write(b"\0")
        with suppress(ConnectionError):
            assert await reader.read() == b""
        assert node.dropped(SLOW) == 1
        await hang_up(writer)


@pytest.mark.asyncio
async def test_silent_connections_of_one_host_keep_to_their_places_and_honest_peers_get_in() -> None:
    node, honest = Node(SessionBounds(half_open_per_host_max=4)), Node()
    async with swarm(node, honest):
        writers = [(await raw(node))[1] for _ in range(12)]
        await node.until(lambda: node.server.statistics()["accepted"] == 12)
        assert node.server.statistics()["half_open"] == 4 and node.dropped(CROWDED) == 8
        await honest.server.dial(*node.address)
        await node.until(lambda: len(node.opened) == 1)
        await hang_up(*writers)
        await node.until(lambda: node.server.statistics()["half_open"] == 0)


@pytest.mark.asyncio
async def test_half_open_connections_are_bounded_in_total() -> None:
    node = Node(SessionBounds(half_open_max=3))
    async with swarm(node):
        writers = [(await raw(node))[1] for _ in range(5)]
        await node.until(lambda: node.server.statistics()["accepted"] == 5)
        assert node.server.statistics()["half_open"] == 3 and node.dropped(CROWDED) == 2
        await hang_up(*writers)


@pytest.mark.asyncio
async def test_the_session_silent_longest_makes_room_unless_it_is_kept() -> None:
    node, others = Node(SessionBounds(sessions_max=2)), [Node() for _ in range(4)]
    async with swarm(node, *others):
        for number in (0, 1):
            await others[number].server.dial(*node.address)
            await node.until(lambda number=number: len(node.opened) == number + 1)
        first, second = node.opened
        first.keep = True
        await others[2].server.dial(*node.address)
        await node.until(lambda: len(node.opened) == 3)
        await node.until(lambda: node.ends == [(second, IDLE)])
        node.opened[2].keep = True
        await others[3].server.dial(*node.address)
        await others[3].until(lambda: bool(others[3].ends))
        assert node.dropped(FULL) == 1 and list(node.server.sessions) == [first, node.opened[2]]


@pytest.mark.asyncio
async def test_a_dial_of_a_full_node_fails() -> None:
    a, b, c = Node(SessionBounds(sessions_max=1)), Node(), Node()
    async with swarm(a, b, c):
        (await a.server.dial(*b.address)).keep = True
        with pytest.raises(PeerError, match="in use"):
            await a.server.dial(*c.address)


@pytest.mark.asyncio
async def test_incomplete_messages_of_all_sessions_are_bounded_and_the_oldest_makes_room() -> None:
    node = Node(SessionBounds(pending_bytes_max=100_000))
    slow, honest = Node(), Node()
    async with swarm(node, slow, honest):
        stalled = await slow.server.dial(*node.address)
        sealed = stalled._writer.write([bytes(200_000)])
        stalled._transport.write(b"".join(sealed)[:60_000])
        await node.until(lambda: node.server.statistics()["pending_bytes"] == 60_000)
        moving = await honest.server.dial(*node.address)
        sealed = moving._writer.write([bytes(90_000)])
        moving._transport.write(b"".join(sealed)[:80_000])
        await node.until(lambda: bool(node.ends))
        assert node.ends[0][0].remote.id == slow.me.id and node.ends[0][1] == STALLED
        moving._transport.write(b"".join(sealed)[80_000:])
        await node.until(lambda: node.messages == [bytes(90_000)])
        assert node.server.statistics()["pending_bytes"] == 0


@pytest.mark.asyncio
async def test_an_established_peer_that_sends_garbage_loses_its_session(caplog: pytest.LogCaptureFixture) -> None:
    a, b = Node(), Node()
    async with swarm(a, b):
        session = await a.server.dial(*b.address)
        session._transport.write(b"\xff" * 100)
        await b.until(lambda: bool(b.ends))
        assert b.ends[0][1] == BAD_FRAME and b.dropped(BAD_FRAME) == 1
    assert caplog.records == []


@pytest.mark.asyncio
async def test_a_consumer_that_holds_messages_stops_the_sender_and_resumes_it() -> None:
    a = Node()
    b = Node(on_message=lambda session, messages: session.hold(sum(map(len, messages))))
    async with swarm(a, b):
        session = await a.server.dial(*b.address)
        for _ in range(24):  # more than the consumer holds and the kernel's buffers
            session.send(bytes(1 << 20))
            await asyncio.sleep(0)
        assert not session.writable
        count = session.statistics()["messages_out"]
        await b.until(lambda: bool(b.opened) and b.opened[0].statistics()["held"] > 8 << 20)
        assert len(b.messages) < count
        back = b.opened[0]
        while len(b.messages) < count:
            back.release(back.statistics()["held"])
            await asyncio.sleep(0)
        await a.until(lambda: session.writable)


@pytest.mark.asyncio
async def test_an_identity_without_the_work_asked_for_is_refused() -> None:
    a, b = Node(), Node(SessionBounds(puzzle_bits=6))
    async with swarm(a, b):
        weak = next(nonce for nonce in range(1000) if puzzle_bits(a.me.public, nonce) < 6)
        strong = next(nonce for nonce in range(10_000) if puzzle_bits(a.me.public, nonce) >= 6)
        a.server.profile = msgspec.structs.replace(a.server.profile, puzzle=weak)
        await a.server.dial(*b.address)
        await a.until(lambda: bool(a.ends))
        assert b.opened == [] and b.dropped(BAD_HANDSHAKE) == 1
        a.server.profile = msgspec.structs.replace(a.server.profile, puzzle=strong)
        await a.server.dial(*b.address)
        await b.until(lambda: len(b.opened) == 1)


@pytest.mark.asyncio
async def test_closing_ends_sessions_handshakes_and_dials_and_refuses_newcomers() -> None:
    a, b = Node(), Node()
    async with swarm(a, b):
        session = await a.server.dial(*b.address)
        _, writer = await raw(a)
        await a.until(lambda: a.server.statistics()["half_open"] == 1)
        with silence() as address:
            dial = asyncio.ensure_future(a.server.dial(*address))
            await a.until(lambda: len(a.server._connections) == 3)
            await a.server.close()
            with pytest.raises(PeerError, match="stopping"):
                await dial
        assert a.ends == [(session, CLOSED)] and a.dropped(STOPPED) == 2
        with pytest.raises((Unreachable, PeerError)):
            await a.server.dial(*b.address)
        await hang_up(writer)


@pytest.mark.asyncio
async def test_a_cancelled_dial_leaves_nothing_behind() -> None:
    a, b = Node(), Node()
    async with swarm(a, b):
        dial = asyncio.ensure_future(a.server.dial(*b.address))
        await asyncio.sleep(0)
        dial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dial
        await a.until(lambda: not a.server._connections)
        assert list(a.server.sessions) == []
