"""How soon ``Executor(5)`` gives its first result, and how soon it is shut down. Prints one JSON object.

    python benchmarks/first_result.py [RUNS]

Each run is a fresh interpreter. The floors are 0.7 s to the first result and 0.3 s for the shutdown; ``round_trip_ms``
is one call after the other, ``tasks_per_s`` all at once.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

ROUND_TRIPS = 300
TASKS = 20_000


def one_run() -> dict[str, float]:
    """Import, start, compute and shut down, timed."""
    begin = time.perf_counter()
    from p2pcpn import Executor

    executor = Executor(5)
    started = time.perf_counter()
    executor.submit(pow, 2, 10).result()
    first = time.perf_counter()
    trips = []
    for i in range(ROUND_TRIPS):
        at = time.perf_counter()
        executor.submit(pow, 2, i).result()
        trips.append(time.perf_counter() - at)
    at = time.perf_counter()
    for future in [executor.submit(pow, 2, 2) for _ in range(TASKS)]:
        future.result()
    rate = TASKS / (time.perf_counter() - at)
    at = time.perf_counter()
    executor.shutdown()
    ended = time.perf_counter()
    return {
        "constructed_s": started - begin, "first_result_s": first - begin, "shutdown_s": ended - at,
        "round_trip_ms": statistics.median(trips) * 1e3, "round_trip_p99_ms": sorted(trips)[-ROUND_TRIPS // 100] * 1e3,
        "tasks_per_s": rate,
    }  # fmt: skip


def main() -> None:
    if sys.argv[1:] == ["--one"]:
        print(json.dumps(one_run()))
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    command = [sys.executable, __file__, "--one"]
    found = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(runs)]
    medians = {name: round(statistics.median(run[name] for run in found), 4) for name in found[0]}
    worst = {f"worst_{name}": round(max(run[name] for run in found), 4) for name in ("first_result_s", "shutdown_s")}
    print(json.dumps({"runs": runs} | medians | worst, indent=1))


if __name__ == "__main__":
    main()
