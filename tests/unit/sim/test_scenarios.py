"""Scenarios: what they play, what they refuse, and that a planted bug is found."""

from __future__ import annotations

import gc
from dataclasses import replace
from functools import partial

import pytest

from p2pcpn.errors import UsageError
from p2pcpn.protocol.history import Furthered
from p2pcpn.sim import lengths, modes, names, run, scenarios
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.scenarios import SCENARIOS, Play


def test_a_quiet_swarm_ends_its_job_and_loses_nothing() -> None:
    report = run("quiet", peers=5, seed=3)
    assert report.ok and report.tasks == report.delivered + 0 > 100
    assert report.datagrams_lost == 0 and report.events > 1000 and report.checks > 1000
    assert report.history["settled"] == 200 and report.history["readers"] == 3 and not report.history["violations"]
    assert gc.isenabled()


def test_the_same_seed_gives_the_same_trace_and_another_another() -> None:
    first, again, other = (run("churn", peers=5, seed=seed) for seed in (1, 1, 2))
    assert first.to_json() == again.to_json()
    assert first.trace_hash != other.trace_hash


def test_the_checker_finds_the_canary() -> None:
    report = run("quiet", peers=5, seed=1, canary=True)
    assert not report.ok and "task" in report.verdict


def test_lengths_are_a_scenario_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "TASKS_MAX", 20)
    some = {"1 s": lengths.POPULATIONS["1 s"]}
    monkeypatch.setattr(lengths, "Play", partial(lengths.Play, populations=some, crowded=[]))
    report = run("lengths", peers=2, seed=1)
    assert report.ok and report.scenario == "lengths" and report.tasks == report.delivered > 10


def test_a_program_that_waits_for_each_result_gets_all_and_most_of_its_tasks_come_under_a_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = replace(SCENARIOS["calls"], faults_s=4.0, tasks=60)
    monkeypatch.setitem(SCENARIOS, "calls", plan)
    play = Play(plan, 6, 2, False)
    play.run()
    assert play.report("calls", 2, "ok").ok and play.world.history is not None
    came = [line for line in play.world.history if isinstance(line.event, Furthered)]
    assert len(came) > len(play.program.deeds) / 2
    assert run("calls", peers=6, seed=2).ok


def test_what_cannot_be_played_is_refused() -> None:
    known = [
        "calls",
        "churn",
        "durable",
        "faults",
        "fleeting",
        "healing",
        "hostile",
        "hour",
        "leaving",
        "lengths",
        "loss",
        "loss-10",
        "loss-5",
        "modes",
        "outliving",
        "owners",
        "parting",
        "partition",
        "quiet",
        "silent",
        "stragglers",
        "takeover",
        "unequal",
    ]
    assert names() == known
    with pytest.raises(UsageError, match=", ".join(known)):
        run("calm")
    with pytest.raises(UsageError, match="2 to 100000 peers"):
        run("quiet", peers=1)
    with pytest.raises(UsageError, match="scenario modes alone"):
        run("quiet", peers=3, load=scenarios.load((), 1))


def test_a_mode_is_played_alone_where_that_is_asked_for() -> None:
    assert scenarios.load((), None) is None
    assert scenarios.load((), 2) == (modes.MODES, 2)
    report = run("modes", peers=3, seed=1, load=scenarios.load(["centralised"], 1))
    assert report.ok and {figure.split(":")[0] for figure in report.figures} == {"centralised"}


def test_what_does_not_come_true_in_time_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(replace(SCENARIOS["quiet"], faults_s=1.0, tasks=4), 4, 1, False)
    with pytest.raises(Violation, match="not so"):
        play._demand(1.0, lambda: "not so")
    monkeypatch.setattr(scenarios, "JOIN_WAIT_S", 0.0)
    with pytest.raises(Violation, match="storage peers"):
        Play(SCENARIOS["quiet"], 20, 1, False)._join()
