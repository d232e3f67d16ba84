"""Peers that keep blobs, and a client, in the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay

Start = Callable[..., Awaitable[Overlay]]
OWNER = Keypair(b"\3" * 32)
MB = 1 << 20


def content(size: int) -> bytes:
    """Bytes that no two chunks share."""
    return b"".join(index.to_bytes(8, "big") * 128 for index in range(-(-size // 1024)))[:size]


async def world(peer: Start, count: int = 2) -> tuple[list[Overlay], Overlay]:
    """So many who keep, and one who does not."""
    peers = [await peer(roles=("storage",))]
    for _ in range(count - 1):
        peers.append(await peer(*peers, roles=("storage",)))
    client = await peer(*peers)
    async with asyncio.timeout(20):
        while len(client.hauler.storage_near(bytes(32))) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return peers, client
