"""Latency: round trips, first results, programs that begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from p2pcpn.bench import latency
from p2pcpn.bench.bench import Bench
from p2pcpn.bench.stage import DriverFailed

NewBench = Callable[..., Bench]


def test_round_trips_give_a_median_and_a_tail(new_bench: NewBench) -> None:
    bench = new_bench("roundtrip", "pool")
    latency.roundtrip(bench)
    assert [figure.name for figure in bench.outcome.figures] == ["roundtrip", "roundtrip-p99"]
    assert not any(figure.more for figure in bench.outcome.figures)


def test_only_what_can_begin_has_a_first_result(new_bench: NewBench) -> None:
    bench = new_bench("first", "pool", "ray")
    latency.first(bench)
    first, both = bench.outcome.figures
    assert sorted(first.values) == ["p2pcpn", "pool"] and len(first.values["pool"]) == 2
    assert both.values["pool"][0] > first.values["pool"][0]


def test_the_first_program_of_each_only_fills_caches(new_bench: NewBench) -> None:
    bench = new_bench("cold", "pool", "ray")
    ran: list[str] = []

    def measure(system: str) -> dict[str, Any]:
        ran.append(system)
        return {"first_s": float(len(ran)), "shutdown_s": 0.1}

    latency.cold(bench, measure)
    assert ran == ["p2pcpn", "pool"] * 3
    assert bench.outcome.figures[0].values == {"p2pcpn": [3.0, 5.0], "pool": [4.0, 6.0]}


def test_a_program_that_fails_is_named(new_bench: NewBench) -> None:
    bench = new_bench("cold", "pool")

    def measure(system: str) -> dict[str, Any]:
        if system == "pool":
            raise DriverFailed("it ended with 1")
        return {"first_s": 1.0, "shutdown_s": 0.1}

    latency.cold(bench, measure)
    assert bench.outcome.failed == {"pool": "it ended with 1"}
