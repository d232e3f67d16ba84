"""p2pcpn's records behind the interface, without sockets."""

from __future__ import annotations

from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.bench.dhts import overlay
from p2pcpn.bench.dhts.overlay import OverlayTable

KEPT: dict[bytes, bytes] = {}


class Peer:
    """A node whose overlay keeps records in one dictionary."""

    def __init__(self, config: Any, *, owner: Any) -> None:
        self.config, self.address, self.overlay = config, f"127.0.0.1:{len(config.bootstrap) + 1}", self

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *_: object) -> None:
        KEPT.clear()

    async def wait_known(self, wait_s: float) -> None:
        assert self.config.bootstrap

    async def put_record(self, keypair: Any, salt: bytes, value: bytes, retention_s: float, copies: int) -> Any:
        KEPT[blake2b(keypair.public + salt, digest_size=20).digest()] = value
        return SimpleNamespace(holders=[1])

    async def get_record(self, key: bytes) -> Any:
        return SimpleNamespace(record=SimpleNamespace(value=KEPT[key]) if key in KEPT else None)


def test_a_record_is_found_by_owner_and_salt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "Node", Peer)
    table = OverlayTable()
    table.stop()
    table.start(6)
    assert table.store(0, "key", b"value") and table.get(5, "key") == b"value" and table.get(1, "other") is None
    table.stop()
    table.stop()
    assert KEPT == {}
