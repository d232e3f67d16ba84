"""The loop in a thread: calls from outside, time limits, its end, and an interpreter that is never kept waiting."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pcpn.client import loops as loops_module
from p2pcpn.client.loops import THREADS_MAX, DaemonThreads, LoopThread

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def loops() -> Iterator[LoopThread]:
    found = LoopThread("test-loop")
    yield found
    found.stop()


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail(error: BaseException) -> None:
    raise error


def test_a_call_returns_what_the_coroutine_returns(loops: LoopThread) -> None:
    assert loops.call(double(21), 5) == 42
    assert loops.call(double(4)) == 8


def test_a_call_raises_what_the_coroutine_raises(loops: LoopThread) -> None:
    with pytest.raises(KeyError, match="gone"):
        loops.call(fail(KeyError("gone")), 5)
    with pytest.raises(TimeoutError, match="its own"):
        loops.call(fail(TimeoutError("its own")), 5)


def test_a_call_that_takes_too_long_is_cancelled(loops: LoopThread) -> None:
    cancelled = threading.Event()

    async def sleep_long() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        loops.call(sleep_long(), 0.01)
    assert cancelled.wait(5)


def test_several_threads_call_at_once(loops: LoopThread) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda n=n: found.append(loops.call(double(n), 5))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 2, 4, 6, 8, 10, 12, 14]


def test_a_call_from_the_loops_own_thread_is_refused(loops: LoopThread) -> None:
    async def ask_itself() -> None:
        loops.call(double(1))

    with pytest.raises(RuntimeError, match="own thread"):
        loops.call(ask_itself(), 5)


def test_after_stop_every_call_is_refused_and_the_thread_is_gone() -> None:
    loops = LoopThread("test-stopped")
    loops.stop()
    loops.stop()
    assert "test-stopped" not in {thread.name for thread in threading.enumerate()}
    assert loops.loop.is_closed()
    with pytest.raises(RuntimeError, match="stopped"):
        loops.call(double(1))


def test_stop_cancels_what_runs() -> None:
    loops = LoopThread()
    running, cancelled = threading.Event(), threading.Event()

    async def wait_long() -> None:
        running.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    future = asyncio.run_coroutine_threadsafe(wait_long(), loops.loop)
    assert running.wait(5)
    loops.stop()
    assert cancelled.is_set()
    assert future.cancelled()


def test_stop_from_within_the_loop_does_not_wait_for_itself() -> None:
    loops = LoopThread()

    async def stop_itself() -> None:
        loops.stop()

    with pytest.raises(BaseException):  # noqa: B017  the call is cut off by its own doing
        loops.call(stop_itself(), 5)
        loops.call(double(1), 5)
    loops._thread.join(5)
    assert not loops._thread.is_alive()
    loops.loop.close()


def test_the_end_of_the_interpreter_stops_every_loop() -> None:
    loops = LoopThread()
    loops_module._stop_all()
    assert loops.loop.is_closed()


def test_a_fork_of_the_program_is_refused_and_stops_nothing(loops: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(RuntimeError, match="fork"):
            loops.call(double(1))
        loops.stop()
    assert loops.call(double(1), 5) == 2


def test_blocking_calls_run_beside_the_loop(loops: LoopThread) -> None:
    async def ask_thread() -> str:
        return await asyncio.get_running_loop().run_in_executor(None, lambda: threading.current_thread().name)

    assert loops.call(ask_thread(), 5).startswith("p2pcpn-call-")


def test_the_threads_are_bounded_and_all_calls_are_made() -> None:
    threads = DaemonThreads()
    gate = threading.Event()
    futures = [threads.submit(gate.wait, 10) for _ in range(3 * THREADS_MAX)]
    assert threads._started == THREADS_MAX
    gate.set()
    assert all(future.result(5) for future in futures)
    assert threads.submit(pow, 2, 10).result(5) == 1024
    assert threads._started == THREADS_MAX
    threads.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        threads.submit(print)


def test_a_call_that_fails_fails_alone_and_a_cancelled_one_is_not_made() -> None:
    threads = DaemonThreads()
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result(5)
    gate = threading.Event()
    held = [threads.submit(gate.wait, 10) for _ in range(THREADS_MAX)]
    made: list[int] = []
    cancelled = threads.submit(made.append, 1)
    assert cancelled.cancel()
    gate.set()
    assert all(future.result(5) for future in held)
    threads.submit(made.append, 2).result(5)
    assert made == [2]
    threads.shutdown()


def test_an_idle_thread_keeps_no_reference_to_its_last_call() -> None:
    class Thing:
        pass

    threads = DaemonThreads()
    thing = Thing()
    known = weakref.ref(thing)
    threads.submit(id, thing).result(5)
    del thing
    until = time.monotonic() + 5
    while known() is not None and time.monotonic() < until:
        gc.collect()
    assert known() is None
    threads.shutdown()


def test_an_interpreter_ends_while_a_blocking_call_hangs() -> None:
    program = (
        "import asyncio, time\n"
        "from p2pcpn.client.loops import LoopThread\n"
        "loops = LoopThread()\n"
        "async def hang():\n"
        "    asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)\n"
        "loops.call(hang(), 5)\n"
        "print('ended')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, cwd=ROOT, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "ended\n"), ran.stderr
