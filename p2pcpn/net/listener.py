"""All TCP of a node: listens, dials, and holds its sessions within bounds.

Connections that have not proved anything are few and short-lived; when their places are taken, a new one takes the
place of one drawn from the older half, so that who floods us mostly drops himself. Sessions are bounded too: the one
that has been silent longest makes room, unless work depends on it.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from p2pcpn import limits
from p2pcpn.errors import PeerError, Unreachable, UsageError
from p2pcpn.identity.keys import KEY_BYTES, Keypair, NodeId, puzzle_bits
from p2pcpn.net.acceptor import Acceptor, bound_socket
from p2pcpn.net.half_open import (
    BAD_HANDSHAKE,
    CROWDED,
    STOPPED,
    HalfOpen,
    ephemeral_secret,
)
from p2pcpn.net.session import CLOSED, FULL, IDLE, LOST, STALLED, OnEnd, OnMessages, OnSession, Session
from p2pcpn.wire.addresses import Address
from p2pcpn.wire.handshake import Agreed, Handshake, Profile

# A peer that vanished without a word is noticed after 15 + 3 * 5 = 30 s of silence, one lease.
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


@dataclass(frozen=True, slots=True)
class SessionBounds:
    """How much strangers may take. ``half_open_per_host_max`` wants to be larger where peers share an address."""

    sessions_max: int = limits.SESSIONS_MAX
    half_open_max: int = limits.HALF_OPEN_MAX
    half_open_per_host_max: int = limits.HALF_OPEN_PER_HOST_MAX
    message_1_wait_s: float = limits.MESSAGE_1_WAIT_S
    handshake_wait_s: float = limits.HANDSHAKE_WAIT_S
    pending_bytes_max: int = limits.SESSIONS_PENDING_BYTES_MAX
    puzzle_bits: int = 0  # leading zero bits a peer's identity must show


def _ignore(session: Session) -> None:
    """For callers that do not care when a session is writable again."""


def _is_marked(session: Session) -> bool:
    """For callers that say so on the session itself."""
    return session.keep


class SessionServer:
    """Listens for sessions and dials them; every session, whoever opened it, is announced and ends the same way.

    ``on_open(session)`` comes first, then ``on_message(session, messages)`` any number of times, and
    ``on_close(session, reason)`` once, in a later turn of the loop than what caused it. ``on_writable(session)``
    follows a time in which ``session.writable`` was false. ``on_message`` may raise :class:`PeerError`: the session
    ends, reason "bad message".

    ``keeps(session)`` says which sessions make no room for new ones; by default those marked ``keep``.

    Two nodes that dial each other at once get two sessions: which one stays is for the caller to decide.
    """

    def __init__(
        self,
        me: Keypair,
        psk: bytes,
        profile: Profile,
        *,
        on_open: OnSession,
        on_message: OnMessages,
        on_close: OnEnd,
        on_writable: OnSession = _ignore,
        keeps: Callable[[Session], bool] = _is_marked,
        bounds: SessionBounds | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if len(psk) != KEY_BYTES:
            raise UsageError(f"a swarm key has {KEY_BYTES} bytes, not {len(psk)}")
        self._me = me
        self._psk = psk
        self.profile = profile  # what the next handshake says of us
        self.bounds = bounds or SessionBounds()
        self._on_open = on_open
        self._on_message = on_message
        self._on_close = on_close
        self._on_writable = on_writable
        self._keeps = keeps
        self._rng = rng or random.SystemRandom()
        self._acceptors: list[Acceptor] = []
        self._half_open: dict[HalfOpen, str] = {}  # inbound, oldest first, with the host
        self._per_host: Counter[str] = Counter()
        self._dials: dict[HalfOpen, asyncio.Future[Session]] = {}
        self._sessions: dict[Session, None] = {}
        self._connections: set[asyncio.BaseProtocol] = set()  # whatever has a transport
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._pending_bytes = 0
        self._counts: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._stopping = False
        self.scratch = memoryview(bytearray(limits.SESSION_READ_BYTES))

    @property
    def sessions(self) -> Iterable[Session]:
        """The sessions that are open, oldest first."""
        return tuple(self._sessions)

    # --- listening and dialling ------------------------------------------------------------------------------------

    async def listen(self, host: str = "", port: int = 0, *, sock: socket.socket | None = None) -> Address:
        """Accept sessions at ``host:port``, or on ``sock``, a bound stream socket that is ours from now on.

        Returns the address in use; a profile whose port is 0 gets its port. Raises ``OSError`` where the address cannot
        be had.
        """
        acceptor = Acceptor(sock or await bound_socket(host, port), self._inbound)
        self._acceptors.append(acceptor)
        if self.profile.port == 0:
            self.profile = msgspec.structs.replace(self.profile, port=acceptor.address[1])
        return acceptor.address

    async def dial(self, host: str, port: int, expected: NodeId | None = None) -> Session:
        """A new session with the node at ``host:port``; with ``expected``, with no other node.

        Raises :class:`Unreachable` where nobody answers in time and :class:`PeerError` where the handshake fails
        (:class:`UnsupportedVersion` where no version is common). ``on_open`` is called before this returns.
        """
        loop = asyncio.get_running_loop()
        connection = self._new(dialed=True, expected=expected)
        opened: asyncio.Future[Session] = loop.create_future()
        self._dials[connection] = opened
        self._counts["dials"] += 1
        try:
            async with asyncio.timeout(self.bounds.handshake_wait_s):
                await loop.create_connection(lambda: connection, host, port)
                return await opened
        except OSError as error:  # TimeoutError is one of them
            self._dropped["unreachable"] += 1
            raise Unreachable(f"no peer answers at {host}:{port}: {error or 'no answer in time'}") from error
        finally:
            self._dials.pop(connection, None)
            if not opened.cancel() and not opened.cancelled():
                opened.exception()  # seen: asyncio would log it otherwise
            connection.fail(STOPPED, PeerError("the dial was given up"))

    async def close(self) -> None:
        """Stop listening and end every session; returns when the last connection is gone."""
        self._stopping = True
        for acceptor in self._acceptors:
            await acceptor.close()
        for half_open in [*self._half_open, *self._dials]:
            half_open.fail(STOPPED, PeerError("this node is stopping"))
        for session in self.sessions:
            session.close(CLOSED)
        await self._quiet.wait()

    def _inbound(self) -> HalfOpen:
        return self._new(dialed=False)

    def _new(self, *, dialed: bool, expected: NodeId | None = None) -> HalfOpen:
        handshake = Handshake(
            initiator=dialed,
            me=self._me,
            psk=self._psk,
            profile=self.profile,
            ephemeral_secret=ephemeral_secret(),
            expected=expected,
        )
        return HalfOpen(
            self,
            handshake,
            dialed=dialed,
            message_1_wait_s=self.bounds.message_1_wait_s,
            handshake_wait_s=self.bounds.handshake_wait_s,
            loop=asyncio.get_running_loop(),
        )

    # --- what half-open connections tell ---------------------------------------------------------------------------

    def half_open_made(self, connection: HalfOpen) -> None:
        """A connection was made, by us or by somebody."""
        self._connections.add(connection)
        self._quiet.clear()
        _prepare(connection.transport)
        if self._stopping:
            connection.fail(STOPPED, PeerError("this node is stopping"))
            return
        if connection.dialed:
            return
        self._counts["accepted"] += 1
        host = connection.address[0]
        if self._per_host[host] >= self.bounds.half_open_per_host_max:
            self._crowd_out([other for other, its in self._half_open.items() if its == host])
        elif len(self._half_open) >= self.bounds.half_open_max:
            self._crowd_out(list(self._half_open))
        self._half_open[connection] = host
        self._per_host[host] += 1

    def _crowd_out(self, places: list[HalfOpen]) -> None:
        """Drop one of the older half. Honest handshakes are young: they are done before they get into it."""
        victim = places[self._rng.randrange((len(places) + 1) // 2)]
        victim.fail(CROWDED, PeerError("too many connections wait for their handshake"))

    def half_open_failed(self, connection: HalfOpen, reason: str, error: PeerError) -> None:
        """Its handshake failed; it is closing."""
        self._forget(connection)
        self._dropped[reason] += 1
        opened = self._dials.pop(connection, None)
        if opened is not None and not opened.done():
            opened.set_exception(error)

    def half_open_done(self, connection: HalfOpen, agreed: Agreed, rest: bytes) -> None:
        """Its handshake is done: it becomes a session, if there is room for one."""
        opened = self._dials.pop(connection, None)
        self._forget(connection)
        if puzzle_bits(agreed.profile.key, agreed.profile.puzzle) < self.bounds.puzzle_bits:
            self._refuse(connection, BAD_HANDSHAKE, opened, "its identity carries too little work")
            return
        if not self._make_room():
            self._refuse(connection, FULL, opened, "every session of this node is in use")
            return
        session = Session(
            self,
            connection.transport,
            agreed,
            connection.address,
            dialed=connection.dialed,
            loop=asyncio.get_running_loop(),
        )
        connection.transport.set_protocol(session)
        self._connections.discard(connection)
        self._connections.add(session)
        self._sessions[session] = None
        self._counts["opened"] += 1
        self._on_open(session)
        if opened is not None and not opened.done():
            opened.set_result(session)
        if rest:
            session.data_received(rest)

    def _refuse(self, connection: HalfOpen, reason: str, opened: asyncio.Future[Session] | None, text: str) -> None:
        self._dropped[reason] += 1
        connection.transport.abort()
        if opened is not None and not opened.done():
            opened.set_exception(PeerError(text))

    def _make_room(self) -> bool:
        if len(self._sessions) < self.bounds.sessions_max:
            return True
        for session in sorted(self._sessions, key=lambda session: session.active_at):
            if not self._keeps(session):
                session.abort(IDLE)
                return True
        return False

    def _forget(self, connection: HalfOpen) -> None:
        host = self._half_open.pop(connection, None)
        if host is None:
            return
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]

    # --- what sessions tell ----------------------------------------------------------------------------------------

    def session_messages(self, session: Session, messages: list[bytes]) -> None:
        """Messages came."""
        self._on_message(session, messages)

    def session_writable(self, session: Session) -> None:
        """Its peer reads again."""
        self._on_writable(session)

    def session_pending(self, session: Session, change: int) -> None:
        """The incomplete messages it keeps grew or shrank by ``change`` bytes."""
        self._pending_bytes += change
        while change > 0 and self._pending_bytes > self.bounds.pending_bytes_max:
            # Who needs longest for one message makes room: a transfer that moves is done before its turn comes.
            waiting = [other for other in self._sessions if other.pending]
            min(waiting, key=lambda other: other.pending_since).abort(STALLED)

    def session_ended(self, session: Session, reason: str) -> None:
        """It ended. The consumer hears of it in the next turn, never in the middle of something it does."""
        del self._sessions[session]
        self._counts["bytes_out"] += session.bytes_out
        self._counts["closed"] += 1
        if reason != CLOSED and reason != LOST:
            self._dropped[reason] += 1
        asyncio.get_running_loop().call_soon(self._on_close, session, reason)

    def connection_gone(self, connection: asyncio.BaseProtocol) -> None:
        """Its transport is closed."""
        self._connections.discard(connection)
        if not self._connections:
            self._quiet.set()

    def statistics(self) -> dict[str, int]:
        """Counters from the start; ``dropped <reason>`` for every reason that occurred."""
        counts = {name: self._counts[name] for name in ("accepted", "dials", "opened", "closed")}
        counts["exhausted"] = sum(acceptor.exhausted for acceptor in self._acceptors)
        counts["sessions"] = len(self._sessions)
        counts["bytes_out"] = self._counts["bytes_out"] + sum(session.bytes_out for session in self._sessions)
        counts["half_open"] = len(self._half_open)
        counts["pending_bytes"] = self._pending_bytes
        counts.update((f"dropped {reason}", count) for reason, count in sorted(self._dropped.items()))
        return counts


def _prepare(transport: asyncio.BaseTransport) -> None:
    """Small messages leave at once, and a dead peer is noticed."""
    connection = transport.get_extra_info("socket")
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            option = getattr(socket, name, None)
            if option is not None:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:  # the other end is gone already: connection_lost follows
        pass
