"""Peers that leave politely: what runs ends, what waits goes to others, what they keep is kept on. Real processes."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from p2pcpn import Config, Node, Swarm
from p2pcpn.client.departing import control_of, stay
from p2pcpn.errors import UsageError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.control import ask
from p2pcpn.wire.pages import SIGNED
from p2pcpn.wire.statements import LogHeader, read
from tests.integration.test_takeover import submitter

WAIT_S = 30.0


def square(x: int) -> int:
    return x * x


def large(x: int) -> bytes:
    return bytes([x]) * (1 << 20)


def noted(path: str, x: int, wait_s: float) -> int:
    with open(path, "a") as file:
        file.write(f"{x} {os.getppid()}\n")
    time.sleep(wait_s)
    return x


def held_back(path: str, x: int, go: str) -> int:
    with open(path, "a") as file:
        file.write(f"{x}\n")
    end = time.monotonic() + WAIT_S
    while not os.path.exists(go) and time.monotonic() < end:
        time.sleep(0.02)
    return x


def runs(path: Path) -> Counter[int]:
    return Counter(int(line.split()[0]) for line in path.read_text().splitlines()) if path.exists() else Counter()


def asked(swarm: Swarm, index: int, op: str = "status", **words: float) -> dict[str, Any]:
    return ask(control_of(swarm.peers[index].data_dir), op, **words)


async def until(true: Any, wait_s: float = WAIT_S) -> None:
    end = time.monotonic() + wait_s
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.02)


def settled(swarm: Swarm, index: int) -> int:
    """How many results the logs settle that a peer has on disk."""
    with closing(sqlite3.connect(f"file:{swarm.peers[index].data_dir}/node.db?mode=ro", uri=True)) as database:
        headers = database.execute("select job, header from logs").fetchall()
    counts: Counter[bytes] = Counter()
    for job, header in headers:
        counts[job] = max(counts[job], read(SIGNED.decode(header), LogHeader).settled)
    return counts.total()


def client(swarm: Swarm, owner: Keypair) -> Node:
    config = Config(profile="local", bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), durable=False)
    return Node(config, owner=owner)


@pytest.mark.asyncio
async def test_results_outlive_both_their_holders_when_these_drain_one_after_the_other() -> None:
    owner = Keypair(os.urandom(32))
    with Swarm(peers=2) as swarm:
        async with client(swarm, owner) as node:
            small = await node.submit(square, range(50), replicas=2)
            assert await small.gather(WAIT_S) == [x * x for x in range(50)]
            big = await node.submit(large, range(3), replicas=2)
            assert len(await big.gather(WAIT_S)) == 3
            await until(lambda: [settled(swarm, 0), settled(swarm, 1)] == [53, 53])
        swarm.add(2)
        await until(lambda: asked(swarm, 0)["known_peers"] == 3 and asked(swarm, 1)["known_peers"] == 3)
        for index in (0, 1):
            assert await asyncio.to_thread(swarm.drain, index) == {}
            assert not swarm.peers[index].alive
        async with client(swarm, owner) as later:
            assert await (await later.fetch(small.id)).gather(WAIT_S) == [x * x for x in range(50)]
            assert await (await later.fetch(big.id)).gather(WAIT_S) == [large(x) for x in range(3)]
        # One is left: its copies are all there is, and it says so.
        assert (await asyncio.to_thread(swarm.drain, 2)) == {"jobs": 2}
        async with client(swarm, owner) as later:
            assert await (await later.fetch(small.id)).gather(WAIT_S) == [x * x for x in range(50)]
    with pytest.raises(UsageError):
        swarm.drain(9)


def kept_by(swarm: Swarm, index: int, table: str) -> int:
    """How many rows a peer has on disk in one table."""
    with closing(sqlite3.connect(f"file:{swarm.peers[index].data_dir}/node.db?mode=ro", uri=True)) as database:
        count: int = database.execute(f"select count(*) from {table}").fetchone()[0]
    return count


def test_the_tasks_of_an_open_job_outlive_its_stewards_that_drain_and_its_owner_resumes_it(tmp_path: Path) -> None:
    key, runs = tmp_path / "owner.key", tmp_path / "runs"
    with Swarm(peers=2) as swarm:
        options = {"replicas": 2, "orchestration": "centralised"}
        with submitter(swarm, runs, [0.1] * 60, **options) as one:
            one.until(10)
            one.end()
            swarm.add(2)
            asyncio.run(until(lambda: all(asked(swarm, index)["known_peers"] >= 3 for index in range(4))))
            assert [kept_by(swarm, index, "segments") for index in range(4)] == [1, 1, 0, 0]
            for index in (0, 1):
                assert swarm.drain(index) == {}
            assert [kept_by(swarm, index, "segments") for index in (2, 3)] == [1, 1]
            key.write_text(f"p2pcpn-key-1 {one._seed.hex()}\n")
            key.chmod(0o600)
            where = [*(f"--bootstrap={address}" for address in swarm.bootstrap), f"--swarm-key={swarm.key}"]
            command = [sys.executable, "-m", "p2pcpn", "job", "resume", one.job, "--here", "--json", f"--key={key}"]
            ended = subprocess.run([*command, *where], capture_output=True, text=True, timeout=2 * WAIT_S)
            assert ended.returncode == 0, ended.stderr
            assert json.loads(ended.stdout) == {"job": one.job, "settled": 60, "failed": 0, "cancelled": False}
            assert set(one.counted()) == set(range(60))


@pytest.mark.asyncio
async def test_what_runs_ends_where_it_is_and_what_waits_goes_to_others(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    with Swarm(peers=2) as swarm, swarm.executor() as executor:
        futures = [executor.submit(noted, str(path), x, 0.6) for x in range(8)]
        await until(lambda: asked(swarm, 0)["running"] and asked(swarm, 1)["running"])
        assert await asyncio.to_thread(swarm.drain, 1) == {}
        assert [future.result(WAIT_S) for future in futures] == list(range(8))
        assert runs(path) == Counter(range(8))  # nothing was begun twice
        assert executor.submit(square, 3).result(WAIT_S) == 9


@pytest.mark.asyncio
async def test_tasks_that_run_longer_than_is_waited_for_run_elsewhere(tmp_path: Path) -> None:
    path, go = tmp_path / "runs", tmp_path / "go"
    with Swarm(peers=2) as swarm, swarm.executor() as executor:
        futures = [executor.submit(held_back, str(path), x, str(go)) for x in range(2)]
        await until(lambda: asked(swarm, 0)["running"] and asked(swarm, 1)["running"] and len(runs(path)) == 2)
        assert (await asyncio.to_thread(swarm.drain, 1, 0.3))["tasks"] == 1
        go.touch()
        assert [future.result(WAIT_S) for future in futures] == [0, 1]
        assert sorted(runs(path).values()) == [1, 2]


@pytest.mark.asyncio
async def test_a_peer_that_drains_says_so_takes_nothing_and_may_be_had_back(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    with Swarm(peers=2) as swarm, swarm.executor() as executor:
        futures = [executor.submit(noted, str(path), x, 1.5) for x in range(2)]
        await until(lambda: asked(swarm, 0)["running"] and asked(swarm, 1)["running"])
        assert asked(swarm, 1, "drain", drain_s=30)["state"] == "finishing"
        seen = lambda: [p["draining"] for p in asked(swarm, 0, "peers")["peers"] if p["id"] == swarm.peers[1].id]  # noqa: E731
        await until(lambda: seen() == [True])
        assert stay(control_of(swarm.peers[1].data_dir))
        assert asked(swarm, 1, "draining")["state"] == "staying"
        assert not stay(control_of(swarm.peers[1].data_dir))
        assert [future.result(WAIT_S) for future in futures] == [0, 1]
        await until(lambda: seen() == [False])
        more = [executor.submit(noted, str(path), x, 0.5) for x in range(10, 18)]
        await until(lambda: asked(swarm, 1)["running"] == 1)  # it works again
        assert [future.result(WAIT_S) for future in more] == list(range(10, 18))
