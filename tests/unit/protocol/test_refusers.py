"""Refusers: who stores nothing is remembered for ten minutes, unless it stores after all."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.protocol.refusers import REFUSAL_S, Refusers
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.datagrams import Ack, StoreCode, Stored

PEER = contact(b"p" * 20, ("10.0.0.1", 1))


def test_who_refused_lately_is_one_until_it_stores() -> None:
    refusers = Refusers()
    assert not refusers.heard(PEER, Ack(1, 0), 0.0)
    assert not refusers.is_one(PEER.id, 0.0)
    assert refusers.heard(PEER, Stored(1, StoreCode.REFUSED, 0), 5.0)
    assert refusers.is_one(PEER.id, 5.0 + REFUSAL_S - 1)
    assert not refusers.is_one(PEER.id, 5.0 + REFUSAL_S)
    assert not refusers.heard(PEER, Stored(1, StoreCode.KEPT, 1), 6.0)
    assert not refusers.is_one(PEER.id, 6.0)


def test_the_memory_of_who_refuses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEAD_PEERS_MAX", 2)
    refusers = Refusers()
    peers = [contact(bytes([number]) * 20, ("10.0.0.1", 1)) for number in range(5)]
    for peer in peers:
        refusers.heard(peer, Stored(1, StoreCode.REFUSED, 0), 0.0)
    assert [refusers.is_one(peer.id, 1.0) for peer in peers] == [False, False, False, True, True]
