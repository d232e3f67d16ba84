"""Kept logs: a chain without gaps or contradictions, in whatever order its segments come."""

from __future__ import annotations

import random

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.kept_logs import RECENT, Log
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import LogHeader


def chain(count: int, salt: bytes = b"") -> list[tuple[LogHeader, bytes]]:
    found, last = [], NOTHING
    for number in range(count):
        name = digest(b"%d" % number + salt)
        found.append(
            (LogHeader(bytes(20), 0, bytes(20), number, last, bytes(32), 10 * (number + 1), [(10 * number, 10)]), name)
        )
        last = name
    return found


def test_segments_in_any_order_make_one_chain() -> None:
    segments = chain(50)
    for seed in range(5):
        log, order = Log(), list(segments)
        random.Random(seed).shuffle(order)
        for said, name in order:
            assert not log.has(said.number, name)
            log.add(said, name)
            assert log.has(said.number, name)
        assert (log.count, log.last, log.settled, log.ahead) == (50, segments[-1][1], 500, {})


def test_a_gap_holds_the_count_back() -> None:
    segments, log = chain(4), Log()
    for at in (0, 2, 3):
        log.add(*segments[at])
    assert (log.count, log.settled) == (1, 10)
    log.add(*segments[1])
    assert log.count == 4


def test_a_segment_that_contradicts_one_of_its_number_is_an_error() -> None:
    segments, log = chain(5), Log()
    for at in (0, 1, 4):
        log.add(*segments[at])
    for number in (0, 1, 4):
        with pytest.raises(PeerError):
            log.has(number, digest(b"another"))


def test_a_segment_must_follow_on_the_one_before() -> None:
    log = Log()
    log.add(*chain(1)[0])
    with pytest.raises(PeerError):
        log.add(*chain(2, b"another")[1])


def test_one_ahead_that_turns_out_not_to_follow_leaves_its_place_to_the_right_one() -> None:
    segments, others, log = chain(3), chain(3, b"another"), Log()
    log.add(*others[1])
    log.add(*segments[0])
    assert log.count == 1 and log.ahead == {}
    log.add(*segments[1])
    assert log.count == 2


def test_long_ago_is_held_without_memory_and_far_ahead_is_too_far() -> None:
    segments, log = chain(RECENT + 10), Log()
    for said, name in segments:
        log.add(said, name)
    assert log.forgotten(9) and not log.forgotten(10)
    assert log.has(9, b"whatever") and log.has(10, segments[10][1])
    assert log.far(log.count + limits.LOG_AHEAD_MAX) and not log.far(log.count + limits.LOG_AHEAD_MAX - 1)
