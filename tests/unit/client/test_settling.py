"""What peers bring becomes the outcome of each task alone, whatever its loading raises, wherever it comes from."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.client.futures import TaskFuture
from p2pcpn.client.progress import Progress
from p2pcpn.client.settling import Settling
from p2pcpn.errors import JobError, PeerError, WorkerDied
from p2pcpn.protocol import events
from p2pcpn.runtime.function import failures
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Death
from p2pcpn.wire.sealing import digest, seal
from p2pcpn.wire.statements import BlobRef, Outcome

KEY = b"\1" * 32
JOB = b"j" * 20
WORKER = b"w" * 20


class Exits:
    """Ends whoever loads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.exit, (3,)


class Refuses:
    """Cannot be loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


class Overlay:
    """Blobs at hand, others that a peer has, and what was begun beside the loop's thread."""

    def __init__(self) -> None:
        self.here: dict[bytes, bytes] = {}
        self.there: dict[bytes, bytes] = {}
        self.begun: list[Any] = []
        self.spawn = self.begun.append
        self.loop = SimpleNamespace(run_in_executor=self._run)
        self.shelf = SimpleNamespace(
            get=self.here.get, has=self.here.__contains__, reading=lambda name: lambda: self.here.get(name)
        )
        self.peer = SimpleNamespace(directory={})
        self.library = self

    async def _run(self, _: None, work: Any, *arguments: Any) -> Any:
        return work(*arguments)

    async def fetch_blob(self, name: bytes, _: list[Any], __: int) -> bytes:
        if name not in self.there:
            raise PeerError("no peer that answers has the blob")
        return self.there[name]


class World:
    """So many open tasks of ten bytes."""

    def __init__(self, tasks: int) -> None:
        self.overlay: Any = Overlay()
        self.futures = [TaskFuture(index=i, size_bytes=10) for i in range(tasks)]
        self.open: dict[int, Any] = dict(enumerate(self.futures))
        self.progress = Progress()
        self.ended: list[int] = []
        self.settling = Settling(self.overlay, self.open, self.progress, self.ended.append)

    def deliver(self, values: Sequence[bytes | BlobRef], outcomes: Sequence[int] = ()) -> None:
        said = bytes(outcomes or [Outcome.OK] * len(values))
        self.settling.delivered(events.Delivered(JOB, list(range(len(values))), said, list(values), WORKER, []))

    def fetched(self) -> None:
        for work in self.overlay.begun:
            asyncio.run(work)


def blob(data: bytes) -> tuple[BlobRef, bytes]:
    sealed = seal(KEY, 0, data)
    return BlobRef(digest(sealed), len(sealed), KEY), sealed


def test_a_page_settles_each_of_its_tasks_once() -> None:
    world = World(3)
    values = [pickle.dumps(7), failures.encode(ValueError("no")), pages.DEATH.encode(Death(9, None))]
    for _ in range(2):
        world.deliver(values, [Outcome.OK, Outcome.RAISED, Outcome.DIED])
    assert world.futures[0].result(0) == 7 and world.progress.failed == 2
    assert [type(future.exception(0)) for future in world.futures[1:]] == [ValueError, WorkerDied]
    assert world.open == {} and world.ended == [30, 0]


def test_a_result_whose_loading_ends_programs_fails_its_task_alone() -> None:
    world = World(3)
    world.deliver([pickle.dumps(1), pickle.dumps(Exits()), pickle.dumps(3)])
    assert [world.futures[0].result(0), world.futures[2].result(0)] == [1, 3]
    assert isinstance(world.futures[1].exception(0), SystemExit) and world.ended == [30]


def test_a_callback_that_ends_programs_costs_no_other_task_its_end() -> None:
    world = World(2)
    world.futures[0].add_done_callback(lambda _: sys.exit(1))
    world.deliver([pickle.dumps(1), pickle.dumps(2)])
    assert [future.result(0) for future in world.futures] == [1, 2] and world.ended == [20]


@pytest.mark.parametrize(("value", "kind"), [(Exits(), SystemExit), (Refuses(), ValueError)])
def test_so_does_a_large_one_that_is_here_or_has_to_be_brought(value: Any, kind: type[BaseException]) -> None:
    world = World(3)
    (here, one), (there, other) = blob(pickle.dumps(value) + b"."), blob(pickle.dumps(value))
    world.overlay.here[here.digest], world.overlay.there[there.digest] = one, other
    world.deliver([here, there, pickle.dumps(3)])
    assert world.open == {1: world.futures[1]} and world.ended == [20]
    world.fetched()
    assert [type(future.exception(0)) for future in world.futures[:2]] == [kind, kind]
    assert world.futures[2].result(0) == 3 and world.ended == [20, 10]


def test_large_results_and_failures_are_opened_where_they_are_or_come_late() -> None:
    world = World(4)
    (here, one), (there, other) = blob(pickle.dumps("here")), blob(pickle.dumps("there"))
    raised, words = blob(failures.encode(KeyError("far")))
    world.overlay.here[here.digest], world.overlay.there[there.digest] = one, other
    world.overlay.there[raised.digest] = words
    world.deliver([here, there, raised, BlobRef(bytes(32), 99, KEY)], [0, 0, Outcome.RAISED, 0])
    assert [future.done() for future in world.futures] == [True, False, False, False]
    world.fetched()
    assert [future.result(0) for future in world.futures[:2]] == ["here", "there"]
    assert isinstance(world.futures[2].exception(0), KeyError) and world.progress.failed == 2
    assert isinstance(lost := world.futures[3].exception(0), JobError) and "task 3 is lost" in str(lost)
    assert world.open == {} and world.ended == [10, 10, 10, 10]


def test_what_was_settled_while_it_was_fetched_stays_as_it_is() -> None:
    world = World(1)
    there, sealed = blob(pickle.dumps(1))
    world.overlay.there[there.digest] = sealed
    world.deliver([there])
    world.open.pop(0).fail(JobError("given up"))
    world.fetched()
    assert isinstance(world.futures[0].exception(0), JobError) and world.ended == [0]


def test_a_blob_that_its_key_does_not_open_is_lost_alone() -> None:
    world = World(2)
    ref, sealed = blob(pickle.dumps(1))
    world.overlay.here[ref.digest] = sealed
    world.deliver([BlobRef(ref.digest, ref.size_bytes, bytes(32)), pickle.dumps(2)])
    assert "task 0 is lost" in str(world.futures[0].exception(0)) and world.futures[1].result(0) == 2


def test_memory_that_is_not_there_for_a_large_result_fails_its_task() -> None:
    world = World(1)

    async def scarce(*_: Any) -> Any:
        raise MemoryError

    world.overlay.fetch_blob = scarce
    world.deliver([blob(b"x")[0]])
    world.fetched()
    assert isinstance(world.futures[0].exception(0), MemoryError) and world.ended == [0, 10]
