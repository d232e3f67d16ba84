"""Runs: a batch reaches the runtime with its blobs opened; what is missing is a refusal; reports reach the worker."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.errors import StoreError, UsageError
from p2pcpn.node import runs as module
from p2pcpn.node.runs import Runs
from p2pcpn.protocol.effects import CutRun, Run, StopRun
from p2pcpn.protocol.receipts import sealed
from p2pcpn.runtime.function import Batch, Died, Finished, GroupKey, Output, Unstarted, sharing
from p2pcpn.runtime.function.link import Assignment
from p2pcpn.runtime.function.sharing import SharedFile, SharedFiles
from p2pcpn.wire import sealing
from p2pcpn.wire.sealing import digest, seal
from p2pcpn.wire.statements import BlobRef

OWNER = b"\1" * 32
KEY, CODE_KEY = b"\2" * 32, b"\3" * 32
NOW = 7.0


class Shelf:
    """Blobs by digest."""

    def __init__(self) -> None:
        self.blobs: dict[bytes, bytes] = {}
        self.under_way: set[bytes] = set()
        self.news = asyncio.Event()

    def keep(self, data: bytes, key: bytes = KEY) -> BlobRef:
        sealed = seal(key, 0, data)
        self.blobs[digest(sealed)] = sealed
        return BlobRef(digest(sealed), len(sealed), key)

    def get(self, name: bytes) -> bytes | None:
        return self.blobs.get(name)

    def reading(self, name: bytes) -> Callable[[], bytes | None]:
        return lambda: self.blobs.get(name)

    def arriving(self, name: bytes) -> bool:
        return name in self.under_way

    async def here(self, name: bytes, wait_s: float) -> bool:
        if name in self.under_way:
            await self.news.wait()
        return name in self.blobs


class Runtime:
    """What it was asked for, and what it says it is at."""

    def __init__(self) -> None:
        self.batches: list[tuple[GroupKey, Batch]] = []
        self.bundles: dict[bytes, bytes] = {}
        self.at: dict[int, int] = {}
        self.cancelled: list[tuple[int, Iterable[int]]] = []
        self.killed: list[int] = []
        self.error: Exception | None = None
        self.files = SharedFiles(lambda file: None)

    def submit(self, group: GroupKey, batch: Batch) -> None:
        if self.error is not None:
            raise self.error
        self.batches.append((group, batch))
        self.files.use(Assignment(group, batch).files)

    def has_bundle(self, name: bytes) -> bool:
        return name in self.bundles

    def set_bundle(self, name: bytes, data: bytes) -> None:
        assert name not in self.bundles
        self.bundles[name] = data

    def running(self) -> dict[int, int]:
        return self.at

    def cancel(self, batch: int, positions: Iterable[int]) -> None:
        self.cancelled.append((batch, positions))

    def cut(self, batch: int) -> int | None:
        return None

    def kill(self, batch: int) -> None:
        self.killed.append(batch)


class Worker:
    """The worker machine, as far as runs go: every call is an effect."""

    turns = SimpleNamespace(batches={4: SimpleNamespace(lease=SimpleNamespace(digest_key=b"\4" * 32))})

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: [(name, *arguments)]


class Bench:
    def __init__(self) -> None:
        self.shelf, self.runtime = Shelf(), Runtime()
        self.performed: list[Any] = []
        worker: Any = Worker()
        shelf: Any = self.shelf
        runtime: Any = self.runtime
        self.tasks: list[asyncio.Task[None]] = []
        self.runs = Runs(worker, shelf, self.performed.extend, lambda: NOW, self.spawn)
        self.runs.runtime = runtime

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine))

    async def settle(self) -> None:
        """Let everything end that was spawned."""
        self.shelf.under_way.clear()
        self.shelf.news.set()
        while self.tasks:
            await self.tasks.pop()


def run(**changes: Any) -> Run:
    fields: dict[str, Any] = {
        "batch": 4, "owner": OWNER, "code": None, "code_key": CODE_KEY, "functions": (b"f", b"g"), "numbers": (0, 1),
        "arguments": (b"a", b"b"), "digest_key": b"\4" * 32, "output": True, "render": True,
    }  # fmt: skip
    return Run(**{**fields, **changes})


def test_a_batch_reaches_the_runtime_as_columns() -> None:
    bench = Bench()
    bench.runs.start(run())
    bench.runs.start(run(batch=5, numbers=None, render=False))
    assert bench.runtime.batches == [
        (GroupKey(OWNER, None), Batch(4, [b"f", b"g"], [0, 1], [b"a", b"b"], b"\4" * 32, True)),
        (GroupKey(OWNER, None), Batch(5, [b"f", b"g"], None, [b"a", b"b"], b"\4" * 32, False)),
    ]
    assert bench.performed == []


def test_blobs_are_opened_with_their_own_keys() -> None:
    bench = Bench()
    function, arguments = bench.shelf.keep(b"large f"), bench.shelf.keep(b"large a", b"\5" * 32)
    bench.runs.start(run(functions=(function,), arguments=(b"a", arguments)))
    ((_, batch),) = bench.runtime.batches
    assert (batch.functions, batch.arguments) == ([b"large f"], [b"a", b"large a"])


def test_the_projects_modules_are_opened_once_with_the_code_key_and_make_a_group() -> None:
    bench = Bench()
    code = bench.shelf.keep(b"modules", CODE_KEY)
    bench.runs.start(run(code=code))
    bench.shelf.blobs.clear()  # the runtime has them
    bench.runs.start(run(code=code, batch=5))
    assert bench.runtime.bundles == {code.digest: b"modules"}
    assert [group for group, _ in bench.runtime.batches] == [GroupKey(OWNER, code.digest)] * 2


@pytest.mark.parametrize("part", ["code", "functions", "arguments"])
@pytest.mark.parametrize("fault", ["missing", "sealed with another key"])
def test_a_blob_that_cannot_be_had_is_a_refusal_and_nothing_runs(part: str, fault: str) -> None:
    bench = Bench()
    ref = bench.shelf.keep(b"large")
    if fault == "missing":
        bench.shelf.blobs.clear()
    else:
        bench.shelf.blobs[ref.digest] = seal(b"\6" * 32, 0, b"large")
    bench.runs.start(run(**{part: ref if part == "code" else (ref,)}))
    ((name, number, code, why, now, positions),) = bench.performed
    assert (name, number, now) == ("refused", 4, NOW)
    assert code == ("unreachable" if fault == "missing" else "unusable")
    assert positions == (None if part == "code" else frozenset({0}))
    assert (ref.digest.hex()[:8] in why) if fault == "missing" else ("do not open" in why)
    assert bench.runtime.batches == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError("no such function number"), "unusable"), (StoreError("the disk is full"), "broken")],
)
def test_what_the_runtime_will_not_or_cannot_run_is_a_refusal(error: Exception, code: str) -> None:
    bench = Bench()
    bench.runtime.error = error
    bench.runs.start(run())
    assert bench.performed == [("refused", 4, code, str(error), NOW, None)]


@pytest.mark.parametrize(("numbers", "expected"), [((0, 1, 0), frozenset({0, 2})), (None, frozenset({0, 1, 2}))])
def test_only_the_tasks_that_take_a_blob_are_refused_for_it(
    numbers: tuple[int, ...] | None, expected: frozenset[int]
) -> None:
    bench = Bench()
    ref = bench.shelf.keep(b"function")
    bench.shelf.blobs[ref.digest] = seal(b"\6" * 32, 0, b"function")
    bench.runs.start(run(functions=(ref, b"f"), numbers=numbers, arguments=(b"a",) * 3))
    assert [each[-1] for each in bench.performed] == [expected]


def test_a_runtime_whose_processes_do_not_start_is_broken_and_no_task_is_to_blame() -> None:
    bench = Bench()
    bench.runs.event(Unstarted(4, None, 69))
    bench.runs.event(Unstarted(5, 9, None))
    assert bench.performed == [
        ("refused", 4, "broken", "its worker processes do not start (exit code 69)", NOW),
        ("refused", 5, "broken", "its worker processes do not start (signal 9)", NOW),
    ]


def test_stopping_drops_what_has_not_started_and_kills_only_what_is_meant() -> None:
    bench = Bench()
    bench.runtime.at = {4: 1}
    bench.runs.stop(StopRun(4, (1, 2), kill=False))
    assert bench.runtime.killed == []
    bench.runs.stop(StopRun(4, (2, 3), kill=True))  # what runs now is not among them
    bench.runs.stop(StopRun(5, (1,), kill=True))  # of another batch
    assert bench.runtime.killed == []
    bench.runs.stop(StopRun(4, (1, 2), kill=True))
    assert bench.runtime.killed == [4]
    assert bench.runtime.cancelled == [(4, (1, 2)), (4, (2, 3)), (5, (1,)), (4, (1, 2))]


def test_what_processes_report_becomes_the_machines_events() -> None:
    bench = Bench()
    digests = bytes(32)
    bench.runs.event(Finished(4, 2, b"\0\1", [b"x", b"y"], digests, [0.25, 0.5], ["x", "y"]))
    bench.runs.event(Died(4, 1, 11, None))
    bench.runs.event(Output(4, 3, 2, b"text"))
    assert bench.performed == [
        ("ran", 4, 2, b"\0\1", [b"x", b"y"], digests, 0.75, NOW, ["x", "y"]),
        ("died", 4, 1, 11, None, NOW),
        ("printed", 4, 3, 2, b"text"),
    ]


def test_a_peer_without_slots_runs_nothing() -> None:
    bench = Bench()
    bench.runtime.at = {4: 1}
    assert bench.runs.running() == {4: 1}
    bench.runs.runtime = None
    assert bench.runs.running() == {}
    with pytest.raises(AssertionError, match="without slots"):
        bench.runs.start(run())


# --- buffers beside the arguments ------------------------------------------------------------------------------------


def contents(batch: Batch) -> list[list[bytes]]:
    """What the buffers of a batch hold."""
    assert batch.parts is not None
    return [
        [part if isinstance(part, bytes) else os.pread(part.descriptor, part.size_bytes, 0) for part in parts]
        for parts in batch.parts
    ]


def test_a_buffer_that_tasks_share_is_opened_once_into_a_shared_file() -> None:
    bench = Bench()
    one, two = bench.shelf.keep(b"one"), bench.shelf.keep(b"two", b"\5" * 32)
    bench.runs.start(run(arguments=(b"a", b"b", b"c"), numbers=None, parts=((one,), (), (two, one))))
    ((_, batch),) = bench.runtime.batches
    assert contents(batch) == [[b"one"], [], [b"two", b"one"]]
    assert batch.parts is not None and batch.parts[0][0] is batch.parts[2][1]
    files = [part for parts in batch.parts for part in parts]
    assert [isinstance(file, SharedFile) and file.repeated for file in files] == [True, False, True]
    bench.shelf.blobs.clear()  # the file is enough
    bench.runs.start(run(batch=5, parts=((one,), ())))
    assert contents(bench.runtime.batches[1][1]) == [[b"one"], []]
    bench.runtime.files.close()


def test_where_there_is_no_room_for_files_the_bytes_themselves_go() -> None:
    bench = Bench()
    bench.runtime.files.add = bench.runtime.files.make_by = lambda *_: None  # type: ignore[method-assign]
    bench.runs.start(run(parts=((bench.shelf.keep(b"one"),), ())))
    assert bench.runtime.batches[0][1].parts == [(b"one",), ()]


def test_a_buffer_that_was_changed_lies_nowhere() -> None:
    bench = Bench()
    one = bench.shelf.keep(b"one")
    sealed = bytearray(bench.shelf.blobs[one.digest])
    sealed[0] ^= 1
    bench.shelf.blobs[one.digest] = bytes(sealed)
    bench.runs.start(run(parts=((one,), ())))
    assert bench.runtime.batches == [] and len(bench.runtime.files) == 0
    bench.runtime.files.close()


def test_room_for_a_batchs_last_buffers_is_not_made_by_dropping_its_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SHARED_FILES_MAX", 2)
    bench = Bench()
    plain = [b"%d" % i for i in range(4)]
    refs = [bench.shelf.keep(data) for data in plain]
    bench.runs.start(run(arguments=(b"a",) * 4, numbers=None, parts=tuple((ref,) for ref in refs)))
    ((_, batch),) = bench.runtime.batches
    assert contents(batch) == [[data] for data in plain]
    assert batch.parts is not None and [isinstance(part, SharedFile) for (part,) in batch.parts] == [1, 1, 0, 0]
    assert [file.uses for (file,) in batch.parts[:2] if isinstance(file, SharedFile)] == [1, 1]
    bench.runtime.error = UsageError("no")  # what is not run after all is held no longer
    bench.runs.start(run(batch=5, numbers=None, parts=((refs[0],), ())))
    assert [file.uses for (file,) in batch.parts[:2] if isinstance(file, SharedFile)] == [1, 1]
    bench.runtime.files.close()


def test_a_file_of_one_owner_or_project_is_not_anothers() -> None:
    bench = Bench()
    ref = bench.shelf.keep(b"one")
    code = bench.shelf.keep(b"modules", CODE_KEY)
    for changes in ({}, {"owner": b"\7" * 32}, {"code": code}):
        bench.runs.start(run(parts=((ref,), ()), **changes))
    assert len(bench.runtime.files) == 3
    bench.runtime.files.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("field", ["functions", "arguments", "parts"])
async def test_a_batch_waits_for_a_blob_that_is_on_its_way_to_the_disk(field: str) -> None:
    bench = Bench()
    ref = bench.shelf.keep(b"late")
    sealed = bench.shelf.blobs.pop(ref.digest)
    bench.shelf.under_way.add(ref.digest)
    bench.runs.start(run(**{field: ((ref,), ()) if field == "parts" else (ref, b"b")}))
    await asyncio.sleep(0)
    assert bench.runtime.batches == [] and bench.performed == []
    bench.runs.stop(StopRun(4, (1,), kill=True))
    bench.shelf.blobs[ref.digest] = sealed
    await bench.settle()
    assert len(bench.runtime.batches) == 1 and bench.performed == []
    assert bench.runtime.cancelled == [(4, {1})]
    bench.runtime.files.close()


@pytest.mark.asyncio
async def test_a_blob_that_was_no_good_after_all_is_a_refusal() -> None:
    bench = Bench()
    ref = bench.shelf.keep(b"late")
    bench.shelf.blobs.clear()
    bench.shelf.under_way.add(ref.digest)
    bench.runs.start(run(parts=((ref,), ())))
    await bench.settle()
    ((name, number, code, why, _, positions),) = bench.performed
    assert (name, number, code, positions) == ("refused", 4, "unreachable", frozenset({0}))
    assert "blob" in why and bench.runtime.batches == []


@pytest.mark.asyncio
async def test_a_batch_that_is_cut_while_it_waits_never_starts() -> None:
    bench = Bench()
    ref = bench.shelf.keep(b"late")
    sealed = bench.shelf.blobs.pop(ref.digest)
    bench.shelf.under_way.add(ref.digest)
    bench.runs.start(run(parts=((ref,), ())))
    bench.runs.cut(CutRun(4))
    assert bench.performed == [("cut", 4, 0, NOW)]
    bench.shelf.blobs[ref.digest] = sealed
    await bench.settle()
    assert bench.runtime.batches == []


@pytest.mark.asyncio
async def test_large_buffers_are_opened_in_a_thread_once_for_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPENED_AT_ONCE_BYTES", 10)
    opened: list[str] = []

    def unseal_into(key: bytes, nonce: int, data: bytes, out: memoryview) -> None:
        opened.append(threading.current_thread().name)
        sealing.unseal_into(key, nonce, data, out)

    monkeypatch.setattr(module, "unseal_into", unseal_into)
    bench = Bench()
    large = bench.shelf.keep(b"large")
    for number in (4, 5):
        bench.runs.start(run(batch=number, parts=((large,), (large,))))
    await bench.settle()
    assert [contents(batch) for _, batch in bench.runtime.batches] == [[[b"large"], [b"large"]]] * 2
    assert len(opened) == 1 and opened[0] != threading.main_thread().name
    bench.runs.start(run(batch=6, parts=((large,), ())))
    assert len(bench.runtime.batches) == 3, "it is open: nothing waits"
    bench.runtime.files.close()


@pytest.mark.asyncio
async def test_a_batch_whose_parts_are_being_opened_has_begun_so_that_no_two_peers_take_it_from_each_other_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "OPENED_AT_ONCE_BYTES", 10)
    begun, go_on = threading.Event(), threading.Event()

    def unseal_into(key: bytes, nonce: int, data: bytes, out: memoryview) -> None:
        begun.set()
        assert go_on.wait(30)
        sealing.unseal_into(key, nonce, data, out)

    monkeypatch.setattr(module, "unseal_into", unseal_into)
    bench = Bench()
    first, second = bench.shelf.keep(b"the first"), bench.shelf.keep(b"the second")
    for number in (4, 5):
        bench.runs.start(run(batch=number, numbers=None, states=(b"s", None), parts=((first,), (second,))))
    assert bench.runs.running() == {}, "nothing is opened yet: both may go back"
    await asyncio.to_thread(begun.wait, 30)
    assert bench.runs.running() == {4: 0}, "one is opened at a time"
    bench.runs.stop(StopRun(4, (1,), kill=False))
    bench.runs.cut(CutRun(4))
    bench.runs.cut(CutRun(5))
    assert bench.performed == [("cut", 4, 1, NOW), ("cut", 5, 0, NOW)]
    go_on.set()
    await bench.settle()
    ((_, batch),) = bench.runtime.batches
    assert contents(batch) == [[b"the first"]] and batch.states == [b"s"]
    assert list(batch.arguments) == [b"a"] and bench.runtime.cancelled == []
    assert len(bench.runtime.files) == 1 and bench.runs.running() == {}, "what was cut off was not opened"
    bench.runtime.files.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["missing", "sealed with another key"])
async def test_a_large_buffer_that_cannot_be_had_is_a_refusal(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(module, "OPENED_AT_ONCE_BYTES", 10)
    bench = Bench()
    large = bench.shelf.keep(b"large")
    if fault == "missing":
        bench.shelf.reading = lambda name: lambda: None  # type: ignore[method-assign]
    else:
        bench.shelf.blobs[large.digest] = seal(b"\6" * 32, 0, b"large")
    bench.runs.start(run(parts=((large,), ())))
    await bench.settle()
    assert [each[0] for each in bench.performed] == ["refused"] and len(bench.runtime.files) == 0


@pytest.mark.asyncio
async def test_a_large_result_is_sealed_in_a_thread_and_told_of_before_what_came_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SEALED_AT_ONCE_BYTES", 10)
    bench, large = Bench(), b"large result"
    bench.runs.event(Finished(4, 0, b"\0\0", [b"small", large], bytes(32), [0.5, 0.5], []))
    bench.runs.event(Output(4, 2, 1, b"text"))
    bench.runs.event(Finished(4, 2, b"\0", [large], bytes(16), [0.5], []))
    bench.runs.event(Died(4, 3, 9, None))
    bench.runs.event(Output(5, 0, 1, b"another batch's"))
    bench.runs.event(Finished(77, 0, b"\0", [large], bytes(16), [0.5], []))  # of a batch that is over
    await bench.settle()
    blob = sealed(b"\4" * 32, large)
    assert bench.performed == [
        ("printed", 5, 0, 1, b"another batch's"),
        ("ran", 4, 0, b"\0\0", [b"small", blob], bytes(32), 1.0, NOW, []),
        ("printed", 4, 2, 1, b"text"),
        ("ran", 4, 2, b"\0", [blob], bytes(16), 0.5, NOW, []),
        ("died", 4, 3, 9, None, NOW),
    ]


@pytest.mark.asyncio
async def test_a_batch_waits_for_a_blob_that_others_were_asked_for_and_for_the_next_of_them() -> None:
    bench = Bench()
    ref = bench.shelf.keep(b"late")
    sealed = bench.shelf.blobs.pop(ref.digest)
    bench.runs.asked([ref.digest])
    bench.runs.start(run(parts=((ref, b"small"), ())))
    await asyncio.sleep(0.01)
    bench.runs.asked([ref.digest])  # the first had none, and another is asked
    bench.runs.answered([ref.digest])
    await asyncio.sleep(0.01)
    assert bench.runtime.batches == [] and bench.performed == []
    bench.shelf.blobs[ref.digest] = sealed
    bench.runs.answered([ref.digest])
    await bench.settle()
    ((_, batch),) = bench.runtime.batches
    assert batch.parts is not None and batch.parts[0][1] == b"small"
    bench.runtime.files.close()


@pytest.mark.asyncio
async def test_a_blob_that_nobody_has_is_a_refusal() -> None:
    bench = Bench()
    ref = bench.shelf.keep(b"late")
    bench.shelf.blobs.clear()
    bench.runs.asked([ref.digest])
    bench.runs.start(run(parts=((ref,), ())))
    await asyncio.sleep(0.01)
    bench.runs.answered([ref.digest])
    await bench.settle()
    assert [(name, number) for name, number, *_ in bench.performed] == [("refused", 4)]
