"""The tasks that benchmarks run. Workers of every system import this module, so it imports next to nothing."""

from __future__ import annotations

import os
import time
from typing import TypeVar

T = TypeVar("T")


def no_op(item: int) -> int:
    """The cheapest task there is."""
    return item


def echo(data: T) -> T:
    """What came in goes out again."""
    return data


def spin(seconds: float) -> float:
    """Busy until so much time has passed, whoever else had the core meanwhile: how the others are measured."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return seconds


def burn(seconds: float) -> float:
    """Burn so much time of a core. What takes the core away makes it longer, as it does with real work."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return seconds


def hold(path: str) -> str:
    """Keep a worker until the file ``path`` exists."""
    while not os.path.exists(path):
        time.sleep(0.02)
    return path
