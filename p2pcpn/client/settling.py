"""Settling: what peers bring of a job's tasks becomes the outcome of their futures, whatever loading it does.

A result is a pickle, and what is loaded may raise anything, ``SystemExit`` too. Whatever it is befalls that task alone:
others came in the same page, and the thread is the event loop's.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from p2pcpn.client.exceptions import error_of
from p2pcpn.client.futures import TaskFuture, resolve_all
from p2pcpn.client.large_results import AT_ONCE_BYTES, LargeResults
from p2pcpn.client.maps import Chunk
from p2pcpn.client.pickling import without_frames
from p2pcpn.client.progress import Progress
from p2pcpn.errors import JobError, PeerError
from p2pcpn.node import scratch
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol import events
from p2pcpn.wire.statements import BlobRef, Outcome


class Settling:
    """Settles the tasks of one job. For the loop's thread.

    ``futures`` are the job's open tasks by index: who settles one takes it out. ``ended`` is told how many bytes those
    took that ended just now.
    """

    def __init__(
        self,
        overlay: Overlay,
        futures: dict[int, TaskFuture | Chunk],
        progress: Progress,
        ended: Callable[[int], None],
    ) -> None:
        self._overlay = overlay
        self._futures = futures
        self._progress = progress
        self._ended = ended
        self._large_results = LargeResults(overlay)

    def delivered(self, event: events.Delivered) -> None:
        """Settle the tasks of a page, each once; a large result that is not here goes on as an open task."""
        pop, loads = self._futures.pop, pickle.loads
        futures: list[TaskFuture] = []
        values: list[Any] = []
        freed = 0
        try:
            for index, outcome, value in zip(event.indices, event.outcomes, event.values, strict=True):
                task = pop(index, None)
                if task is None:
                    continue
                freed += task.size_bytes
                try:
                    if outcome == Outcome.OK and type(value) is bytes and type(task) is TaskFuture:
                        values.append(loads(value))
                        futures.append(task)
                    elif isinstance(value, bytes):
                        self._settle(task, outcome, value)
                    else:
                        freed -= self._large(task, index, outcome, value, event.worker)
                except BaseException as error:  # whatever loading raises is the task's outcome here, and no other's
                    task.fail(without_frames(error))
        finally:  # what was taken out has nobody else who ends it
            resolve_all(futures, values)
            self._ended(freed)

    def _large(self, task: TaskFuture | Chunk, index: int, outcome: int, value: BlobRef, worker: bytes) -> int:
        """Settle with a blob; where it is not here yet ``task`` goes on: returns how many bytes it still takes."""
        data = self._overlay.shelf.get(value.digest) if value.size_bytes < AT_ONCE_BYTES else None
        if data is None:
            self._futures[index] = task
            self._overlay.spawn(self._fetch(index, outcome, value, worker))
            return task.size_bytes
        try:
            with scratch.opened(value.key, data) as plain:
                self._settle(task, outcome, plain)
        except PeerError as error:
            self._progress.failed += 1
            task.fail(JobError(f"the result of task {index} is lost: {error}"))
        return 0

    def _settle(self, task: TaskFuture | Chunk, outcome: int, value: bytes | memoryview) -> None:
        try:
            if outcome != Outcome.OK:
                self._progress.failed += 1
                task.fail(error_of(outcome, bytes(value)))
            elif isinstance(task, Chunk):
                if not task.came_back(pickle.loads(value), len(value)):
                    task.fail(JobError("a worker returned what is no result of the chunk it ran"))
            else:
                task.resolve(pickle.loads(value))
        except BaseException as error:  # whatever loading raises is the task's outcome here
            task.fail(without_frames(error))

    async def _fetch(self, index: int, outcome: int, ref: BlobRef, worker: bytes) -> None:
        """A large result, or one whose bytes are not here (yet): it is opened beside the loop."""
        plain = outcome == Outcome.OK and isinstance(self._futures.get(index), TaskFuture)
        found: Any = None
        failure: BaseException | None
        try:
            found, failure = await self._large_results.load(ref, worker, _loaded if plain else _copied)
        except PeerError as error:
            failure = JobError(f"the result of task {index} is lost: {error}")
        except Exception as error:  # no memory for it, say: it befalls this task alone
            failure = without_frames(error)
        task = self._futures.pop(index, None)
        if task is None:
            return
        if failure is not None:
            self._progress.failed += 1
            task.fail(failure)
        elif plain and isinstance(task, TaskFuture):
            task.resolve(found)
        else:
            self._settle(task, outcome, found)
        self._ended(task.size_bytes)


def _loaded(view: Any) -> tuple[Any, BaseException | None]:
    """What the pickle holds, or what loading it raised: that is told from the end of the thread or task that waits."""
    try:
        return pickle.loads(view), None
    except BaseException as error:
        return None, without_frames(error)


def _copied(view: Any) -> tuple[bytes, None]:
    return bytes(view), None
