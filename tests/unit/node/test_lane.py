"""A lane does its work in order, in a thread, and says how each piece ended in the loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from p2pcpn.node.lane import TOGETHER_MAX, Lane


@pytest.mark.asyncio
async def test_work_is_done_in_order_elsewhere_and_ends_here() -> None:
    lane, done, ends = Lane(asyncio.get_running_loop()), [], []
    here = threading.get_ident()

    def work(number: int) -> int:
        assert threading.get_ident() != here
        done.append(number)
        if number == 3:
            raise ValueError("three")
        return number

    def then(result: Any, error: Exception | None) -> None:
        assert threading.get_ident() == here
        ends.append(result if error is None else str(error))

    for number in range(2 * TOGETHER_MAX + 1):
        lane.do(lambda number=number: work(number), then, 10)  # type: ignore[misc]
    assert lane.waiting_bytes == 10 * (2 * TOGETHER_MAX + 1)
    assert await lane.run(lambda: "last") == "last"
    assert done == list(range(2 * TOGETHER_MAX + 1))
    assert ends == [0, 1, 2, "three", *range(4, 2 * TOGETHER_MAX + 1)]
    assert lane.waiting_bytes == 0
    with pytest.raises(ValueError, match="three"):
        await lane.run(lambda: work(3))
    await lane.close()


@pytest.mark.asyncio
async def test_what_waits_is_dropped_at_the_close_and_what_runs_is_waited_for() -> None:
    lane, gate, done = Lane(asyncio.get_running_loop()), threading.Event(), []

    def first() -> None:
        assert gate.wait(10)
        done.append(1)

    lane.do(first, lambda result, error: None)
    lane.do(lambda: done.append(2), lambda result, error: None)
    asyncio.get_running_loop().call_later(0.01, gate.set)
    await lane.close()
    assert done == [1]


@pytest.mark.asyncio
async def test_who_waits_no_more_is_told_nothing() -> None:
    lane = Lane(asyncio.get_running_loop())
    gate = threading.Event()
    waiting = asyncio.ensure_future(lane.run(lambda: gate.wait(10)))
    await asyncio.sleep(0)
    waiting.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await lane.run(lambda: 1) == 1
