"""A crowd is started, records are stored and got, and each figure has its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from p2pcpn.bench import crowds
from p2pcpn.bench.bench import Bench

if TYPE_CHECKING:
    from conftest import Stage


def test_a_small_crowd_finds_all_that_it_stored() -> None:
    found = crowds.measure(10, 5)
    assert (found["peers"], found["operations"], found["wrong"]) == (10, 5, 0)
    assert found["copies_min"] == 8
    assert 0 < found["joined_s"] <= found["up_s"] and found["up_cpu_s"] > 0
    assert found["store_ms"] > 0 and found["get_ms"] > 0


def test_the_figures_of_a_crowd(new_bench: Callable[..., Bench], stage: Stage) -> None:
    stage.answers["crowd"] = {"up_s": 16.0, "up_cpu_s": 15.0, "store_ms": 18.0, "get_ms": 8.0, "wrong": 0}
    bench = new_bench("crowd", crowd_peers=7, crowd_operations=3)
    crowds.crowd(bench)
    assert {figure.name: figure.values["p2pcpn"] for figure in bench.outcome.figures} == {
        "crowd-up": [16.0], "crowd-store": [18.0], "crowd-get": [8.0], "crowd-wrong": [0],
    }  # fmt: skip
    [words] = [words for _, load, words in stage.asked if load == "crowd"]
    assert words == {"peers": 7, "operations": 3}
