"""Coalescing: little is told at once, much together, and nothing is kept back for longer than a moment or lost."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.protocol import coalescing
from p2pcpn.protocol.coalescing import CALM, WINDOW_S, Coalescing
from p2pcpn.protocol.effects import Effect, Tell
from p2pcpn.wire.messages import CODEC, SETTLEMENTS_MAX, Delivery, Progress, Settlement
from p2pcpn.wire.statements import Signed
from tests.unit.protocol.granting import at, keypair

OWNER_AT = at(keypair(1), 1)
JOB = bytes([7]) * 20
KEY = (JOB, 5)


def settlement(number: int, size_bytes: int = 10) -> Settlement:
    return Settlement(Signed(4, b"receipt %d" % number, bytes(32), bytes(64)), bytes(size_bytes), None)


def told(effects: list[Effect]) -> list[object]:
    assert all(isinstance(effect, Tell) and effect.to == OWNER_AT for effect in effects)
    return [effect.message for effect in effects if isinstance(effect, Tell)]


def settle(later: Coalescing, number: int, now: float, size_bytes: int = 10) -> list[object]:
    return told(later.settled(OWNER_AT, KEY, settlement(number, size_bytes), [(number, 1)], now))


def test_who_waits_for_each_result_is_told_of_each_at_once() -> None:
    later = Coalescing()
    for number in range(100):
        assert settle(later, number, number * 0.0116) == [Delivery(*KEY, [settlement(number)])]
    assert later.deadline() is None and later.expire(99.0) == []


def test_many_results_are_told_together_after_a_moment() -> None:
    later = Coalescing()
    first = [settle(later, number, 1.0) for number in range(CALM)]
    assert first == [[Delivery(*KEY, [settlement(number)])] for number in range(CALM)]
    assert [settle(later, number, 1.01) for number in range(CALM, 30)] == [[]] * (30 - CALM)
    assert later.deadline() == 1.0 + WINDOW_S
    assert later.expire(1.02) == []
    assert told(later.expire(1.0 + WINDOW_S)) == [Delivery(*KEY, [settlement(number) for number in range(CALM, 30)])]
    assert later.deadline() is None


def test_where_many_came_what_comes_next_waits_too_until_few_come() -> None:
    later = Coalescing()
    for number in range(30):
        settle(later, number, 1.0)
    assert len(told(later.expire(1.05))) == 1
    assert settle(later, 30, 1.06) == [], "as many may follow"
    assert told(later.expire(1.10)) == [Delivery(*KEY, [settlement(30)])]
    assert settle(later, 31, 1.11) == [Delivery(*KEY, [settlement(31)])], "they did not"
    assert settle(later, 32, 9.0) == [Delivery(*KEY, [settlement(32)])]


def test_that_tasks_run_is_told_together_and_not_of_those_that_have_ended() -> None:
    later = Coalescing()
    assert later.started(OWNER_AT, KEY, [1, 2], 1.0) == []
    assert later.started(OWNER_AT, KEY, [3], 1.02) == []
    assert settle(later, 2, 1.03) == [Delivery(*KEY, [settlement(2)])]
    assert later.deadline() == 1.0 + WINDOW_S
    assert told(later.expire(1.05)) == [Progress(JOB, 0, [1, 3])]


def test_what_runs_is_told_before_results_that_wait_with_it() -> None:
    later = Coalescing()
    for number in range(CALM + 1):
        settle(later, number, 1.0)
    later.started(OWNER_AT, KEY, [90], 1.0)
    assert [type(message) for message in told(later.expire(2.0))] == [Progress, Delivery]


def test_all_of_a_job_is_told_ahead_of_something_else_and_nothing_of_others() -> None:
    later = Coalescing()
    later.started(OWNER_AT, KEY, [1], 1.0)
    later.started(OWNER_AT, (JOB, 6), [2], 1.0)
    later.started(OWNER_AT, (bytes(20), 5), [3], 1.0)
    assert told(later.of(JOB, 1.01)) == [Progress(JOB, 0, [1]), Progress(JOB, 0, [2])]
    assert told(later.expire(2.0)) == [Progress(bytes(20), 0, [3])]


def test_what_is_told_together_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalescing, "TOGETHER_BYTES", 1000)
    later, found = Coalescing(), list[object]()
    for number in range(CALM + 10):
        found += settle(later, number, 1.0, 300)
    found += told(later.expire(2.0))
    sizes = [sum(len(each.page) for each in said.settled) for said in found if isinstance(said, Delivery)]
    assert sum(sizes) == (CALM + 10) * 300 and max(sizes) <= 1000


def test_what_is_told_together_names_no_more_runs_of_tasks_than_one_receipt_may() -> None:
    later, found = Coalescing(), list[object]()
    spans = [(2 * first, 1) for first in range(1000)]
    for number in range(CALM + 10):
        found += told(later.settled(OWNER_AT, KEY, settlement(number), spans, 1.0))
    found += told(later.expire(2.0))
    counts = [len(said.settled) for said in found if isinstance(said, Delivery)]
    assert sum(counts) == CALM + 10 and max(counts) == limits.BATCH_TASKS_MAX // len(spans) == 4


def test_no_more_results_are_told_together_than_one_message_may_hold() -> None:
    later, found = Coalescing(), list[object]()
    for number in range(200):
        found += settle(later, number, 1.0)
    found += told(later.expire(2.0))
    counts = [len(said.settled) for said in found if isinstance(said, Delivery)]
    assert sum(counts) == 200 and max(counts) == SETTLEMENTS_MAX
    for said in found:
        CODEC.decode(CODEC.encode(said))


def test_more_tasks_than_a_message_names_do_not_wait() -> None:
    later = Coalescing()
    many = list(range(limits.BATCH_TASKS_MAX + 10))
    said = told(later.started(OWNER_AT, KEY, many, 1.0))
    assert [len(each.started) for each in said if isinstance(each, Progress)] == [
        limits.BATCH_TASKS_MAX, 10,
    ]  # fmt: skip


def test_of_epochs_that_wait_for_nothing_so_many_are_remembered() -> None:
    later = Coalescing()
    for epoch in range(limits.FORMER_GRANTORS_MAX + 5):
        later.started(OWNER_AT, (JOB, epoch), [epoch], 3.0)
        assert told(later.expire(4.0)) == [Progress(JOB, 0, [epoch])]
    assert len(later._untold) == limits.FORMER_GRANTORS_MAX


def test_of_however_many_epochs_something_waits_all_of_it_is_told_and_so_many_are_remembered() -> None:
    later, most = Coalescing(), limits.FORMER_GRANTORS_MAX
    for epoch in range(most):
        assert told(later.started(OWNER_AT, (JOB, epoch), [epoch], 1.0)) == []
    later.started(OWNER_AT, (JOB, 0), [most], 1.01)
    assert told(later.started(OWNER_AT, (JOB, most), [7], 1.02)) == [Progress(JOB, 0, [1])], "the oldest"
    for number in range(CALM):
        later.settled(OWNER_AT, (JOB, 2), settlement(number), [(900 + number, 1)], 1.02)
    assert told(later.settled(OWNER_AT, (JOB, most + 1), settlement(0), [(950, 1)], 1.02)) == [
        Progress(JOB, 0, [3]), Delivery(JOB, most + 1, [settlement(0)]),
    ]  # fmt: skip
    assert len(later._untold) == most
    rest = [[each] for each in (2, *range(4, most))]
    said = [each.started for each in told(later.expire(2.0)) if isinstance(each, Progress)]
    assert sorted(said) == sorted([*rest, [0, most], [7]])


def test_an_epoch_of_which_nothing_waits_goes_before_one_of_which_something_does() -> None:
    later, most = Coalescing(), limits.FORMER_GRANTORS_MAX
    for epoch in range(most - 1):
        later.started(OWNER_AT, (JOB, epoch), [epoch], 1.0)
    assert len(told(later.settled(OWNER_AT, (JOB, most), settlement(0), [(950, 1)], 1.0))) == 1
    assert told(later.started(OWNER_AT, (JOB, most + 1), [7], 1.0)) == []
    assert (JOB, most) not in later._untold and len(later._untold) == most
