"""Throughput: a rate and the processor time a task; maps plain and by the best chunk; memory at its highest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
import pytest

from p2pcpn.bench import throughput
from p2pcpn.bench.bench import Bench
from p2pcpn.bench.stage import DriverFailed

if TYPE_CHECKING:
    from conftest import Stage

NewBench = Callable[..., Bench]


@pytest.mark.parametrize(("run", "name"), [(throughput.delivery, "delivery"), (throughput.done, "done")])
def test_rates_come_with_processor_time(run: Callable[[Bench], None], name: str, new_bench: NewBench) -> None:
    bench = new_bench(name, "pool")
    run(bench)
    rate, cpu = bench.outcome.figures
    assert (rate.name, cpu.name) == (name, f"{name}-cpu") and sorted(rate.values) == ["p2pcpn", "pool"]
    tasks = bench.outcome.raw[name]["pool"][0]["tasks"]
    assert cpu.values["pool"][0] == pytest.approx(0.25 / tasks * 1e6) and not cpu.more


def test_a_map_is_measured_as_it_is_and_with_the_best_chunk(new_bench: NewBench, stage: Stage) -> None:
    stage.memory = [psutil.Process()]
    bench = new_bench("map", "pool", "ray", tasks_max=600, map_items=2500)
    throughput.map_items(bench)
    figures = {figure.name: figure for figure in bench.outcome.figures}
    values = figures["map"].values
    assert sorted(values) == ["p2pcpn", "pool", "pool, chunks of 250", "ray", "ray, chunks of 250"]
    assert len(values["p2pcpn"]) == 4  # its turns of both comparisons
    assert bench.outcome.raw["map"]["default"]["p2pcpn"][0]["items"] == 2500
    assert sorted(figures["map-memory"].values) == ["p2pcpn", "pool"]
    assert figures["map-memory-futures"].values["p2pcpn"][0] > 1


def test_in_a_short_run_every_map_is_as_long_as_a_round_and_memory_is_not_looked_at(new_bench: NewBench) -> None:
    bench = new_bench("map", whole=False, map_items=5000, round_s=1e-9)
    throughput.map_items(bench)
    assert [figure.name for figure in bench.outcome.figures] == ["map"]
    assert bench.outcome.raw["map"]["default"]["p2pcpn"][0]["items"] == throughput.MAP_TRY


def test_memory_that_cannot_be_read_is_no_figure(new_bench: NewBench) -> None:
    with pytest.raises(DriverFailed, match="cannot be read"):
        throughput.peak_bytes(new_bench("map"), "p2pcpn", "map", 10)


def test_a_system_that_cannot_map_is_left_out(new_bench: NewBench, stage: Stage) -> None:
    bench = new_bench("map", "pool", whole=False)
    ask = stage.ask

    def asked(system: str, load: str, *rest: object, **words: object) -> dict[str, object]:
        if (system, load) == ("pool", "map"):
            raise DriverFailed("no map")
        return ask(system, load, *rest, **words)  # type: ignore[arg-type]

    stage.ask = asked  # type: ignore[method-assign, assignment]
    throughput.map_items(bench)
    assert bench.outcome.failed == {"pool": "no map"} and sorted(bench.outcome.figures[0].values) == ["p2pcpn"]
