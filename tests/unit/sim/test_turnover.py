"""Turnover: records outlive the peers that held them, and one that does not is found to be lost."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.turnover import Play


def test_records_outlive_half_of_the_peers() -> None:
    play = Play(12, 1, hours=0.1, replaced_an_hour=5.0, records_per_peer=2)
    play.run()
    report = play.report("durable", 1, "ok")
    assert report.figures["records"] == 24 and report.figures["records lost"] == 0
    assert report.figures["peers replaced"] == 6 and report.figures["datagrams a peer and second"] > 0
    assert report.figures["copies of a record, least"] >= 1


@pytest.mark.parametrize("replicas", [2, 4])
def test_the_peers_keep_as_many_copies_and_speak_as_rarely_as_they_are_told_to(replicas: int) -> None:
    play = Play(12, 1, hours=0.5, replaced_an_hour=0.0, records_per_peer=2, replicas=replicas)
    play.run()
    # A surplus copy (its holder heard late of somebody nearer) is dropped within the hour.
    assert replicas <= play.figures["copies of a record, mean"] <= 1.1 * replicas
    assert play.figures["copies of a record, least"] >= replicas
    # A question and its answer each time: real peers that probe and compare at their own pace send six times as much.
    at_their_pace = 2 / limits.PROBE_IDLE_S + 2 / limits.PUSH_PULL_S
    assert 0 < play.figures["datagrams a peer and second"] < at_their_pace / 6


def test_a_record_that_no_peer_holds_any_more_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(6, 1, hours=0.01, records_per_peer=1)

    def forget(first: object) -> None:
        for host in play.world.hosts:
            host.crash(power=True)
        for number in range(3):
            play._start(play.world.host(f"fresh-{number}", slots=1))
        play.world.seeds = [play.world.hosts[-1].address]
        play.world.run(play.world.clock.now + 20.0)

    monkeypatch.setattr(play, "_replace", forget)
    with pytest.raises(Violation, match="6 of 6 records are lost"):
        play.run()


def test_what_repair_costs_is_stated_beside_all() -> None:
    play = Play(12, 1, hours=1.5, replaced_an_hour=0.3, records_per_peer=2)
    play.run()
    figures = play.figures
    assert figures["datagrams for repair"] > 0 and figures["bytes for repair, a peer and second"] > 0
    assert 0 < figures["share of repair in datagrams"] < 1 and 0 < figures["share of repair in bytes"] < 1
