"""Footprints: queued tasks, swarms that start, peers that idle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from p2pcpn.bench import footprint, usage
from p2pcpn.bench.bench import Bench

if TYPE_CHECKING:
    from conftest import Stage

NewBench = Callable[..., Bench]


def test_a_queued_task_costs_what_memory_grew_by(
    new_bench: NewBench, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = iter([1000, 3000, 1700, 4400])
    monkeypatch.setattr(usage, "memory_bytes", lambda processes: next(sizes))
    # The tasks of this stage run when they are gathered; by then the gate is open.
    bench = new_bench("queued")
    footprint.queued(bench)
    submitter, everything = bench.outcome.figures
    assert submitter.values == {"p2pcpn": [100.0]} and everything.values == {"p2pcpn": [200.0]}
    assert [load for _, load, _ in stage.asked if load != "quiet"] == ["deliver", "fill", "drain"]
    assert stage.systems == {}  # what so many tasks left behind is nobody else's business


def test_swarms_start_as_often_as_the_scale_says(new_bench: NewBench, stage: Stage) -> None:
    stage.answers["ready"] = {"ready_s": 0.5, "met_s": 0.7}
    bench = new_bench("startup", startups=((2, 2), (8, 1)))
    footprint.startup(bench)
    assert {figure.name: list(figure.values["p2pcpn"]) for figure in bench.outcome.figures} == {
        "startup-2": [0.5, 0.5], "startup-2-met": [0.7, 0.7], "startup-8": [0.5], "startup-8-met": [0.7],
    }  # fmt: skip


def test_swarms_too_large_to_meet_have_no_such_figure(new_bench: NewBench, stage: Stage) -> None:
    stage.answers["ready"] = {"ready_s": 0.5, "met_s": None}
    bench = new_bench("startup")
    footprint.startup(bench)
    assert [figure.name for figure in bench.outcome.figures] == ["startup-2"]


def test_an_idle_peer_has_three_figures(new_bench: NewBench, stage: Stage) -> None:
    stage.answers["idle"] = {"sent_bytes_per_s": 1500.0, "core_percent": 0.4, "memory_bytes": 50e6}
    bench = new_bench("idle")
    footprint.idle(bench)
    assert [(figure.name, figure.values["p2pcpn"]) for figure in bench.outcome.figures] == [
        ("idle-sent", [1.5]), ("idle-core", [0.4]), ("idle-memory", [50.0]),
    ]  # fmt: skip
