"""Stored ratios are what --check compares with: worse by more than a third is a drop."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pcpn.bench import stored
from p2pcpn.bench.catalogue import BENCHMARKS
from p2pcpn.bench.figures import Figure
from p2pcpn.errors import UsageError


def rate(ours: float, pool: float = 10.0) -> Figure:
    return Figure("delivery", "", "/s", {"p2pcpn": [ours], "pool": [pool], "pool, chunks of 9": [1.0]})


def trip(ours: float) -> Figure:
    return Figure("roundtrip", "", "ms", {"p2pcpn": [ours], "pool": [1.0]}, more=False)


def test_ratios_of_plain_comparisons_are_stored_and_read(tmp_path: Path) -> None:
    path = tmp_path / "stored.json"
    stored.store(path, [rate(30)], {"cores": 2})
    tail = Figure("roundtrip-p99", "", "ms", {"p2pcpn": [9.0], "pool": [1.0]}, more=False)
    stored.store(path, [trip(2), tail, Figure("echo", "", "MB/s", {"p2pcpn": [1.0]})], {"cores": 2})
    assert stored.load(path) == {"delivery": {"pool": 3.0}, "roundtrip": {"pool": 2.0}}


@pytest.mark.parametrize(("figure", "drops"), [(rate(20.1), 0), (rate(19.9), 1), (trip(2.9), 0), (trip(3.1), 1)])
def test_a_third_worse_is_the_most_that_passes(figure: Figure, drops: int) -> None:
    found = stored.drops([figure], {"delivery": {"pool": 3.0}, "roundtrip": {"pool": 2.0}, "echo": {"pool": 1.0}})
    assert len(found) == drops


def test_a_drop_says_which_and_by_how_much() -> None:
    (drop,) = stored.drops([rate(15)], {"delivery": {"pool": 3.0, "ray": 9.0}})
    assert str(drop) == "delivery: 1.5 x pool, below the stored 3: 50% worse"
    (drop,) = stored.drops([trip(4)], {"roundtrip": {"pool": 2.0}})
    assert str(drop) == "roundtrip: 4 x pool, above the stored 2: 50% worse"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"ratios": 3}']
    + [f'{{"ratios": {{"a": {{"b": {r}}}}}}}' for r in ('"c"', 0, -1, "NaN", "1e999")],
)
def test_a_file_that_holds_no_ratios_is_usage(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stored.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="--store writes them"):
        stored.load(path)


def test_what_is_compared_is_what_is_stored_and_measured() -> None:
    kept = {"delivery": {"pool": 3.0, "ray": 9.0}, "burn-10ms": {"pool": 1.0}, "burning": {"pool": 1.0}}
    chosen = [benchmark for benchmark in BENCHMARKS if benchmark.name in ("delivery", "burn", "echo")]
    assert stored.compared(chosen, ["pool", "dask"], kept) == [("delivery", "pool"), ("burn-10ms", "pool")]
    assert not stored.compared(chosen, [], kept) and not stored.compared([], ["pool"], kept)


def test_a_file_that_is_not_there_is_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        stored.load(tmp_path / "none.json")
    with pytest.raises(UsageError, match="No such file"):
        stored.store(tmp_path / "none" / "stored.json", [], {})
