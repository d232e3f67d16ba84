"""Parting: the parts of a swarm become one, who flaps does no harm, and who slept accuses nobody."""

from __future__ import annotations

import pytest

from p2pcpn.sim import parting
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.parting import Plan, Play


def test_a_swarm_is_one_again_after_every_act() -> None:
    play = Play(8, 1, Plan(apart_s=30.0, cut_s=200.0, flapping_s=30.0, sleep_s=600.0))
    play.run()
    report = play.report("parting", 1, "ok")
    assert report.ok and report.virtual_s > 860.0
    assert 0.0 < play.took_s["cut"] <= parting.REUNION_S
    assert set(play.traffic) == {"apart", "cut", "quiet", "flapping", "sleep"}
    assert any("flapping" in name for name in report.figures)


def test_an_act_of_no_length_is_left_out() -> None:
    play = Play(4, 1, Plan(0.0, 0.0, 0.0, 0.0))
    play.run()
    assert play.traffic == {} and play.world.clock.now < 10.0


def test_parts_that_stay_parts_are_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.protocol.reunion.Reunion.expire", lambda self, now: [])
    monkeypatch.setattr("p2pcpn.protocol.reunion.Reunion.deadline", lambda self: float("inf"))
    monkeypatch.setattr(parting, "REUNION_S", 60.0)
    with pytest.raises(Violation, match=r"cut: .*(the other half|parts)|cut in two"):
        Play(6, 1, Plan(0.0, 400.0, 0.0, 0.0)).run()


def test_more_words_than_may_be_are_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parting, "FLAPPING_TRAFFIC_MAX", 0.1)
    with pytest.raises(Violation, match="flapping peers make"):
        Play(6, 1, Plan(0.0, 0.0, 20.0, 0.0)).run()
