"""Outliving: results outlive the peers that had them, and where nobody looks after them they are found to be lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2pcpn.protocol.setup import Pulse
from p2pcpn.sim import outliving
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.outliving import Play

QUICK = Pulse(probe_s=5.0, compare_s=60.0, advert_s=600.0, keepers_s=30.0, replace_s=5.0)


@pytest.fixture(autouse=True)
def hard(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but one die, and the end is soon."""
    monkeypatch.setattr(outliving, "WELL_KNOWN", 1)
    monkeypatch.setattr(outliving, "SETTLE_S", 120.0)
    monkeypatch.setattr(outliving, "READ_WAIT_S", 15.0)


def test_results_outlive_all_who_had_them_first() -> None:
    play = Play(8, 1, hours=0.2, replaced_an_hour=5.0, pulse=QUICK)
    play.run()
    report = play.report("outliving", 1, "ok")
    figures = report.figures
    assert report.ok and report.tasks == report.delivered == 5 * outliving.TASKS
    assert (figures["jobs"], figures["jobs lost"], figures["peers replaced"]) == (5, 0, 7)
    assert figures["copies of a job, least"] >= outliving.REPLICAS
    assert figures["jobs with none of their first keepers left"] >= 1
    assert figures["copies restored by those who live"] >= 1
    assert figures["KB said to keep them"] > figures["KB of logs and large results"] > 0
    assert figures["bytes a peer and second"] > 0


def test_results_that_nobody_looks_after_are_lost() -> None:
    play = Play(8, 1, hours=0.2, replaced_an_hour=5.0, pulse=replace(QUICK, keepers_s=1e9, replace_s=1e9))
    with pytest.raises(Violation, match="of 5 jobs are lost"):
        play.run()
    assert play.figures["jobs lost"] >= 1 and play.figures["copies of a job, least"] == 0
    assert not play.report("outliving", 1, "lost").ok


def test_what_does_not_end_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliving, "WAIT_S", 0.0)
    with pytest.raises(Violation, match="too few peers"):
        Play(8, 1, hours=0.1).run()
