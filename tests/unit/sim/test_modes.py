"""Modes: the same load under each, what it cost and whom, counted right and independent of the order."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.errors import UsageError
from p2pcpn.sim import modes as module
from p2pcpn.sim import trace
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.modes import MODES, Play, Tally, stewards_for


def test_what_is_said_is_counted_at_both_ends() -> None:
    tally = Tally()
    tally.note(trace.DATAGRAM, 0.0, 1, 2, b"x")
    tally.note(trace.MESSAGE, 0.0, 1, 3, b"y")
    tally.note(trace.COMMIT, 0.0, 1, 1, b"z")
    assert (tally.datagrams, tally.messages, dict(tally.by_host)) == (1, 1, {1: 2, 2: 1, 3: 1})
    assert tally.entries == 3


def test_every_mode_ends_the_same_load_and_tells_what_it_cost() -> None:
    play = Play(6, 1)
    play.run()
    assert [played.mode for played in play.played] == list(MODES)
    for played in play.played:
        assert played.tasks == play.played[0].tasks and played.ideal_s == play.played[0].ideal_s
        assert played.ideal_s <= played.job_s < 3 * played.ideal_s
        assert 0 < played.claim_s < played.job_s and 0 < played.messages < 100 and 0 < played.busiest <= 1
    report = play.report("modes", 1, "ok")
    assert report.ok and report.tasks == report.delivered and report.lost_tasks == 0
    assert report.command == "p2pcpn sim modes --peers 6 --seed 1"
    assert report.figures[f"{MODES[-1]}: s for the job"] == round(play.played[-1].job_s, 4)


def test_what_a_mode_costs_does_not_hang_on_what_came_before() -> None:
    play = Play(6, 2, ("hybrid", "hybrid"))
    play.run()
    first, second = play.played
    assert abs(first.messages - second.messages) < 0.4 * first.messages
    assert abs(first.job_s - second.job_s) < 0.5 * first.job_s


def test_a_job_that_does_not_end_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRETCH_MAX", 0.1)
    monkeypatch.setattr(module, "GRACE_S", 0.0)
    with pytest.raises(Violation, match=r"hybrid: \d+ of \d+ tasks have ended in"):
        Play(3, 1).run()


def test_a_large_swarm_has_a_steward_for_as_many_peers_as_one_grantor_should_serve() -> None:
    named = [stewards_for(peers) for peers in (3, 1000, 1920, 1921, 4000, 10_000)]
    assert named == [limits.STEWARDS, limits.STEWARDS, 5, 6, 11, limits.STEWARDS_MAX]


def test_one_mode_may_be_played_alone_with_fewer_tasks() -> None:
    play = Play(3, 1, ("distributed",), 1)
    play.run()
    (played,) = play.played
    assert played.mode == "distributed"
    assert played.tasks == sum(host.slots for host in play.world.hosts)
    command = play.report("modes", 1, "ok").command
    assert command == "p2pcpn sim modes --peers 3 --seed 1 --mode distributed --tasks-a-slot 1"


def test_what_is_no_mode_or_no_task_is_refused() -> None:
    with pytest.raises(UsageError, match="no mode 'anarchic'; there are centralised, hybrid, distributed"):
        Play(3, 1, ("anarchic",))
    with pytest.raises(UsageError, match="one task at least, not 0"):
        Play(3, 1, tasks_a_slot=0)
