"""What processes use: processor time and memory of a process and of all below it, as the system counts them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Final

import psutil

# Shorter than what a clock tick of the kernel (10 ms) can tell apart would be noise.
LOOK_S: Final = 0.15
BUSY_SHARE: Final = 0.2


def tree(pid: int, without: Collection[int] = ()) -> list[psutil.Process]:
    """The process and all below it, those under ``without`` left out; empty where it is gone."""
    try:
        root = psutil.Process(pid)
        below = root.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    left_out = set(without)
    parents = {process.pid: _ppid(process) for process in below}

    def is_out(at: int) -> bool:
        while at != pid and at in parents:
            if at in left_out:
                return True
            at = parents[at]
        return False

    return [root, *(process for process in below if not is_out(process.pid))]


def _ppid(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """Processor seconds that the living of ``processes`` have used."""
    used = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        used += times.user + times.system
    return used


def memory_bytes(processes: Iterable[psutil.Process]) -> int:
    """Memory of ``processes`` together: PSS, which counts a page that several share in equal parts."""
    used = 0
    for process in processes:
        try:
            found = process.memory_full_info()
        except psutil.Error:
            continue
        used += getattr(found, "pss", 0) or found.uss
    return used


def wait_quiet(pids: Iterable[int], wait_s: float = 2.0, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait until these processes and all below them hardly compute any more; false when they still do at the end.

    What one system does after its turn (replicating, cleaning up) would otherwise be booked to the next.
    """
    roots = list(pids)
    for _ in range(max(1, round(wait_s / LOOK_S))):
        processes = [process for pid in roots for process in tree(pid)]
        before = cpu_s(processes)
        sleep(LOOK_S)
        if cpu_s(processes) - before <= BUSY_SHARE * LOOK_S:
            return True
    return False
