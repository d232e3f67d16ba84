"""A peer whose worker processes stand still, while it says that all is well: with hedging its task ends elsewhere."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pcpn import Swarm
from p2pcpn.identity.keys import Keypair

WAIT_S = 60.0
STILL_S = 12.0  # how long the worker processes of one peer are stopped
TASKS = 40


def work(index: int) -> tuple[int, int]:
    time.sleep(0.05)
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    return index, os.getpid()


def below(pid: int) -> list[int]:
    """All processes below ``pid``."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
    found, line = [], [pid]
    while line:
        children = parents.get(line.pop(), [])
        found += children
        line += children
    return found


@contextmanager
def standing_still(pids: list[int]) -> Iterator[None]:
    """These processes are stopped, and go on in any case."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:  # it was ended for somebody else's result
                continue


def job_s(swarm: Swarm, *, hedge: bool) -> float:
    """How long a job takes of which one peer's processes stop in the middle."""
    with swarm.executor(hedge=hedge, key=Keypair(os.urandom(32))) as executor:
        victim = swarm.peers[0]
        futures = [executor.submit(work, index) for index in range(TASKS)]
        began = time.monotonic()
        while sum(future.done() for future in futures) < TASKS // 2:
            assert time.monotonic() < began + WAIT_S
            time.sleep(0.005)
        with standing_still(below(victim.pid)):
            stopped = time.monotonic()
            while not all(future.done() for future in futures) and time.monotonic() < stopped + STILL_S:
                time.sleep(0.01)
        assert sorted(future.result(WAIT_S)[0] for future in futures) == list(range(TASKS))
        return time.monotonic() - stopped


def test_a_peer_that_stands_still_holds_a_job_up_without_hedging_and_not_with_it() -> None:
    with Swarm(peers=3) as swarm:
        job_s(swarm, hedge=True)  # everybody is warm
        with_hedging = job_s(swarm, hedge=True)
        without = job_s(swarm, hedge=False)
    print(f"after one of three peers stopped: {with_hedging:.2f} s with hedging, {without:.2f} s without")
    assert without >= STILL_S
    assert with_hedging < STILL_S / 2
