"""The ``kademlia`` package as it is: sixteen of its servers in one asyncio program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from p2pcpn.bench.dhts.table import Table

T = TypeVar("T")

WAIT_S: Final = 60.0


class KademliaTable(Table):
    """See the module."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._servers: list[Any] = []

    def start(self, peers: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="p2pcpn-bench-kademlia", daemon=True)
        self._thread.start()
        self._call(self._start(peers))

    async def _start(self, peers: int) -> None:
        from kademlia.network import Server

        known: list[tuple[str, int]] = []
        for _ in range(peers):
            server = Server()
            self._servers.append(server)
            await server.listen(0, interface="127.0.0.1")
            if known:
                await server.bootstrap(known[:4])
            known.append(("127.0.0.1", server.transport.get_extra_info("sockname")[1]))

    def stop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is None:
            return
        for server in self._servers:
            loop.call_soon_threadsafe(server.stop)
        loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None:
            self._thread.join(5.0)
        if not loop.is_running():
            loop.close()

    def store(self, peer: int, key: str, value: bytes) -> bool:
        return bool(self._call(self._servers[peer].set(key, value)))

    def get(self, peer: int, key: str) -> bytes | None:
        found: bytes | None = self._call(self._servers[peer].get(key))
        return found

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None, "start() comes first"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)
