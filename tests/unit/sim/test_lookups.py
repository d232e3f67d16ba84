"""Lookups among liars, in silence and under loss are right; and where they are not, the scenario says so."""

from __future__ import annotations

import pytest

from p2pcpn.protocol.lookup import Lookup
from p2pcpn.sim import lookups, scenarios
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.lookups import ADVERSITIES, Adversity, Play


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less of everything than what is told."""
    monkeypatch.setattr(lookups, "RECORDS", 6)
    monkeypatch.setattr(lookups, "FINDS", 10)


@pytest.mark.parametrize("name", list(ADVERSITIES))
def test_lookups_are_right_whatever_befalls_the_others(name: str) -> None:
    report = scenarios.run(name, peers=24, seed=1)
    assert report.ok, report.verdict
    assert report.tasks == report.delivered > 0
    assert report.figures["lookups wrong"] == 0.0
    assert 0.0 < report.figures["get p50, s"] <= report.figures["get p95, s"]
    assert (report.faults["hostile"], report.faults["silent"]) == {"hostile": (4, 0), "silent": (0, 12)}.get(
        name, (0, 0)
    )


def test_one_seed_gives_one_trace() -> None:
    assert len({scenarios.run("hostile", peers=20, seed=3).trace_hash for _ in range(2)}) == 1


def test_wrong_answers_are_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that believes the first value it is given: the gang's old versions get through."""
    monkeypatch.setattr(Lookup, "done", property(lambda lookup: lookup.impatient or _done(lookup)))
    with pytest.raises(Violation, match="lookups are wrong"):
        Play(Adversity(hostile=0.4, right=0.999), 40, 1).run()


_done = Lookup.done.fget  # type: ignore[attr-defined]


def test_lookups_that_do_not_end_are_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "WAIT_S", 0.001)
    with pytest.raises(Violation, match="do not end"):
        Play(ADVERSITIES["loss-5"], 12, 1).run()
