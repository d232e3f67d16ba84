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


@pytest.mark.asyncio
async def test_a_blob_that_is_put_again_for_a_shorter_time_is_kept_for_the_longer(peer: Start) -> None:
    _, client = await world(peer)
    first = await blobs.put_blob(client, OWNER, b"twice", retention_s=5000.0)
    (before,) = await blobs.own_blobs(client, OWNER)
    again = await blobs.put_blob(client, OWNER, b"twice", retention_s=60.0)
    (row,) = await blobs.own_blobs(client, OWNER)
    assert again.name == first.name == row.name and row.replicas == 2
    assert row.expires_s == before.expires_s
    longer = await blobs.put_blob(client, OWNER, b"twice", retention_s=9000.0)
    (row,) = await blobs.own_blobs(client, OWNER)
    assert longer.complete and row.expires_s >= before.expires_s + 3000.0


@pytest.mark.asyncio
async def test_all_peers_that_keep_blobs_are_asked_and_who_was_not_is_said(
    peer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers, client = await world(peer)
    monkeypatch.setattr(blobs, "LISTED_AT_ONCE", 1)
    await blobs.put_blob(client, OWNER, b"somewhere", replicas=1)
    found = await blobs.listing(client, OWNER)
    assert (found.asked, found.silent, found.unasked) == (len(peers), 0, 0)
    assert [row.replicas for row in found.blobs] == [1]
    monkeypatch.setattr(blobs, "LIST_WAIT_S", 0.2)
    await peers[0].close()
    found = await blobs.listing(client, OWNER)
    assert found.asked + found.unasked <= len(peers) and found.asked - found.silent == len(peers) - 1
    monkeypatch.setattr(blobs, "LISTED_PEERS_MAX", 1)
    found = await blobs.listing(client, OWNER)
    assert found.asked == 1 and found.unasked >= len(peers) - 2
