"""A put cuts a file into sections, brings each to as many peers as are wanted, and says where it could not."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from p2pcpn import limits
from p2pcpn.client import putting
from p2pcpn.client.getting import read_blob
from p2pcpn.client.putting import put_blob
from p2pcpn.errors import Unreachable, UsageError
from p2pcpn.identity.keys import Keypair
from tests.unit.client.blob_world import MB, OWNER, Start, content, world


@pytest.mark.asyncio
async def test_equal_files_are_one_blob_and_a_second_put_sends_nothing(peer: Start, tmp_path: Path) -> None:
    peers, client = await world(peer)
    data = content(MB + 1)
    (tmp_path / "in").write_bytes(data)
    progress: list[tuple[int, int]] = []
    placed = await put_blob(client, OWNER, tmp_path / "in", on_progress=lambda *now: progress.append(now))
    assert placed.complete and (placed.size_bytes, placed.replicas) == (len(data), 2)
    assert progress[-1] == (len(data), len(data)) and sorted(progress) == progress
    assert client.hauler.chunks_out == 10
    again = await put_blob(client, OWNER, io.BytesIO(data))
    assert again.name == placed.name and client.hauler.chunks_out == 10
    other = await put_blob(client, Keypair(b"\4" * 32), data)
    assert other.name != placed.name and client.hauler.chunks_out == 20
    assert await read_blob(client, placed.name) == data
    assert all(each.depot.statistics()["whole"] == 2 for each in peers)


@pytest.mark.asyncio
async def test_a_large_one_is_a_list_of_sections(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(putting, "SECTION_CHUNKS", 2)
    peers, client = await world(peer)
    data = content(5 * limits.CHUNK_BYTES // 2)
    placed = await put_blob(client, OWNER, data)
    assert placed.complete and all(each.depot.statistics()["whole"] == 3 for each in peers)  # two, and the list
    assert await read_blob(client, placed.name) == data
    monkeypatch.setattr(limits, "BLOB_SECTIONS_MAX", 1)
    with pytest.raises(UsageError, match="at most"):
        await put_blob(client, OWNER, data)


@pytest.mark.asyncio
async def test_too_few_peers_are_told_and_none_is_an_error(peer: Start) -> None:
    peers, client = await world(peer)
    peers[0].depot.leaving = True
    placed = await put_blob(client, OWNER, b"x", replicas=2)
    assert (placed.replicas, placed.wanted, placed.complete) == (1, 2, False) and "is leaving" in placed.refusals[0]
    peers[1].depot.leaving = True
    with pytest.raises(Unreachable, match=r"no peer keeps it: peer .{8}: is leaving; peer .{8}: is leaving"):
        await put_blob(client, OWNER, b"y")
    for each in peers:
        await each.close(polite=False)
    with pytest.raises(Unreachable, match=r"^no peer keeps it: no answer from 127.0.0.1:\d+, 127.0.0.1:\d+$"):
        await put_blob(client, OWNER, b"y")


@pytest.mark.asyncio
async def test_what_cannot_be_is_said_before_anything_is_read(peer: Start) -> None:
    _, client = await world(peer, 1)
    with pytest.raises(UsageError, match="replicas"):
        await put_blob(client, OWNER, b"", replicas=0)
    with pytest.raises(UsageError, match="days"):
        await put_blob(client, OWNER, b"", retention_s=limits.RETENTION_S_MAX + 1)
    with pytest.raises(UsageError, match="No such file"):
        await put_blob(client, OWNER, "/nowhere/at/all")


@pytest.mark.asyncio
async def test_a_file_that_changes_meanwhile_gives_an_error_and_no_wrong_blob(peer: Start, tmp_path: Path) -> None:
    _, client = await world(peer, 1)
    path = tmp_path / "in"
    path.write_bytes(content(MB))

    def cut(done: int, total: int) -> None:
        os.truncate(path, 10)

    with pytest.raises(OSError, match="shorter"):
        await put_blob(client, OWNER, path, replicas=1, on_progress=cut)
