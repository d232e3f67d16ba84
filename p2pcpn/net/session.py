"""A session: messages to and from one authenticated peer over one TCP connection.

Nothing here waits. ``send`` queues, and what one turn of the loop queued leaves in shared frames; ``writable`` says
whether more is welcome. A consumer that cannot keep up says so with ``hold`` and ``release``, and reading pauses at a
bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.net.outlet import Outlet
from p2pcpn.wire.addresses import Address
from p2pcpn.wire.codec import Buffer
from p2pcpn.wire.frames import FrameReader, FrameWriter
from p2pcpn.wire.handshake import Agreed

# Why a session ended; also the keys of the counters.
CLOSED: Final = "closed"  # by our caller
LOST: Final = "lost"  # by the other side, or by the network
BAD_FRAME: Final = "bad frame"
BAD_MESSAGE: Final = "bad message"  # the consumer raised PeerError
UNREAD: Final = "unread"  # the peer does not read what it asked for
STALLED: Final = "stalled"  # it left a message incomplete while memory for those ran out
IDLE: Final = "idle"  # dropped for a newer session
FULL: Final = "full"  # every older session is kept


@dataclass(frozen=True, slots=True)
class Remote:
    """Who is at the other end. ``address`` is where its connection is, ``listen`` where it can be dialled, or none."""

    id: NodeId
    key: bytes
    version: int
    boot: int
    puzzle: int
    roles: int
    address: Address
    listen: Address | None


def remote_of(agreed: Agreed, address: Address) -> Remote:
    """The other end, from what the handshake proved and where the connection comes from."""
    profile = agreed.profile
    listen = (address[0], profile.port) if profile.port else None
    return Remote(agreed.id, profile.key, agreed.version, profile.boot, profile.puzzle, profile.roles, address, listen)


class SessionOwner(Protocol):
    """What a session tells: its messages, its end, and the bytes of incomplete messages it keeps.

    ``scratch`` is where its sessions read to: what is there is dealt with before the next of them reads.
    """

    @property
    def scratch(self) -> memoryview: ...

    def session_messages(self, session: Session, messages: list[bytes]) -> None: ...
    def session_writable(self, session: Session) -> None: ...
    def session_pending(self, session: Session, change: int) -> None: ...
    def session_ended(self, session: Session, reason: str) -> None: ...
    def connection_gone(self, connection: asyncio.BaseProtocol) -> None: ...


class Session(asyncio.BufferedProtocol):
    """An established session; the protocol of its transport from the moment the handshake is done.

    ``keep`` exempts it from being dropped for newer sessions: set it while work depends on it. ``dialed`` tells whether
    this end opened it; ``transcript`` is the same 32 bytes at both ends and names this session.
    """

    def __init__(
        self,
        owner: SessionOwner,
        transport: asyncio.Transport,
        agreed: Agreed,
        address: Address,
        *,
        dialed: bool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._owner = owner
        self._transport = transport
        self._outlet = Outlet(transport)
        self._loop = loop
        self._reader = FrameReader(agreed.receive_key)
        self._writer = FrameWriter(agreed.send_key)
        self._queue: list[bytes] = []
        self._queue_bytes = 0
        self._flush_due = False
        self._hastened = False  # something left in this turn already
        self._patience: asyncio.TimerHandle | None = None
        self._high = False  # the transport asked to pause writing
        self._held_bytes = 0
        self._paused = False  # reading
        self._linger: asyncio.TimerHandle | None = None
        self.pending = 0  # bytes of messages that are not complete yet
        self.pending_since = 0.0  # how long the oldest of them waits
        self.remote = remote_of(agreed, address)
        self.transcript = agreed.transcript
        self.dialed = dialed
        self.keep = False
        self.ended = False
        self.active_at = loop.time()
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages_unsent = 0
        transport.set_write_buffer_limits(high=limits.SESSION_UNSENT_BYTES_HIGH)

    def __repr__(self) -> str:
        return f"Session({self.remote.id.hex()[:8]} at {self.remote.address[0]}:{self.remote.address[1]})"

    # --- sending ---------------------------------------------------------------------------------------------------

    def send(self, message: bytes, *, urgent: bool = True) -> None:
        """Send ``message``, at most ``MESSAGE_BYTES_MAX`` bytes, after those before it. Never blocks, never raises.

        What is not ``urgent`` leaves with the next that is, or after ``PATIENCE_S``: messages share a system call, a
        seal and the waking of their reader, which together cost as much as twenty of them.
        After the end of the session messages are dropped and counted. A peer that leaves more than
        ``SESSION_UNSENT_BYTES_MAX`` unread loses the session: look at ``writable`` before sending in bulk.
        """
        if self.ended:
            self.messages_unsent += 1
            return
        self._queue.append(message)
        self._queue_bytes += len(message)
        if self._queue_bytes >= limits.FRAME_BATCH_BYTES:
            self._flush()
        elif urgent:
            if not self._flush_due:
                self._flush_due = True
                self._loop.call_soon(self._flush_turn)
        elif self._patience is None:
            self._patience = self._loop.call_later(limits.PATIENCE_S, self._flush_patient)

    def hasten(self) -> None:
        """What is urgent and was said until now leaves now, not at the end of the turn; once in each turn.

        Whoever calls it knows that it has said all that belongs together.
        """
        if self._flush_due and not self._hastened:
            self._hastened = True
            self._flush()

    @property
    def buffered(self) -> int:
        """Bytes given to ``send`` that the operating system has not taken yet."""
        return self._queue_bytes + self._transport.get_write_buffer_size()

    @property
    def writable(self) -> bool:
        """Whether more is welcome; when it becomes so again, ``on_writable`` is called."""
        return not self._high and not self.ended

    def _flush_patient(self) -> None:
        self._patience = None
        self._flush()

    def _flush_turn(self) -> None:
        self._flush_due = self._hastened = False
        self._flush()

    def _flush(self) -> None:
        if not self._queue or self._transport.is_closing():
            return
        chunks = self._writer.write(self._queue)
        self._queue = []
        self._queue_bytes = 0
        size_bytes = sum(map(len, chunks))
        self.bytes_out += size_bytes
        self._outlet.write(chunks, size_bytes)
        if self._high and self._transport.get_write_buffer_size() > limits.SESSION_UNSENT_BYTES_MAX:
            self.abort(UNREAD)

    def pause_writing(self) -> None:
        self._high = True

    def resume_writing(self) -> None:
        self._high = False
        if not self.ended:
            self._owner.session_writable(self)

    # --- receiving -------------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._owner.scratch

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(self._owner.scratch[:nbytes])

    def data_received(self, data: Buffer) -> None:
        """Bytes of the other side; the memory they are in may be overwritten afterwards."""
        if self.ended:
            return
        self.bytes_in += len(data)
        self.active_at = self._loop.time()
        try:
            messages = self._reader.feed(data)
        except PeerError:
            self.abort(BAD_FRAME)
            return
        if messages:
            try:
                self._owner.session_messages(self, messages)
            except PeerError:
                self.abort(BAD_MESSAGE)
        if not self.ended:  # the consumer may have ended it
            self._account(self._reader.pending, renewed=bool(messages))

    def _account(self, pending: int, *, renewed: bool) -> None:
        change, self.pending = pending - self.pending, pending
        if renewed or pending == change:
            self.pending_since = self.active_at
        if change:
            self._owner.session_pending(self, change)

    def hold(self, count: int) -> None:
        """The consumer keeps ``count`` delivered bytes for later; above the bound reading pauses."""
        self._held_bytes += count
        if self._held_bytes > limits.SESSION_HELD_BYTES_MAX and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def release(self, count: int) -> None:
        """The consumer is done with ``count`` bytes it held."""
        self._held_bytes -= count
        assert self._held_bytes >= 0
        if self._paused and self._held_bytes <= limits.SESSION_HELD_BYTES_MAX // 2:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # --- ending ----------------------------------------------------------------------------------------------------

    def close(self, reason: str = CLOSED) -> None:
        """End the session after sending what is queued; what the peer does not take within 2 s is dropped.

        Nothing is delivered any more. ``on_close`` is called once, in a later turn of the loop.
        """
        if self.ended:
            return
        self._flush()
        if not self.ended:  # the flush may have found the peer not reading
            self._end(reason)
            self._transport.close()
            self._linger = self._loop.call_later(limits.SESSION_LINGER_S, self._transport.abort)

    def abort(self, reason: str) -> None:
        """End the session at once; what was not sent is dropped."""
        self._end(reason)
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self._end(LOST)
        self._owner.connection_gone(self)

    def _end(self, reason: str) -> None:
        if self.ended:
            return
        self.ended = True
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self.messages_unsent += len(self._queue)
        self._queue = []
        self._queue_bytes = 0
        self._owner.session_pending(self, -self.pending)
        self.pending = 0
        self._reader.forget()
        self._owner.session_ended(self, reason)

    def statistics(self) -> dict[str, int]:
        """Counters of this session, from its start."""
        return {
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "messages_in": self._reader.messages,
            "messages_out": self._writer.messages,
            "messages_unsent": self.messages_unsent,
            "frames_in": self._reader.frames,
            "frames_out": self._writer.frames,
            "buffered": self.buffered,
            "held": self._held_bytes,
            "pending": self.pending,
        }


OnMessages = Callable[[Session, list[bytes]], None]
OnSession = Callable[[Session], None]
OnEnd = Callable[[Session, str], None]
