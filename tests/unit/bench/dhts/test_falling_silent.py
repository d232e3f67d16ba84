"""Peers fall silent: their sockets stay open, nothing is answered, and the others still find what was stored."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from p2pcpn.bench.dhts import kademlia as module
from p2pcpn.bench.dhts.falling_silent import ASKERS, SilentKademlia, SilentSwarm


def test_stopped_processes_answer_nothing_and_the_rest_goes_on() -> None:
    table = SilentSwarm()
    table.start(3)
    try:
        assert table.store(0, "key", b"value")
        assert table.silence(2, random.Random(1)) == 2
        deadline = time.monotonic() + 10.0
        stopping = [psutil.Process(pid) for pid in table._stopped]
        while any(it.status() != psutil.STATUS_STOPPED for it in stopping):
            assert time.monotonic() < deadline, "a stopped process runs on"
        assert table.get(ASKERS - 1, "key") == b"value"
    finally:
        table.stop()
    table.stop()


class Server:
    """Answers whoever is not silent; a store never ends where anybody is."""

    silent: int = 0

    async def listen(self, port: int, interface: str) -> None:
        self.protocol = SimpleNamespace(datagram_received=None)
        self.transport = SimpleNamespace(get_extra_info=lambda name: (interface, 4000))

    async def bootstrap(self, known: list[Any]) -> None:
        pass

    async def set(self, key: str, value: bytes) -> bool:
        return await self.get(key) is not None

    async def get(self, key: str) -> bytes:
        if Server.silent:
            await asyncio.sleep(0.2)
        return b"value"

    def stop(self) -> None:
        pass


def test_silent_servers_throw_away_what_comes_and_what_takes_too_long_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = ModuleType("kademlia.network")
    package.Server = Server  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kademlia.network", package)
    monkeypatch.setattr(module, "WAIT_S", 0.05)
    table = SilentKademlia()
    table.start(ASKERS + 3)
    try:
        assert table.store(0, "key", b"value") and table.get(1, "key") == b"value"
        Server.silent = table.silence(2, random.Random(1))
        silent = [it.protocol.datagram_received for it in table._servers if it.protocol.datagram_received]
        assert len(silent) == Server.silent == 2
        silent[0](b"anything", ("127.0.0.1", 4000))
        assert not any(it.protocol.datagram_received for it in table._servers[:ASKERS])
        assert table.store(0, "key", b"value") is False
        assert table.get(0, "key") is None
    finally:
        Server.silent = 0
        time.sleep(0.3)  # what was given up has ended
        table.stop()
