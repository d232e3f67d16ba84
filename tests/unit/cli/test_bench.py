"""``p2pcpn bench``: names and flags to a run, a table or a document back, and an exit code."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.bench import plot, run
from p2pcpn.bench.figures import Figure, Outcome
from p2pcpn.bench.run import Report
from p2pcpn.bench.stored import Drop

Command = Callable[..., Any]
FOUND = Outcome(
    "delivery",
    [
        Figure("delivery", "no-op tasks", "tasks/s", {"p2pcpn": [40_000.0], "pool": [10_000.0]}),
        Figure("roundtrip-p99", "p99", "ms", {"p2pcpn": [1.5], "pool": []}, more=False),
    ],
    failed={"ray": "it hangs"},
    seconds=3.0,
)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a run was asked for; change ``report`` to change what it finds."""
    asked: dict[str, Any] = {"report": Report({"cores": 2}, "short", [FOUND])}

    def fake(benchmarks: Any, others: Any, scale: Any, **options: Any) -> Report:
        asked.update(names=[benchmark.name for benchmark in benchmarks], others=others, scale=scale.name, **options)
        options["say"]("delivery: round 1 of 1")
        options["found"](FOUND)
        found: Report = asked["report"]
        return found

    monkeypatch.setattr(run, "run", fake)
    return asked


def test_a_table_with_ratios_floors_goals_and_verdicts(p2pcpn: Command, ran: dict[str, Any]) -> None:
    ended = p2pcpn("bench", "delivery", "--against", "pool", "--rounds", "7")
    assert ended.code == 0 and ended.err == "p2pcpn: delivery: round 1 of 1\n"
    assert (ran["names"], ran["others"], ran["scale"], ran["rounds"]) == (["delivery"], ["pool"], "full", 7)
    lines = [" ".join(line.split()) for line in ended.lines]
    assert lines[0] == "delivery, 3.0 s"
    assert "no-op tasks p2pcpn 40,000 tasks/s" in lines
    assert "pool 10,000 tasks/s 4 x 3 5 meets floor" in lines
    assert "not measured: ray: it hangs" in lines


def test_a_short_look_is_what_ci_takes(p2pcpn: Command, ran: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "stored.json"
    path.write_text('{"ratios": {"delivery": {"pool": 4.0}}}')
    assert p2pcpn("bench", "--short", "--check", str(path)).code == 0
    assert ran["scale"] == "short" and ran["others"] == ["pool"] and ran["check"] == {"delivery": {"pool": 4.0}}
    assert ran["names"] == ["delivery", "done", "map", "roundtrip", "echo", "burn"]


def test_a_drop_fails_and_says_how_to_store(p2pcpn: Command, ran: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "stored.json"
    path.write_text('{"ratios": {"delivery": {"pool": 8.0}}}')
    ran["report"].drops.append(Drop("delivery", "pool", 8.0, 4.0, True))
    ended = p2pcpn("bench", "--short", "--check", str(path))
    assert ended.code == 1
    assert "delivery: 4 x pool, below the stored 8: 50% worse" in ended.err
    assert f"p2pcpn bench --short --store {path}" in ended.err


def test_what_could_not_be_measured_is_a_failure(p2pcpn: Command, ran: dict[str, Any]) -> None:
    ran["report"].broken["done"] = "it hangs"
    ended = p2pcpn("bench", "done")
    assert ended.code == 1 and "done could not be measured: it hangs" in ended.err


def test_json_is_one_document_and_ratios_are_stored(p2pcpn: Command, ran: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "stored.json"
    ended = p2pcpn("bench", "--short", "--json", "--store", str(path))
    document = json.loads(ended.out)
    assert document["machine"] == {"cores": 2} and document["benchmarks"][0]["figures"][0]["ratios"] == {"pool": 4.0}
    assert json.loads(path.read_text())["ratios"] == {"delivery": {"pool": 4.0}}


def test_pictures_are_drawn_where_they_can_be(
    p2pcpn: Command, ran: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot, "is_installed", lambda package: False)
    ended = p2pcpn("bench", "metg", "--plot", "metg.png")
    assert ended.code == 2 and "matplotlib" in ended.err and "names" not in ran  # before an hour of measuring
    monkeypatch.setattr(plot, "is_installed", lambda package: True)
    monkeypatch.setattr(plot, "draw", lambda outcomes, path: [path])
    assert "drawn: metg.png" in p2pcpn("bench", "metg", "--plot", "metg.png").err


def test_benchmarks_and_systems_are_listed(p2pcpn: Command) -> None:
    ended = p2pcpn("bench", "--list")
    assert ended.code == 0 and any(line.startswith("delivery") for line in ended.lines)
    assert any(line.startswith("pool") and "ProcessPoolExecutor" in line for line in ended.lines)
    document = json.loads(p2pcpn("bench", "--list", "--json").out)
    assert document["systems"]["pool"] == {"as": "ProcessPoolExecutor(2)", "absent": None}
    assert "idle" in document["benchmarks"] and "idle" not in document["short"]


def test_what_is_not_there_is_usage(p2pcpn: Command, ran: dict[str, Any]) -> None:
    for words in (("speed",), ("--against", "spark"), ("--check", "none.json"), ("--rounds", "0")):
        ended = p2pcpn("bench", *words)
        assert (ended.code, ended.out) == (2, "") and ended.err.count("\n") == 1
    assert "names" not in ran


def test_what_would_fail_after_an_hour_fails_before(
    p2pcpn: Command, ran: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot, "is_installed", lambda package: True)
    monkeypatch.setattr(run, "absent", lambda name: "install it" if name == "ray" else None)
    kept, none, garbage = tmp_path / "stored.json", tmp_path / "none" / "x.png", tmp_path / "garbage"
    kept.write_text('{"ratios": {"delivery": {"pool": 4.0}}}')
    garbage.write_text("no ratios")
    for words, why in (
        (("--plot", str(none)), "there is no folder"),
        (("--store", str(none)), "there is no folder"),
        (("--store", str(garbage)), "holds no stored ratios"),
        (("--against", "pool,ray"), "ray cannot be measured: install it"),
        (("--against", "none", "--check", str(kept)), "the check could not fail"),
        (("echo", "--check", str(kept)), "the check could not fail"),
    ):
        ended = p2pcpn("bench", *words)
        assert (ended.code, ended.out) == (2, "") and why in ended.err
    assert "names" not in ran


def test_sigterm_ends_a_run_in_order(p2pcpn: Command, ran: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    ended: list[str] = []

    def interrupted(*_: Any, **options: Any) -> Report:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("the signal comes first")
        finally:
            ended.append("in order")

    monkeypatch.setattr(run, "run", interrupted)
    assert p2pcpn("bench", "delivery").code == 130 and ended == ["in order"]
    assert signal.getsignal(signal.SIGTERM) == before
