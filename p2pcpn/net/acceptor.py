"""Accepts TCP connections on one listening socket and gives each a protocol.

Not ``loop.create_server``: on Python 3.11 that leaks a connection which arrives while the server closes, and out of
file descriptors it writes a traceback for every attempt. Here the first cannot be, the second is a counter and a pause.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from p2pcpn.wire.addresses import Address

_BACKLOG: Final = 128
# Connections taken in one turn of the loop: each costs some 50 us, and everybody else waits meanwhile.
_PER_TURN: Final = 16
# Out of file descriptors or memory: others must give some back first.
_PAUSE_S: Final = 0.5


async def bound_socket(host: str, port: int) -> socket.socket:
    """A stream socket bound to ``host:port`` (port 0: the system chooses). Raises ``OSError``."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


class Acceptor:
    """Owns ``sock``, a bound stream socket, from the start to :meth:`close`."""

    def __init__(self, sock: socket.socket, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self._sock = sock
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[object]] = set()
        self._paused: asyncio.TimerHandle | None = None
        self.accepted = 0
        self.exhausted = 0  # times the system had no descriptor or no memory for a connection
        name = sock.getsockname()
        self.address: Address = (name[0], name[1])
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        self._loop.add_reader(sock, self._accept)

    def _accept(self) -> None:
        for _ in range(_PER_TURN):
            try:
                connection, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self.exhausted += 1
                self._loop.remove_reader(self._sock)
                self._paused = self._loop.call_later(_PAUSE_S, self._resume)
                return
            self.accepted += 1
            connection.setblocking(False)
            task: asyncio.Task[object] = self._loop.create_task(self._arrive(connection))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _arrive(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection)
        except OSError:  # gone already
            connection.close()

    def _resume(self) -> None:
        self._paused = None
        self._loop.add_reader(self._sock, self._accept)

    async def close(self) -> None:
        """Accept nothing more; returns when every connection accepted has reached its protocol."""
        if self._sock.fileno() == -1:
            return
        if self._paused is not None:
            self._paused.cancel()
        else:
            self._loop.remove_reader(self._sock)
        self._sock.close()
        if self._arriving:
            await asyncio.wait(self._arriving)
