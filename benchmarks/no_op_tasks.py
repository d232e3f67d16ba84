"""2,000 no-op tasks, a future each, through a two-peer swarm and through ProcessPoolExecutor(2), in turn in one run.

Machines are shared and noisy, so the figure is the ratio of the medians; A B A B, after a warm-up of each. Everything a
user has is on: signatures, encryption, leases, settlements, two replicas, captured output.

    python benchmarks/no_op_tasks.py [TASKS] [ROUNDS]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor

from p2pcpn import Swarm


def no_op(index: int) -> int:
    """The cheapest task there is."""
    return index


def tasks_per_s(executor: Executor, count: int) -> float:
    """One round: submit all, await all, check all."""
    start = time.perf_counter()
    futures = [executor.submit(no_op, index) for index in range(count)]
    assert [future.result() for future in futures] == list(range(count))
    return count / (time.perf_counter() - start)


def round_trip_ms(executor: Executor, count: int) -> float:
    """Median of sequential calls."""
    found = []
    for index in range(count):
        start = time.perf_counter()
        executor.submit(no_op, index).result()
        found.append((time.perf_counter() - start) * 1e3)
    return statistics.median(found)


def main(count: int = 2000, rounds: int = 5) -> None:
    """Print one JSON object: medians and ratios."""
    with Swarm(peers=2) as swarm, swarm.executor(replicas=2) as ours, ProcessPoolExecutor(2) as theirs:
        pair: tuple[Executor, Executor] = (ours, theirs)
        for executor in pair:
            tasks_per_s(executor, 200)
        rates = [[tasks_per_s(executor, count) for executor in pair] for _ in range(rounds)]
        trips = [[round_trip_ms(executor, 200) for executor in pair] for _ in range(3)]
    mine, pool = (statistics.median(column) for column in zip(*rates, strict=True))
    trip, pool_trip = (statistics.median(column) for column in zip(*trips, strict=True))
    print(
        json.dumps(
            {
                "tasks": count,
                "p2pcpn_tasks_per_s": round(mine),
                "process_pool_tasks_per_s": round(pool),
                "ratio": round(mine / pool, 2),
                "p2pcpn_round_trip_p50_ms": round(trip, 3),
                "process_pool_round_trip_p50_ms": round(pool_trip, 3),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
