"""Acquaintance: the way is known only where everybody there is was met and has a place."""

from __future__ import annotations

import random

from p2pcpn import limits
from p2pcpn.protocol.acquaintance import Acquaintance
from p2pcpn.protocol.table import RoutingTable
from p2pcpn.wire.addresses import Contact, contact
from tests.unit.protocol.dhts import by_address

OWN = b"o" * 20
PEERS = [contact(bytes([number]) * 20, (f"10.0.{number}.1", 4000)) for number in range(1, 30)]
K = 8


def met(count: int) -> tuple[Acquaintance, RoutingTable]:
    table = RoutingTable(OWN, by_address, random.Random(1), 0.0, K)
    acquaintance = Acquaintance(OWN, table, K, 0.0)
    for peer in PEERS[:count]:
        hears(acquaintance, table, peer, 0.0)
    return acquaintance, table


def hears(acquaintance: Acquaintance, table: RoutingTable, peer: Contact, now: float) -> None:
    table.heard(peer, now)
    acquaintance.heard(peer, now)


def test_a_few_who_name_nobody_else_are_everybody() -> None:
    acquaintance, _ = met(5)
    acquaintance.named([*PEERS[:5], contact(OWN, ("10.0.0.1", 1))], 1.0)
    assert acquaintance.is_complete(1.0)


def test_who_was_just_met_is_not_everybody_before_it_was_asked_who_there_is() -> None:
    acquaintance, table = met(1)
    assert not acquaintance.is_complete(0.0)
    acquaintance.named((), 0.0, asked=False)  # an answer to something else
    assert not acquaintance.is_complete(0.0)
    acquaintance.named((), 1.0)
    assert acquaintance.is_complete(1.0)
    table.failed(PEERS[0], 2.0)
    acquaintance.failed(PEERS[0])
    hears(acquaintance, table, PEERS[1], 3.0)
    assert not acquaintance.is_complete(3.0)


def test_with_nobody_met_or_too_many_nobody_can_tell() -> None:
    assert not met(0)[0].is_complete(0.0)
    many, _ = met(20)
    many.named(PEERS, 0.0)
    assert not many.is_complete(0.0)


def test_who_is_named_has_to_be_met_or_be_gone() -> None:
    acquaintance, table = met(4)
    acquaintance.named(PEERS[:6], 1.0)
    assert not acquaintance.is_complete(1.0)
    hears(acquaintance, table, PEERS[4], 2.0)
    assert not acquaintance.is_complete(2.0)
    table.failed(PEERS[5], 3.0)
    acquaintance.failed(PEERS[5])
    assert acquaintance.is_complete(3.0)
    acquaintance.named([PEERS[5]], 4.0)  # it is dead, whoever names it
    assert acquaintance.is_complete(4.0)


def test_who_finds_no_place_makes_it_doubtful_for_an_hour() -> None:
    acquaintance, _table = met(4)
    acquaintance.named(PEERS[:4], 9.0)
    acquaintance.heard(PEERS[9], 10.0)
    assert not acquaintance.is_complete(10.0)
    assert acquaintance.is_complete(10.0 + limits.REFRESH_S)


def test_what_is_remembered_is_bounded() -> None:
    acquaintance, _ = met(1)
    acquaintance.named(PEERS, 0.0)
    assert len(acquaintance._unmet) == K
