"""A crowd: many lightweight peers of one swarm in one asyncio program, each with a key and a socket of its own.

For looking at the hash table at sizes that one process a peer does not reach. Keys, greetings, datagrams and records
are those of real peers.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import time
from collections.abc import Sequence

from p2pcpn.identity.keys import Keypair
from p2pcpn.node.lightweight import LightweightPeer

JOINING_AT_A_TIME = 4
WELL_KNOWN = 4
JOIN_S = 120.0
LOOK_S = 0.02
FILES_BESIDE = 64


class Crowd:
    """See the module. ``async with Crowd(1000) as crowd`` ends when all have joined and do nothing any more."""

    def __init__(self, peers: int, *, loss: float = 0.0, seed: int = 1) -> None:
        self.swarm_key = os.urandom(32)
        self.peers = [LightweightPeer(Keypair(os.urandom(32)), self.swarm_key, loss=loss) for _ in range(peers)]
        self.joined_s = 0.0
        self.settled_s = 0.0
        self._rng = random.Random(seed)

    async def __aenter__(self) -> Crowd:
        _allow_files(len(self.peers) + FILES_BESIDE)
        began = time.perf_counter()
        try:
            await self._join()
            self.joined_s = time.perf_counter() - began
            while any(peer.busy for peer in self.peers):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
            self.settled_s = time.perf_counter() - began
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _join(self) -> None:
        first, *others = self.peers
        await first.start()
        inside = [first.address]
        waiting = iter(others)

        async def let_in() -> None:
            for peer in waiting:
                await peer.start()
                await peer.join(self._rng.sample(inside, min(WELL_KNOWN, len(inside))), JOIN_S)
                inside.append(peer.address)

        await asyncio.gather(*(let_in() for _ in range(JOINING_AT_A_TIME)))

    async def close(self, peers: Sequence[LightweightPeer] | None = None) -> None:
        """Stop ``peers``, or all of them."""
        for peer in self.peers if peers is None else peers:
            await peer.close()


def _allow_files(count: int) -> None:
    """As many open files as the system grants without asking: a socket each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard) if hard >= 0 else count, hard))
