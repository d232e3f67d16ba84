"""A get brings a blob into a file, to a writer or into memory, and goes on where one was cut."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from p2pcpn import limits
from p2pcpn.client import getting, putting
from p2pcpn.client.getting import get_blob, read_blob, stream_blob
from p2pcpn.client.putting import put_blob
from p2pcpn.errors import PeerError, UsageError
from p2pcpn.protocol.transfer import HEDGES
from p2pcpn.wire.manifests import BlobName, parse_name
from tests.unit.client.blob_world import MB, OWNER, Start, content, world


@pytest.mark.asyncio
async def test_what_lies_in_the_partial_file_is_not_asked_for_again(peer: Start, tmp_path: Path) -> None:
    _, client = await world(peer)
    data, path, partial = content(2 * MB), tmp_path / "out", tmp_path / "out.part"
    placed = await put_blob(client, OWNER, data)
    partial.write_bytes(data[: 5 * limits.CHUNK_BYTES] + b"spoilt" * 100_000 + b"and longer" * MB)
    progress: list[int] = []
    assert await get_blob(client, placed.name, path, on_progress=lambda done, _: progress.append(done)) == len(data)
    assert path.read_bytes() == data and not partial.exists()
    assert 3 <= client.hauler.chunks_in <= 3 * HEDGES and progress[-1] == len(data)


@pytest.mark.asyncio
async def test_a_file_has_its_name_once_its_bytes_are_on_disk(
    peer: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = await world(peer)
    placed = await put_blob(client, OWNER, content(MB))
    path, done = tmp_path / "out", []
    sync, rename = os.fsync, os.replace

    def synced(handle: int) -> None:
        sync(handle)
        done.append("directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"{os.fstat(handle).st_size} bytes")

    def renamed(source: Path, target: Path) -> None:
        rename(source, target)
        done.append(f"named {Path(target).name}")

    monkeypatch.setattr(getting.os, "fsync", synced)
    monkeypatch.setattr(getting.os, "replace", renamed)
    await get_blob(client, placed.name, path)
    assert done[-3:] == [f"{MB} bytes", "named out", "directory"]


@pytest.mark.asyncio
async def test_several_sections_come_in_order(peer: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(putting, "SECTION_CHUNKS", 1)
    _, client = await world(peer)
    data = content(MB + 9)
    placed = await put_blob(client, OWNER, data)
    pieces: list[bytes] = []
    assert await stream_blob(client, placed.name, pieces.append) == len(data) and b"".join(pieces) == data
    assert await get_blob(client, placed.name, tmp_path / "out") == len(data)
    assert (tmp_path / "out").read_bytes() == data
    with pytest.raises(PeerError, match="more than 9"):
        await read_blob(client, placed.name, bytes_max=9)
    monkeypatch.setattr(limits, "BLOB_SECTIONS_MAX", 2)
    with pytest.raises(PeerError, match="too long"):
        await read_blob(client, placed.name)


@pytest.mark.asyncio
async def test_names_that_lead_nowhere_are_told(peer: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.node.hauling.MISSING_S", 0.2)
    _, client = await world(peer, 1)
    name = parse_name((await put_blob(client, OWNER, b"x", replicas=1)).name)
    with pytest.raises(PeerError, match="no peer that answers has"):
        await read_blob(client, BlobName(bytes(32), name.key))
    with pytest.raises(UsageError, match="the key of another blob"):
        await read_blob(client, BlobName(name.digest, bytes(32)))
    with pytest.raises(UsageError, match="no name"):
        await get_blob(client, "nonsense", tmp_path / "out")
    with pytest.raises(UsageError, match=r"Not a directory|No such file"):
        await get_blob(client, name, Path("/dev/null/out"))
    assert not (tmp_path / "out.part").exists()


@pytest.mark.asyncio
async def test_two_gets_into_one_file_do_not_spoil_each_others(peer: Start, tmp_path: Path) -> None:
    _, client = await world(peer, 1)
    first, second = content(2 * MB), content(2 * MB)[::-1]
    names = [(await put_blob(client, OWNER, data, replicas=1)).name for data in (first, second)]
    ends = await asyncio.gather(*(get_blob(client, name, tmp_path / "out") for name in names), return_exceptions=True)
    assert ends[0] == len(first) and (tmp_path / "out").read_bytes() == first
    assert isinstance(ends[1], UsageError) and "another get" in str(ends[1])
    assert await get_blob(client, names[1], tmp_path / "out") == len(second), "and afterwards it is free"
    assert (tmp_path / "out").read_bytes() == second


@pytest.mark.asyncio
async def test_nothing_but_a_plain_file_is_replaced(peer: Start, tmp_path: Path) -> None:
    _, client = await world(peer, 1)
    name = (await put_blob(client, OWNER, b"x", replicas=1)).name
    nowhere = tmp_path / "none" / "out"
    for path, why in (
        (nowhere, "there is no folder .*none"),
        (tmp_path, "is a directory"),
        (Path("/dev/null"), "is no plain file"),
    ):
        with pytest.raises(UsageError, match=why):
            await get_blob(client, name, path)
        assert not path.with_name(path.name + ".part").exists()
    (tmp_path / "link").symlink_to("behind")
    await get_blob(client, name, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "behind").read_bytes() == b"x"
    with pytest.raises(UsageError, match="File name too long"):
        await get_blob(client, name, tmp_path / ("x" * 300))
