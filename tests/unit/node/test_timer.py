"""The timer: one call at the earliest deadline, looked at once in a while, and no mistake of ours ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from p2pcpn.node.timer import AGAIN_S, NEAR_S, Timer


class Clockwork:
    """A loop whose clock stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.handles: list[Handle] = []

    def time(self) -> float:
        return self.now

    def call_later(self, wait_s: float, callback: Callable[[], None]) -> Handle:
        return self.call_at(self.now + wait_s, callback)

    def call_at(self, at: float, callback: Callable[[], None]) -> Handle:
        handle = Handle(at, callback)
        self.handles.append(handle)
        return handle

    @property
    def waiting(self) -> list[Handle]:
        return [handle for handle in self.handles if not handle.cancelled]

    def look(self) -> None:
        """Let the time pass after which an armed timer looks at its deadline."""
        self.jump(self.now + NEAR_S)

    def jump(self, now: float) -> None:
        """Move the clock, and call what has come due."""
        self.now = now
        due = [handle for handle in self.waiting if handle.at <= now]
        self.handles = [handle for handle in self.handles if handle not in due]
        for handle in due:
            handle.callback()


class Handle:
    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Machine:
    """Has one deadline, and says when it was called."""

    def __init__(self, deadline: float | None) -> None:
        self.at = deadline
        self.looks = 0
        self.called: list[float] = []
        self.error: Exception | None = None
        self.mishaps: list[tuple[str, Exception]] = []

    def deadline(self) -> float | None:
        self.looks += 1
        return self.at

    def due(self, now: float) -> None:
        self.called.append(now)
        if self.error is not None:
            raise self.error
        self.at = None

    def mishap(self, where: str, error: Exception) -> None:
        self.mishaps.append((where, error))


def timer(loop: Any, machine: Machine) -> Timer:
    return Timer(loop, machine.deadline, machine.due, machine.mishap)


def test_it_calls_at_the_deadline_and_then_not_again() -> None:
    loop, machine = Clockwork(), Machine(105.0)
    timer(loop, machine).arm()
    loop.look()
    loop.jump(104.9)
    assert machine.called == []
    loop.jump(105.0)
    loop.look()
    assert machine.called == [105.0]
    assert not loop.waiting


def test_however_often_it_is_armed_the_deadline_is_looked_at_once_in_a_while() -> None:
    loop, machine = Clockwork(), Machine(105.0)
    armed = timer(loop, machine)
    armed.arm()
    loop.jump(loop.now + NEAR_S / 2)
    armed.arm()
    assert machine.looks == 0
    assert [handle.at for handle in loop.waiting] == [100.0 + NEAR_S]  # counted from the first time
    loop.jump(100.0 + NEAR_S)
    assert machine.looks == 1
    assert [handle.at for handle in loop.waiting] == [105.0]
    armed.arm()
    loop.look()
    assert machine.looks == 2


def test_a_deadline_that_is_nearer_than_the_look_is_met_right_after_it() -> None:
    loop, machine = Clockwork(), Machine(100.0 + NEAR_S / 2)
    timer(loop, machine).arm()
    loop.look()
    loop.jump(loop.now)
    assert machine.called == [100.0 + NEAR_S]


def test_an_earlier_deadline_moves_the_timer_and_one_as_good_as_equal_does_not() -> None:
    loop, machine = Clockwork(), Machine(105.0)
    armed = timer(loop, machine)
    for deadline, expected in ((105.0, 105.0), (105.0 + NEAR_S / 2, 105.0), (102.0, 102.0), (None, None)):
        machine.at = deadline
        armed.arm()
        loop.look()
        assert [handle.at for handle in loop.waiting] == ([] if expected is None else [expected])


def test_a_clock_a_hair_behind_the_deadline_is_given_as_the_deadline() -> None:
    loop, machine = Clockwork(), Machine(105.0)
    timer(loop, machine).arm()
    loop.look()
    loop.now = 104.9999
    loop.waiting[0].callback()
    assert machine.called == [105.0]


def test_what_a_deadline_raises_is_told_and_it_is_tried_again_a_moment_later() -> None:
    loop, machine = Clockwork(), Machine(105.0)
    machine.error = RuntimeError("a mistake of ours")
    timer(loop, machine).arm()
    loop.look()
    loop.jump(105.0)
    assert machine.mishaps == [("a deadline", machine.error)]
    # At once would be a loop that does nothing else.
    assert [handle.at for handle in loop.waiting] == [105.0 + AGAIN_S]
    machine.error = None
    loop.jump(105.0 + AGAIN_S)
    assert len(machine.called) == 2


def test_a_closed_timer_calls_nobody_any_more() -> None:
    loop, machine = Clockwork(), Machine(105.0)
    armed = timer(loop, machine)
    armed.arm()
    loop.look()
    armed.arm()
    armed.close()
    loop.look()  # what was to be looked at is not
    assert (machine.looks, loop.waiting) == (1, [])
    armed.arm()
    assert not loop.waiting
    loop.jump(200.0)
    assert machine.called == []


@pytest.mark.asyncio
async def test_on_a_real_loop_a_deadline_that_has_passed_is_due_at_once() -> None:
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    deadlines: list[float | None] = [loop.time() - 1.0]

    def due(now: float) -> None:
        deadlines[0] = None
        came.set()

    armed = Timer(loop, lambda: deadlines[0], due, lambda where, error: None)
    armed.arm()
    await asyncio.wait_for(came.wait(), 5)
    armed.close()
