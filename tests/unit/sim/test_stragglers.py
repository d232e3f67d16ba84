"""Stragglers: slow peers cost a job little with hedging, and what is not so is a violation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2pcpn.sim import stragglers
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.stragglers import KINDS, Play


def few(monkeypatch: pytest.MonkeyPatch, name: str, **changes: object) -> None:
    monkeypatch.setitem(KINDS, name, replace(KINDS[name], **changes))  # type: ignore[arg-type]


def test_with_hedging_slow_peers_cost_little_and_without_much(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, "stragglers", jobs=2)
    play = Play("stragglers", 10, 1)
    play.run()
    figures = play.report("stragglers", 1, "ok").figures
    assert figures["p99 job time by ideal"] < 1.5 < figures["p99 job time by ideal without hedging"]
    assert 0 < figures["second leases by task"] < 0.2
    assert play.report("stragglers", 1, "ok").ok


def test_peers_of_three_speeds_are_busy_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, "unequal", jobs=1, ratio=(1.3, 1.0), jain=0.9)
    play = Play("unequal", 9, 2)
    play.run()
    figures = play.figures()
    assert figures["Jain index of busy time"] >= 0.9
    assert not any("without" in name for name in figures)


@pytest.mark.parametrize(
    ("changes", "words"), [({"ratio": (1.0, 1.0)}, "times its ideal"), ({"jain": 1.1, "ratio": (9.0, 1.0)}, "fairness")]
)
def test_what_was_promised_and_is_not_so_is_a_violation(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], words: str
) -> None:
    few(monkeypatch, "unequal", jobs=1, tasks=(2.0, 2.0), **changes)
    with pytest.raises(Violation, match=words):
        Play("unequal", 3, 1).run()


def test_a_job_that_does_not_end_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, "unequal", jobs=1, tasks=(1.0, 1.0), takes_s=lambda rng: 1e6)
    monkeypatch.setattr(stragglers, "PATIENCE", 1e-6)
    play = Play("unequal", 3, 1)
    with pytest.raises(Violation, match="0 of 3 tasks"):
        play.run()
    assert play.figures() == {"jobs": 0, "second leases by task": 0.0}
