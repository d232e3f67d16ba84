"""Turns are taken A B A B, each after the others became quiet; a system that fails is left out and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from p2pcpn.bench.bench import WARM_TRIES, Bench, column, figure_text, fitting
from p2pcpn.bench.stage import DriverFailed

if TYPE_CHECKING:
    from conftest import Stage

NewBench = Callable[..., Bench]


def test_each_round_asks_every_system_once_when_all_are_quiet(new_bench: NewBench, stage: Stage) -> None:
    bench = new_bench("delivery", "pool")
    bench.start()
    stage.asked.clear()
    found = bench.turns("deliver", lambda system: {"count": {"p2pcpn": 4, "pool": 3}[system]}, "rate", "tasks/s")
    assert [(system or load) for system, load, _ in stage.asked] == ["quiet", "p2pcpn", "quiet", "pool"] * 2
    assert column(found, "tasks") == {"p2pcpn": [4, 4], "pool": [3, 3]}
    assert found["pool"][0]["cpu_s"] == 0.25


def test_a_system_that_runs_begins_anew_instead_of_starting(new_bench: NewBench, stage: Stage) -> None:
    bench = new_bench("delivery", "pool")
    bench.start()
    bench.start()
    assert stage.systems["pool"].said == ["start", "begin", "begin"]


def test_a_system_that_fails_is_left_out_and_named(new_bench: NewBench, stage: Stage) -> None:
    bench = new_bench("delivery", "pool", "ray")
    bench.start()
    stage.failing.add("pool")
    found = bench.turns("deliver", lambda system: {"count": 2}, "rate", "tasks/s")
    assert sorted(found) == ["p2pcpn", "ray"] and bench.systems == ["p2pcpn", "ray"]
    assert bench.outcome.failed == {"pool": "pool cannot deliver"} and "pool" not in stage.systems


def test_without_ours_there_is_nothing_to_compare(new_bench: NewBench, stage: Stage) -> None:
    stage.failing.add("p2pcpn")
    bench = new_bench("delivery", "pool")
    with pytest.raises(DriverFailed):
        bench.start()
    assert "p2pcpn" in bench.outcome.failed


def test_counts_fit_a_round_within_bounds(new_bench: NewBench, stage: Stage) -> None:
    bench = new_bench("delivery", "pool", "ray")
    bench.start()
    # The stage's clock says a millisecond for any number of tasks, so the bound is what stops it.
    assert bench.counts("deliver", 1.0, 5, 400) == {"p2pcpn": 400, "pool": 400, "ray": 400}
    assert bench.counts("deliver", 1e-9, 5, 400) == {"p2pcpn": 5, "pool": 5, "ray": 5}
    stage.failing.add("ray")
    assert sorted(bench.counts("deliver", 1.0, 5, 400)) == ["p2pcpn", "pool"]


def test_a_warm_up_grows_until_it_is_half_a_round() -> None:
    tried: list[int] = []

    def seconds_of(count: int) -> float:
        tried.append(count)
        return 0.1 + count / 10_000  # a wait at the end of whatever is done, and 10,000 tasks a second

    assert fitting(seconds_of, 1.0, 300, 5, 100_000) == pytest.approx(9000, rel=0.15)
    assert tried[0] == 300 and len(tried) < WARM_TRIES and tried == sorted(tried)


def test_a_slow_system_is_warmed_up_once() -> None:
    tried: list[int] = []
    assert fitting(lambda count: tried.append(count) or count / 100, 1.0, 300, 5, 100_000) == 100  # type: ignore[func-returns-value]
    assert tried == [300]


def test_a_figure_is_noted(new_bench: NewBench) -> None:
    bench = new_bench("delivery")
    bench.figure("x", "title", "ms", {"p2pcpn": [1.0]}, more=False)
    assert [(figure.name, figure.more) for figure in bench.outcome.figures] == [("x", False)]


def test_measured_numbers_are_told_without_powers_of_ten() -> None:
    assert [figure_text(value) for value in (98_612.4, 1000.0, 999.94, 0.12345)] == [
        "98,612",
        "1,000",
        "999.9",
        "0.1235",
    ]
