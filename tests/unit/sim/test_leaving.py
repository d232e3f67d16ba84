"""Leaving: all that were there first drain, jobs end, and every result is read from those who came later."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcpn.protocol.bequest import Bequest
from p2pcpn.protocol.presence import Presence
from p2pcpn.sim import leaving
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.draining import Draining
from p2pcpn.sim.leaving import Play
from p2pcpn.sim.scenarios import names


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "TASKS", 16)
    monkeypatch.setattr(leaving, "DRAINING_S", 8.0)
    monkeypatch.setattr(leaving, "READ_WAIT_S", 10.0)


def test_results_outlive_all_who_were_there_first_where_these_drain() -> None:
    play = Play(6, 3)
    play.run()
    report = play.report("leaving", 3, "ok")
    assert report.ok and report.tasks == report.delivered == 2 * 16
    assert report.figures["peers that left"] == 6 and report.figures["results left behind"] == 0
    assert "leaving" in names() and all(host.peer is None for host in play._first)


def test_what_is_not_handed_over_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: Bequest, logs: Any, now: float) -> list[Any]:
        self._under_way = True
        return self._go_on(now)

    monkeypatch.setattr(Bequest, "begin", nothing)
    with pytest.raises(Violation, match="of 2 jobs are lost"):
        Play(6, 3).run()


def test_who_takes_more_after_it_was_told_to_leave_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "TASKS", 90)
    monkeypatch.setattr(leaving, "READ_WAIT_S", 60.0)
    monkeypatch.setattr(Presence, "drain", lambda self, now: [])
    with pytest.raises(Violation, match="began a task though it was to leave"):
        Play(6, 3).run()


def test_who_does_not_leave_in_its_time_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Draining, "_look", lambda self: None)
    with pytest.raises(Violation, match=r"has not left: it is finishing|do not end"):
        Play(6, 3).run()


def test_what_does_not_end_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "WAIT_S", 0.0)
    with pytest.raises(Violation, match="too few peers"):
        Play(6, 3).run()
