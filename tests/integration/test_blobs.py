"""Blobs of any size over a real swarm: kept, brought back, resumed, and restored when holders die."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pcpn import Config, Node, PeerError, Swarm
from p2pcpn.client import blobs
from p2pcpn.client.getting import PART_SUFFIX
from p2pcpn.errors import Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.manifests import parse_name

pytestmark = pytest.mark.timeout(240)

OWNER = Keypair(b"blobs" * 6 + b"--")
MB = 1 << 20
ANSWER_S = 40.0


def content(size: int) -> bytes:
    """Bytes that no two chunks share."""
    return b"".join(index.to_bytes(8, "big") * 128 for index in range(-(-size // 1024)))[:size]


@pytest.fixture
def swarm() -> Iterator[Swarm]:
    with Swarm(peers=3) as made:
        yield made


def node_of(swarm: Swarm, **settings: Any) -> Node:
    config = Config(bootstrap=swarm.bootstrap, swarm_key=swarm.key, profile="local", **{"roles": (), **settings})
    return Node(config, owner=OWNER)


async def knows(node: Node, count: int) -> None:
    """Until so many storage peers are heard of."""
    async with asyncio.timeout(ANSWER_S):
        while len(node.overlay.hauler.storage_near(bytes(32))) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def becomes(node: Node, holds: Callable[[list[blobs.Owned]], bool], wait_s: float = 90.0) -> list[blobs.Owned]:
    """The owner's blobs, once ``holds`` of them."""
    rows: list[blobs.Owned] = []
    try:
        async with asyncio.timeout(wait_s):
            while True:
                rows = await node.list_blobs()
                if holds(rows):
                    return rows
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"it did not become so: {rows}") from None


async def holders_of(node: Node, name: str) -> list[bytes]:
    """Who says that it has the blob's root; a busy machine's peers have time to say so, dead ones are seen at once."""
    overlay, digest = node.overlay, parse_name(name).digest

    async def has(peer: Contact) -> bool:
        try:
            answer = await overlay.request(peer, lambda number: m.Seek(number, digest, False), ANSWER_S)
        except Unreachable:
            return False
        return isinstance(answer, m.Holding) and answer.whole

    peers = overlay.hauler.storage_near(digest)
    return [peer.id for peer, there in zip(peers, await asyncio.gather(*map(has, peers)), strict=True) if there]


def index_of(swarm: Swarm, node_id: bytes) -> int:
    return next(peer.index for peer in swarm.peers if peer.id == node_id.hex())


@pytest.mark.asyncio
async def test_a_blob_comes_back_whole_and_no_peer_sees_its_bytes(swarm: Swarm, tmp_path: Path) -> None:
    data = content(3 * MB + 17)
    (tmp_path / "in").write_bytes(data)
    async with node_of(swarm) as node:
        await knows(node, 3)
        placed = await node.put_blob(tmp_path / "in")
        assert placed.complete and placed.replicas == 2 and placed.size_bytes == len(data)
        await node.get_blob(placed.name, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        assert not (tmp_path / ("out" + PART_SUFFIX)).exists()
        assert await node.get_blob(placed.name) == data
        assert len(await holders_of(node, placed.name)) == 2
        (row,) = await becomes(node, lambda rows: rows[0].replicas == 2)
        assert (row.name, row.file, row.size_bytes) == (placed.name, "in", len(data))
        with pytest.raises(PeerError, match="more than 5"):
            await node.get_blob(placed.name, bytes_max=5)
    for peer in swarm.peers:
        for path in (peer.data_dir / "sections").rglob("*.*"):
            assert data[4096:8192] not in path.read_bytes()


@pytest.mark.asyncio
async def test_blobs_of_no_byte_of_one_and_of_several_sections(
    swarm: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pcpn.client.putting.SECTION_CHUNKS", 4)
    async with node_of(swarm) as node:
        await knows(node, 3)
        for data in (b"", b"x", content(3 * MB + 1)):
            placed = await node.put_blob(data, replicas=1)
            assert await node.get_blob(placed.name) == data
            pieces: list[bytes] = []
            assert await blobs.stream_blob(node.overlay, placed.name, pieces.append) == len(data)
            assert b"".join(pieces) == data
        rows = await becomes(node, lambda rows: len(rows) == 3 and all(row.replicas == 1 for row in rows))
        assert sorted(row.size_bytes for row in rows) == [0, 1, 3 * MB + 1]


@pytest.mark.asyncio
async def test_a_holder_that_dies_in_the_middle_of_a_get_costs_nothing(swarm: Swarm, tmp_path: Path) -> None:
    data = content(48 * MB)
    (tmp_path / "in").write_bytes(data)
    async with node_of(swarm) as node:
        await knows(node, 3)
        placed = await node.put_blob(tmp_path / "in")
        victim = index_of(swarm, (await holders_of(node, placed.name))[0])
        killed_at: list[int] = []

        def on_progress(done: int, total: int) -> None:
            if not killed_at and done >= total // 4:
                killed_at.append(done)
                os.kill(swarm.peers[victim].pid, signal.SIGKILL)

        await node.get_blob(placed.name, tmp_path / "out", on_progress=on_progress)
        assert killed_at and killed_at[0] < len(data) // 2
        assert (tmp_path / "out").read_bytes() == data


GET_AND_DIE = """
import asyncio, os, signal, sys
from p2pcpn import Config, Node

def die(done, total):
    if done >= total // 8:
        os.kill(os.getpid(), signal.SIGKILL)

async def main(name, out, key, *bootstrap):
    async with Node(Config(bootstrap=bootstrap, swarm_key=key, roles=(), profile="local")) as node:
        await node.get_blob(name, out, on_progress=die)

asyncio.run(main(*sys.argv[1:]))
"""


def get_and_die(swarm: Swarm, name: str, out: Path) -> subprocess.CompletedProcess[bytes]:
    """A process that gets a blob and is killed when it has an eighth of it."""
    command = [sys.executable, "-c", GET_AND_DIE, name, str(out), swarm.key, *swarm.bootstrap]
    return subprocess.run(command, stderr=subprocess.PIPE, check=False, timeout=120)


@pytest.mark.asyncio
async def test_a_get_that_was_killed_goes_on_from_what_is_on_the_disk(swarm: Swarm, tmp_path: Path) -> None:
    data = content(64 * MB - 5)
    source, out, partial = tmp_path / "in", tmp_path / "out", tmp_path / ("out" + PART_SUFFIX)
    source.write_bytes(data)
    async with node_of(swarm) as node:
        await knows(node, 3)
        placed = await node.put_blob(source)
        killed = await asyncio.to_thread(get_and_die, swarm, placed.name, out)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        assert partial.exists() and not out.exists()
        await node.get_blob(placed.name, out)
        assert out.read_bytes() == data
        fetched = node.overlay.hauler.chunks_in
        chunks = -(-len(data) // (256 << 10))
        assert chunks // 20 < fetched < chunks * 19 // 20, f"{fetched} of {chunks} chunks were fetched"


@pytest.mark.asyncio
async def test_a_put_that_was_cut_sends_only_what_is_missing(swarm: Swarm, tmp_path: Path) -> None:
    data = content(32 * MB)
    (tmp_path / "in").write_bytes(data)
    async with node_of(swarm) as node:
        await knows(node, 3)

        def cut(done: int, total: int) -> None:
            if done >= total // 2:
                putting.cancel()

        putting = asyncio.ensure_future(node.put_blob(tmp_path / "in", on_progress=cut))
        with pytest.raises(asyncio.CancelledError):
            await putting
    async with node_of(swarm) as node:
        await knows(node, 3)
        placed = await node.put_blob(tmp_path / "in")
        assert placed.complete
        assert node.overlay.hauler.chunks_out < 2 * 128 * 3 // 4
        assert await node.get_blob(placed.name) == data


@pytest.mark.asyncio
async def test_survivors_restore_the_replicas_and_the_surplus_goes_when_the_dead_one_returns(
    swarm: Swarm, tmp_path: Path
) -> None:
    data = content(2 * MB)
    async with node_of(swarm) as node:
        await knows(node, 3)
        placed = await node.put_blob(data)
        before = await holders_of(node, placed.name)
        victim = index_of(swarm, before[0])
        config = Config(
            bootstrap=swarm.bootstrap, swarm_key=swarm.key, profile="local", durable=False, roles=("storage",),
            data_dir=swarm.peers[victim].data_dir,
        )  # fmt: skip
        swarm.kill(victim)
        await becomes(node, lambda rows: rows[0].replicas == 2)
        after = await holders_of(node, placed.name)
        assert len(after) == 2 and before[0] not in after and before[1] in after
        async with Node(config, owner=OWNER) as returned:  # the dead one, on its own disk
            await knows(returned, 2)
            name = parse_name(placed.name).digest
            assert returned.overlay.depot.ledger.kept[name].whole
            counts = [3]
            async with asyncio.timeout(90):
                while counts[-1] != 2:
                    mine = name in returned.overlay.depot.ledger.kept
                    counts.append(len(await holders_of(returned, placed.name)) + mine)
                    await asyncio.sleep(0.2)
            assert min(counts) == 2, counts
            assert await node.get_blob(placed.name) == data


@pytest.mark.asyncio
async def test_a_peer_that_leaves_hands_over_what_it_alone_would_leave_short(swarm: Swarm) -> None:
    data = content(2 * MB)
    async with node_of(swarm) as node:
        await knows(node, 3)
        placed = await node.put_blob(data, replicas=1)
        (holder,) = await holders_of(node, placed.name)
        peer = swarm.peers[index_of(swarm, holder)]
        os.kill(peer.pid, signal.SIGTERM)
        async with asyncio.timeout(90):
            while peer.alive:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        (now,) = await holders_of(node, placed.name)
        assert now != holder
        assert await node.get_blob(placed.name) == data


@pytest.mark.asyncio
async def test_a_join_moves_no_blobs(swarm: Swarm) -> None:
    async with node_of(swarm) as node:
        await knows(node, 3)
        placed = await node.put_blob(content(MB))
        before = sorted(await holders_of(node, placed.name))
    await asyncio.to_thread(swarm.add, 3)
    async with node_of(swarm) as node:
        await knows(node, 6)
        until = time.monotonic() + 4.0  # longer than survivors would wait
        while time.monotonic() < until:
            assert sorted(await holders_of(node, placed.name)) == before
            await asyncio.sleep(0.5)


@pytest.mark.asyncio
async def test_what_is_pinned_is_read_where_it_is_when_all_others_are_gone(swarm: Swarm) -> None:
    data = content(MB)
    async with node_of(swarm) as node:
        await knows(node, 3)
        placed = await node.put_blob(data)
        await node.pin_blob(placed.name)
        for peer in swarm.peers:
            swarm.kill(peer.index)
        assert await node.get_blob(placed.name) == data
        await node.pin_blob(placed.name, pinned=False)
        assert node.overlay.depot.statistics()["sections"] == 0
