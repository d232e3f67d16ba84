"""Tasks of all lengths on real peers: no knob, none waits behind a long one, and none runs twice."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from p2pcpn import Executor, Swarm

WAIT_S = 60.0


class Run(NamedTuple):
    """When and where a task ran."""

    index: int
    pid: int
    began: float
    ended: float


def runner(log: Path) -> Callable[[int, float], tuple[int, int, float, float]]:
    """A task that takes so many seconds and notes each of its runs in ``log``."""
    path = str(log)

    def run(index: int, takes_s: float) -> tuple[int, int, float, float]:
        began = time.time()
        line = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(line, b"%d\n" % index)
        os.close(line)
        time.sleep(takes_s)
        return index, os.getpid(), began, time.time()

    return run


@pytest.fixture(scope="module")
def swarm() -> Iterator[Swarm]:
    with Swarm(peers=2) as found:
        yield found


@pytest.fixture
def executor(swarm: Swarm) -> Iterator[Executor]:
    with swarm.executor(hedge=False) as found:  # else the long ones among the short ones may run twice
        warm = [found.submit(time.sleep, 0.05) for _ in range(4)]
        for future in warm:
            future.result(WAIT_S)
        yield found


def ran(executor: Executor, log: Path, lengths: list[float]) -> list[Run]:
    """Run one task of each length, in order. None may run twice."""
    run = runner(log)
    futures = [executor.submit(run, index, takes_s) for index, takes_s in enumerate(lengths)]
    found = [Run(*future.result(WAIT_S)) for future in futures]
    counts = Counter(int(line) for line in log.read_text().split())
    assert sorted(counts) == list(range(len(lengths)))
    assert set(counts.values()) == {1}, "a task ran twice although no peer was lost"
    return found


def test_tasks_that_take_nothing_travel_in_large_batches(executor: Executor) -> None:
    began = time.monotonic()
    assert sum(executor.map(int, range(20_000), chunksize=1)) == 20_000 * 19_999 // 2
    assert time.monotonic() - began < 20.0  # a message each would take longer


def test_tasks_of_ten_milliseconds_keep_both_peers_busy_to_the_end(executor: Executor, tmp_path: Path) -> None:
    runs = ran(executor, tmp_path / "log", [0.01] * 300)
    shares = Counter(run.pid for run in runs)
    assert len(shares) == 2 and min(shares.values()) > 90
    ends = {pid: max(run.ended for run in runs if run.pid == pid) for pid in shares}
    assert max(ends.values()) - min(ends.values()) < 0.3


def test_short_tasks_behind_a_long_one_run_elsewhere_while_it_runs(executor: Executor, tmp_path: Path) -> None:
    lengths = [0.005] * 100 + [3.0] + [0.005] * 60
    runs = ran(executor, tmp_path / "log", lengths)
    long = runs[100]
    # Also those that were handed to the same process with it: nothing is left for when it ends.
    assert max(run.ended for run in runs if run is not long) < long.ended - 1.0


def test_when_tasks_get_longer_the_rest_of_a_large_batch_is_shared(executor: Executor, tmp_path: Path) -> None:
    runs = ran(executor, tmp_path / "log", [0.0005] * 300 + [0.25] * 12)
    longs = Counter(run.pid for run in runs[300:])
    assert len(longs) == 2 and min(longs.values()) >= 4
    assert max(run.ended for run in runs) - min(run.began for run in runs[300:]) < 12 * 0.25 / 2 + 1.0
