"""A job's results come as they end, each once; a fetched one says what became of tasks without a result."""

from __future__ import annotations

import pickle
import sys
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any, ClassVar

import pytest

from p2pcpn.client.job import Fetched, Job, Result, Submitted, parse_job_id
from p2pcpn.client.reader import Stored
from p2pcpn.errors import JobCancelled, JobError, PeerError, UsageError, WorkerDied
from p2pcpn.runtime.function import failures
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Death
from p2pcpn.wire.statements import Outcome


class FakeSubmission:
    id = "ab" * 20
    cancelled = False

    async def cancel_job(self) -> None:
        self.cancelled = True


def stored(index: int, value: bytes, outcome: int = Outcome.OK) -> Stored:
    return Stored(index, outcome, value, "", (), b"w" * 32, 0, b"d" * 16)


class FakeReader:
    job = b"\xcd" * 20
    cancelled = False
    overdue = False
    bereft = False
    stale: ClassVar[dict[int, Stored]] = {}

    def __init__(self) -> None:
        self.lost: list[int] = []
        self.batches: list[list[Stored]] = []

    async def follow(self, wait_s: float | None) -> AsyncIterator[list[Stored]]:
        for batch in self.batches:
            yield batch

    def missing(self) -> list[int]:
        return self.lost

    async def value(self, each: Stored) -> bytes:
        if each.value == b"gone":
            raise PeerError("nobody has it")
        assert isinstance(each.value, bytes)
        return each.value


def futures(count: int) -> list[Future[Any]]:
    return [Future() for _ in range(count)]


@pytest.mark.asyncio
async def test_results_of_a_submitted_job_come_as_they_end() -> None:
    waiting = futures(3)
    submission = FakeSubmission()
    job = Job(Submitted(submission, waiting))  # type: ignore[arg-type]
    assert job.id == "ab" * 20 and "abababab" in repr(job)
    waiting[2].set_result("c")
    waiting[0].set_exception(ValueError("a"))
    waiting[1].cancel()
    found = [result async for result in job.results(5)]
    assert [result.index for result in found] == [2, 0, 1] or {result.index for result in found} == {0, 1, 2}
    by_index = {result.index: result for result in found}
    assert by_index[2] == Result(2, "c") and isinstance(by_index[1].error, JobCancelled)
    with pytest.raises(ValueError, match="a"):
        await job.gather(5)
    await job.cancel()
    assert submission.cancelled


@pytest.mark.asyncio
async def test_a_job_that_takes_too_long_times_out() -> None:
    job = Job(Submitted(FakeSubmission(), futures(1)))  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        await job.gather(0.001)


@pytest.mark.asyncio
async def test_results_of_a_fetched_job_are_values_or_the_error_of_their_task_alone() -> None:
    reader = FakeReader()
    death = pages.DEATH.encode(Death(None, 3))
    raised = failures.encode(ValueError("v"))
    reader.batches = [
        [stored(0, pickle.dumps(5)), stored(1, raised, Outcome.RAISED)],
        [stored(2, death, Outcome.DIED), stored(3, b"gone"), stored(4, b"no pickle")],
    ]
    reader.lost = [5]
    job = Job(Fetched(reader))  # type: ignore[arg-type]
    found = {result.index: result async for result in job.results()}
    assert job.id == "cd" * 20 and found[0].unwrap() == 5
    kinds = [ValueError, WorkerDied, PeerError, pickle.UnpicklingError, JobError]
    assert [type(found[i].error) for i in range(1, 6)] == kinds
    assert str(found[5].error).startswith("the task was given up: ")
    reader.bereft = True
    assert str([result async for result in job.results()][-1].error).endswith("lost with all peers that had it")
    reader.overdue = True
    assert str([result async for result in job.results()][-1].error).startswith("deadline passed")
    reader.cancelled = True
    assert isinstance([result async for result in job.results()][-1].error, JobCancelled)


class Exits:
    """Ends whoever loads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.exit, (3,)


@pytest.mark.asyncio
async def test_a_fetched_result_whose_loading_ends_programs_is_an_error_of_its_task() -> None:
    reader = FakeReader()
    reader.batches = [[stored(0, pickle.dumps(Exits())), stored(1, pickle.dumps(5))]]
    first, second = [result async for result in Job(Fetched(reader)).results()]  # type: ignore[arg-type]
    assert isinstance(first.error, SystemExit) and second.unwrap() == 5


@pytest.mark.asyncio
async def test_a_fetched_job_is_cancelled_where_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    async def cancel(reader: Any) -> int:
        told.append(reader)
        return 1

    monkeypatch.setattr("p2pcpn.client.ending.cancel_kept", cancel)
    reader = FakeReader()
    await Job(Fetched(reader)).cancel()  # type: ignore[arg-type]
    assert told == [reader]


def test_a_job_id_is_forty_digits() -> None:
    assert parse_job_id(" " + "0a" * 20 + "\n") == b"\x0a" * 20
    for text in ("", "xyz", "0a" * 19):
        with pytest.raises(UsageError):
            parse_job_id(text)
