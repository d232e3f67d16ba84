"""Records of p2pcpn: sixteen storage peers in one asyncio program, each with sockets and a disk of its own.

A record is found under a key that follows from its owner and a salt; each peer stores under its own owner's key. A put
waits for five copies, as many as hivemind makes by default; ours become eight within the hour.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Coroutine
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


class OverlayTable(Table):
    """See the module."""

    def __init__(self) -> None:
        self._loops: LoopThread | None = None
        self._stack = AsyncExitStack()
        self._nodes: list[Node] = []
        self._owner = Keypair(os.urandom(32))

    def start(self, peers: int) -> None:
        self._loops = LoopThread("p2pcpn-bench")
        self._loops.call(self._start(peers), START_S)

    async def _start(self, peers: int) -> None:
        key = secrets.token_hex(32)
        for _ in range(peers):
            config = Config(
                profile="local", swarm_key=key, roles=("storage",), durable=False,
                bootstrap=[node.address for node in self._nodes[:4]],
            )  # fmt: skip
            node = await self._stack.enter_async_context(Node(config, owner=self._owner))
            self._nodes.append(node)
        for node in self._nodes[1:]:
            await node.overlay.wait_known(WAIT_S)

    def stop(self) -> None:
        loops, self._loops = self._loops, None
        if loops is not None:
            try:
                loops.call(self._stack.aclose(), WAIT_S)
            finally:
                loops.stop()

    def store(self, peer: int, key: str, value: bytes) -> bool:
        return self._call(self._store(peer, key, value))

    def get(self, peer: int, key: str) -> bytes | None:
        return self._call(self._get(peer, key))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loops is not None, "start() comes first"
        return self._loops.call(work, WAIT_S)

    async def _store(self, peer: int, key: str, value: bytes) -> bool:
        done = await self._nodes[peer].overlay.put_record(self._owner, _salt(key), value, RETENTION_S, COPIES)
        return bool(done.holders)

    async def _get(self, peer: int, key: str) -> bytes | None:
        where = blake2b(self._owner.public + _salt(key), digest_size=20).digest()
        found = await self._nodes[peer].overlay.get_record(where)
        return None if found.record is None else found.record.value


def _salt(key: str) -> bytes:
    """A salt has at most 64 bytes; keys of the load are shorter than that."""
    return key.encode()
