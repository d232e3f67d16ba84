"""Results outlive all who had them first: real peers die one after the other, and those left restore the copies."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from p2pcpn import Config, Node, Swarm
from p2pcpn.identity.files import load_or_create_key
from p2pcpn.identity.keys import Keypair
from p2pcpn.limits import STEWARDS
from p2pcpn.wire.pages import SIGNED
from p2pcpn.wire.statements import LogHeader, read

WAIT_S = 60.0
PEERS = STEWARDS + 1
FRESH = 3


def square(x: int) -> int:
    return x * x


def large(x: int) -> bytes:
    return bytes([x]) * (1 << 20)


def client(swarm: Swarm, owner: Keypair) -> Node:
    config = Config(profile="local", bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), durable=False)
    return Node(config, owner=owner)


def settled(swarm: Swarm, index: int) -> dict[str, int]:
    """How many results of each job that it keeps the logs settle that lie on the disk of a peer."""
    with closing(sqlite3.connect(f"file:{swarm.peers[index].data_dir}/node.db?mode=ro", uri=True)) as database:
        query = "select logs.job, header from logs join jobs on jobs.job = logs.job where spec is not null"
        headers = database.execute(query).fetchall()
    found: dict[str, int] = {}
    for job, header in headers:
        found[job.hex()] = max(found.get(job.hex(), 0), read(SIGNED.decode(header), LogHeader).settled)
    return found


def shown(swarm: Swarm, key: Path, job: str) -> int:
    """How many results of a job the command prints."""
    found = subprocess.run(
        [sys.executable, "-m", "p2pcpn", "job", "result", job, "--bootstrap", swarm.bootstrap[-1], "--swarm-key",
         swarm.key, "--key", str(key), "--timeout", "60s"],
        capture_output=True, text=True, timeout=WAIT_S + 30.0, check=True,
    )  # fmt: skip
    return len(found.stdout.splitlines())


async def kept_by(swarm: Swarm, job: str, results: int, copies: int = 2) -> list[int]:
    """Who lives and keeps all of a job, when they are as many as that."""
    end = time.monotonic() + WAIT_S
    while True:
        alive = [index for index, peer in enumerate(swarm.peers) if peer.alive]
        found = [index for index in alive if settled(swarm, index).get(job) == results]
        if len(found) >= copies:
            return found
        assert time.monotonic() < end, f"{len(found)} copies of {job[:8]} where {copies} are wanted"
        await asyncio.sleep(0.1)


@pytest.mark.asyncio
async def test_results_are_read_when_none_of_those_who_had_them_first_lives(tmp_path: Path) -> None:
    key = tmp_path / "owner.key"
    owner = load_or_create_key(key)
    with Swarm(peers=PEERS) as swarm:
        async with client(swarm, owner) as node:
            small = await node.submit(square, range(200), replicas=2)
            assert len(await small.gather(WAIT_S)) == 200
            big = await node.submit(large, range(3), replicas=2)
            assert len(await big.gather(WAIT_S)) == 3
            jobs = {small.id: 200, big.id: 3}
            first = {index for job, results in jobs.items() for index in await kept_by(swarm, job, results, STEWARDS)}
        swarm.add(FRESH)
        for index in sorted(first):
            swarm.kill(index)
            for job, results in jobs.items():
                await kept_by(swarm, job, results)
        assert not any(swarm.peers[index].alive for index in first)
        # Peers that have never heard of any of it.
        assert await asyncio.to_thread(shown, swarm, key, small.id) == 200
        async with client(swarm, owner) as later:
            assert await (await later.fetch(small.id)).gather(WAIT_S) == [x * x for x in range(200)]
            assert await (await later.fetch(big.id)).gather(WAIT_S) == [large(x) for x in range(3)]
