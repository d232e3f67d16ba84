"""Aside: a datagram and a connection from ports of their own, as a stranger would send and make them."""

from __future__ import annotations

import asyncio
import socket

from p2pcpn.wire.addresses import Address


def send(data: bytes, address: Address) -> bool:
    """Send one datagram from a socket that is made for it. Whether the system took it."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(data, address)
    except OSError:
        return False
    return True


async def takes_connections(address: Address, wait_s: float) -> bool:
    """Whether a TCP connection to ``address`` comes about within ``wait_s``; it is closed at once."""
    try:
        async with asyncio.timeout(wait_s):
            _, writer = await asyncio.open_connection(*address)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
