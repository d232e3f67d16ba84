"""Echoes of bytes, and of arrays where there are arrays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2pcpn.bench import payload
from p2pcpn.bench.bench import Bench

NewBench = Callable[..., Bench]


def test_bytes_are_echoed_in_turn(new_bench: NewBench) -> None:
    bench = new_bench("echo", "pool")
    payload.echo(bench)
    (figure,) = bench.outcome.figures
    assert figure.name == "echo" and figure.unit == "MB/s" and sorted(figure.values) == ["p2pcpn", "pool"]


def test_without_numpy_arrays_are_absent_and_named(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "is_installed", lambda package: False)
    bench = new_bench("arrays")
    payload.arrays(bench)
    assert bench.outcome.figures == [] and "not installed" in bench.outcome.failed["numpy"]


def test_arrays_are_asked_for_as_such(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "is_installed", lambda package: True)
    bench = new_bench("arrays")
    asked: list[bool] = []

    def ask(system: str, load: str, **words: bool) -> dict[str, float]:
        asked.append(words.get("arrays", False))
        return {"rate": 1.0}

    monkeypatch.setattr(bench.stage, "ask", ask)
    payload.arrays(bench)
    assert bench.outcome.figures[0].name == "arrays" and asked[-1]
