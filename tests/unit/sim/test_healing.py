"""Healing: what was made of results that lost is made again, and a swarm in which it is not is found out."""

from __future__ import annotations

import pytest

from p2pcpn.protocol.custody import Custody
from p2pcpn.protocol.reviewing import Reviewing
from p2pcpn.protocol.verdict import judge
from p2pcpn.sim import healing, scenarios
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.healing import Play


def test_after_a_partition_every_reader_sees_one_consistent_set() -> None:
    play = Play(10, 1)
    play.run()
    assert all(count > 0 for count in play.stale.values()) and len(play.stale) == 2
    report = play.report("healing", 1, "ok")
    assert report.ok and set(report.figures) >= {f"{name}: took what lost" for name in play.stale}
    play.world.end()
    assert play.world.history is not None
    found = judge(play.world.history)
    assert found.ok and found.settled == 2 * play.tasks and found.reruns >= sum(play.stale.values()), str(found)


@pytest.mark.parametrize(
    ("peers", "seed"), [(2, 1), (3, 2), (4, 3), (5, 4), (6, 5), *((7, seed) for seed in range(1, 6))]
)
def test_so_it_is_where_few_are_left_on_either_side_and_logs_come_late(peers: int, seed: int) -> None:
    play = Play(peers, seed)
    play.run()
    assert play.report("healing", seed, "ok").ok


def test_it_is_a_scenario_by_name() -> None:
    assert "healing" in scenarios.names()


def test_a_grantor_that_reviews_nothing_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reviewing, "appended", lambda self, grantor, now: None)
    monkeypatch.setattr(Play, "_submitter_cut_off", lambda self: None)
    monkeypatch.setattr(healing, "END_S", 60.0)
    with pytest.raises(Violation, match="tasks have no result that counts"):
        Play(10, 1).run()


def test_a_log_that_is_not_brought_to_the_newest_grantor_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Custody, "bring", lambda self, to: [])
    monkeypatch.setattr(Play, "_submitter_cut_off", lambda self: None)
    monkeypatch.setattr(healing, "END_S", 60.0)
    with pytest.raises(Violation, match="tasks have no result that counts"):
        Play(10, 1).run()
