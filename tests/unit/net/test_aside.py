"""Aside: a datagram from a port that nobody knows, and whether a connection comes about."""

from __future__ import annotations

import socket

import pytest

from p2pcpn.net import aside


def test_a_datagram_comes_from_another_port_each_time() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(10)
        assert aside.send(b"one", heard.getsockname())
        data, source = heard.recvfrom(10)
        assert data == b"one"
        assert source[1] != heard.getsockname()[1]


def test_what_the_system_refuses_to_send_is_not_sent() -> None:
    assert not aside.send(bytes(1 << 17), ("127.0.0.1", 9))


@pytest.mark.asyncio
async def test_who_listens_takes_connections_and_who_does_not_refuses_them() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
        assert not await aside.takes_connections(address, 10)
        sock.listen()
        assert await aside.takes_connections(address, 10)


@pytest.mark.asyncio
async def test_silence_is_not_waited_for_longer_than_was_said() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        assert not await aside.takes_connections(sock.getsockname(), 0.0)
