"""Takeover: whoever grants is lost in every way, and the job goes on; a swarm in which it does not is found out."""

from __future__ import annotations

import pytest

from p2pcpn.protocol import authority
from p2pcpn.protocol.gaps import Gaps
from p2pcpn.protocol.succession import Succession
from p2pcpn.protocol.verdict import judge
from p2pcpn.sim import scenarios, takeover
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.takeover import Play


def test_a_job_goes_on_whoever_is_lost_and_its_history_is_clean() -> None:
    play = Play(6, 1, tasks=30, untaken_s=15.0)
    play.run()
    assert set(play.took_s) == {
        "submitter killed", "its successor killed", "submitter asleep", "submitter cut off",
        "a steward of lots killed", "forsaken, a steward killed", "divided, a steward killed",
    }  # fmt: skip
    assert play.took_s["its successor killed"] <= 3.0
    report = play.report("takeover", 1, "ok")
    assert report.ok and len(report.figures) == 8
    play.world.end()
    assert play.world.history is not None
    found = judge(play.world.history)
    assert found.ok, str(found)
    assert found.settled >= 7 * 30


def test_it_is_a_scenario_by_name() -> None:
    assert "takeover" in scenarios.names()


def test_what_has_ended_nobody_need_take_over() -> None:
    play = Play(6, 1, tasks=24)
    play._join()
    program = play._begin("over")
    play._until_settled(program, 24)
    play._steward_dies(program, "nothing lost")
    assert not play.took_s and len(play.world.alive) == 7


def test_stewards_that_never_take_over_are_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Succession, "_turn", lambda self, watch, kept, tenure, now: [])
    monkeypatch.setattr(takeover, "TAKEN_S", 8.0)
    with pytest.raises(Violation, match="killed: nobody takes the job over"):
        Play(6, 1, tasks=24).run()


def test_a_centralised_job_that_is_taken_over_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(6, 1, tasks=24)
    monkeypatch.setattr(Play, "_killed", lambda self: None)
    monkeypatch.setattr(Play, "_asleep", lambda self: None)
    monkeypatch.setattr(Play, "_cut_off", lambda self: None)
    monkeypatch.setattr(Play, "_lots", lambda self: None)
    monkeypatch.setattr(Play, "_forsaken", lambda self: None)
    monkeypatch.setattr(Play, "_divided", lambda self: None)
    monkeypatch.setattr(Play, "_dozing", lambda self: None)
    monkeypatch.setattr(Play, "_half_way", lambda self: None)
    monkeypatch.setattr(authority, "TAKEN_OVER", ("hybrid", "distributed", "centralised"))
    with pytest.raises(Violation, match="nobody may take over was taken over"):
        play.run()


def test_a_lot_that_nobody_takes_over_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(6, 1, tasks=60)
    for act in ("_killed", "_asleep", "_cut_off"):
        monkeypatch.setattr(Play, act, lambda self: None)
    monkeypatch.setattr(Succession, "_turn", lambda self, watch, kept, tenure, now: [])
    with pytest.raises(Violation, match="nobody takes its lot over"):
        play.run()


def test_tasks_that_stay_with_the_one_steward_that_got_them_are_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(6, 1, tasks=60)
    monkeypatch.setattr(Gaps, "knows", lambda self, job, contact, now, **more: None)
    play._join()
    with pytest.raises(Violation, match="half way: a steward knows of 30 tasks"):
        play._half_way()
