"""The executor's own part of the contract: refusals, chunks, shutting down, forks, and being dropped."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from p2pcpn import Executor, UsageError
from p2pcpn.client import executor as executors
from p2pcpn.client.swarm import Swarm
from p2pcpn.identity.keys import Keypair


@pytest.fixture(scope="module")
def swarm() -> Iterator[Swarm]:
    with Swarm(peers=1) as swarm:
        yield swarm


def joined(swarm: Swarm, **options: Any) -> Executor:
    return swarm.executor(key=Keypair(b"\3" * 32), replicas=1, **options)


def sleeps(duration_s: float) -> float:
    time.sleep(duration_s)
    return duration_s


@pytest.mark.parametrize(
    "given", [{"swarm_key": b"k" * 32}, {"bootstrap": []}, {"requires": "numpy"}, {"max_workers": 0}, {"quorum": 3}]
)
def test_what_cannot_be_is_refused_before_anything_starts(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Executor(**given)


def test_an_embedded_executor_needs_nothing_and_takes_its_swarm_with_it() -> None:
    with Executor(1) as executor:
        assert executor.submit(pow, 2, 10).result(20) == 1024
        swarm = executor.swarm
        assert swarm is not None and len(swarm.bootstrap) == 1
    assert swarm.bootstrap == []


def test_calls_maps_and_chunks(swarm: Swarm) -> None:
    seen: list[object] = []
    with joined(swarm) as executor:
        assert executor.swarm is None and executor.job_id is None and executor.statistics()["results"] == {}
        executor.watch(seen.append)
        assert list(executor.map(pow, range(9), range(9), chunksize=4)) == list(map(pow, range(9), range(9)))
        assert list(executor.map(pow, [2, 3], [2, 2])) == [4, 9]
        with pytest.raises(ValueError, match="chunksize"):
            executor.map(pow, [1], [1], chunksize=0)
        assert executor.job_id is not None and sum(executor.statistics()["results"].values()) == 5
    assert seen


def test_after_shutdown_nothing_is_taken(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = joined(swarm)
    pending = executor.submit(sleeps, 0.1)
    executor.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(pow, 2, 2)
    executor.shutdown()
    assert pending.result(0) == 0.1
    unused = joined(swarm)
    unused._shut = True
    with pytest.raises(RuntimeError, match="after shutdown"):
        unused._job(pow)
    unused._shut = False
    monkeypatch.setattr(executors, "_exiting", True)
    with pytest.raises(RuntimeError, match="interpreter shutdown"):
        unused.submit(pow, 2, 2)
    unused.shutdown()


def test_shutdown_cancels_what_has_not_started_where_it_is_told_to(swarm: Swarm) -> None:
    executor = joined(swarm)
    futures = [executor.submit(sleeps, 0.1) for _ in range(40)]
    executor.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures) and sum(future.cancelled() for future in futures) > 30


def test_an_interrupted_with_block_ends_what_runs(swarm: Swarm) -> None:
    with pytest.raises(KeyboardInterrupt), joined(swarm) as executor:
        future = executor.submit(sleeps, 600)
        raise KeyboardInterrupt
    assert future.done()


def test_an_interrupt_while_a_with_block_waits_ends_what_runs(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(**_: object) -> None:
        raise KeyboardInterrupt

    executor = joined(swarm)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), executor:
        future = executor.submit(sleeps, 600)
        patch.setattr(executor, "shutdown", pressed)
    assert future.done()
    executor.shutdown()


def test_interrupts_again_and_again_leave_no_program_that_waits_for_its_tasks(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed() -> None:
        raise KeyboardInterrupt

    executor = joined(swarm)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), executor:
        future = executor.submit(sleeps, 600)
        patch.setattr(executor, "_cancel_all", pressed)
        raise KeyboardInterrupt
    assert not future.done()
    monkeypatch.setattr(executors, "_live", [executor])
    monkeypatch.setattr(executors, "_exiting", False)
    executors._at_exit()
    assert future.done() and not executor._engine.alive


def test_a_callback_may_shut_down_without_waiting_for_itself(swarm: Swarm) -> None:
    executor = joined(swarm)
    called = threading.Event()

    def end(_: object) -> None:
        executor.shutdown()
        called.set()

    executor.submit(pow, 2, 2).add_done_callback(end)
    assert called.wait(20)
    executor.shutdown()


def test_the_first_call_cannot_come_from_the_loops_own_thread(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    with joined(swarm) as executor:
        monkeypatch.setattr(type(executor._engine), "is_here", property(lambda _: True))
        with pytest.raises(RuntimeError, match="own thread"):
            executor.submit(pow, 2, 2)
        monkeypatch.undo()


def test_a_fork_takes_no_calls_and_ends_nothing(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    with joined(swarm) as executor:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            executors._forked()
            with pytest.raises(RuntimeError, match="fork"):
                executor.submit(pow, 2, 2)
            executor.shutdown()
        executors._forked()
        assert executor.submit(pow, 2, 2).result(20) == 4


def test_a_dropped_executor_finishes_its_tasks_and_stops(swarm: Swarm) -> None:
    executor = joined(swarm)
    engine, watched = executor._engine, weakref.ref(executor)
    future = executor.submit(sleeps, 0.2)
    del executor
    gc.collect()
    assert watched() is not None and future.result(20) == 0.2
    end = time.monotonic() + 10
    while engine.alive and time.monotonic() < end:
        gc.collect()
        threading.Event().wait(0.1)
    assert watched() is None and not engine.alive


@pytest.mark.parametrize("interrupted", [False, True])
def test_at_the_interpreters_end_tasks_are_finished_unless_it_was_interrupted(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    executor = joined(swarm)
    future = executor.submit(sleeps, 600 if interrupted else 0.1)
    monkeypatch.setattr(executors, "_live", [executor])
    monkeypatch.setattr(executors, "_exiting", False)
    if interrupted:
        monkeypatch.setattr(sys, "last_value", KeyboardInterrupt(), raising=False)
    executors._at_exit()
    assert future.done() and (future.exception(0) is not None) == interrupted and not executor._engine.alive
    with monkeypatch.context() as patch:
        patch.setattr(executor, "_pid", -1)
        executors._at_exit()
