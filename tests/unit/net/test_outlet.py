"""The outlet: what is small goes at once where nothing stands before it; all bytes arrive in order either way."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from typing import Any, cast

import pytest

from p2pcpn.net.outlet import Outlet


class Transport:
    """A transport over one end of a pair of sockets that keeps what it is given."""

    def __init__(self, end: socket.socket | None) -> None:
        self.end = end
        self.given: list[bytes] = []
        self.waiting_bytes = 0
        self.broken = False

    def get_extra_info(self, name: str) -> socket.socket | None:
        assert name == "socket"
        return self.end

    def get_write_buffer_size(self) -> int:
        return self.waiting_bytes

    def writelines(self, chunks: Iterable[bytes]) -> None:
        if self.broken:
            raise RuntimeError("the connection broke")
        self.given.append(b"".join(chunks))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    here.setblocking(False)
    with here, there:
        yield here, there


def outlet(transport: Transport) -> Outlet:
    return Outlet(cast(Any, transport))


def test_a_small_write_is_with_the_system_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    transport = Transport(pair[0])
    outlet(transport).write([b"a lease", b" or two"], 14)
    assert pair[1].recv(100) == b"a lease or two" and not transport.given


def test_nothing_overtakes_what_waits_in_the_transport(pair: tuple[socket.socket, socket.socket]) -> None:
    transport = Transport(pair[0])
    transport.waiting_bytes = 1
    outlet(transport).write([b"behind"], 6)
    assert transport.given == [b"behind"]


def test_what_is_large_or_has_no_socket_is_the_transports(pair: tuple[socket.socket, socket.socket]) -> None:
    transport, other = Transport(pair[0]), Transport(None)
    outlet(transport).write([b"x" * 100_000], 100_000)
    outlet(other).write([b"small"], 5)
    assert transport.given == [b"x" * 100_000] and other.given == [b"small"]


def test_what_the_system_did_not_take_goes_on_through_the_transport(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    transport, taken = Transport(here), 0
    while not transport.given:
        outlet(transport).write([bytes(10_000)], 10_000)
        taken += 10_000
    there.setblocking(False)
    came = 0
    with pytest.raises(BlockingIOError):
        while True:
            came += len(there.recv(1 << 20))
    assert came + len(transport.given[0]) == taken


def test_a_connection_that_broke_is_for_the_transport_to_tell(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    there.close()
    transport = Transport(here)
    outlet(transport).write([b"to nobody"], 9)
    assert transport.given == [b"to nobody"]
    transport.broken = True
    outlet(transport).write([b"to nobody"], 9)
