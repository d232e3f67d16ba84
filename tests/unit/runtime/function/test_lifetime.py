"""What keeps a process from outliving its parent, call by call."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading

import pytest

from p2pcpn.runtime.function import lifetime

SLEEPER = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]


def test_a_group_is_killed_with_its_leader_and_twice_is_no_error() -> None:
    leader = subprocess.Popen(SLEEPER, stdin=subprocess.PIPE, start_new_session=True)
    lifetime.kill_group(leader.pid)
    assert leader.wait() == -signal.SIGKILL
    lifetime.kill_group(leader.pid)
    assert leader.stdin is not None
    leader.stdin.close()


def test_children_are_listed_in_order() -> None:
    found: list[int] = []
    started: list[int] = []

    def look() -> None:  # in a thread of its own: the list is of the calling thread's children
        processes = [subprocess.Popen(["true"]) for _ in range(2)]
        started.extend(process.pid for process in processes)
        found.extend(lifetime.children())
        for process in processes:
            process.wait()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == sorted(started) or not sys.platform.startswith("linux")


def test_where_the_system_tells_nothing_there_are_no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "get_native_id", lambda: 0)
    assert lifetime.children() == []


def test_a_worker_asks_the_kernel_to_die_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(lifetime, "_prctl", lambda option, value: asked.append((option, value)) or True)
    exits: list[int] = []
    lifetime.die_with(os.getppid(), exit_now=exits.append)
    assert asked == [(1, signal.SIGKILL)] and exits == []
    lifetime.die_with(-1, exit_now=exits.append)
    assert exits == [1]
    assert lifetime.adopt_orphans() and asked[-1] == (36, 1)


def test_where_the_kernel_does_not_a_thread_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "_WATCH_S", 0.0)
    monkeypatch.setattr(sys, "platform", "other")
    parents = iter([7, 7, 7, 8])
    monkeypatch.setattr(os, "getppid", lambda: next(parents, 8))
    gone = threading.Event()
    lifetime.die_with(7, exit_now=lambda _: gone.set())
    assert gone.wait(10)


def test_a_system_without_the_call_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(_: object) -> None:
        raise OSError

    monkeypatch.setattr(lifetime.ctypes, "CDLL", no_library)
    assert lifetime.adopt_orphans() is False


def test_the_memory_limit_stays_under_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: limits.append((kind, both)))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    lifetime.limit_memory(None)
    lifetime.limit_memory(50)
    lifetime.limit_memory(500)
    lifetime.no_core_dumps()
    assert [both for _, both in limits] == [(50, 50), (100, 100), (0, 0)]


FAULTS = """
import resource, sys
from p2pcpn.runtime.function import lifetime
if sys.argv[1] == "keep":
    lifetime.keep_memory()
data = b"x" * (3 << 20)
for turn in range(4):
    first, second = bytearray(data), bytearray(data)
    del first, second
    if not turn:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(lifetime.ctypes.CDLL(None), "mallopt"), reason="another C library")
def test_memory_that_was_freed_is_there_for_the_next_task() -> None:
    kept, fetched = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True, timeout=60).stdout)
        for how in ("keep", "leave")
    )
    assert kept < 300 < 3000 < fetched, "three turns of 6 MiB are 4,608 pages"


def test_another_c_library_keeps_what_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime.ctypes, "CDLL", lambda _: object())
    lifetime.keep_memory()
