"""Mishaps: each is counted, each kind is logged once, and a sender who repeats one fills no log."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from p2pcpn.errors import PeerError
from p2pcpn.node.mishaps import KINDS_MAX, MESSAGES_MAX, Mishaps


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_a_kind_is_counted_each_time_and_logged_once_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    counters: Counter[str] = Counter()
    mishaps = Mishaps(counters)
    for number in range(3):
        mishaps.note("a datagram", raised(ValueError(f"number {number}")))
    assert counters == {"mishap a datagram": 3}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "a datagram failed" in caplog.text
    assert "ValueError: number 0" in caplog.text
    assert "number 1" not in caplog.text


def test_another_place_type_or_origin_is_another_kind(caplog: pytest.LogCaptureFixture) -> None:
    mishaps = Mishaps(Counter())
    mishaps.note("a datagram", raised(ValueError()))
    mishaps.note("a message Ask", raised(ValueError()))
    mishaps.note("a datagram", raised(KeyError()))
    try:
        raise ValueError
    except ValueError as error:
        mishaps.note("a datagram", error)
    assert len(caplog.records) == 4


def test_an_error_that_was_never_raised_is_noted_too(caplog: pytest.LogCaptureFixture) -> None:
    counters: Counter[str] = Counter()
    Mishaps(counters).note("an effect", ValueError("made, not raised"))
    assert counters["mishap an effect"] == 1
    assert "made, not raised" in caplog.text


def test_only_so_many_kinds_are_logged_and_all_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    counters: Counter[str] = Counter()
    mishaps = Mishaps(counters)
    for number in range(KINDS_MAX + 10):
        mishaps.note(f"place {number}", raised(ValueError()))
    assert len(caplog.records) == KINDS_MAX
    assert counters.total() == KINDS_MAX + 10


def test_messages_are_counted_by_session_and_too_many_of_one_are_its_senders_fault() -> None:
    mishaps = Mishaps(Counter())
    one, other = object(), object()
    for _ in range(MESSAGES_MAX - 1):
        mishaps.message(one, "Ask", raised(ValueError()))
        mishaps.message(other, "Ask", raised(ValueError()))
    with pytest.raises(PeerError):
        mishaps.message(one, "Ask", raised(ValueError()))
    mishaps.ended(other)
    mishaps.message(other, "Ask", raised(ValueError()))
    mishaps.ended(one)
    mishaps.ended(object())
    assert mishaps.of == {other: 1}
