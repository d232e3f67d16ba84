"""The future of a task keeps the contract of ``concurrent.futures.Future``, and weighs little until waited for."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    InvalidStateError,
    as_completed,
    wait,
)
from typing import Any

import pytest

from p2pcpn.client import bells
from p2pcpn.client.futures import TaskFuture, resolve_all

WAIT_S = 10.0


def bound() -> tuple[TaskFuture, list[int]]:
    told = list[int]()
    return TaskFuture(threading.RLock(), told.append, 7), told


def waited() -> tuple[TaskFuture, list[int]]:
    """One that somebody has asked for callbacks before."""
    future, told = bound()
    future.add_done_callback(lambda _: None)
    return future, told


both = pytest.mark.parametrize("make", [bound, waited])
Make = Callable[[], tuple[TaskFuture, list[int]]]


@both
def test_a_pending_future_is_cancelled_and_its_job_told_once(make: Make) -> None:
    future, told = make()
    assert not future.done() and not future.cancelled() and not future.running()
    assert future.cancel() and future.cancel() and future.cancelled() and future.done()
    assert told == [7] and future.index == 7
    assert wait([future], timeout=0).done == {future}  # waiters are told, not only callers of result()
    for asked in (future.result, future.exception):
        with pytest.raises(CancelledError):
            asked(0)


@both
def test_what_runs_or_has_ended_cannot_be_cancelled(make: Make) -> None:
    future, told = make()
    assert future.start() and future.start() and future.running()
    assert not future.cancel()
    assert future.resolve(3)
    assert future.start() and not future.cancel() and future.result(0) == 3 and told == []
    assert future.exception() is None and not future.running()


@both
def test_a_cancelled_future_takes_no_result_any_more(make: Make) -> None:
    future, _ = make()
    future.cancel()
    assert not future.start() and not future.resolve(1) and not future.fail(ValueError())
    for late in (lambda: future.set_result(1), lambda: future.set_exception(ValueError())):
        with pytest.raises(InvalidStateError):
            late()
    assert future.cancelled()


@both
def test_the_first_result_stays(make: Make) -> None:
    future, _ = make()
    future.fail(ValueError("first"))
    assert not future.resolve(2)
    assert isinstance(future.exception(0), ValueError)
    with pytest.raises(ValueError, match="first"):
        future.result()


def test_it_times_out_like_any_future() -> None:
    future, _ = bound()
    for asked in (future.result, future.exception):
        with pytest.raises(futures.TimeoutError):
            asked(0)
    assert "pending" in repr(future)
    future.set_result([])
    assert "finished returned list" in repr(future)


def test_the_base_classs_own_way_to_run_works() -> None:
    future, _ = bound()
    assert future.set_running_or_notify_cancel() and future.running()
    future.set_exception(KeyError("x"))
    with pytest.raises(KeyError):
        future.result()


@both
def test_of_many_threads_that_cancel_one_tells_the_job(make: Make) -> None:
    for _ in range(50):
        future, told = make()
        threads = [threading.Thread(target=future.cancel) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told == [7] and future.cancelled()


@both
def test_a_future_that_has_ended_refers_to_its_job_no_more(make: Make) -> None:
    class Job:
        def on_cancel(self, index: int) -> None:
            raise AssertionError(index)

    job = Job()
    future, _ = make()
    future._on_cancel = job.on_cancel
    gone = weakref.ref(job)
    future.resolve(1)
    del job
    assert gone() is None


def test_callbacks_are_called_once_in_order_and_what_they_raise_hurts_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for end in (TaskFuture.cancel, lambda f: f.resolve(1), lambda f: f.fail(ValueError())):
        future, _ = bound()
        called: list[Any] = []
        future.add_done_callback(lambda f, called=called: called.append((1, f)))
        future.add_done_callback(lambda _: 1 / 0)
        future.add_done_callback(lambda f, called=called: called.append((2, f)))
        end(future)
        end(future)
        assert called == [(1, future), (2, future)]
        future.add_done_callback(lambda f, called=called: called.append((3, f)))
        assert called[-1] == (3, future)
    assert caplog.text.count("ZeroDivisionError") >= 3


def test_a_callback_that_ends_programs_ends_neither_the_thread_nor_those_behind_it() -> None:
    future, _ = bound()
    called: list[Any] = []
    future.add_done_callback(lambda _: sys.exit(1))
    future.add_done_callback(called.append)
    assert future.resolve(1) and called == [future]


def test_wait_and_as_completed_see_what_ended_before_and_what_ends_now() -> None:
    lock = threading.RLock()
    some = [TaskFuture(lock, None, i) for i in range(6)]
    resolve_all(some[:2], [0, 1])
    some[2].fail(ValueError())
    done, rest = wait(some, timeout=0)
    assert done == set(some[:3]) and rest == set(some[3:])
    assert wait(some, timeout=0, return_when=FIRST_COMPLETED).done == done
    assert wait(some, timeout=0, return_when=FIRST_EXCEPTION).done == done
    seen = as_completed(some, timeout=WAIT_S)
    assert {next(seen) for _ in range(3)} == set(some[:3])
    resolve_all(some[3:5], [3, 4])
    some[5].cancel()
    assert set(seen) == set(some[3:])
    assert [future.result() for future in some[:2] + some[3:5]] == [0, 1, 3, 4]


@pytest.mark.parametrize("return_when", [ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION])
def test_a_thread_that_waits_is_woken(return_when: str) -> None:
    some = [bound()[0] for _ in range(3)]
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(wait(some, WAIT_S, return_when)))
    thread.start()
    while not all(future._waiters for future in some):
        pass
    some[0].fail(ValueError())
    some[1].cancel()
    resolve_all(some[2:], [1])
    thread.join(WAIT_S)
    assert some[0] in found[0].done


def test_nothing_is_resolved_for_nobody() -> None:
    resolve_all([], [])
    assert TaskFuture().cancel()


@pytest.mark.asyncio
async def test_a_coroutine_awaits_it() -> None:
    lock = threading.RLock()
    some = [TaskFuture(lock, None, i) for i in range(3)]
    awaited = [asyncio.wrap_future(future) for future in some]
    thread = threading.Thread(target=lambda: (resolve_all(some[:1], ["a"]), some[1].fail(ValueError())))
    thread.start()
    assert await asyncio.wait_for(awaited[0], WAIT_S) == "a"
    with pytest.raises(ValueError):
        await asyncio.wait_for(awaited[1], WAIT_S)
    awaited[2].cancel()
    await asyncio.sleep(0)
    assert some[2].cancelled()
    thread.join()


def test_it_weighs_little_until_somebody_waits() -> None:
    future = TaskFuture(threading.RLock(), None, 1)
    assert future._waited is None and not future.done() and future._waited is None
    future.resolve(5)
    assert future.result() == 5 and future.exception() is None and future._waited is None
    assert sys.getsizeof(future) + gc.is_tracked(future) * 16 <= 160


def test_a_result_that_was_raised_makes_no_cycle() -> None:
    future, _ = bound()
    future.fail(ValueError())
    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(future)
        try:
            future.result()
        except ValueError:
            pass
        del future
        assert gone() is None
    finally:
        gc.enable()


def test_whoever_comes_first_no_thread_is_left_waiting_and_nobody_sees_two_ends() -> None:
    """Threads wait in every way while others end the same futures: each future ends once, for everybody alike."""
    rounds, count = 40, 24
    for number in range(rounds):
        lock = threading.RLock()
        told: list[int] = []
        some = [TaskFuture(lock, told.append, i) for i in range(count)]
        called = [0] * count
        results: list[list[Any]] = []
        start = threading.Barrier(7)

        def outcome(future: TaskFuture) -> Any:
            try:
                return future.result(WAIT_S)
            except CancelledError:
                return "cancelled"
            except ValueError:
                return "failed"

        def ask(some: list[TaskFuture] = some, results: list[list[Any]] = results) -> None:
            results.append([outcome(future) for future in some])

        def wait_all(some: list[TaskFuture] = some, results: list[list[Any]] = results) -> None:
            assert not wait(some, WAIT_S).not_done
            results.append([outcome(future) for future in some])

        def in_turn(some: list[TaskFuture] = some, results: list[list[Any]] = results) -> None:
            assert len(list(as_completed(some, WAIT_S))) == len(some)
            results.append([outcome(future) for future in some])

        def call_back(some: list[TaskFuture] = some, called: list[int] = called) -> None:
            for future in some:
                future.add_done_callback(lambda f: called.__setitem__(f.index, called[f.index] + 1))

        def settle(some: list[TaskFuture] = some) -> None:
            resolve_all(some[: count // 2], list(range(count // 2)))
            for future in some[count // 2 :]:
                future.start()
                future.fail(ValueError())

        def cancel(some: list[TaskFuture] = some, number: int = number) -> None:
            for future in some[number % 3 :: 3]:
                future.cancel()

        ways = [ask, wait_all, in_turn, call_back, settle, cancel]

        def begin(way: Callable[[], None], start: threading.Barrier = start) -> None:
            start.wait(WAIT_S)
            way()

        threads = [threading.Thread(target=begin, args=(way,)) for way in ways]
        for thread in threads:
            thread.start()
        start.wait(WAIT_S)
        for thread in threads:
            thread.join(WAIT_S)
        assert not any(thread.is_alive() for thread in threads)
        assert called == [1] * count and len(results) == 3 and results[0] == results[1] == results[2]
        assert sorted(told) == [future.index for future in some if future.cancelled()]


def test_whoever_comes_to_wait_in_the_midst_of_a_cancel_takes_its_word_from_nobody() -> None:
    class Lock:
        """Lets somebody else in the moment it is released."""

        def __init__(self) -> None:
            self.within = threading.RLock()

        def __enter__(self) -> None:
            self.within.acquire()

        def __exit__(self, *_: object) -> None:
            self.within.release()
            if future._waited is None:
                future.add_done_callback(called.append)

    told, called = list[int](), list[Any]()
    lock: Any = Lock()
    future = TaskFuture(lock, told.append, 7)
    assert future.cancel() and future.cancelled()
    assert told == [7] and called == [future]


# --- threads that sleep ----------------------------------------------------------------------------------------------


def asleep(future: TaskFuture, count: int, ask: Callable[[], object]) -> list[threading.Thread]:
    """So many threads that ask and have hung up their bells."""
    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    guard = time.monotonic() + WAIT_S
    while len(future._bells) < count and time.monotonic() < guard:
        time.sleep(0.001)
    assert len(future._bells) == count
    return threads


@pytest.mark.parametrize("how", ["resolved", "all resolved", "failed", "cancelled"])
def test_whoever_sleeps_for_a_result_wakes_whatever_the_end_is(how: str) -> None:
    future, _ = bound()
    found: list[object] = []

    def ask() -> None:
        try:
            found.append(future.result(WAIT_S if not found else None))
        except (CancelledError, ValueError) as error:
            found.append(type(error))

    threads = asleep(future, 3, ask)
    if how == "resolved":
        future.resolve(5)
    elif how == "all resolved":
        resolve_all([future], [5])
    elif how == "failed":
        future.fail(ValueError("no"))
    else:
        future.cancel()
    for thread in threads:
        thread.join(WAIT_S)
    expected = {"failed": ValueError, "cancelled": CancelledError}.get(how, 5)
    assert found == [expected] * 3 and not future._bells


def test_callbacks_that_are_added_while_somebody_sleeps_pass_nobody_by() -> None:
    future, _ = bound()
    found: list[object] = []
    threads = asleep(future, 1, lambda: found.append(future.result()))
    future.add_done_callback(lambda done: found.append("called"))
    future.resolve(5)
    threads[0].join(WAIT_S)
    assert sorted(map(str, found)) == ["5", "called"]


def test_who_waits_no_longer_takes_the_bell_along() -> None:
    future, _ = bound()
    with pytest.raises(TimeoutError):
        future.result(0.001)
    with pytest.raises(TimeoutError):
        future.result(-1.0)
    assert not future._bells
    own = bells.own_bell()
    assert own is not None
    own.ring()  # a ring that nobody waited for
    with pytest.raises(TimeoutError):
        future.result(0.001)


def test_where_there_are_callbacks_a_thread_waits_on_the_condition() -> None:
    future, _ = waited()
    thread = threading.Thread(target=lambda: (condition_is_waited_for(future), future.resolve(5)))
    thread.start()
    assert future.result(WAIT_S) == 5 and not future._bells
    thread.join(WAIT_S)


def condition_is_waited_for(future: TaskFuture) -> None:
    guard = time.monotonic() + WAIT_S
    while not future._condition._waiters and time.monotonic() < guard:  # type: ignore[attr-defined]
        time.sleep(0.001)


def test_without_a_bell_a_thread_waits_on_the_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.client.futures.own_bell", lambda: None)
    future, _ = bound()
    with pytest.raises(TimeoutError):
        future.result(0.001)
    thread = threading.Thread(target=future.resolve, args=(5,))
    thread.start()
    assert future.result(WAIT_S) == 5
    thread.join(WAIT_S)
