"""The acceptor: connections taken one by one, none leaked."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any, cast

import pytest

from p2pcpn.net import acceptor as module
from p2pcpn.net.acceptor import Acceptor, bound_socket

HOST = "127.0.0.1"


class Guest(asyncio.Protocol):
    """Keeps its transport until the test ends."""

    arrivals: asyncio.Queue[asyncio.BaseTransport]

    def __init__(self, arrivals: asyncio.Queue[asyncio.BaseTransport]) -> None:
        self.arrivals = arrivals

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.arrivals.put_nowait(transport)


@pytest.mark.asyncio
async def test_each_connection_reaches_a_protocol_of_its_own() -> None:
    arrivals: asyncio.Queue[asyncio.BaseTransport] = asyncio.Queue()
    acceptor = Acceptor(await bound_socket(HOST, 0), lambda: Guest(arrivals))
    dialers = [socket.create_connection(acceptor.address) for _ in range(40)]
    transports = [await asyncio.wait_for(arrivals.get(), 10) for _ in dialers]
    assert len({id(transport) for transport in transports}) == acceptor.accepted == 40
    await acceptor.close()
    for thing in [*transports, *dialers]:
        thing.close()


@pytest.mark.asyncio
async def test_a_connection_that_arrives_while_it_closes_still_reaches_its_protocol() -> None:
    arrivals: asyncio.Queue[asyncio.BaseTransport] = asyncio.Queue()
    acceptor = Acceptor(await bound_socket(HOST, 0), lambda: Guest(arrivals))
    with socket.create_connection(acceptor.address):
        acceptor._accept()
        await acceptor.close()
        arrivals.get_nowait().close()
    with pytest.raises(OSError):
        socket.create_connection(acceptor.address)


@pytest.mark.asyncio
async def test_without_file_descriptors_it_pauses_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    arrivals: asyncio.Queue[asyncio.BaseTransport] = asyncio.Queue()
    sock = Exhausted(await bound_socket(HOST, 0))
    acceptor = Acceptor(cast(Any, sock), lambda: Guest(arrivals))
    with socket.create_connection(acceptor.address):
        transport = await asyncio.wait_for(arrivals.get(), 10)
        assert acceptor.exhausted == 2 and acceptor.accepted == 1
        transport.close()
        await acceptor.close()


@pytest.mark.asyncio
async def test_it_can_close_while_it_pauses() -> None:
    sock = Exhausted(await bound_socket(HOST, 0))
    acceptor = Acceptor(cast(Any, sock), lambda: Guest(asyncio.Queue()))
    acceptor._accept()
    await acceptor.close()
    assert acceptor.exhausted == 1 and sock.fileno() == -1


@pytest.mark.asyncio
async def test_an_address_in_use_cannot_be_had() -> None:
    with await bound_socket(HOST, 0) as sock:
        sock.listen()
        with pytest.raises(OSError):
            await bound_socket(HOST, sock.getsockname()[1])


class Exhausted:
    """A listening socket whose first two accepts find no file descriptor."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._failures = 2

    def accept(self) -> Any:
        if self._failures:
            self._failures -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return self._sock.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
