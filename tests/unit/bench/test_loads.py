"""Loads time what they say they time, and check what came back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from p2pcpn.bench.loads import CHUNKS, MIB, Loads

if TYPE_CHECKING:
    from conftest import Here


def ticking() -> Callable[[], float]:
    """A clock that is a second further each time."""
    ticks = iter(range(1000))
    return lambda: float(next(ticks))


def test_delivery_is_timed_from_the_first_submit_to_the_last_result(here: Here) -> None:
    assert Loads(here, ticking()).deliver(10) == {"rate": 10.0, "tasks": 10, "seconds": 1.0}
    assert here.said == []


def test_done_waits_for_what_the_system_calls_settled(here: Here) -> None:
    found = Loads(here, ticking()).finish(10)
    assert here.said == ["settle", "settle"]  # the first is not timed
    assert found == {"rate": 5.0, "tasks": 10, "seconds": 2.0, "delivered_s": 1.0}


def test_results_that_are_not_those_of_the_tasks_are_no_measurement(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(here), "gather", lambda self, handles: [0] * len(handles))
    with pytest.raises(RuntimeError, match="not those of the tasks"):
        Loads(here).deliver(3)


def test_a_map_is_counted_as_it_comes(here: Here) -> None:
    found = Loads(here, ticking()).map(100, 7)
    assert found == {"rate": 100.0, "items": 100, "chunk": 7, "seconds": 1.0}


def test_the_best_chunk_is_the_fastest_of_those_that_leave_each_worker_one(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = Loads(here)
    tried: list[int | None] = []

    def map_(count: int, chunk: int | None) -> dict[str, Any]:
        tried.append(chunk)
        return {"rate": {250: 1.0, 1000: 3.0, 4000: 2.0}[chunk or 0]}

    monkeypatch.setattr(loads, "map", map_)
    assert loads.best_chunk(10_000) == {"chunk": 1000}
    assert tried == list(CHUNKS[:3])
    assert loads.best_chunk(100) == {"chunk": None}
    monkeypatch.setattr(type(here), "chunks", False)
    assert loads.best_chunk(10_000) == {"chunk": None}


def test_round_trips_have_a_median_and_a_tail(here: Here) -> None:
    times = iter([0.0, 0.001, 1.0, 1.003, 2.0, 2.002])
    found = Loads(here, lambda: next(times)).trips(3)
    assert (round(found["p50_ms"], 6), round(found["p99_ms"], 6), found["trips"]) == (2.0, 3.0, 3)


def test_something_new_begins_before_its_first_task_is_submitted(here: Here) -> None:
    assert Loads(here, ticking()).first() == {"first_ms": 1000.0, "begin_ms": 1000.0}
    assert here.said == ["begin"]
    Loads(here).begin()
    assert here.said == ["begin", "begin"]


def test_where_nothing_can_begin_nothing_does(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(here), "begins", False)
    assert Loads(here).begin() == {} and here.said == []


def test_an_echo_counts_both_ways_and_no_blob_twice(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(type(here), "submit", lambda self, f, x: sent.append(x) or (f, x))
    found = Loads(here, ticking()).echo(3)
    assert found["rate"] == 2 * 3 * MIB / 1e6 and len(set(sent)) == 3
    assert [len(blob) for blob in sent] == [MIB] * 3


def test_arrays_are_what_numpy_makes_of_the_same_bytes(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    class Array:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def copy(self) -> memoryview:
            return memoryview(self.data).cast("d")

    fake = SimpleNamespace(float64="d", frombuffer=lambda data, dtype: Array(data))
    monkeypatch.setitem(__import__("sys").modules, "numpy", fake)
    assert Loads(here, ticking()).echo(1, arrays=True)["blobs"] == 1


@pytest.mark.parametrize("cpu", [False, True])
def test_efficiency_is_the_share_of_what_two_workers_would_take(here: Here, cpu: bool) -> None:
    found = Loads(here, ticking()).burn(1e-6, 4, cpu)
    assert found == {"efficiency": 2e-6, "tasks": 4, "seconds": 1.0}


def test_queued_tasks_wait_behind_a_file(here: Here, tmp_path: Path) -> None:
    loads, gate = Loads(here), tmp_path / "gate"
    assert loads.fill(5, str(gate)) == {"tasks": 5}
    gate.touch()
    assert loads.drain() == {} and loads.outsiders() == {"pids": []}


def test_a_map_that_loses_an_item_is_a_mistake(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(self: object, function: object, items: Iterable[int], chunk: int | None) -> Iterable[int]:
        return list(items)[1:]

    monkeypatch.setattr(type(here), "map", lossy)
    with pytest.raises(AssertionError, match="loses"):
        Loads(here).map(10)
