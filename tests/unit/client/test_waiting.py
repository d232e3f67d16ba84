"""Calls wait in line, in lists that are never copied."""

from __future__ import annotations

import threading
from typing import Any

from p2pcpn import limits
from p2pcpn.client.pickling import Callee
from p2pcpn.client.waiting import Waiting

CALLEE = Callee(b"f", ())


def taken(waiting: Waiting, at_a_time: int) -> list[Any]:
    found: list[Any] = []
    while (first := waiting.first()) is not None:
        calls, at = first
        end = min(at + at_a_time, len(calls))
        found += [data for _, data in calls[at:end]]
        waiting.cut(end)
    return found


def test_calls_come_out_in_the_order_they_came_in() -> None:
    waiting = Waiting(threading.RLock())
    assert not waiting and waiting.first() is None
    made = [b"%d" % i for i in range(2 * limits.SEGMENT_TASKS_MAX + 10)]
    for data in made[:-5]:
        waiting.add((CALLEE, data))
    assert waiting and waiting.first() == waiting.first()
    first = waiting.first()
    assert first is not None and len(first[0]) == limits.SEGMENT_TASKS_MAX
    waiting.cut(7)
    for data in made[-5:]:
        waiting.add((CALLEE, data))
    assert taken(waiting, 1000) == made[7:] and not waiting


def test_what_waits_can_be_dropped() -> None:
    waiting = Waiting(threading.RLock())
    for _ in range(limits.SEGMENT_TASKS_MAX + 1):
        waiting.add((CALLEE, b""))
    waiting.first()
    waiting.cut(3)
    waiting.clear()
    assert not waiting and waiting.first() is None
