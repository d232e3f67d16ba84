"""The UDP socket: datagrams in batches from a bounded inbox, sends that never wait and never raise, counted drops.

Built on asyncio-dgram with two changes (both seen in the laboratory): its receive queue has no end, so our inbox
stands in its place and drops what is too much; and asyncio reads one datagram per turn of its loop (5,900 a second in
a flood), so with each one that it delivers we take everything else that lies in the socket (69,000).
"""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, cast

from asyncio_dgram.aio import DatagramServer, Protocol

from p2pcpn import limits
from p2pcpn.errors import UsageError
from p2pcpn.wire.addresses import Address

# Read per turn of the loop at most: twice what is handed on, so that the inbox fills and counts before the kernel
# drops.
_READS_PER_TURN = 2 * limits.INBOX_BATCH_MAX
_TRIES_FOR_A_PORT = 64
_LISTEN_BACKLOG = 256
_OURS = "an address of this machine"
_INSTEAD = {errno.EADDRINUSE: "another port, or 0 for one that is free", errno.EACCES: "a port from 1024 on"}
# Linux: nine u32 of a socket's memory, the last the datagrams it dropped (sock_diag.h, SK_MEMINFO_DROPS).
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")

OnDatagrams = Callable[[list[tuple[bytes, Address]]], None]


def bind_pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP socket and a listening TCP socket on the same port of ``host``; port 0: one that is free for both.

    ``"::"`` takes IPv4 too. Raises :class:`UsageError` where the port is taken or the host is not ours.
    """
    if not 0 <= port < 1 << 16:  # the system would take it modulo 65,536
        raise UsageError(f"cannot listen on {host}:{port}: ports end at 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )[0]
        for tries_left in range(_TRIES_FOR_A_PORT if port == 0 else 1, 0, -1):
            udp = _bound(family, socket.SOCK_DGRAM, address)
            try:
                taken = (address[0], udp.getsockname()[1], *address[2:])
                return udp, _bound(family, socket.SOCK_STREAM, taken)
            except OSError:
                udp.close()
                if tries_left == 1:
                    raise
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; name {_INSTEAD.get(error.errno or 0, _OURS)}"
        ) from error
    raise AssertionError("the last try returns or raises")


def _bound(family: int, kind: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if kind == socket.SOCK_STREAM:
            # A peer that restarts takes its port back from connections that still wait to die.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(_LISTEN_BACKLOG)  # until then another process with SO_REUSEADDR could bind it too
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.SOCKET_BUFFER_BYTES)
            sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


class _Inbox(asyncio.Queue[Any]):
    """Stands where asyncio-dgram has an endless queue of datagrams; nothing is ever in it."""

    def __init__(self, endpoint: UdpEndpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def put_nowait(self, item: tuple[bytes | None, Any]) -> None:
        data, address = item
        if data is not None:  # asyncio-dgram's word for "closed"
            self._endpoint.take_in(data, address)


class _Errors(asyncio.Queue[Exception]):
    """Stands where asyncio-dgram keeps errors (ICMP's, mostly) for whoever sends next: they are only counted."""

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self._counts = counts

    def put_nowait(self, item: Exception) -> None:
        self._counts["errors"] += 1


class UdpEndpoint:
    """One UDP socket. ``on_datagrams`` gets lists of (data, (numeric host, port)) within the event loop.

    ``loss`` is the share of sent datagrams that are lost on purpose, chosen by ``rng``: a fault for tests.
    """

    def __init__(
        self, sock: socket.socket, on_datagrams: OnDatagrams, loss: float = 0.0, rng: random.Random | None = None
    ) -> None:
        if loss and rng is None:
            raise UsageError("loss needs a random.Random to choose by")
        self._sock = sock
        self._on_datagrams = on_datagrams
        self._loss = loss
        self._rng = rng or random.Random(0)
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[tuple[bytes, Address]] = deque()
        self._handing_on = False
        self._dual = sock.family == socket.AF_INET6
        self._stream: DatagramServer | None = None
        self._counts: Counter[str] = Counter()

    @classmethod
    async def open(
        cls, sock: socket.socket, on_datagrams: OnDatagrams, *, loss: float = 0.0, rng: random.Random | None = None
    ) -> UdpEndpoint:
        """Receive on ``sock``, a bound UDP socket, which belongs to the endpoint from now on."""
        endpoint = cls(sock, on_datagrams, loss, rng)
        inbox, errors, drained = _Inbox(endpoint), _Errors(endpoint._counts), asyncio.Event()
        transport, _ = await endpoint._loop.create_datagram_endpoint(
            lambda: Protocol(inbox, errors, drained), sock=sock
        )
        endpoint._stream = DatagramServer(cast(Any, transport), inbox, errors, drained)
        return endpoint

    @property
    def address(self) -> Address:
        """Where the socket is bound."""
        host, port = self._sock.getsockname()[:2]
        return (host, port)

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram now or never: a full buffer, an unreachable address, a closed endpoint are counted."""
        if self._stream is None:
            self._counts["dropped_closed"] += 1
            return
        if self._loss and self._rng.random() < self._loss:
            self._counts["dropped_loss"] += 1
            return
        host, port = address
        if ":" not in host:
            host = f"::ffff:{host}" if self._dual else host
        elif not self._dual:
            self._counts["dropped_unreachable"] += 1
            return
        try:
            self._sock.sendto(data, (host, port))
            self._counts["sent"] += 1
            self._counts["sent_bytes"] += len(data)
        except (BlockingIOError, InterruptedError):
            self._counts["dropped_full"] += 1
        except (OSError, OverflowError):
            self._counts["dropped_unreachable"] += 1

    def take_in(self, data: bytes, address: Any) -> None:
        """A datagram that the event loop read; what else is ready is read with it."""
        self._keep(data, address)
        if not self._handing_on:
            self._handing_on = True
            self._loop.call_soon(self._hand_on)
            self._drain()

    def _keep(self, data: bytes, address: Any) -> None:
        if len(data) > limits.DATAGRAM_BYTES_MAX:
            self._counts["dropped_large"] += 1
        elif len(self._inbox) >= limits.INBOX_DATAGRAMS_MAX:
            self._counts["dropped_inbox"] += 1
        else:
            host = address[0]
            if self._dual:
                host = host.partition("%")[0].removeprefix("::ffff:")
            self._inbox.append((data, (host, address[1])))

    def _drain(self) -> None:
        recvfrom = self._sock.recvfrom
        try:
            for _ in range(_READS_PER_TURN):
                self._keep(*recvfrom(limits.DATAGRAM_BYTES_MAX + 1))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._counts["errors"] += 1

    def _hand_on(self) -> None:
        inbox = self._inbox
        batch = [inbox.popleft() for _ in range(min(len(inbox), limits.INBOX_BATCH_MAX))]
        self._handing_on = bool(inbox)
        if self._handing_on:
            self._loop.call_soon(self._hand_on)
        if batch and self._stream is not None:
            self._counts["received"] += len(batch)
            self._on_datagrams(batch)

    def statistics(self) -> dict[str, int]:
        """Datagrams waiting, sent (``sent_bytes`` without headers), received, and each drop by its reason;
        ``dropped_kernel`` where the system tells."""
        return {
            "waiting": len(self._inbox),
            "dropped_kernel": self._dropped_by_kernel(),
            **dict(sorted(self._counts.items())),
        }

    def _dropped_by_kernel(self) -> int:
        try:
            *_, dropped = _MEMINFO.unpack(self._sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
        except (OSError, struct.error):
            return 0
        return int(dropped)

    def close(self) -> None:
        """Close the socket; what still waits is not handed on. Closing twice is no mistake."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self._inbox.clear()
