"""Chores: peers are remembered, what has expired leaves the disk, and a disk that refuses is asked again."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.errors import StoreError
from p2pcpn.node import chores
from p2pcpn.node.shelf import Shelf
from p2pcpn.protocol.effects import Write
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.sealing import digest

JOB = b"\1" * 20


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "node.db", durable=False)
    yield database
    database.close()


class Rounds:
    """Stands for the waits between rounds: they take no time, and after ``count`` of them the chore is ended."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.waits: list[float] = []

    async def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        self.left -= 1
        if self.left < 0:
            raise asyncio.CancelledError


async def rounds(monkeypatch: pytest.MonkeyPatch, count: int, chore: Any) -> list[float]:
    """Let ``chore`` do ``count`` rounds; how long it would have waited before each."""
    clock = Rounds(count)
    monkeypatch.setattr(chores.asyncio, "sleep", clock.sleep)
    with suppress(asyncio.CancelledError):
        await chore
    return clock.waits[:-1]


@pytest.mark.asyncio
async def test_the_peers_of_the_table_are_saved_each_minute_as_they_are_then(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def contacts() -> list[Any]:
        asked.append(len(asked))
        return [contact(bytes([number]) * 20, ("192.0.2.7", 4000 + number)) for number in asked]

    assert await rounds(monkeypatch, 2, chores.save_peers(database, contacts)) == [chores.SAVE_PEERS_S] * 2
    database.drop_expired(0.0)  # waits for what was queued before
    assert {port for _, (_, port, _) in database.scan("peers")} == {4000, 4001}


@pytest.mark.asyncio
async def test_a_blob_whose_retention_is_over_leaves_the_disk_and_others_stay(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(BlobStore(tmp_path / "blobs", durable=False), database)
    for data, retention_s in ((b"over", -10.0), (b"kept", 3600.0)):
        written = asyncio.get_running_loop().create_future()
        shelf.put(digest(data), data, JOB, retention_s, written.set_result)
        assert await asyncio.wait_for(written, 5) is None
    counters: Counter[str] = Counter()
    assert await rounds(monkeypatch, 1, chores.sweep(database, shelf, counters)) == [chores.SWEEP_S]
    assert not shelf.has(digest(b"over"))
    assert shelf.get(digest(b"kept")) == b"kept"
    assert database.count("blobs") == 1
    assert not counters


@pytest.mark.asyncio
async def test_a_disk_that_refuses_is_counted_and_asked_again(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forgotten: list[bytes] = []

    class Refusing:
        def forget(self, name: bytes) -> None:
            forgotten.append(name)
            raise StoreError("the disk: read-only")

    counters: Counter[str] = Counter()
    for name in (b"\1" * 32, b"\2" * 32):
        database.commit([Write("blobs", (name,), (1, JOB, 0.0))])
        database.drop_expired(-1.0)  # waits for it
        with caplog.at_level(logging.ERROR):
            await rounds(monkeypatch, 2, chores.sweep(database, Refusing(), counters))  # type: ignore[arg-type]
    # A file that stays keeps its row, so that the next sweep finds it again.
    assert forgotten == [b"\1" * 32] * 4
    assert counters == {"disk refused": 4} and database.count("blobs") == 2
    assert "the disk: read-only" in caplog.text
