"""Maps of a job are fed to its peers in turn, each as far as slots want it."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from p2pcpn.client.arguments import Arguments
from p2pcpn.client.chunking import FIRST
from p2pcpn.client.chunks import TOGETHER, unpacked
from p2pcpn.client.cutting import Blob, Call
from p2pcpn.client.feeding import Feeding, callees
from p2pcpn.client.maps import Chunk, Map
from p2pcpn.client.pickling import Functions
from p2pcpn.client.room import Room
from p2pcpn.errors import JobError
from p2pcpn.wire.sealing import JobKeys

KEYS = JobKeys(b"k" * 32)


class Job:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.arguments = Arguments(KEYS)
        self.closed = False
        self.why_closed = "the job was cancelled"
        self.added: list[tuple[Chunk, Call]] = []
        self.withdrawn: list[int] = []
        self.feeding = Feeding(self.lock, KEYS, self.add)

    def wake(self) -> None: ...

    def withdraw(self, index: int) -> None:
        self.withdrawn.append(index)

    def add(self, chunk: Chunk, call: Call) -> None:
        chunk.index = len(self.added)
        self.added.append((chunk, call))

    def map(self, *iterables: Any, keep: object = None) -> Map:
        callee, alone = callees(Functions(None), abs)
        found = Map(self, self.lock, Room(self.lock, 1 << 30, lambda: True, lambda: None), callee, alone, keep)
        self.feeding.maps.append(found)
        found.take_in(iterables)
        return found


class Counter:
    counted = 0

    def count(self, _: int) -> int:
        self.counted += 1
        return self.counted


def test_a_function_travels_once_and_what_may_change_is_loaded_for_each_item() -> None:
    for function, expected in ((abs, [1, 2]), (Counter().count, [1, 1])):
        several, single = callees(Functions(None), function)
        _, _, values, _ = pickle.loads(several.pickled)(TOGETHER, [[-1, -2]], 9.0)
        assert list(unpacked(*values)) == expected
        assert pickle.loads(single.pickled)(-1)[1] == expected[0]
    with pytest.raises(TypeError):
        callees(Functions(None), threading.Lock().acquire)


def test_each_map_is_fed_as_far_as_slots_want_it() -> None:
    job, keep = Job(), object()
    assert not job.feeding and job.feeding.feed(2) == (None, False)
    job.map(range(1000), keep=keep)
    job.map(range(3), keep=keep)
    assert job.feeding.open and job.feeding.feed(2) == (keep, False)
    assert len(job.added) == FIRST + 3 and job.feeding.feed(2) == (None, False)
    (_, (callee, data)) = job.added[0]
    assert isinstance(data, bytes) and pickle.loads(data)[0][1] == [[0]] and callee is job.feeding.maps[0].callee
    job.feeding.cancel()
    assert len(job.withdrawn) == FIRST + 3 and not job.feeding.open
    job.feeding.forget_ended()
    assert not job.feeding


def test_slow_iterables_are_looked_at_again() -> None:
    job = Job()

    def slow() -> Iterator[int]:
        yield 1
        assert job.feeding.feed(1)[1]
        assert job.feeding.feed(1)[1] and len(job.added) == 1
        yield 2

    job.map(slow())
    assert not job.feeding.feed(1)[1] and len(job.added) == 2


def test_large_items_have_tasks_and_blobs_of_their_own() -> None:
    job = Job()
    job.map([bytes(300_000), -1])
    job.map([("x" * 11_000, "y" * 11_000)])
    job.feeding.feed(1)
    callees_used = [call[0] for _, call in job.added]
    assert callees_used[0] is not callees_used[1] and isinstance(job.added[2][1][1], Blob)
    job.feeding.abandon(JobError("enough"))
    assert not job.feeding.open
