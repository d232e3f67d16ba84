"""A large file, each round in a process of its own: rates, and the process that grew most."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from p2pcpn.bench import large
from p2pcpn.bench.bench import Bench

if TYPE_CHECKING:
    from conftest import Stage


def test_rates_are_medians_and_memory_is_that_of_the_largest(new_bench: Callable[..., Bench], stage: Stage) -> None:
    stage.answers["blob"] = {"put_rate": 150.0, "get_rate": 300.0, "above_bytes": [1e6, 7e6, 3e6]}
    bench = new_bench("blob")
    large.blob(bench)
    asked = [words for _, load, words in stage.asked if load == "blob"]
    assert asked[0] == {"peers": 3, "mib": bench.scale.blob_mib, "replicas": 2} and len(asked) == bench.rounds
    assert [(figure.name, figure.median("p2pcpn")) for figure in bench.outcome.figures] == [
        ("blob-put", 150.0), ("blob-get", 300.0), ("blob-memory", 7.0),
    ]  # fmt: skip
