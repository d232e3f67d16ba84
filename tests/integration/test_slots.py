"""A node within bounds of its owner's: processes come with a queue, and go in silence."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import psutil
import pytest

from p2pcpn import Config, Executor, Node
from p2pcpn.node import slots

WAIT_S = 40.0
KEY = b"\7" * 32


def workers() -> int:
    """Processes below this one: the node's zygote and its workers."""
    return len(psutil.Process(os.getpid()).children(recursive=True))


def nap(x: int) -> int:
    time.sleep(0.2)
    return x


async def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.05)


@pytest.mark.asyncio
async def test_a_node_grows_its_processes_for_a_queue_and_ends_them_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slots, "IDLE_S", 1.0)
    monkeypatch.setattr(slots, "cores", lambda: 64)  # whatever else runs on this machine
    config = Config(profile="local", cpus=4, cpus_min=1, swarm_key=KEY, durable=False)
    async with Node(config) as node:
        assert node.overlay.slots == 1
        host, port = node.overlay.peer.contact.address

        def compute() -> list[int]:
            with Executor(bootstrap=[f"{host}:{port}"], swarm_key=KEY) as executor:
                return [future.result(WAIT_S) for future in [executor.submit(nap, x) for x in range(60)]]

        computing = asyncio.create_task(asyncio.to_thread(compute))
        await until(lambda: node.overlay.slots == 4)
        await until(lambda: node.overlay.peer.worker.running == 4)
        assert await computing == list(range(60))
        busy = workers()
        await until(lambda: node.overlay.slots == 1)
        await until(lambda: workers() <= busy - 2)
