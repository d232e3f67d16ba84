"""Glances: who is asked next after somebody of a far bucket named others."""

from __future__ import annotations

import random

from p2pcpn.protocol.glancing import Glance, strangers
from p2pcpn.protocol.requests import Answered, Reply
from p2pcpn.protocol.table import RoutingTable, distance
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.datagrams import Ack, Find, Nodes

OWN = b"\x00" * 20
TARGET = b"\xf0" + bytes(19)


def peer(number: int) -> Contact:
    return contact(b"\xf0" + bytes(18) + bytes([number]), (f"10.0.{number}.1", 4000))


def answered(reply: Reply, purpose: object = Glance(TARGET)) -> Answered:
    return Answered(purpose, peer(200), peer(200), reply, 0.01)


def known() -> RoutingTable:
    table = RoutingTable(OWN, lambda address: address, random.Random(1), 0.0)
    table.heard(peer(1), 0.0)
    return table


def test_it_asks_for_peers_near_to_an_id_of_that_bucket() -> None:
    assert Glance(TARGET).question(7) == Find(7, TARGET)


def test_the_nearest_that_has_room_and_is_not_dead_is_asked_next() -> None:
    table = known()
    named = sorted([peer(1), peer(2), peer(3)], key=lambda it: distance(it.id, TARGET))
    assert strangers(answered(Nodes(7, named)), OWN, table, 0.0) == [peer(2)]
    table.dead.failed(peer(2), 0.0, cut_off=False)
    assert strangers(answered(Nodes(7, named)), OWN, table, 0.0) == [peer(3)]
    assert strangers(answered(Nodes(7, [peer(1)])), OWN, table, 0.0) == []


def test_nobody_is_asked_next_where_the_reply_lies_or_is_to_something_else() -> None:
    assert strangers(answered(Nodes(7, [peer(3), peer(2)])), OWN, known(), 0.0) == []
    assert strangers(answered(Nodes(7, [peer(2)]), "verify"), OWN, known(), 0.0) == []
    assert strangers(answered(Ack(7, 0)), OWN, known(), 0.0) == []
