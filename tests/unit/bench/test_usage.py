"""What processes use is counted by tree, with and without those that are somebody else's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from p2pcpn.bench import usage

CHILD = """
import subprocess, sys
below = subprocess.Popen([sys.executable, "-c", "input()"], stdin=0)
print(below.pid, flush=True)
below.wait()
"""


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """A child and its child."""
    process = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.pid, int(process.stdout.readline())
    process.communicate("\n", timeout=10)


def test_a_tree_is_a_process_and_all_below_it(family: tuple[int, int]) -> None:
    child, grandchild = family
    me = psutil.Process().pid
    assert {child, grandchild} <= {process.pid for process in usage.tree(me)}
    assert [process.pid for process in usage.tree(child)] == [child, grandchild]
    assert [process.pid for process in usage.tree(child, [grandchild])] == [child]
    left = {process.pid for process in usage.tree(me, [child])}
    assert not left & {child, grandchild} and me in left


def test_living_processes_use_time_and_memory(family: tuple[int, int]) -> None:
    processes = usage.tree(family[0])
    assert usage.cpu_s(processes) > 0
    assert usage.memory_bytes(processes) > 1 << 20


def test_what_is_gone_uses_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    gone = psutil.Process(process.pid)
    process.wait()
    assert usage.tree(process.pid) == [] and usage._ppid(gone) == 0
    assert usage.cpu_s([gone]) == 0.0 and usage.memory_bytes([gone]) == 0


def test_quiet_is_when_hardly_anything_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([0.0, 0.5, 0.5, 0.5, 1.0, 1.5, 2.0, 2.5])
    monkeypatch.setattr(usage, "cpu_s", lambda processes: next(used))
    slept: list[float] = []
    assert usage.wait_quiet([1], sleep=slept.append)
    assert slept == [usage.LOOK_S] * 2  # busy in the first, quiet in the second
    assert not usage.wait_quiet([1], wait_s=usage.LOOK_S * 2, sleep=slept.append)
