"""Peers are killed while they work: every result comes once, and the swarm keeps serving."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from p2pcpn import Config, Node, Swarm
from p2pcpn.client.recorded import verdict
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.verdict import Verdict

TASKS = 300


def slow(i: int) -> int:
    time.sleep(0.05)
    return i * 3


def wait_until(reached: Any, wait_s: float) -> bool:
    end = time.monotonic() + wait_s
    while not reached():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def checked(history: Path, swarm: Swarm, job: str, key: Keypair) -> Verdict:
    """Read a job through a peer of its own, which notes what it saw; then judge what everybody noted."""

    async def read() -> None:
        config = Config(
            bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), profile="local", history=history
        )  # fmt: skip
        async with Node(config, owner=key) as node:
            await (await node.fetch(job)).gather()

    asyncio.run(read())
    found = verdict(history)
    assert found.ok, [(violation.text, violation.lines) for violation in found.violations]
    return found


def test_three_of_six_peers_are_killed_and_each_of_300_results_comes_once(tmp_path: Path) -> None:
    key = Keypair(os.urandom(32))
    done: Counter[int] = Counter()

    def count(future: Future[int]) -> None:
        done[future.result()] += 1

    with Swarm(peers=6, history=tmp_path) as swarm, swarm.executor(replicas=3, key=key) as executor:
        futures = [executor.submit(slow, i) for i in range(TASKS)]
        for future in futures:
            future.add_done_callback(count)
        for victim in range(3):
            assert wait_until(lambda victim=victim: len(done) >= 20 + 30 * victim, 20)
            swarm.kill(victim)
            before = len(done)
            assert wait_until(lambda before=before: len(done) > before, 2.0), "no result within 2 s of a kill"
        assert [future.result(30) for future in futures] == [i * 3 for i in range(TASKS)]
        assert done == Counter({i * 3: 1 for i in range(TASKS)})
        assert list(executor.map(slow, range(10), timeout=20)) == [i * 3 for i in range(10)]
        executor.shutdown()
        assert executor.job_id is not None
        found = checked(tmp_path, swarm, executor.job_id, key)
        assert found.settled == found.tasks >= TASKS and found.readers == 1 and found.jobs == 1


def test_a_program_finds_peers_that_came_in_the_moment_before_all_others_died() -> None:
    with Swarm(peers=1) as swarm, swarm.executor(replicas=1) as executor:
        assert executor.submit(slow, 1).result(30) == 3
        swarm.add(1)
        swarm.kill(0)
        assert executor.submit(slow, 2).result(30) == 6


def test_when_all_peers_are_killed_new_ones_take_over(tmp_path: Path) -> None:
    key = Keypair(os.urandom(32))
    with Swarm(peers=2, history=tmp_path) as swarm, swarm.executor(replicas=1, key=key) as executor:
        futures = [executor.submit(slow, i) for i in range(60)]
        assert wait_until(lambda: sum(future.done() for future in futures) >= 5, 20)
        swarm.add(2)
        assert wait_until(lambda: sum(future.done() for future in futures) >= 15, 20)
        swarm.kill(0)
        swarm.kill(1)
        assert [future.result(30) for future in futures] == [i * 3 for i in range(60)]
    found = verdict(tmp_path)
    assert found.ok, [(violation.text, violation.lines) for violation in found.violations]
    assert found.settled == found.tasks == 60
