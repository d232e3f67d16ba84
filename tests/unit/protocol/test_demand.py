"""Demand: a call counts once it is repeated, as long as it is repeated in time, whoever floods."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.protocol.calling import Calling
from p2pcpn.protocol.demand import Demand
from p2pcpn.wire.statements import Offer
from tests.unit.protocol.granting import at, keypair


def offer(job: int = 1, number: int = 1, wanted: int = 3) -> Offer:
    key = keypair(10)
    return Offer(
        bytes([job]) * 20, key.public, 0, at(key, 10), number, "function", "3.11", [], 0, 100, wanted, 10.0
    )  # fmt: skip


def test_a_single_offer_is_no_queue_and_a_repeated_one_is() -> None:
    demand = Demand()
    demand.heard(offer(), 0.0)
    assert demand.wanted(0.1) == 0
    demand.heard(offer(number=2, wanted=5), 0.5)
    demand.heard(offer(job=2), 0.5)
    demand.heard(offer(job=2, number=2, wanted=2), 1.0)
    assert demand.wanted(1.0) == 7


def test_an_offer_that_follows_at_once_to_be_heard_farther_is_the_same_call() -> None:
    demand = Demand()
    demand.heard(offer(), 0.0)
    demand.heard(offer(number=2, wanted=900), 0.1)
    assert demand.wanted(0.2) == 0
    demand.heard(offer(number=3, wanted=900), 0.6)
    assert demand.wanted(0.6) == 900


def test_a_call_that_a_grantor_goes_on_with_counts_all_the_time_and_then_no_more() -> None:
    demand, calling, now = Demand(), Calling(), 0.0
    counted = []
    while now < 60.0:
        if calling.wanted(now):
            demand.heard(offer(number=calling.number), now)
        counted.append(demand.wanted(now))
        now += 0.1
    assert set(counted[6:]) == {3} and set(counted[:5]) == {0}
    assert demand.wanted(now + 9.0) == 0
    demand.heard(offer(number=99), now + 10.0)  # another need: it begins anew
    assert demand.wanted(now + 10.0) == 0


def test_calls_that_are_soon_over_are_soon_forgotten() -> None:
    demand = Demand()
    demand.heard(offer(), 0.0)
    demand.heard(offer(number=2), 0.5)
    assert demand.wanted(2.2) == 0


def test_a_flood_of_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OFFERS_MAX", 4)
    demand = Demand()
    for number in (1, 2):
        for job in range(8):
            demand.heard(offer(job, number), 0.1 * number)
    assert len(demand._calls) == 4
