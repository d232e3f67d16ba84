"""A peer at which nothing succeeds: a job ends as without it, it gets little, and who asks hears why."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from p2pcpn import Config, Node, Swarm
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol import events
from p2pcpn.protocol.breakers import FAILURES_MAX, Shut

WAIT_S = 60.0
TASKS = 150
LONG_ENOUGH_S = 10.0


def above() -> list[int]:
    """The processes that this one descends from."""
    found, pid = [], os.getpid()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        found.append(pid)
    return found


def dies_at(victim: int, notes: str, index: int) -> int:
    if victim in above():
        with open(notes, "a") as file:
            file.write(f"{index}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return index * 3


def nap(index: int) -> int:
    time.sleep(0.02)
    return index * 3


@contextmanager
def no_processes_below(pid: int) -> Iterator[None]:
    """Whatever that process starts is killed at once: its runtime cannot come up."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.002):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                try:
                    os.kill(int(child), signal.SIGKILL)
                except ProcessLookupError:
                    continue

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def config(swarm: Swarm) -> Config:
    return Config(bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), profile="local")


async def said_of(node: Node, job: str, peer: str) -> events.Explained:
    """What a peer answers to whoever asks why it runs a job or does not."""
    async with asyncio.timeout(WAIT_S):
        while True:
            for each in await node.overlay.explain(bytes.fromhex(job), 1.0):
                if each.peer.id.hex() == peer and each.code != "silent":
                    return each


@pytest.mark.asyncio
async def test_a_peer_whose_worker_processes_always_die_gets_few_batches_and_says_so(tmp_path: Path) -> None:
    notes = tmp_path / "deaths"
    with Swarm(peers=3) as swarm:
        victim = swarm.peers[0]
        async with asyncio.timeout(WAIT_S), Node(config(swarm), owner=Keypair(os.urandom(32))) as node:
            shut_at_some_time: list[Shut] = []
            began = time.monotonic()
            while not shut_at_some_time or time.monotonic() < began + LONG_ENOUGH_S:
                job = await node.submit(partial(dies_at, victim.pid, str(notes)), range(TASKS))
                async for result in job.results(WAIT_S):
                    assert result.unwrap() == result.index * 3
                    shut_at_some_time += node.overlay.peer.jobs.breakers.shut("function")
            took_s = time.monotonic() - began
            deaths = len(notes.read_text().split())
            print(f"in {took_s:.1f} s {deaths} tasks were tried at the peer whose processes die")
            # The waits between probes are 1, 2, 4 … s; without a breaker it would be tried each second, and more.
            assert FAILURES_MAX <= deaths <= FAILURES_MAX + 1 + math.log2(took_s)
            assert {each.peer.hex() for each in shut_at_some_time} == {victim.id}
            assert "its worker process died" in shut_at_some_time[-1].why
            said = await said_of(node, job.id, victim.id)
            assert said.code == "failing" and "its worker processes die (signal 9)" in said.text


@pytest.mark.asyncio
async def test_a_peer_whose_runtime_does_not_start_costs_its_tasks_nothing_and_is_back_when_it_does() -> None:
    with Swarm(peers=3) as swarm:
        victim = swarm.peers[0]
        async with asyncio.timeout(2 * WAIT_S), Node(config(swarm), owner=Keypair(os.urandom(32))) as node:
            breakers = node.overlay.peer.jobs.breakers
            with no_processes_below(victim.pid):
                job = await node.submit(nap, range(TASKS))
                assert await job.gather(WAIT_S) == [index * 3 for index in range(TASKS)]
                while not breakers.shut("function"):  # what the peer has begun to start is told of later
                    job = await node.submit(nap, range(TASKS))
                    await job.gather(WAIT_S)
                (shut,) = breakers.shut("function")
                assert shut.peer.hex() == victim.id and "its worker processes do not start" in shut.why
                said = await said_of(node, job.id, victim.id)
                assert said.code == "failing" and "do not start" in said.text
            while breakers.shut("function"):
                job = await node.submit(nap, range(TASKS))
                await job.gather(WAIT_S)
