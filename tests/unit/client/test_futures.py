"""The future of a task: cancelled once, told once, and resolved or not whoever is first."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, wait

import pytest

from p2pcpn.client.futures import TaskFuture


def bound() -> tuple[TaskFuture, list[int]]:
    future, told = TaskFuture(), list[int]()
    future.bind(7, told.append)
    return future, told


def test_a_pending_future_is_cancelled_and_its_job_told_once() -> None:
    future, told = bound()
    assert future.cancel() and future.cancel() and future.cancelled()
    assert told == [7] and future.index == 7
    assert wait([future], timeout=0).done == {future}  # waiters are told, not only callers of result()
    with pytest.raises(CancelledError):
        future.result(0)


def test_what_runs_or_has_ended_cannot_be_cancelled() -> None:
    future, told = bound()
    assert future.start() and future.start() and future.running()
    assert not future.cancel()
    future.resolve(3)
    assert future.start() and not future.cancel() and future.result(0) == 3 and told == []


def test_a_cancelled_future_takes_no_result_any_more() -> None:
    future, _ = bound()
    future.cancel()
    assert not future.start()
    future.resolve(1)
    future.fail(ValueError())
    assert future.cancelled()


def test_the_first_result_stays() -> None:
    future, _ = bound()
    future.fail(ValueError("first"))
    future.resolve(2)
    assert isinstance(future.exception(0), ValueError)


def test_of_many_threads_that_cancel_one_tells_the_job() -> None:
    for _ in range(50):
        future, told = bound()
        threads = [threading.Thread(target=future.cancel) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told == [7] and future.cancelled()


def test_a_future_that_has_ended_refers_to_its_job_no_more() -> None:
    future, _ = bound()
    future.resolve(1)
    assert not hasattr(future, "_on_cancel")
