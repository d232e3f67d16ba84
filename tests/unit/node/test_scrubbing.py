"""Scrubbing: what was found on disk is proved once, and what nothing would ever end gets an end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from p2pcpn import limits
from p2pcpn.errors import StoreError
from p2pcpn.node import scrubbing
from p2pcpn.node.scrubbing import scrub
from p2pcpn.protocol.effects import Write
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database

DATA = [b"one", b"two", b"three"]
DIGESTS = [blake3(data).digest() for data in DATA]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "node.db", durable=False)
    yield database
    database.close()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    """Three blobs that were there before, the second damaged."""
    before = BlobStore(tmp_path / "blobs", durable=False)
    assert before.put_all(list(zip(DIGESTS, DATA, strict=True))) == [None] * 3
    name = DIGESTS[1].hex()
    (tmp_path / "blobs" / name[:2] / name[2:]).write_bytes(b"tw")
    return BlobStore(tmp_path / "blobs", durable=False)


@pytest.mark.asyncio
async def test_each_blob_is_proved_and_one_without_a_row_gets_one(store: BlobStore, database: Database) -> None:
    database.commit([Write("blobs", (DIGESTS[0],), (3, b"job", 12.0))])
    database.drop_expired(0.0)  # waits for it
    counters: Counter[str] = Counter()
    await scrub(store, database, counters)
    assert counters == {"blobs damaged": 1} and store.unproved() == []
    assert sorted(store.digests()) == sorted([DIGESTS[0], DIGESTS[2]])
    database.drop_expired(0.0)
    rows = {key[0]: value for key, value in database.scan("blobs")}
    assert rows[DIGESTS[0]] == (3, b"job", 12.0) and set(rows) == {DIGESTS[0], DIGESTS[2]}
    assert float(rows[DIGESTS[2]][2] or 0) == pytest.approx(time.time() + limits.RETENTION_S_MAX, abs=60)


@pytest.mark.asyncio
async def test_a_blob_that_has_left_meanwhile_or_a_disk_that_refuses_is_no_end(
    store: BlobStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = store.unproved()
    names, real = [first, second, third], store.prove
    store.delete(second)

    def prove(digest: bytes) -> bool:
        if digest == first:
            raise StoreError("the disk refuses")
        return real(digest)

    monkeypatch.setattr(store, "unproved", lambda: names)
    monkeypatch.setattr(store, "prove", prove)
    monkeypatch.setattr(scrubbing, "BYTES_PER_S", 1 << 40)
    counters: Counter[str] = Counter()
    await scrub(store, database, counters)
    assert counters["disk refused"] == 1
    assert counters["blobs damaged"] == (DIGESTS[1] == third)
