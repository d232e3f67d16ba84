"""A program that submits without end is made to wait, and its memory stays bounded, on real peers."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2pcpn import Executor, Swarm
from p2pcpn.client import room as rooms

WAIT_S = 30.0
QUEUE_BYTES = 8 << 20
ITEM_BYTES = 100_000
COUNT = 600


@pytest.fixture(scope="module")
def swarm() -> Iterator[Swarm]:
    with Swarm(peers=2) as swarm:
        yield swarm


def until(reached: Callable[[], Any], wait_s: float = 10.0) -> bool:
    end = time.monotonic() + wait_s
    while not reached():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def items() -> Iterator[bytes]:
    for i in range(COUNT):
        yield i.to_bytes(4, "big") * (ITEM_BYTES // 4)


def length(data: bytes) -> int:
    return len(data)


def wait_for(path: str, _: Any = None) -> str:
    while not os.path.exists(path):
        time.sleep(0.01)
    return path


def used(executor: Executor) -> int:
    assert executor._submission is not None
    return executor._submission._room.used_bytes


def test_submit_and_map_hold_no_more_than_the_bound_and_all_is_done(swarm: Swarm) -> None:
    most = 0
    with swarm.executor(replicas=1, queue_bytes=QUEUE_BYTES) as executor:
        futures = []
        for item in items():
            futures.append(executor.submit(length, item))
            most = max(most, used(executor))
        assert sum(future.result(WAIT_S) for future in futures) == COUNT * ITEM_BYTES

        def watched() -> Iterator[bytes]:
            nonlocal most
            for item in items():
                most = max(most, used(executor))
                yield item

        assert sum(executor.map(length, watched(), timeout=60)) == COUNT * ITEM_BYTES
    assert QUEUE_BYTES // 2 < most < QUEUE_BYTES + (2 << 20)


def test_a_caller_that_waits_goes_on_when_results_come(swarm: Swarm, tmp_path: Any) -> None:
    gate = str(tmp_path / "gate")
    with swarm.executor(replicas=1, queue_bytes=64 << 10) as executor:
        submitted: list[int] = []

        def submit() -> None:
            for i in range(1000):
                executor.submit(wait_for, gate)
                submitted.append(i)

        thread = threading.Thread(target=submit)
        thread.start()
        assert until(lambda: executor._submission is not None and executor._submission._room._waiting)
        assert 100 < len(submitted) < 500
        open(gate, "w").close()
        thread.join(WAIT_S)
        assert len(submitted) == 1000


def test_shutting_down_wakes_a_caller_that_waits(swarm: Swarm, tmp_path: Any) -> None:
    gate = str(tmp_path / "gate")
    executor = swarm.executor(replicas=1, queue_bytes=64 << 10)
    raised: list[BaseException] = []

    def endless(way: Callable[[], Any]) -> None:
        try:
            while True:
                way()
        except RuntimeError as error:
            raised.append(error)

    ways: list[Callable[[], Any]] = [
        lambda: executor.submit(wait_for, gate),
        lambda: executor.map(wait_for, [gate] * 10_000, range(10_000)),
    ]
    executor.submit(wait_for, gate)
    threads = [threading.Thread(target=endless, args=(way,)) for way in ways]
    for thread in threads:
        thread.start()
    assert until(lambda: executor._submission is not None and executor._submission._room._waiting == 2)
    executor.shutdown(wait=False, cancel_futures=True)
    for thread in threads:
        thread.join(WAIT_S)
    assert len(raised) == 2 and all("after shutdown" in str(error) for error in raised)
    open(gate, "w").close()
    executor.shutdown()


def test_a_callback_that_submits_never_waits(swarm: Swarm, tmp_path: Any) -> None:
    gate, done = str(tmp_path / "gate"), threading.Event()
    with swarm.executor(replicas=1, queue_bytes=1 << 10) as executor:

        def more(_: Any) -> None:
            for _ in range(100):
                executor.submit(wait_for, gate)
            executor.map(length, [b"x"] * 1000)
            done.set()

        executor.submit(length, b"").add_done_callback(more)
        assert done.wait(WAIT_S)
        open(gate, "w").close()


def test_a_caller_that_waits_for_a_swarm_that_is_gone_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rooms, "LOOK_S", 0.1)
    caplog.set_level(logging.WARNING, "p2pcpn.client")
    with Swarm(peers=1) as gone:
        executor = gone.executor(replicas=1, queue_bytes=10_000)
        executor.submit(length, b"").result(WAIT_S)
        gone.kill(0)
        raised: list[BaseException] = []

        def endless() -> None:
            try:
                while True:
                    executor.submit(length, b"")
            except RuntimeError as error:
                raised.append(error)

        thread = threading.Thread(target=endless)
        thread.start()
        assert until(lambda: "no peer answers" in caplog.text, WAIT_S)
        executor._cancel_all()
        thread.join(WAIT_S)
        assert raised and caplog.text.count("no peer answers") == 1
        executor.shutdown()
