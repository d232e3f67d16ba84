"""What this node grants: whole jobs and lots are found by job, by epoch and by the token that a worker speaks of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from p2pcpn.protocol.granted import Granted
from p2pcpn.protocol.lots import Lots

ONE, TWO = b"1" * 20, b"2" * 20


def grantor(job: bytes, lot: int = 0, lots: int = 0) -> Any:
    found = Lots(job, lots) if lots else Lots(job)
    return SimpleNamespace(job=job, book=SimpleNamespace(lots=found, lot=lot))


def test_a_whole_job_has_one_grantor_whatever_the_epoch_or_the_token() -> None:
    granted, whole = Granted(), grantor(ONE)
    granted.add(whole)
    assert granted.of(ONE) == granted.all() == [whole] and granted.of(TWO) == [] and len(granted) == 1
    assert granted.in_epoch(ONE, 7) is granted.under(ONE, 9) is granted.at(ONE, 0, Lots(ONE)) is whole
    assert granted.in_epoch(TWO, 7) is None and granted.under(TWO, 9) is None
    assert granted.drop(ONE, 0, Lots(ONE)) is whole and not len(granted)
    assert granted.drop(ONE, 0, Lots(ONE)) is None


def test_lots_of_one_job_are_told_apart() -> None:
    granted, lots = Granted(), Lots(ONE, 3)
    second, first, other = grantor(ONE, 2, 3), grantor(ONE, 0, 3), grantor(TWO, 1, 3)
    for each in (second, first, other):
        granted.add(each)
    assert granted.of(ONE) == [first, second] and granted.of(TWO) == [other] and len(granted) == 3
    assert ONE in granted and TWO in granted and bytes(20) not in granted
    assert granted.in_epoch(ONE, 1) is granted.in_epoch(ONE, 4) is granted.under(ONE, 3) is first
    assert granted.in_epoch(ONE, 3) is granted.under(ONE, 5) is granted.at(ONE, 2, lots) is second
    assert granted.in_epoch(ONE, 2) is None and granted.under(ONE, 4) is None
    assert granted.drop(ONE, 0, lots) is first and granted.of(ONE) == [second]


def test_beside_its_lots_a_node_may_have_submitted_the_job() -> None:
    granted = Granted()
    own, lot = grantor(ONE), grantor(ONE, 1, 3)
    granted.add(own)
    granted.add(lot)
    assert granted.of(ONE) == [lot, own] and granted.in_epoch(ONE, 2) is lot and granted.whole[ONE] is own
