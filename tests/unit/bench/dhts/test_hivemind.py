"""hivemind's DHT behind the interface."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from p2pcpn.bench.dhts.hivemind import HivemindTable


def test_peers_meet_store_get_and_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    kept: dict[str, Any] = {}

    class DHT:
        def __init__(self, start: bool, initial_peers: list[str], host_maddrs: list[str]) -> None:
            assert start and host_maddrs
            said.append(initial_peers)

        def get_visible_maddrs(self) -> list[str]:
            return [f"/peer/{len(said)}"]

        def store(self, key: str, value: bytes, expires: float) -> bool:
            kept[key] = SimpleNamespace(value=value)
            return expires == 1300.0

        def get(self, key: str, latest: bool) -> Any:
            return kept.get(key)

        def shutdown(self) -> None:
            said.append("shutdown")

    for name, names in (
        ("hivemind", {"DHT": DHT}),
        ("hivemind.utils", {}),
        ("hivemind.utils.timed_storage", {"get_dht_time": lambda: 1000.0}),
    ):
        module = ModuleType(name)
        for key, value in names.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, name, module)
    table = HivemindTable()
    table.start(2)
    assert table.store(0, "k", b"v") and table.get(1, "k") == b"v" and table.get(0, "no") is None
    table.stop()
    table.stop()
    assert said == [[], ["/peer/1"], "shutdown", "shutdown"]
