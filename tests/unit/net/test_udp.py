"""The UDP endpoint on loopback: batches, bounds, counted drops, and both protocols on one port."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable

import pytest

from p2pcpn import limits
from p2pcpn.errors import UsageError
from p2pcpn.net import udp as module
from p2pcpn.net.udp import UdpEndpoint, bind_pair
from p2pcpn.wire.addresses import Address

Heard = list[tuple[bytes, Address]]


def bound(host: str = "127.0.0.1") -> socket.socket:
    udp, tcp = bind_pair(host, 0)
    tcp.close()
    return udp


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0)


def ignore(batch: Heard) -> None:
    """Nobody listens."""


def test_udp_and_tcp_share_a_port_and_tcp_listens() -> None:
    udp, tcp = bind_pair("127.0.0.1", 0)
    with udp, tcp:
        assert udp.getsockname() == tcp.getsockname()
        with socket.create_connection(tcp.getsockname(), timeout=5):
            pass


def test_a_port_that_only_udp_may_have_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real, refused = module._bound, []

    def bind(family: int, kind: int, address: tuple[object, ...]) -> socket.socket:
        if kind == socket.SOCK_STREAM and len(refused) < 3:
            refused.append(address)
            raise OSError("taken")
        return real(family, kind, address)

    monkeypatch.setattr(module, "_bound", bind)
    udp, tcp = bind_pair("127.0.0.1", 0)
    with udp, tcp:
        assert len(refused) == 3 and udp.getsockname() == tcp.getsockname()


def test_a_port_that_is_taken_is_the_callers_mistake() -> None:
    udp, tcp = bind_pair("127.0.0.1", 0)
    with udp, tcp, pytest.raises(UsageError, match=r"cannot listen on 127\.0\.0\.1.*name another port"):
        bind_pair("127.0.0.1", udp.getsockname()[1])
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UsageError):
            bind_pair("127.0.0.1", other.getsockname()[1])


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 1 << 20), ("no such host", 0)])
def test_a_host_that_is_not_ours_is_the_callers_mistake(host: str, port: int) -> None:
    with pytest.raises(UsageError, match=r"cannot listen.*(name an address of this machine|ports end at 65535)"):
        bind_pair(host, port)


@pytest.mark.asyncio
async def test_what_one_endpoint_sends_another_hears_with_its_address() -> None:
    heard: Heard = []
    a, b = await UdpEndpoint.open(bound(), ignore), await UdpEndpoint.open(bound(), heard.extend)
    for number in range(300):
        a.send(b"%d" % number, b.address)
    await until(lambda: len(heard) == 300)
    assert heard == [(b"%d" % number, a.address) for number in range(300)]
    assert a.statistics()["sent"] == b.statistics()["received"] == 300
    a.close()
    b.close()


@pytest.mark.asyncio
async def test_batches_are_bounded_and_take_what_is_ready() -> None:
    sizes: list[int] = []
    a, b = (
        await UdpEndpoint.open(bound(), ignore),
        await UdpEndpoint.open(bound(), lambda batch: sizes.append(len(batch))),
    )
    for _ in range(200):
        a.send(b"x", b.address)
    await until(lambda: sum(sizes) == 200)
    assert max(sizes) == limits.INBOX_BATCH_MAX
    a.close()
    b.close()


@pytest.mark.asyncio
async def test_an_inbox_that_is_full_drops_and_counts() -> None:
    heard: Heard = []
    endpoint = await UdpEndpoint.open(bound(), heard.extend)
    for number in range(limits.INBOX_DATAGRAMS_MAX + 10):
        endpoint.take_in(b"%d" % number, ("192.0.2.1", 1))
    assert endpoint.statistics()["dropped_inbox"] == 10
    assert endpoint.statistics()["waiting"] == limits.INBOX_DATAGRAMS_MAX
    await until(lambda: len(heard) == limits.INBOX_DATAGRAMS_MAX)
    endpoint.close()


@pytest.mark.asyncio
async def test_a_datagram_above_the_limit_is_dropped_and_counted() -> None:
    heard: Heard = []
    a, b = await UdpEndpoint.open(bound(), ignore), await UdpEndpoint.open(bound(), heard.extend)
    a.send(bytes(limits.DATAGRAM_BYTES_MAX), b.address)
    a.send(bytes(limits.DATAGRAM_BYTES_MAX + 1), b.address)
    a.send(bytes(9000), b.address)
    a.send(b"end", b.address)
    await until(lambda: heard[-1:] == [(b"end", a.address)])
    assert [len(data) for data, _ in heard] == [limits.DATAGRAM_BYTES_MAX, 3]
    assert b.statistics()["dropped_large"] == 2
    a.close()
    b.close()


@pytest.mark.asyncio
async def test_what_cannot_be_sent_is_counted_and_never_raised() -> None:
    endpoint = await UdpEndpoint.open(bound(), ignore)
    endpoint.send(b"x", ("::1", 5))
    endpoint.send(b"x", ("127.0.0.1", 0))
    endpoint.send(b"x", ("127.0.0.1", 1 << 16))
    endpoint.send(bytes(70_000), ("127.0.0.1", 5))
    assert endpoint.statistics()["dropped_unreachable"] == 4
    endpoint.close()
    endpoint.close()
    endpoint.send(b"x", ("127.0.0.1", 5))
    assert endpoint.statistics()["dropped_closed"] == 1
    assert endpoint.statistics()["dropped_kernel"] == 0


class Stubborn:
    """A socket whose calls fail with one error."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def sendto(self, *_: object) -> None:
        raise self.error

    def recvfrom(self, *_: object) -> None:
        raise self.error


@pytest.mark.asyncio
async def test_errors_of_the_socket_are_counted_and_never_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: Heard = []
    endpoint = await UdpEndpoint.open(bound(), heard.extend)
    with monkeypatch.context() as patch:
        patch.setattr(endpoint, "_sock", Stubborn(BlockingIOError()))
        endpoint.send(b"x", ("127.0.0.1", 5))
        patch.setattr(endpoint, "_sock", Stubborn(ConnectionRefusedError()))
        endpoint.send(b"x", ("127.0.0.1", 5))
        endpoint.take_in(b"y", ("127.0.0.1", 6))
    protocol = endpoint._stream._transport.get_protocol()  # type: ignore[union-attr]
    protocol.error_received(ConnectionRefusedError())
    await until(lambda: heard == [(b"y", ("127.0.0.1", 6))])
    found = endpoint.statistics()
    assert (found["dropped_full"], found["dropped_unreachable"], found["errors"]) == (1, 1, 2)
    endpoint.close()


@pytest.mark.asyncio
async def test_nothing_is_handed_on_after_close() -> None:
    heard: Heard = []
    endpoint = await UdpEndpoint.open(bound(), heard.extend)
    endpoint.take_in(b"x", ("192.0.2.1", 1))
    endpoint.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert heard == []


@pytest.mark.asyncio
async def test_loss_drops_its_share_by_the_given_dice() -> None:
    lost = []
    for _ in range(2):
        endpoint = await UdpEndpoint.open(bound(), ignore, loss=0.1, rng=random.Random(3))
        for _ in range(1000):
            endpoint.send(b"x", endpoint.address)
        lost.append(endpoint.statistics()["dropped_loss"])
        endpoint.close()
    assert lost[0] == lost[1] and 70 <= lost[0] <= 130
    with pytest.raises(UsageError, match="random"):
        UdpEndpoint(bound_and_closed(), ignore, 0.1)


def bound_and_closed() -> socket.socket:
    sock = bound()
    sock.close()
    return sock


@pytest.mark.asyncio
async def test_a_socket_for_both_families_shows_ipv4_as_ipv4() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        sock = bound("::")
    except UsageError:
        pytest.skip("no IPv6 here")
    heard: Heard = []
    old, dual = await UdpEndpoint.open(bound(), heard.extend), await UdpEndpoint.open(sock, heard.extend)
    port = dual.address[1]
    old.send(b"4", ("127.0.0.1", port))
    await until(lambda: len(heard) == 1)
    dual.send(b"back", heard[0][1])
    await until(lambda: len(heard) == 2)
    dual.send(b"6", ("::1", port))
    await until(lambda: len(heard) == 3)
    assert heard == [(b"4", old.address), (b"back", ("127.0.0.1", port)), (b"6", ("::1", port))]
    old.close()
    dual.close()
