"""A swarm that grows with the queue and shrinks in silence, and a peer that comes in the middle: real processes."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from itertools import pairwise

import pytest

from p2pcpn import Config, Node, Swarm
from p2pcpn.identity.keys import Keypair

WAIT_S = 60.0
IDLE_S = 3.0


def slow(x: int, wait_s: float) -> tuple[int, int]:
    time.sleep(wait_s)
    return x, os.getppid()


class Sizes:
    """How many peers a swarm had, and since when."""

    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm
        self.changes: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Sizes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            size = len(self.swarm.bootstrap)
            if not self.changes or self.changes[-1][1] != size:
                self.changes.append((time.monotonic(), size))

    def first(self, beyond: int, after: float) -> float:
        """How long after ``after`` there were more than ``beyond`` peers."""
        return next(at for at, size in self.changes if size > beyond and at >= after) - after

    @property
    def turns(self) -> int:
        """How often it began to shrink after growing, or the other way round."""
        sizes = [size for _, size in self.changes]
        ways = [after > before for before, after in pairwise(sizes)]
        return sum(before != after for before, after in pairwise(ways))


@pytest.mark.asyncio
async def test_a_burst_grows_a_swarm_silence_shrinks_it_and_no_result_is_lost() -> None:
    owner = Keypair(os.urandom(32))
    with Swarm(peers=1, peers_max=4, idle_s=IDLE_S) as swarm, Sizes(swarm) as sizes:

        def client() -> Node:
            settings = {"bootstrap": swarm.bootstrap, "swarm_key": swarm.key, "roles": (), "durable": False}
            return Node(Config(profile="local", **settings), owner=owner)  # type: ignore[arg-type]

        async with client() as node:
            await asyncio.sleep(1.0)
            began = time.monotonic()
            calls = await node.submit(spread, range(60), replicas=2)
            values = await calls.gather(WAIT_S)
            assert values == [x * 2 for x in range(60)]
            ended = time.monotonic()
            # The job is done when its log lies on others; its grantor is this program.
            await asyncio.sleep(1.0)
        assert sizes.first(1, began) < 5.0
        assert max(size for _, size in sizes.changes) == 4
        while len(swarm.bootstrap) > 1:
            assert time.monotonic() < ended + WAIT_S, "it does not shrink"
            await asyncio.sleep(0.1)
        shrank = next(at for at, size in sizes.changes if size < 4 and at > ended - 1.0)
        assert shrank - ended > IDLE_S / 2
        assert sizes.turns == 1
        async with client() as later:
            assert await (await later.fetch(calls.id)).gather(WAIT_S) == values


def spread(x: int) -> int:
    time.sleep(0.25)
    return x * 2


def test_a_peer_that_comes_in_the_middle_of_a_job_gets_work_of_those_that_queue() -> None:
    with Swarm(peers=1) as swarm, swarm.executor() as executor:
        futures = [executor.submit(slow, x, 0.3) for x in range(24)]
        assert futures[2].result(WAIT_S)[0] == 2
        began = time.monotonic()
        swarm.add(2)
        results = [future.result(WAIT_S) for future in futures]
        took = time.monotonic() - began
        assert [x for x, _ in results] == list(range(24))
        shares = Counter(process for _, process in results)
        assert len(shares) == 3 and min(shares.values()) >= 4, shares
        assert took < 0.75 * 21 * 0.3  # one peer alone would have needed 6.3 s
