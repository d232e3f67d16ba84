"""``p2pcpn sim``: a run that kept every promise ends with 0, one that broke a promise says which and ends with 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.bench import modes, plot
from p2pcpn.cli import progress
from p2pcpn.sim import scenarios, seeds
from p2pcpn.sim.report import Report

Command = Callable[..., Any]
SMALL = ("sim", "quiet", "--peers", "3")


def test_a_quiet_run_keeps_every_promise_and_says_what_happened(
    p2pcpn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 600.0)  # how far it is, is said where it takes longer
    ended = p2pcpn(*SMALL)
    assert (ended.code, ended.err) == (0, "")
    said = dict(line.split(maxsplit=1) for line in ended.lines)
    assert said["scenario"] == "quiet, 3 peers, seed 1"
    assert said["verdict"] == "everything held"
    assert said["tasks"] == "200: 200 delivered, 0 lost"
    assert said["faults"] == "none"
    assert len(said["trace"]) == 64
    assert "s of processor time" in said["cost"]


def test_of_the_modes_one_is_played_alone(p2pcpn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    report = Report("modes", 3, 1, trace_hash="ab")
    monkeypatch.setattr(scenarios, "run", lambda name, load, **_: asked.append(load) or report)
    assert p2pcpn("sim", "modes", "--mode", "hybrid", "--tasks-a-slot", "2").code == 0
    assert p2pcpn("sim", "modes").code == 0 and asked == [(("hybrid",), 2), None]
    ended = p2pcpn("sim", "modes", "--mode", "hybrid", "--seeds", "1-2")
    assert ended.code == 2 and "go with one seed" in ended.err


def test_one_seed_gives_one_document_and_another_seed_another(p2pcpn: Command) -> None:
    first, again, other = (json.loads(p2pcpn(*SMALL, "--seed", seed, "--json").out) for seed in ("7", "7", "8"))
    assert first == again and first["seed"] == 7 and first["verdict"] == "ok"
    assert other["trace_hash"] != first["trace_hash"]


def test_a_broken_promise_is_told_with_its_seed_and_is_a_failure(
    p2pcpn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios, "run", partial(scenarios.run, canary=True))
    ended = p2pcpn(*SMALL, "--seed", "3", "--json")
    verdict = json.loads(ended.out)["verdict"]
    assert ended.code == 1 and verdict != "ok"
    again = "p2pcpn: again with: p2pcpn sim quiet --peers 3 --seed 3\n"
    assert ended.err == f"p2pcpn: seed 3 breaks a promise: {verdict}\n{again}"


def test_faults_and_a_verdict_are_shown_to_people(p2pcpn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report("churn", 1, 5, verdict="task 3 was lost", trace_hash="ab", tasks=9, delivered=8, lost_tasks=1,
                    faults={"storm": 2, "kill": 4})  # fmt: skip
    monkeypatch.setattr(scenarios, "run", lambda name, **_: report)
    ended = p2pcpn("sim", "churn", "--peers", "1", "--seed", "5")
    said = dict(line.split(maxsplit=1) for line in ended.lines)
    assert ended.code == 1
    assert said["scenario"] == "churn, 1 peer, seed 5" and said["verdict"] == "task 3 was lost"
    assert said["faults"] == "4 kill, 2 storm" and said["tasks"] == "9: 8 delivered, 1 lost"


def test_what_cannot_be_simulated_is_usage(p2pcpn: Command) -> None:
    for words, said in (
        (("sim", "earthquake"), "there is no scenario 'earthquake'"),
        (("sim", "quiet", "--peers", "1"), "scenario quiet has 2 to"),
        (("sim", "takeover", "--peers", "5"), "scenario takeover has 6 to"),
        (("sim", "quiet", "--peers", "many"), "'many' is not a valid integer"),
        (("sim",), "missing argument 'SCENARIO'"),
    ):
        ended = p2pcpn(*words)
        assert (ended.code, ended.out) == (2, "") and said in ended.err and ended.err.count("\n") == 1


def test_the_help_names_the_scenarios(p2pcpn: Command) -> None:
    assert f"Scenarios: {', '.join(scenarios.names())}." in " ".join(p2pcpn("sim", "--help").out.split())


def test_many_seeds_are_played_and_those_that_fail_are_named(p2pcpn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def play(name: str, wanted: range, *, peers: int, found: Callable[[Report], None]) -> list[Report]:
        reports = [
            Report(name, peers, seed, tasks=9, history={"events": 5, "violations": seed // 4}) for seed in wanted
        ]
        reports[-1].verdict = "lost: task 3 never ended"
        for report in reports:
            found(report)
        return [report for report in reports if not report.ok]

    monkeypatch.setattr(seeds, "play", play)
    ended = p2pcpn("sim", "faults", "--seeds", "1-4", "--peers", "7")
    assert ended.code == 1 and "1 seed failed" in ended.out and "20 events, 1 broken promises" in ended.out
    assert "again with: p2pcpn sim faults --peers 7 --seed 4" in ended.err
    said = json.loads(p2pcpn("sim", "faults", "--seeds", "1-4", "--json").out)
    assert said["played"] == 4 and [report["seed"] for report in said["failed"]] == [4]
    assert p2pcpn("sim", "faults", "--seeds", "4-1").code == 2


def test_seeds_that_all_hold_are_a_success(p2pcpn: Command) -> None:
    ended = p2pcpn("sim", "quiet", "--seeds", "1-2", "--peers", "3")
    assert ended.code == 0 and "everything held" in ended.out


def test_saved_reports_are_drawn(p2pcpn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(plot, "require", lambda: None)
    monkeypatch.setattr(modes, "saved", lambda paths: drawn.append(paths))
    monkeypatch.setattr(modes, "draw", lambda sizes, path: path)
    ended = p2pcpn("sim", "modes", "--png", "m.png", "--report", "a.json", "--report", "b.json")
    assert (ended.code, ended.err) == (0, "p2pcpn: drawn: m.png\n") and drawn == [(Path("a.json"), Path("b.json"))]
    for words in (("modes", "--png", "m.png"), ("modes", "--report", "a"), ("quiet", "--png", "m", "--report", "a")):
        assert p2pcpn("sim", *words).code == 2
