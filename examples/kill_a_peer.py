"""Peers may die at any moment: two of five are killed at work, and every result arrives, once."""

from __future__ import annotations

import time
from concurrent.futures import as_completed

from p2pcpn import Swarm

TASKS = 60


def work(number: int) -> int:
    time.sleep(0.05)
    return number * number


if __name__ == "__main__":
    with Swarm(peers=5) as swarm, swarm.executor() as executor:
        futures = [executor.submit(work, number) for number in range(TASKS)]
        for done, _ in enumerate(as_completed(futures), 1):
            if done in (10, 20):
                victim = done // 10
                swarm.kill(victim)  # SIGKILL, as if the machine lost power
                print(f"killed peer {victim} after {done} results")
        results = [future.result() for future in futures]
        assert results == [number * number for number in range(TASKS)]
        alive = sum(peer.alive for peer in swarm.peers)
        print(f"{len(results)} results of {TASKS}, {alive} of {len(swarm.peers)} peers alive")
