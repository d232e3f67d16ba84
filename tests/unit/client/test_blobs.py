"""The owner's blobs are listed from what peers keep, wherever they were put from."""

from __future__ import annotations

import pytest

from p2pcpn.client import blobs, putting
from p2pcpn.identity.keys import Keypair
from tests.unit.client.blob_world import MB, OWNER, Start, content, world


@pytest.mark.asyncio
async def test_blobs_are_listed_with_what_is_alive_of_them(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(putting, "SECTION_CHUNKS", 2)
    monkeypatch.setattr(blobs.limits, "COMPARED_MAX", 2)
    peers, client = await world(peer)
    assert await blobs.own_blobs(client, OWNER) == []
    small = await blobs.put_blob(client, OWNER, b"small", replicas=1)
    large = await blobs.put_blob(client, OWNER, content(MB), retention_s=50.0)
    rows = {row.name: row for row in await blobs.own_blobs(client, OWNER)}
    assert {name: (row.size_bytes, row.replicas, row.wanted) for name, row in rows.items()} == {
        small.name: (5, 1, 1), large.name: (MB, 2, 2),
    }  # fmt: skip
    assert rows[large.name].expires_s == rows[large.name].created_s + 50.0
    assert await blobs.own_blobs(client, Keypair(b"\4" * 32)) == []
    for each in peers:
        for name, kept in list(each.depot.ledger.kept.items()):
            if kept.deposit.parts and not kept.deposit.is_root:
                each.depot.drop(name)
                break
        break
    assert {row.replicas for row in await blobs.own_blobs(client, OWNER)} == {1}
    await peers[0].close()
    await peers[1].close()
    assert await blobs.own_blobs(client, OWNER) == []
