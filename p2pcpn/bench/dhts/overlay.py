"""Records of p2pcpn: storage peers in an asyncio program, each with sockets and a disk of its own.

A record is found under a key that follows from its owner and a salt; each peer stores under its own owner's key. A put
waits for five copies, as many as hivemind makes by default; ours become eight within the hour.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from hashlib import blake2b
from typing import Any, Final, TypeVar

from p2pcpn import limits
from p2pcpn.bench.dhts.table import Table
from p2pcpn.client.loops import LoopThread
from p2pcpn.client.node import Node
from p2pcpn.config import Config
from p2pcpn.identity.keys import Keypair

T = TypeVar("T")

RETENTION_S: Final = 300.0
COPIES: Final = limits.RECORD_COPIES_MIN
START_S: Final = 60.0
WAIT_S: Final = 30.0
WELL_KNOWN: Final = 4


class Peers:
    """Some peers of one swarm, in the event loop that runs. ``owner`` signs what is stored through them."""

    def __init__(self, swarm_key: str, owner: Keypair) -> None:
        self._key = swarm_key
        self._owner = owner
        self._stack = AsyncExitStack()
        self.nodes: list[Node] = []

    async def start(self, peers: int, known: Sequence[str] = ()) -> list[str]:
        """Start so many that ask ``known`` for the way in, or else the first of them; where they are."""
        for _ in range(peers):
            config = Config(
                profile="local", swarm_key=self._key, roles=("storage",), durable=False,
                bootstrap=list(known or [node.address for node in self.nodes[:WELL_KNOWN]]),
            )  # fmt: skip
            self.nodes.append(await self._stack.enter_async_context(Node(config, owner=self._owner)))
        return [node.address for node in self.nodes]

    async def meet(self) -> None:
        """Wait until each that asked for the way in knows another."""
        for node in self.nodes:
            if node.config.bootstrap:
                await node.overlay.wait_known(WAIT_S)

    async def close(self) -> None:
        """Let them leave."""
        await self._stack.aclose()

    async def store(self, peer: int, key: str, value: bytes) -> bool:
        """Whether somebody keeps it."""
        done = await self.nodes[peer].overlay.put_record(self._owner, _salt(key), value, RETENTION_S, COPIES)
        return bool(done.holders)

    async def get(self, peer: int, key: str) -> bytes | None:
        """What is found."""
        where = blake2b(self._owner.public + _salt(key), digest_size=20).digest()
        found = await self.nodes[peer].overlay.get_record(where)
        return None if found.record is None else found.record.value


class OverlayTable(Table):
    """All peers in a thread of this program."""

    def __init__(self) -> None:
        self._loops: LoopThread | None = None
        self._peers = Peers(secrets.token_hex(32), Keypair(os.urandom(32)))

    def start(self, peers: int) -> None:
        self._loops = LoopThread("p2pcpn-bench")
        self._loops.call(self._start(peers), START_S)

    async def _start(self, peers: int) -> None:
        await self._peers.start(peers)
        await self._peers.meet()

    def stop(self) -> None:
        loops, self._loops = self._loops, None
        if loops is not None:
            try:
                loops.call(self._peers.close(), WAIT_S)
            finally:
                loops.stop()

    def store(self, peer: int, key: str, value: bytes) -> bool:
        return self._call(self._peers.store(peer, key, value))

    def get(self, peer: int, key: str) -> bytes | None:
        return self._call(self._peers.get(peer, key))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loops is not None, "start() comes first"
        return self._loops.call(work, WAIT_S)


def _salt(key: str) -> bytes:
    """A salt has at most 64 bytes; keys of the load are shorter than that."""
    return key.encode()
