"""``Job`` and ``Result``: a job as a program inside an asyncio loop sees it, running or fetched."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from p2pcpn.client.pausing import pause_here
from p2pcpn.client.reader import Reader, Stored
from p2pcpn.client.submission import Submission, error_of
from p2pcpn.errors import JobCancelled, JobError, UsageError
from p2pcpn.wire.statements import Outcome


@dataclass(frozen=True, slots=True)
class Result:
    """One task's end: its ``index``, and a ``value`` or the ``error`` it raised."""

    index: int
    value: Any = None
    error: BaseException | None = None

    def unwrap(self) -> Any:
        """The value; raises the error."""
        if self.error is not None:
            raise self.error
        return self.value


class _Source(Protocol):
    """Where a job's results come from."""

    @property
    def id(self) -> str: ...
    def results(self, wait_s: float | None) -> AsyncIterator[Result]: ...
    async def cancel(self) -> None: ...
    async def pause(self, *, paused: bool) -> None: ...


class Job:
    """A job: submitted here (:meth:`Node.submit`) or fetched by its id (:meth:`Node.fetch`). ``id`` is a ``str``."""

    def __init__(self, source: _Source) -> None:
        self._source = source

    @property
    def id(self) -> str:
        """Names the job for its owner, on any peer."""
        return self._source.id

    def results(self, timeout: float | None = None) -> AsyncIterator[Result]:
        """Results as they come, each index once. Raises ``TimeoutError`` when ``timeout`` seconds did not suffice."""
        return self._source.results(timeout)

    async def gather(self, timeout: float | None = None) -> list[Any]:
        """All values in the order of their tasks. Raises the error of the first (by index) that failed."""
        found = [result async for result in self._source.results(timeout)]
        return [result.unwrap() for result in sorted(found, key=lambda result: result.index)]

    async def cancel(self) -> None:
        """End the job: what has not run never will."""
        await self._source.cancel()

    async def pause(self) -> None:
        """Have the job wait: what runs may end, nothing else begins, on whichever peer, until :meth:`resume`."""
        await self._source.pause(paused=True)

    async def resume(self) -> None:
        """Let a job go on that was paused."""
        await self._source.pause(paused=False)

    def __repr__(self) -> str:
        return f"Job({self.id[:8]})"


class Submitted:
    """The results of a job that this very program submitted."""

    def __init__(self, submission: Submission, futures: list[Any]) -> None:
        self._submission = submission
        self._futures = futures

    @property
    def id(self) -> str:
        return self._submission.id

    async def results(self, wait_s: float | None) -> AsyncIterator[Result]:
        """As the futures resolve."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[int] = asyncio.Queue()
        for index, future in enumerate(self._futures):
            future.add_done_callback(lambda _, i=index: loop.call_soon_threadsafe(arrived.put_nowait, i))
        end = None if wait_s is None else loop.time() + wait_s
        for _ in range(len(self._futures)):
            async with asyncio.timeout(None if end is None else max(end - loop.time(), 0.0)):
                index = await arrived.get()
            future = self._futures[index]
            if future.cancelled():
                yield Result(index, error=JobCancelled(f"task {index} was cancelled"))
            elif future.exception() is not None:
                yield Result(index, error=future.exception())
            else:
                yield Result(index, future.result())

    async def cancel(self) -> None:
        await self._submission.cancel_job()

    async def pause(self, *, paused: bool) -> None:
        pause_here(self._submission, paused=paused)


class Fetched:
    """The results of a job that is read from the peers that keep it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def id(self) -> str:
        return self._reader.job.hex()

    async def results(self, wait_s: float | None) -> AsyncIterator[Result]:
        """As they are settled. Values are unpickled here, in the owner's program, after their receipts held."""
        async for fresh in self._reader.follow(wait_s):
            for stored in fresh:
                yield await self._result(stored)
        for index in self._reader.missing():
            yield Result(index, error=why_missing(self._reader, index))

    async def _result(self, stored: Stored) -> Result:
        try:
            value = await self._reader.value(stored)
        except Exception as error:  # lost with its holders
            return Result(stored.index, error=error)
        if stored.outcome != Outcome.OK:
            return Result(stored.index, error=error_of(stored.outcome, value))
        try:
            return Result(stored.index, pickle.loads(value))
        except BaseException as error:  # whatever loading raises is the outcome of this task alone
            return Result(stored.index, error=error)

    async def cancel(self) -> None:
        from p2pcpn.client.ending import cancel_kept

        await cancel_kept(self._reader)

    async def pause(self, *, paused: bool) -> None:
        from p2pcpn.client.pausing import pause_kept

        await self._reader.refresh()  # of several words of the owner the newest counts
        await pause_kept(self._reader, paused=paused)


def why_missing(reader: Reader, index: int) -> JobError:
    """Why a task of a job that is over has no result."""
    if reader.cancelled:
        return JobCancelled("the job was cancelled before the task had run")
    if index in reader.stale:
        return JobError("the task took a result that is not the canonical one, for its swarm was parted; run it again")
    if reader.overdue:
        return JobError("deadline passed before the task had ended")
    if reader.bereft:
        return JobError("the task was given up, or its result is lost with all peers that had it")
    return JobError("the task was given up: its peers were lost too often, or died of it")


def parse_job_id(text: str) -> bytes:
    """A job's id from its text. Raises :class:`UsageError`."""
    try:
        job = bytes.fromhex(text.strip())
    except ValueError:
        job = b""
    if len(job) != 20:
        raise UsageError(f"{text!r} is no job id; it has 40 hexadecimal digits, as submit printed it")
    return job
