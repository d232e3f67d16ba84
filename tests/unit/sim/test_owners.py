"""Owners in the simulator: equal parts of busy peers, and a cancel that ends; each demand is broken once."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.shares import Share, Shares
from p2pcpn.sim import owners
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.owners import Play


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(owners, "SHARED_S", 15.0)
    monkeypatch.setattr(owners, "FLOOD_EACH", 1)
    return lambda: Play(3, 1, flood=2500)


def test_a_few_tasks_do_not_wait_for_a_flood_and_two_floods_share(small: Any) -> None:
    play = small()
    play.run()
    report = play.report("owners", 1, "ok")
    assert report.ok and report.tasks == 2 * 2500 + 2 * owners.FEW
    assert report.figures["ten beside, s"] < 2 * report.figures["ten alone, s"] + 2.0
    assert 1.0 <= report.figures["slot time of two owners, ratio"] <= owners.UNFAIR_MAX


def test_peers_that_answer_nobody_while_they_are_busy_starve_the_few(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shares, "sated", lambda *_: True)
    with pytest.raises(Violation, match=r"ten tasks took|times the slot time"):
        small().run()


def test_turns_that_favour_one_owner_are_noticed(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    play = small()
    favourite = play.world.dice.bytes("owner", "many")
    whole = Share.virtual_s

    def skewed(share: Share, now: float) -> float:
        from p2pcpn.identity.keys import Keypair

        return whole(share, now) * (0.3 if share.owner == Keypair(favourite).public else 1.0)

    monkeypatch.setattr(Share, "virtual_s", skewed)
    with pytest.raises(Violation, match=r"times the slot time|ten tasks took"):
        play.run()


def test_a_cancel_that_revokes_nothing_is_noticed(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Grantor, "cancel_job", lambda *_: [])
    with pytest.raises(Violation, match="stopped still holds leases"):
        small().run()


def test_a_pause_that_takes_nothing_back_or_never_ends_is_noticed(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Grantor.pause_job
    monkeypatch.setattr(Grantor, "pause_job", lambda *_: [])
    with pytest.raises(Violation, match="stopped still holds leases"):
        small().run()

    def once(grantor: Grantor, *said: Any) -> Any:
        return [] if grantor.paused else whole(grantor, *said)

    monkeypatch.setattr(Grantor, "pause_job", once)
    with pytest.raises(Violation, match="does not go on"):
        small().run()


def test_a_flood_that_is_over_too_soon_measures_nothing(small: Any) -> None:
    play = small()
    play.flood = 30
    with pytest.raises(Violation, match="too small"):
        play.run()
