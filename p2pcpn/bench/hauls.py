"""Hauls: a large file put into a swarm of real peers and brought back: bytes a second, and memory of each process."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import psutil

from p2pcpn.client.connection import run
from p2pcpn.client.node import Node
from p2pcpn.client.swarm import Swarm
from p2pcpn.config import Config
from p2pcpn.identity.keys import Keypair

MB: Final = 1e6
MIB: Final = 1 << 20
MEET_S: Final = 15.0
LOOK_S: Final = 0.02


class Peaks:
    """The most resident memory of each process while the block runs, above what it had before."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]
        self._before = [process.memory_info().rss for process in self._processes]
        self._peaks = list(self._before)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            for at, process in enumerate(self._processes):
                self._peaks[at] = max(self._peaks[at], process.memory_info().rss)

    @property
    def above_bytes(self) -> list[int]:
        """By process."""
        return [peak - before for peak, before in zip(self._peaks, self._before, strict=True)]


def measure(
    peers: int,
    mib: int,
    replicas: int,
    new: Callable[..., Any] = Swarm,
    node: Callable[..., Any] = Node,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Put a file of ``mib`` MiB that nobody can compress, and get it back; it must be the same."""
    with tempfile.TemporaryDirectory(prefix="p2pcpn-bench-") as folder, new(peers=peers) as swarm:
        source, target = Path(folder, "in"), Path(folder, "out")
        with open(source, "wb") as file:
            for _ in range(mib):
                file.write(os.urandom(MIB))
            os.fsync(file.fileno())  # our own file is not to be written back beside what is measured
        return run(_haul(swarm, source, target, mib * MIB, replicas, node, clock))


async def _haul(
    swarm: Any,
    source: Path,
    target: Path,
    size: int,
    replicas: int,
    node: Callable[..., Any],
    clock: Callable[[], float],
) -> dict[str, Any]:
    config = Config(bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), profile="local")
    async with node(config, owner=Keypair(os.urandom(32))) as client:
        async with asyncio.timeout(MEET_S):
            while len(client.overlay.hauler.storage_near(bytes(32))) < len(swarm.peers):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
        with Peaks([os.getpid(), *(peer.pid for peer in swarm.peers)]) as peaks:
            begun = clock()
            placed = await client.put_blob(source, replicas=replicas)
            put_s = clock() - begun
            begun = clock()
            await client.get_blob(placed.name, target)
            get_s = clock() - begun
    assert placed.replicas == replicas, f"{placed.replicas} of {replicas} replicas: {placed.refusals}"
    _same(source, target)
    return {
        "put_rate": size / MB / put_s, "get_rate": size / MB / get_s, "put_s": put_s, "get_s": get_s, "bytes": size,
        "above_bytes": peaks.above_bytes,
    }  # fmt: skip


def _same(one: Path, other: Path) -> None:
    with open(one, "rb") as first, open(other, "rb") as second:
        while data := first.read(MIB):
            assert data == second.read(MIB), "what comes back is what was put"
        assert not second.read(1), "nothing comes behind it"
