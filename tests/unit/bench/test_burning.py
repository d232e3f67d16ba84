"""Tasks that burn: efficiency at some lengths, and the curve of which METG is the point at half."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from p2pcpn.bench import burning
from p2pcpn.bench.bench import Bench

if TYPE_CHECKING:
    from conftest import Stage

NewBench = Callable[..., Bench]


def test_both_kinds_of_burning_are_measured_at_each_length(new_bench: NewBench) -> None:
    bench = new_bench("burn", "pool", burn_s=(1e-6, 1e-5))
    burning.burn(bench)
    names = [figure.name for figure in bench.outcome.figures]
    assert names == ["burn-0.001ms", "burn-0.001ms-cpu", "burn-0.01ms", "burn-0.01ms-cpu"]


def test_metg_lies_between_the_lengths_that_were_measured(new_bench: NewBench, stage: Stage) -> None:
    bench = new_bench("metg", "pool", metg_s=(1e-4, 1e-2))

    def ask(system: str, load: str, **words: Any) -> dict[str, Any]:
        if load == "begin":
            return {}
        # A millisecond a task whatever its length, shared by two workers; the pool never gets to half.
        overhead_s = 1e-3 if system == "p2pcpn" else 1.0
        seconds = words["count"] * (words["task_s"] / 2 + overhead_s / 2)
        return {"efficiency": words["count"] * words["task_s"] / 2 / seconds, "seconds": seconds}

    stage.ask = ask  # type: ignore[method-assign, assignment]
    burning.metg(bench)
    spin, cpu = bench.outcome.figures
    assert (spin.name, cpu.name) == ("metg", "metg-cpu")
    assert 100 < spin.values["p2pcpn"][0] < 10_000 and "pool" not in spin.values
    assert "do not reach half" in bench.outcome.failed["pool"]
    assert [task_s for task_s, _ in bench.outcome.raw["metg"]["p2pcpn"]] == [1e-2, 1e-4]


def test_a_length_is_tried_with_as_many_tasks_as_fit_a_round(new_bench: NewBench, stage: Stage) -> None:
    bench = new_bench("metg", metg_round_s=1.0)
    bench.start()
    stage.asked.clear()
    assert burning._fitting(bench, "p2pcpn", 1e-6, False) == burning.TASKS_MAX
    assert [words["count"] for _, _, words in stage.asked] == [200, 2000, 20_000]
