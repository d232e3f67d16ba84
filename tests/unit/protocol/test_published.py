"""Published: what the program put is put again each hour until it is over."""

from __future__ import annotations

import random

import pytest

from p2pcpn import limits
from p2pcpn.protocol.items import ContentItem
from p2pcpn.protocol.operations import Putting
from p2pcpn.protocol.published import BELIEVED_S, PUBLISH_AGAIN_S, Published
from p2pcpn.protocol.roll import Roll
from p2pcpn.wire.addresses import contact

ONE, TWO = ContentItem(b"one", 10_000.0), ContentItem(b"two", 20_000.0)

HOLDERS = [contact(bytes([number]) * 20, (f"192.0.2.{number}", 4000)) for number in (1, 2)]


def test_an_item_has_its_turn_about_hourly_until_it_is_over() -> None:
    published = Published(random.Random(1))
    assert published.deadline() is None
    published.add(ONE.key, ONE, 5, 0.0)
    due_s = published.deadline()
    assert due_s is not None and 0.8 * limits.REFRESH_S <= due_s <= 1.2 * limits.REFRESH_S
    assert published.turn(due_s - 1, due_s - 1) is None
    assert published.turn(due_s, due_s) == (ONE, 5)
    assert published.turn(due_s, due_s) is None
    assert published.turn(9000.0, 10_000.0) is None
    assert (len(published), published.deadline()) == (0, None)


def test_what_nobody_took_comes_soon_unless_it_was_replaced() -> None:
    published = Published(random.Random(1))
    published.add(b"k" * 20, ONE, 5, 0.0)
    published.add(b"k" * 20, TWO, 5, 0.0)
    published.again_soon(b"k" * 20, ONE, 0.0)
    published.again_soon(b"other", TWO, 0.0)
    assert (published.deadline() or 0.0) > 2 * PUBLISH_AGAIN_S
    published.again_soon(b"k" * 20, TWO, 0.0)
    assert (published.deadline() or 0.0) <= 1.2 * PUBLISH_AGAIN_S


def test_the_first_is_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PUBLISHED_RECORDS_MAX", 1)
    published = Published(random.Random(1))
    published.add(ONE.key, ONE, 5, 0.0)
    published.add(TWO.key, TWO, 5, 0.0)
    assert len(published) == 1
    assert published.turn(2 * limits.REFRESH_S, 0.0) == (TWO, 5)
    assert published.turn(2 * limits.REFRESH_S, 0.0) is None


def put(knows: bool, kept: bool) -> Putting:
    operation = Putting(ONE, 2, 0.0, 7)
    operation.begin(Roll(b"o" * 20, ONE.key, (), 0))
    if knows:
        operation.know([])
    operation.holders = HOLDERS if kept else HOLDERS[:1]
    return operation


def test_a_newer_version_goes_to_those_who_kept_the_last_for_hours() -> None:
    published = Published(random.Random(1))
    again = put(knows=False, kept=False)
    published.direct(again, 0.0)
    assert not again.knows
    published.kept(put(knows=False, kept=True), 5.0)
    published.kept(put(knows=True, kept=True), 1000.0)  # went the direct way itself: it found nobody anew
    published.direct(again, 4.0 + BELIEVED_S)
    assert again.knows
    later = put(knows=False, kept=False)
    published.direct(later, 5.0 + BELIEVED_S)
    assert not later.knows


def test_where_too_few_kept_it_they_are_looked_for_again() -> None:
    published = Published(random.Random(1))
    published.kept(put(knows=False, kept=True), 0.0)
    published.kept(put(knows=True, kept=False), 10.0)
    again = put(knows=False, kept=False)
    published.direct(again, 20.0)
    assert not again.knows
