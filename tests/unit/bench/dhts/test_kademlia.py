"""The kademlia package's servers behind the interface."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from p2pcpn.bench.dhts.kademlia import KademliaTable


def test_servers_meet_store_get_and_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    kept: dict[str, bytes] = {}
    ports: list[int] = []

    class Server:
        async def listen(self, port: int, interface: str) -> None:
            ports.append(4000 + len(ports))
            where = (interface, ports[-1])
            self.transport = SimpleNamespace(get_extra_info=lambda name: where)

        async def bootstrap(self, known: list[Any]) -> None:
            said.append(known)

        async def set(self, key: str, value: bytes) -> bool:
            kept[key] = value
            return True

        async def get(self, key: str) -> bytes | None:
            return kept.get(key)

        def stop(self) -> None:
            said.append("stop")

    module = ModuleType("kademlia.network")
    module.Server = Server  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kademlia.network", module)
    table = KademliaTable()
    table.stop()
    table.start(3)
    assert table.store(0, "k", b"v") and table.get(2, "k") == b"v" and table.get(1, "no") is None
    table.stop()
    assert said == [[("127.0.0.1", 4000)], [("127.0.0.1", 4000), ("127.0.0.1", 4001)], *["stop"] * 3]
