"""Holding: what all sorts have in common, shown with contents."""

from __future__ import annotations

import random

from p2pcpn import limits
from p2pcpn.protocol.contents import Contents
from p2pcpn.protocol.effects import Commit, Send, Write
from p2pcpn.protocol.holding import SWEEP_S, answer, one_less
from p2pcpn.protocol.items import ContentItem, content_key
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.datagrams import StoreCode, Stored

SENDER = contact(b"s" * 20, ("10.0.0.1", 4000))
KEY = content_key(b"abc")
HOUR = limits.REFRESH_S


def held() -> Contents:
    contents = Contents(random.Random(1))
    contents.keep(b"abc", 80_000.0, b"s" * 20, "g", 0.0, 0.0)
    return contents


def test_a_turn_comes_hourly_and_is_put_off_by_whoever_passes_it_on() -> None:
    contents = held()
    assert contents.turn(0.7 * HOUR, 0.0) is None
    assert contents.turn(1.3 * HOUR, 0.0) == ContentItem(b"abc", 80_000.0)
    contents.put_off(KEY, 1.3 * HOUR, 8.0)
    assert contents.turn(5.0 * HOUR, 0.0) is None


def test_a_turn_is_hastened_for_what_is_held_and_for_nothing_else() -> None:
    contents = held()
    contents.hasten(b"other" * 4, 1.0)
    assert contents.turn(5.0, 0.0) is None
    contents.hasten(KEY, 5.0)
    assert contents.turn(5.0, 90_000.0) is None  # it has expired: it has no turn
    contents = held()
    contents.hasten(KEY, 5.0)
    assert contents.deadline() == 5.0
    assert contents.turn(5.0, 0.0) is not None


def test_what_has_expired_is_swept_each_minute_while_anything_is_held() -> None:
    contents = held()
    assert contents.deadline() == SWEEP_S
    assert contents.expire(SWEEP_S - 1.0, 0.0) == [] == contents.expire(SWEEP_S, 0.0)
    assert contents.expire(2 * SWEEP_S, 80_000.0) == [Commit((Write("records", (KEY,), None),))]
    assert contents.deadline() is None
    assert contents.expire(3 * SWEEP_S, 80_000.0) == []


def test_stored_is_said_after_the_write_and_a_refusal_at_once() -> None:
    assert answer(SENDER, 3, (StoreCode.FULL, 2, ())) == [Send(SENDER, Stored(3, StoreCode.FULL, 2))]
    writes = (Write("records", (KEY,), None),)
    refused = (Send(SENDER, Stored(3, StoreCode.REFUSED, 0)),)
    assert answer(SENDER, 3, (StoreCode.KEPT, 2, writes)) == [
        Commit(writes, then=(Send(SENDER, Stored(3, StoreCode.KEPT, 2)),), otherwise=refused)
    ]


def test_counts_at_nought_are_forgotten() -> None:
    counts = {"a": 2}
    one_less(counts, "a")
    assert counts == {"a": 1}
    one_less(counts, "a")
    assert counts == {}
