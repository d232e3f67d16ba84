"""A node in an asyncio program: it takes part, submits and fetches."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from p2pcpn.client.node import Node
from p2pcpn.config import Config
from p2pcpn.errors import JobError, StoreError, UsageError
from p2pcpn.identity.files import load_or_create_key
from p2pcpn.identity.keys import Keypair

SWARM_KEY = b"\6" * 32
OWNER = Keypair(b"\3" * 32)


def config(*others: Node, roles: tuple[str, ...] = ()) -> Config:
    bootstrap = [other.address for other in others]
    return Config(profile="local", bootstrap=bootstrap, swarm_key=SWARM_KEY, roles=roles, cpus=1)


@pytest.mark.asyncio
async def test_a_node_submits_to_a_peer_and_fetches_what_came_of_it() -> None:
    async with Node(config(roles=("compute", "storage"))) as worker, Node(config(worker), owner=OWNER) as node:
        assert len(node.id) == 40 and node.address.startswith("127.0.0.1:") and node.owner is OWNER
        job = await node.submit(abs, [-1, 2, -3], replicas=1)
        assert await job.gather(20) == [1, 2, 3]
        assert await (await node.fetch(job.id)).gather(20) == [1, 2, 3]
        with pytest.raises(JobError, match="no peer that answers keeps job"):
            await node.fetch("00" * 20, wait_s=0.05)
        with pytest.raises(UsageError):
            await node.fetch("no job")
        with pytest.raises(UsageError):
            await node.submit(abs, [], replicas=0)


@pytest.mark.asyncio
async def test_a_closed_node_takes_no_more_work_and_what_was_under_way_ends() -> None:
    async with Node(config(roles=("storage",))) as keeper:
        async with Node(config(keeper), owner=OWNER) as node:
            job = await node.submit(abs, [-1], replicas=1)  # nobody computes here
        with pytest.raises(JobError, match="let go before this task had ended"):
            await job.gather(5)
        with pytest.raises(RuntimeError, match="the node is closed"):
            await node.submit(abs, [1])
        with pytest.raises(RuntimeError, match="the node is closed"):
            await node.fetch(job.id)
        with pytest.raises(RuntimeError, match="runs once"):
            await node.__aenter__()


@pytest.mark.asyncio
async def test_a_file_is_put_listed_pinned_and_brought_back(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2000
    async with Node(config(roles=("storage",))) as keeper, Node(config(keeper), owner=OWNER) as node:
        placed = await node.put_blob(data, replicas=1)
        assert (placed.size_bytes, placed.replicas, placed.wanted) == (len(data), 1, 1)
        assert [owned.size_bytes for owned in await node.list_blobs()] == [len(data)]
        assert await node.get_blob(placed.name) == data
        assert await node.get_blob(placed.name, tmp_path / "again") == b""
        assert (tmp_path / "again").read_bytes() == data
        await keeper.pin_blob(placed.name)
        await keeper.pin_blob(placed.name, pinned=False)
        with pytest.raises(UsageError, match="pinned"):
            await keeper.pin_blob(placed.name, pinned=False)
        with pytest.raises(UsageError, match="no name of a blob"):
            await node.get_blob("blobxyz")


@pytest.mark.asyncio
async def test_a_node_whose_handing_over_is_interrupted_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(config())

    async def interrupted() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        async with node:
            monkeypatch.setattr(node.overlay.upkeep, "hand_over", interrupted)
    with pytest.raises(StoreError, match="closed"):
        node.overlay.database.next_boot()


@pytest.mark.asyncio
async def test_a_folder_that_cannot_be_made_is_named_in_one_line() -> None:
    with pytest.raises(StoreError, match=r"/proc/self/nothing cannot be made: .*--data"):
        Node(Config(data_dir="/proc/self/nothing"))


def test_whose_jobs_they_are_is_said_by_argument_or_settings(tmp_path: Path) -> None:
    file = tmp_path / "owner.key"
    owner = load_or_create_key(file)
    assert Node(Config(profile="local"), owner=file).owner.public == owner.public
    assert Node(Config(profile="local", key=file)).owner.public == owner.public
