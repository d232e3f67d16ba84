"""Runs: a batch reaches the runtime with its blobs opened; what is missing is a refusal; reports reach the worker."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcpn.errors import StoreError, UsageError
from p2pcpn.node.runs import Runs
from p2pcpn.protocol.effects import Run, StopRun
from p2pcpn.runtime.function import Batch, Died, Finished, GroupKey, Output
from p2pcpn.wire.sealing import digest, seal
from p2pcpn.wire.statements import BlobRef

OWNER = b"\1" * 32
KEY, CODE_KEY = b"\2" * 32, b"\3" * 32
NOW = 7.0


class Shelf:
    """Blobs by digest."""

    def __init__(self) -> None:
        self.blobs: dict[bytes, bytes] = {}

    def keep(self, data: bytes, key: bytes = KEY) -> BlobRef:
        sealed = seal(key, 0, data)
        self.blobs[digest(sealed)] = sealed
        return BlobRef(digest(sealed), len(sealed), key)

    def get(self, name: bytes) -> bytes | None:
        return self.blobs.get(name)


class Runtime:
    """What it was asked for, and what it says it is at."""

    def __init__(self) -> None:
        self.batches: list[tuple[GroupKey, Batch]] = []
        self.bundles: dict[bytes, bytes] = {}
        self.at: dict[int, int] = {}
        self.cancelled: list[tuple[int, tuple[int, ...]]] = []
        self.killed: list[int] = []
        self.error: Exception | None = None

    def submit(self, group: GroupKey, batch: Batch) -> None:
        if self.error is not None:
            raise self.error
        self.batches.append((group, batch))

    def has_bundle(self, name: bytes) -> bool:
        return name in self.bundles

    def set_bundle(self, name: bytes, data: bytes) -> None:
        assert name not in self.bundles
        self.bundles[name] = data

    def running(self) -> dict[int, int]:
        return self.at

    def cancel(self, batch: int, positions: tuple[int, ...]) -> None:
        self.cancelled.append((batch, positions))

    def kill(self, batch: int) -> None:
        self.killed.append(batch)


class Worker:
    """The worker machine, as far as runs go: every call is an effect."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: [(name, *arguments)]


class Bench:
    def __init__(self) -> None:
        self.shelf, self.runtime = Shelf(), Runtime()
        self.performed: list[Any] = []
        worker: Any = Worker()
        shelf: Any = self.shelf
        runtime: Any = self.runtime
        self.runs = Runs(worker, shelf, self.performed.extend, lambda: NOW)
        self.runs.runtime = runtime


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
    ((name, number, why, now),) = bench.performed
    assert (name, number, now) == ("refused", 4, NOW)
    assert (ref.digest.hex()[:8] in why) if fault == "missing" else ("do not open" in why)
    assert bench.runtime.batches == []


@pytest.mark.parametrize("error", [UsageError("no such function number"), StoreError("the disk is full")])
def test_what_the_runtime_will_not_or_cannot_run_is_a_refusal(error: Exception) -> None:
    bench = Bench()
    bench.runtime.error = error
    bench.runs.start(run())
    assert bench.performed == [("refused", 4, str(error), NOW)]


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
