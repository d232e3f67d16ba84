"""A connection whose handshake is under way: it becomes a session soon, or it is dropped.

Until the handshake is done the other end is nobody: it gets 2 s for its first message, 5 s for all, and one short
message of buffer. Every way to fail has a counter and no log line.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final, Protocol, cast

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.wire.addresses import Address
from p2pcpn.wire.handshake import Agreed, Handshake, UnsupportedVersion

# Why a handshake ended without a session; also the keys of the counters.
BAD_HANDSHAKE: Final = "bad handshake"
BAD_LENGTH: Final = "bad length"
SLOW: Final = "slow handshake"
HUNG_UP: Final = "hung up"
CROWDED: Final = "crowded out"
UNSUPPORTED: Final = "unsupported version"
STOPPED: Final = "stopped"

_LENGTH_BYTES: Final = 2
# The shortest message: message 1 with an ephemeral key, and the tag of its payload.
_MESSAGE_BYTES_MIN: Final = 48


class HalfOpenOwner(Protocol):
    """What a half-open connection tells."""

    def half_open_made(self, connection: HalfOpen) -> None: ...
    def half_open_done(self, connection: HalfOpen, agreed: Agreed, rest: bytes) -> None: ...
    def half_open_failed(self, connection: HalfOpen, reason: str, error: PeerError) -> None: ...
    def connection_gone(self, connection: asyncio.BaseProtocol) -> None: ...


def peer_address(transport: asyncio.BaseTransport) -> Address:
    """The other end's numeric host and port."""
    name = transport.get_extra_info("peername")
    return (str(name[0]), int(name[1])) if name else ("", 0)


class HalfOpen(asyncio.BufferedProtocol):
    """Drives one :class:`Handshake` over one transport, then hands both to its owner."""

    transport: asyncio.Transport  # from connection_made on

    def __init__(
        self,
        owner: HalfOpenOwner,
        handshake: Handshake,
        *,
        dialed: bool,
        message_1_wait_s: float,
        handshake_wait_s: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._owner = owner
        self._handshake = handshake
        self._loop = loop
        self._message_1_wait_s = message_1_wait_s
        self._handshake_wait_s = handshake_wait_s
        self._timer: asyncio.TimerHandle | None = None
        self._scratch = bytearray(limits.HANDSHAKE_BYTES_MAX)
        self._buffer = b""
        self._over = False
        self._made = False
        self.dialed = dialed
        self.address: Address = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._made = True
        self.address = peer_address(transport)
        self._owner.half_open_made(self)
        if self._over:
            self.transport.abort()
            return
        if self.dialed:
            self._timer = self._loop.call_later(self._handshake_wait_s, self._late)
            self._write()
        else:
            self._timer = self._loop.call_later(self._message_1_wait_s, self._late)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._scratch[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Bytes of the other side: the next messages of the handshake, and what follows the last."""
        self._buffer += data
        while not self._over:
            if len(self._buffer) < _LENGTH_BYTES:
                return
            length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if not _MESSAGE_BYTES_MIN <= length <= limits.HANDSHAKE_BYTES_MAX:
                self.fail(BAD_LENGTH, PeerError(f"a handshake message of {length} bytes was announced"))
                return
            end = _LENGTH_BYTES + length
            if len(self._buffer) < end:
                return
            message, self._buffer = self._buffer[_LENGTH_BYTES:end], self._buffer[end:]
            self._read(message)

    def _read(self, message: bytes) -> None:
        try:
            self._handshake.read(message)
        except UnsupportedVersion as error:
            self.fail(UNSUPPORTED, error)
            return
        except PeerError as error:
            self.fail(BAD_HANDSHAKE, error)
            return
        if self._handshake.writes_next:
            self._write()
        if self._handshake.refusal is not None:
            self.fail(UNSUPPORTED, self._handshake.refusal)
        elif self._handshake.finished:
            self._finish()
        elif self._timer is not None:  # message 1 came in time; the rest of the five seconds is for message 3
            self._timer.cancel()
            self._timer = self._loop.call_later(self._handshake_wait_s - self._message_1_wait_s, self._late)

    def _write(self) -> None:
        message = self._handshake.write()
        self.transport.write(len(message).to_bytes(_LENGTH_BYTES, "big") + message)

    def _finish(self) -> None:
        self._stop()
        rest, self._buffer = self._buffer, b""
        self._owner.half_open_done(self, self._handshake.finish(), rest)

    def _late(self) -> None:
        self.fail(SLOW, PeerError(f"the handshake took longer than {self._handshake_wait_s:g} s"))

    def fail(self, reason: str, error: PeerError) -> None:
        """Drop the connection; nothing happens when the handshake is over already."""
        if self._over:
            return
        self._stop()
        if not self._made:
            return
        if reason == UNSUPPORTED:
            self.transport.close()  # the message that says so is on its way
        else:
            self.transport.abort()
        self._owner.half_open_failed(self, reason, error)

    def _stop(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(HUNG_UP, PeerError("hung up during the handshake: another swarm key, or too many connections"))
        self._owner.connection_gone(self)


def ephemeral_secret() -> bytes:
    """32 fresh bytes for one handshake."""
    return os.urandom(32)
