"""An hour of everything, shortened: jobs end well while peers die and come, at the pace of real peers."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.sim import hour, scenarios
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.hour import JOB_EACH_S, SUBMITTERS, TASKS_MIN, Play


def test_every_task_of_every_job_ends_well_while_peers_are_replaced() -> None:
    play = Play(16, 3, seconds=120.0, replaced=0.25)
    play.run()
    report = play.report("hour", 3, "ok")
    assert report.ok and report.tasks == report.delivered == 2 * TASKS_MIN
    assert report.figures["jobs"] == 120 // JOB_EACH_S and report.figures["peers replaced"] == 4
    assert len(play.world.alive) == 16 + SUBMITTERS
    assert report.faults == {"power": 4, "join": 4}


def test_the_peers_keep_the_pace_of_real_ones() -> None:
    play = Play(12, 4, seconds=60.0, replaced=0.0)
    play.run()
    probes = 2 / limits.PROBE_IDLE_S  # a ping and its answer
    assert play.figures["datagrams a peer and second"] > probes
    assert play.figures["events a peer and second"] > play.figures["datagrams a peer and second"]


def test_one_seed_gives_one_trace() -> None:
    hashes = set()
    for _ in range(2):
        play = Play(8, 5, seconds=30.0, replaced=0.1)
        play.run()
        hashes.add(play.report("hour", 5, "ok").trace_hash)
    assert len(hashes) == 1


def test_a_task_that_nobody_runs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(6, 1, seconds=60.0, replaced=0.0)
    submit = play._submit

    def alone(number: int) -> None:
        submit(number)
        for host in play.world.hosts:
            if host.peer is not None and host.roles:
                host.crash(power=True)

    monkeypatch.setattr(play, "_submit", alone)
    with pytest.raises(Violation, match="tasks have not ended well"):
        play.run()


def test_many_peers_are_there_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hour, "WARM_PEERS", 12)
    play = Play(12, 6, seconds=60.0, replaced=0.1)
    play.run()
    report = play.report("hour", 6, "ok")
    assert report.ok and report.figures["peers there from the first"] == 12
    assert len(play.world.alive) == 12 + SUBMITTERS


def test_it_is_one_of_the_scenarios() -> None:
    assert "hour" in scenarios.names()
