"""Loads: what is done to a system and timed, in the process that runs it. A load knows no system by name.

Each method is one measurement and returns plain numbers; what it needs is made before the clock starts and checked
after it stopped.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from p2pcpn.bench import tasks
from p2pcpn.bench.systems.system import WORKERS, System

MIB: Final = 1 << 20
MB: Final = 1e6
# Chunk sizes that are tried for systems which cut a map by hand.
CHUNKS: Final = (250, 1000, 4000, 16_000)

Numbers = dict[str, Any]


class Loads:
    """The measurements of one system. ``clock`` gives seconds."""

    def __init__(self, system: System, clock: Callable[[], float] = time.perf_counter) -> None:
        self._system = system
        self._clock = clock
        self._held: list[Any] = []

    # --- many tasks ------------------------------------------------------------------------------------------------

    def begin(self) -> Numbers:
        """A new job, pool or client, so that what an earlier benchmark left behind is none of this one's business."""
        if self._system.begins:
            self._system.begin()
            self._system.gather([self._system.submit(tasks.no_op, item) for item in range(10 * WORKERS)])
        return {}

    def deliver(self, count: int) -> Numbers:
        """So many no-op tasks, a future each, until the last result is here."""
        submit, gather, clock = self._system.submit, self._system.gather, self._clock
        gc.collect()
        begun = clock()
        found = gather([submit(tasks.no_op, item) for item in range(count)])
        seconds = clock() - begun
        _check(found, range(count))
        return {"rate": count / seconds, "tasks": count, "seconds": seconds}

    def finish(self, count: int) -> Numbers:
        """The same until the tasks are *done*."""
        submit, gather, clock = self._system.submit, self._system.gather, self._clock
        self._system.settle()
        gc.collect()
        begun = clock()
        found = gather([submit(tasks.no_op, item) for item in range(count)])
        delivered = clock()
        self._system.settle()
        seconds = clock() - begun
        _check(found, range(count))
        return {
            "rate": count / seconds, "tasks": count, "seconds": seconds, "delivered_s": delivered - begun,
            **self._system.facts(),
        }  # fmt: skip

    def map(self, count: int, chunk: int | None = None) -> Numbers:
        """The system's map over so many no-op items; the results are counted as they come, not kept."""
        gc.collect()
        begun = self._clock()
        seen = total = 0
        for item in self._system.map(tasks.no_op, range(count), chunk):
            seen += 1
            total += item
        seconds = self._clock() - begun
        assert (seen, total) == (count, count * (count - 1) // 2), "a map loses and invents nothing"
        return {"rate": count / seconds, "items": count, "chunk": chunk, "seconds": seconds}

    def best_chunk(self, count: int) -> Numbers:
        """The chunk size with which the map is fastest; ``None`` where there is none to choose."""
        if not self._system.chunks:
            return {"chunk": None}
        found = {chunk: self.map(count, chunk)["rate"] for chunk in CHUNKS if chunk * WORKERS <= count}
        return {"chunk": max(found, key=lambda chunk: found[chunk]) if found else None}

    # --- one task after the other ----------------------------------------------------------------------------------

    def trips(self, count: int) -> Numbers:
        """Sequential round trips of a no-op task."""
        submit, gather, clock = self._system.submit, self._system.gather, self._clock
        gc.collect()
        found = []
        for item in range(count):
            begun = clock()
            gather([submit(tasks.no_op, item)])
            found.append((clock() - begun) * 1e3)
        found.sort()
        return {"p50_ms": statistics.median(found), "p99_ms": found[min(count - 1, count * 99 // 100)], "trips": count}

    def first(self) -> Numbers:
        """The first result of something new: how long it takes to begin, and then from submit to result."""
        gc.collect()
        begun = self._clock()
        self._system.begin()
        open_ = self._clock()
        found = self._system.gather([self._system.submit(tasks.no_op, 1)])
        ended = self._clock()
        _check(found, [1])
        return {"first_ms": (ended - open_) * 1e3, "begin_ms": (open_ - begun) * 1e3}

    # --- bytes -----------------------------------------------------------------------------------------------------

    def echo(self, count: int, arrays: bool = False) -> Numbers:
        """``count`` different blobs of 1 MiB there and back, as bytes or as NumPy arrays."""
        blobs: list[Any] = [os.urandom(MIB) for _ in range(count)]
        if arrays:
            import numpy

            blobs = [numpy.frombuffer(blob, dtype=numpy.float64).copy() for blob in blobs]
        submit, gather, clock = self._system.submit, self._system.gather, self._clock
        gc.collect()
        begun = clock()
        found = gather([submit(tasks.echo, blob) for blob in blobs])
        seconds = clock() - begun
        assert [bytes(memoryview(data).cast("B")) for data in found] == [
            bytes(memoryview(data).cast("B")) for data in blobs
        ], "an echo changes nothing"
        return {"rate": 2 * count * MIB / MB / seconds, "blobs": count, "seconds": seconds}

    # --- time of a core --------------------------------------------------------------------------------------------

    def burn(self, task_s: float, count: int, cpu: bool = False) -> Numbers:
        """Tasks of ``task_s`` each: the share of what two workers that never wait would take.

        ``cpu``: they burn so much time of a core; otherwise they spin until so much time has passed.
        """
        function = tasks.burn if cpu else tasks.spin
        submit, gather, clock = self._system.submit, self._system.gather, self._clock
        gc.collect()
        begun = clock()
        found = gather([submit(function, task_s) for _ in range(count)])
        seconds = clock() - begun
        _check(found, [task_s] * count)
        return {"efficiency": count * task_s / WORKERS / seconds, "tasks": count, "seconds": seconds}

    # --- tasks that wait -------------------------------------------------------------------------------------------

    def fill(self, count: int, path: str) -> Numbers:
        """Keep all workers until ``path`` exists, and queue so many tasks behind."""
        submit = self._system.submit
        held = [submit(tasks.hold, path) for _ in range(WORKERS)]
        self._held = [held, [submit(tasks.no_op, item) for item in range(count)]]
        return {"tasks": count}

    def drain(self) -> Numbers:
        """The tasks that :meth:`fill` queued, once the file exists."""
        held, queued = self._held
        self._held = []
        self._system.gather(held)
        _check(self._system.gather(queued), range(len(queued)))
        return {}

    def outsiders(self) -> Numbers:
        """Children that are no part of the submitter."""
        return {"pids": self._system.outsiders()}


def _check(found: Iterable[Any], wanted: Iterable[Any]) -> None:
    if list(found) != list(wanted):
        raise RuntimeError("the results are not those of the tasks")
