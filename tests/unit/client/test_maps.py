"""A map takes items in, cuts chunks on demand, and hands results out in order, whatever befalls the chunks."""

from __future__ import annotations

import gc
import itertools
import math
import pickle
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.client import maps
from p2pcpn.client.arguments import Arguments
from p2pcpn.client.chunks import Loaded, run_item, run_items
from p2pcpn.client.cutting import Parted
from p2pcpn.client.maps import Chunk, Map
from p2pcpn.client.pickling import Callee, dumps
from p2pcpn.client.room import Room
from p2pcpn.errors import WorkerDied
from p2pcpn.wire.sealing import JobKeys

WAIT_S = 10.0


class Job:
    """Stands for a submission, and for the swarm behind it."""

    def __init__(self, queue_bytes: int = limits.QUEUE_BYTES) -> None:
        self.lock = threading.RLock()
        self.room = Room(self.lock, queue_bytes, lambda: False, lambda: None)
        self.arguments = Arguments(JobKeys(b"k" * 32))
        self.closed = False
        self.why_closed = "the job was cancelled"
        self.woken = 0
        self.served: Map | None = None  # whose chunks run as soon as the loop is woken
        self.withdrawn: list[int] = []
        self.numbers = itertools.count()

    def wake(self) -> None:
        self.woken += 1
        if self.served is not None:
            self.serve(self.served)

    def withdraw(self, index: int) -> None:
        self.withdrawn.append(index)

    def map(self, function: Any, keep: object = None) -> Map:
        callee, alone = (Callee(dumps(partial(run, Loaded(dumps(function)))), ()) for run in (run_items, run_item))
        return Map(self, self.lock, self.room, callee, alone, keep)

    def over(self, *iterables: Any, function: Any = abs) -> tuple[Map, Iterator[Any]]:
        found = self.map(function)
        found.take_in(iterables)
        return found, found.results(time.monotonic())  # what is not there yet is late

    def cut(self, found: Map, slots: int = 1) -> Chunk | None:
        with self.lock:
            chunk = found.cut(slots)
            if chunk is not None:
                chunk.index = next(self.numbers)
            return chunk

    def run(self, chunk: Chunk) -> None:
        """As a worker would, through the pickles that carry it."""
        call = chunk.block.call
        if call is None:
            arguments: Any = pickle.loads(pickle.dumps(chunk.arguments()))
            callee = chunk._map.callee
        else:
            assert isinstance(call, tuple) and isinstance(call[1], (bytes, Parted))
            callee, arguments = call[0], (None,)
        value = pickle.loads(callee.pickled)(*arguments)
        self.room.give_back(chunk.size_bytes)
        assert chunk.came_back(value, 10)

    def serve(self, found: Map) -> list[int]:
        """Run all there is; how many items each chunk had."""
        sizes = []
        while (chunk := self.cut(found)) is not None:
            sizes.append(chunk.block.count)
            self.run(chunk)
        return sizes


def test_results_come_in_order_from_chunks_that_grow_and_shrink() -> None:
    job = Job()
    found, results = job.over(range(-10_000, 0))
    assert found.open and not found.over
    sizes = job.serve(found)
    assert sizes[0] == 1 and max(sizes) > 100 and sizes[-1] == 1
    assert list(results) == list(range(10_000, 0, -1))
    assert found.over and not found.open and job.room.used_bytes == 0 and job.woken


def test_chunks_may_come_back_in_any_order() -> None:
    job = Job()
    found, results = job.over(range(100), function=str)
    chunks = []
    while (chunk := job.cut(found)) is not None:
        chunks.append(chunk)
    for chunk in reversed(chunks):
        job.run(chunk)
    assert list(results) == list(map(str, range(100)))


def test_several_iterables_end_with_the_shortest() -> None:
    job = Job()
    found, results = job.over(itertools.count(), range(5), [7] * 9, function=pow)
    job.serve(found)
    assert list(results) == [1, 1, 4, 6, 4]
    assert job.room.used_bytes == 0
    for iterables in ((), ([],), ([], range(3))):
        found, results = job.over(*iterables)
        assert job.serve(found) == [] and list(results) == [] and found.over


def test_what_can_change_travels_apart_and_what_is_large_alone() -> None:
    job = Job()
    items = [[1], [2, 3], bytes(100_000), bytearray(200_000), {}, "x" * 3]
    found, results = job.over(items, function=len)
    assert [(b.count, b.call is not None) for b in found._waiting] == [(2, False), (1, True), (1, True), (2, False)]
    assert job.room.used_bytes > 300_000
    chunks = [job.cut(found) for _ in items]
    assert job.cut(found) is None
    for chunk in chunks:
        assert chunk is not None
        if chunk.block.call is None:
            job.run(chunk)
        else:
            job.room.give_back(chunk.size_bytes)
            chunk.came_back((0.001, 99), 10)
    assert list(results) == [1, 2, 99, 99, 0, 3] and job.room.used_bytes == 0


def test_texts_tuples_and_numbers_are_weighed() -> None:
    job = Job()
    job.over(["x" * 1000] * 8)
    assert 8000 < job.room.used_bytes < 9000
    job.over([("x" * 1000, 1)] * 8, function=len)
    assert 16_000 < job.room.used_bytes < 19_000


def test_small_items_are_put_together_only_as_far_as_they_fit() -> None:
    job = Job()
    found, _ = job.over([[bytes(3000)] for _ in range(20)], function=len)
    for _ in range(20):
        found.chunking.ran(1, 1e-6, 4)
    chunk = job.cut(found)
    assert chunk is not None and chunk.block.count == 4


def test_what_a_chunk_had_no_time_for_is_cut_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "CHUNK_S_MAX", -1.0)
    job = Job()
    found, results = job.over(range(50), function=str)
    for _ in range(20):
        found.chunking.ran(1, 1e-6, 4)
    sizes = job.serve(found)
    assert max(sizes) > 1 and len(sizes) == 50
    assert list(results) == list(map(str, range(50))) and job.room.used_bytes == 0


def divided(x: int) -> float:
    return 1 / x


def test_the_first_failure_is_raised_in_its_place_and_ends_the_rest() -> None:
    job = Job()
    found, results = job.over([1, 2, 0, 4, 0, 5] + [6] * 100, function=divided)
    for _ in range(20):
        found.chunking.ran(1, 1e-6, 4)
    for _ in range(4):
        chunk = job.cut(found)
        assert chunk is not None
        job.run(chunk)
    late = job.cut(found)
    assert [next(results), next(results)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == [] and late is not None and job.withdrawn == [late.index]
    assert found.over and not late.came_back((0.1, 1), 1) and job.room.used_bytes == late.size_bytes


def test_what_cannot_be_pickled_fails_in_its_place() -> None:
    job = Job()
    found, results = job.over([[1], threading.Lock(), [2]], function=len)
    job.serve(found)
    assert next(results) == 1
    with pytest.raises(TypeError, match="pickle"):
        next(results)


def test_a_chunk_that_is_lost_runs_again_one_by_one_and_the_guilty_item_fails() -> None:
    job = Job()
    found, results = job.over(range(8))
    for _ in range(20):
        found.chunking.ran(1, 1e-6, 4)
    chunk = job.cut(found)
    assert chunk is not None and chunk.block.count == 2 and chunk.start() and not chunk.done()
    job.room.give_back(chunk.size_bytes)
    assert chunk.fail(WorkerDied("signal 9", 9, None)) and chunk.done() and not chunk.fail(WorkerDied("again"))
    first, second = job.cut(found), job.cut(found)
    assert first is not None and second is not None and (first.block.count, second.block.first) == (1, 1)
    job.run(first)
    second.fail(WorkerDied("signal 9", 9, None))
    job.room.give_back(second.size_bytes)
    job.serve(found)
    assert next(results) == 0
    with pytest.raises(WorkerDied):
        next(results)


def test_a_worker_that_claims_too_many_results_is_not_believed() -> None:
    job = Job()
    found, _ = job.over(range(8))
    chunk = job.cut(found)
    assert chunk is not None and not chunk.came_back((0.1, 5, (maps.LOADED, [1] * 5), {}), 1)
    with pytest.raises(ValueError):
        chunk.came_back((1, 2, 3), 1)


@pytest.mark.parametrize("value", [(math.nan, 1), (math.inf, 1), (-1.0, 1), ("a", 1), (None, 1, (0, b""), {}), 5])
def test_a_worker_that_says_no_time_spoils_nothing_but_its_chunk(value: Any) -> None:
    job = Job()
    found, results = job.over([-7])
    chunk = job.cut(found)
    assert chunk is not None
    try:
        assert not chunk.came_back(value, 10)
    except TypeError as error:
        assert chunk.fail(error)
    else:
        assert chunk.fail(WorkerDied("it said nothing of use"))
    with pytest.raises((TypeError, WorkerDied)):
        next(results)
    assert found.chunking.item_s is None


def test_time_is_over_only_for_what_is_not_there() -> None:
    job = Job()
    found, results = job.over(range(3))
    chunk = job.cut(found)
    assert chunk is not None
    job.run(chunk)
    assert next(results) == 0
    with pytest.raises(FutureTimeout):
        next(results)
    assert found.over


def test_whoever_iterates_is_woken_by_the_next_result() -> None:
    job = Job()
    found = job.map(abs)
    found.take_in(([-1, -2],))
    results, seen = found.results(None), list[int]()
    thread = threading.Thread(target=lambda: seen.extend(results))
    thread.start()
    job.serve(found)
    thread.join(WAIT_S)
    assert seen == [1, 2]


def test_closing_the_iterator_takes_back_what_does_not_run() -> None:
    job = Job()
    found, results = job.over(range(100))
    first, running, out = job.cut(found), job.cut(found), job.cut(found)
    assert first is not None and running is not None and out is not None
    job.run(first)
    running.start()
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert job.withdrawn == [out.index] and out.done() and not out.start() and not running.done()
    assert found.open
    job.run(running)
    assert found.over and found._ready == {} and job.cut(found) is None


def test_cancelling_leaves_what_is_there_and_what_runs() -> None:
    job = Job()
    found, results = job.over(range(10))
    first, second = job.cut(found), job.cut(found)
    assert first is not None and second is not None
    job.run(first)
    second.start()
    assert not second.cancel()
    found.cancel()
    job.run(second)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(CancelledError):
        next(results)


def test_one_chunk_that_is_cancelled_is_missed_in_its_place() -> None:
    job = Job()
    found, results = job.over(range(3))
    chunk = job.cut(found)
    assert chunk is not None and chunk.cancel() and not chunk.cancel()
    with pytest.raises(CancelledError):
        next(results)


def test_an_abandoned_map_raises_why() -> None:
    job = Job()
    found, results = job.over(range(10))
    running = job.cut(found)
    assert running is not None
    running.start()
    found.abandon(WorkerDied("gone"))
    assert running.fail(WorkerDied("gone")) and found.over
    with pytest.raises(WorkerDied):
        next(results)


def test_an_iterator_that_never_began_cancels_nothing_when_it_is_dropped() -> None:
    job = Job()
    found, results = job.over(range(10))
    del results
    gc.collect()
    assert sum(job.serve(found)) == 10 and found.over


def test_results_that_nobody_can_read_any_more_are_let_go() -> None:
    job = Job()
    found, results = job.over(range(10))
    chunk = job.cut(found)
    assert chunk is not None
    job.run(chunk)
    assert found._ready_bytes > 0
    del results
    gc.collect()
    assert not found._ready and found._ready_bytes == 0
    assert sum(job.serve(found)) == 9 and not found._ready and found._ready_bytes == 0


def test_results_that_were_read_fill_no_room() -> None:
    job = Job(queue_bytes=20_000)
    job.served = found = job.map(abs)
    found.take_in((itertools.count(),))
    results = found.results(None)
    for _ in range(50_000):
        next(results)
        assert found._ready_bytes == sum(size_bytes for _, _, _, size_bytes in found._ready.values())
    assert found._ready_bytes < 60_000


def test_a_result_that_was_handed_out_is_not_kept() -> None:
    job = Job()
    found, results = job.over(range(6), function=set_of)
    job.serve(found)
    for each in results:
        watched = weakref.ref(each)
        del each
        assert watched() is None


def set_of(x: int) -> set[int]:
    return {x}


def test_an_item_that_was_taken_in_is_let_go_with_its_chunk() -> None:
    class Item:
        pass

    job = Job()
    items = [Item() for _ in range(3)]
    watched = [weakref.ref(item) for item in items]
    found = job.map(type)
    found.take_in((iter(items),))
    del items
    assert [each() for each in watched] == [None] * 3  # pickled by now


def test_iterables_that_are_slow_do_not_hold_up_what_they_gave() -> None:
    job = Job()
    found = job.map(abs)
    cut: list[list[int]] = []

    def slow() -> Iterator[int]:
        for i in range(5):
            yield i
            assert found.slow
            chunk = job.cut(found)
            assert chunk is not None
            cut.append(list(chunk.block.items[0]))
            job.run(chunk)
            assert not found.over

    found.take_in((slow(),))
    assert cut == [[0], [1], [2], [3], [4]] and not found.slow
    assert list(found.results(0.0)) == [0, 1, 2, 3, 4]


def test_iterables_that_raise_do_so_at_the_call_and_what_they_gave_runs() -> None:
    def broken() -> Iterator[int]:
        yield from range(10)
        raise KeyError("no more")

    job = Job()
    found = job.map(abs)
    with pytest.raises(KeyError):
        found.take_in((broken(),))
    assert sum(job.serve(found)) == 10 and found.over


def test_once_the_job_takes_no_more_a_map_says_why() -> None:
    job = Job()

    def closing() -> Iterator[int]:
        for i in itertools.count():
            job.closed = i > 20
            yield i

    found = job.map(abs)
    with pytest.raises(RuntimeError, match="the job was cancelled"):
        found.take_in((closing(),))
    job.serve(found)
    assert found.over


def test_the_caller_waits_while_there_is_no_room_and_goes_on_as_items_end() -> None:
    job = Job(queue_bytes=10_000)
    found, most = job.map(len), [0]
    taken = threading.Thread(target=lambda: found.take_in(([bytes(100) for _ in range(2000)],)))
    taken.start()
    ran = 0
    while taken.is_alive() or found.open:
        most[0] = max(most[0], job.room.used_bytes)
        chunk = job.cut(found)
        if chunk is None:
            taken.join(0.001)  # a loop that only turned would keep the interpreter from the other thread
        else:
            ran += chunk.block.count
            job.run(chunk)
    assert ran == 2000 and most[0] < 10_000 + maps.BLOCK_BYTES and job.room.used_bytes == 0
    assert list(found.results(0.0)) == [100] * 2000


def test_endless_iterables_go_on_as_results_are_read() -> None:
    job = Job(queue_bytes=20_000)
    job.served = found = job.map(abs)
    found.take_in((itertools.count(),))  # returns once results fill the room that nobody can read yet
    assert found._rows is not None and found._ready_bytes >= 20_000
    results = found.results(None)
    assert list(itertools.islice(results, 50_000)) == list(range(50_000))
    assert found._ready_bytes < 200_000
    results.close()  # type: ignore[attr-defined]
    assert found.over


def test_a_map_that_nobody_reads_on_says_so(caplog: pytest.LogCaptureFixture) -> None:
    job = Job(queue_bytes=1000)
    job.served = found = job.map(abs)
    found.take_in((range(100_000),))
    results = found.results(None)
    assert not found.over
    del results
    gc.collect()
    assert found.over and "nobody read on" in caplog.text


def test_chunks_are_wanted_in_handfuls() -> None:
    job = Job()
    found, _ = job.over(range(100_000))
    for _ in range(20):
        found.chunking.ran(1, 1e-4, 4)
    wanted = found.wanted(2)
    chunks = [job.cut(found) for _ in range(wanted)]
    assert wanted > 20 and found.wanted(2) == 0
    for chunk in chunks[: wanted // 2]:
        assert chunk is not None
        chunk.came_back((1e-4, 1), 4)
    assert found.wanted(2) > 0
