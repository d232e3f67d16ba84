"""The load of records: so many stores and gets, by so many threads, and whether the values were right."""

from __future__ import annotations

import threading

import pytest

from p2pcpn.bench import records
from p2pcpn.bench.dhts.table import Table


class Memory(Table):
    """A table that is one dictionary, and forgets every ``forgets``-th key."""

    def __init__(self, forgets: int = 0) -> None:
        self._forgets = forgets
        self._lock = threading.Lock()
        self._kept: dict[str, bytes] = {}
        self.peers: set[int] = set()
        self.running = 0

    def start(self, peers: int) -> None:
        self.running += peers

    def stop(self) -> None:
        self.running = 0

    def store(self, peer: int, key: str, value: bytes) -> bool:
        with self._lock:
            self.peers.add(peer)
            if not self._forgets or len(self._kept) % self._forgets:
                self._kept[key] = value
                return True
            self._kept[f"lost {len(self._kept)}"] = value
            return False

    def get(self, peer: int, key: str) -> bytes | None:
        return self._kept.get(key)


def test_every_thread_stores_and_gets_through_many_peers() -> None:
    table = Memory()
    found = records.measure("p2pcpn", 4, 3, 2, 8, 8, make=lambda name: table)
    assert found["operations"] == 3 * 2 * 16 and found["stored_share"] == found["got_share"] == 1.0
    assert table.peers == {0, 1, 2, 3} and table.running == 0
    assert found["rate"] > 0 and found["store_ms"] >= 0 and found["get_ms"] >= 0


def test_what_was_lost_is_counted() -> None:
    found = records.measure("p2pcpn", 2, 1, 4, 8, 8, make=lambda name: Memory(forgets=2))
    assert 0.3 < found["got_share"] < 0.7 and found["got_share"] == found["stored_share"]


def test_a_table_that_fails_is_stopped() -> None:
    table = Memory()
    table.store = lambda *_: 1 / 0  # type: ignore[method-assign, assignment]
    with pytest.raises(ZeroDivisionError):
        records.measure("p2pcpn", 2, 1, 1, 1, 1, make=lambda name: table)
    assert table.running == 0
