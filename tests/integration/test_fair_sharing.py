"""Owners on real, busy peers: who comes with ten tasks does not wait until somebody else's flood is over."""

from __future__ import annotations

import time
from concurrent.futures import wait

from p2pcpn import Executor, Swarm
from p2pcpn.identity.keys import Keypair

FLOODER, OTHER = Keypair(b"f" * 32), Keypair(b"o" * 32)
FLOOD, FLOOD_TASK_S = 20_000, 0.01
FEW, FEW_TASK_S = 10, 0.05


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def few_s(swarm: Swarm) -> float:
    """How long the ten take, a new job each time."""
    began = time.monotonic()
    with Executor(bootstrap=swarm.bootstrap, swarm_key=swarm.key, key=OTHER) as executor:
        assert list(executor.map(nap, [FEW_TASK_S] * FEW, chunksize=1)) == [FEW_TASK_S] * FEW
    return time.monotonic() - began


def test_ten_tasks_beside_a_flood_of_another_owner_take_little_longer_than_alone() -> None:
    with Swarm(peers=2) as swarm:
        alone_s = min(few_s(swarm) for _ in range(2))
        flood = Executor(bootstrap=swarm.bootstrap, swarm_key=swarm.key, key=FLOODER)
        try:
            futures = [flood.submit(nap, FLOOD_TASK_S) for _ in range(FLOOD)]
            wait(futures[:50], timeout=30)  # every slot is busy with it, and more is queued
            beside_s = few_s(swarm)
            assert not futures[-1].done()  # alone it lasts for FLOOD * FLOOD_TASK_S / 2 = 100 s
            # Half of the slots, and less than a second until busy peers claim: machines that run tests are busy, too.
            assert beside_s < 2 * alone_s + 4.0
            ended = sum(future.done() for future in futures)
            assert ended > 50  # and the flood goes on beside it
        finally:
            flood.shutdown(wait=True, cancel_futures=True)


def test_one_owners_urgent_job_overtakes_its_own_flood() -> None:
    with Swarm(peers=2) as swarm:
        flood = swarm.executor(key=FLOODER)
        try:
            futures = [flood.submit(nap, FLOOD_TASK_S) for _ in range(FLOOD)]
            wait(futures[:50], timeout=30)
            began = time.monotonic()
            with swarm.executor(key=FLOODER, priority=5) as urgent:
                assert list(urgent.map(nap, [FEW_TASK_S] * FEW, chunksize=1)) == [FEW_TASK_S] * FEW
            assert time.monotonic() - began < 10.0 and not futures[-1].done()
        finally:
            flood.shutdown(wait=True, cancel_futures=True)
