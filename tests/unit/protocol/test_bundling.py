"""Bundling: little is told at once, much together, and nothing is kept back for longer than a moment or lost."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.protocol import bundling
from p2pcpn.protocol.bundling import CALM, WINDOW_S, Bundles
from p2pcpn.protocol.effects import Effect, Tell
from p2pcpn.wire.messages import Delivery, Progress, Settlement
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


def settle(bundles: Bundles, number: int, now: float, size_bytes: int = 10) -> list[object]:
    return told(bundles.settled(OWNER_AT, KEY, settlement(number, size_bytes), [(number, 1)], now))


def test_who_waits_for_each_result_is_told_of_each_at_once() -> None:
    bundles = Bundles()
    for number in range(100):
        assert settle(bundles, number, number * 0.0116) == [Delivery(*KEY, [settlement(number)])]
    assert bundles.deadline() is None and bundles.expire(99.0) == []


def test_many_results_are_told_together_after_a_moment() -> None:
    bundles = Bundles()
    first = [settle(bundles, number, 1.0) for number in range(CALM)]
    assert first == [[Delivery(*KEY, [settlement(number)])] for number in range(CALM)]
    assert [settle(bundles, number, 1.01) for number in range(CALM, 30)] == [[]] * (30 - CALM)
    assert bundles.deadline() == 1.0 + WINDOW_S
    assert bundles.expire(1.02) == []
    assert told(bundles.expire(1.0 + WINDOW_S)) == [Delivery(*KEY, [settlement(number) for number in range(CALM, 30)])]
    assert bundles.deadline() is None


def test_where_many_came_what_comes_next_waits_too_until_few_come() -> None:
    bundles = Bundles()
    for number in range(30):
        settle(bundles, number, 1.0)
    assert len(told(bundles.expire(1.05))) == 1
    assert settle(bundles, 30, 1.06) == [], "as many may follow"
    assert told(bundles.expire(1.10)) == [Delivery(*KEY, [settlement(30)])]
    assert settle(bundles, 31, 1.11) == [Delivery(*KEY, [settlement(31)])], "they did not"
    assert settle(bundles, 32, 9.0) == [Delivery(*KEY, [settlement(32)])]


def test_that_tasks_run_is_told_together_and_not_of_those_that_have_ended() -> None:
    bundles = Bundles()
    assert bundles.started(OWNER_AT, KEY, [1, 2], 1.0) == []
    assert bundles.started(OWNER_AT, KEY, [3], 1.02) == []
    assert settle(bundles, 2, 1.03) == [Delivery(*KEY, [settlement(2)])]
    assert bundles.deadline() == 1.0 + WINDOW_S
    assert told(bundles.expire(1.05)) == [Progress(JOB, 0, [1, 3])]


def test_what_runs_is_told_before_results_that_wait_with_it() -> None:
    bundles = Bundles()
    for number in range(CALM + 1):
        settle(bundles, number, 1.0)
    bundles.started(OWNER_AT, KEY, [90], 1.0)
    assert [type(message) for message in told(bundles.expire(2.0))] == [Progress, Delivery]


def test_all_of_a_job_is_told_ahead_of_something_else_and_nothing_of_others() -> None:
    bundles = Bundles()
    bundles.started(OWNER_AT, KEY, [1], 1.0)
    bundles.started(OWNER_AT, (JOB, 6), [2], 1.0)
    bundles.started(OWNER_AT, (bytes(20), 5), [3], 1.0)
    assert told(bundles.of(JOB, 1.01)) == [Progress(JOB, 0, [1]), Progress(JOB, 0, [2])]
    assert told(bundles.expire(2.0)) == [Progress(bytes(20), 0, [3])]


def test_a_bundle_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "BUNDLE_BYTES", 1000)
    bundles, found = Bundles(), list[object]()
    for number in range(CALM + 10):
        found += settle(bundles, number, 1.0, 300)
    found += told(bundles.expire(2.0))
    sizes = [sum(len(each.page) for each in said.settled) for said in found if isinstance(said, Delivery)]
    assert sum(sizes) == (CALM + 10) * 300 and max(sizes) <= 1000


def test_more_tasks_than_a_message_names_do_not_wait() -> None:
    bundles = Bundles()
    many = list(range(limits.BATCH_TASKS_MAX + 10))
    said = told(bundles.started(OWNER_AT, KEY, many, 1.0))
    assert [len(each.started) for each in said if isinstance(each, Progress)] == [
        limits.BATCH_TASKS_MAX, 10,
    ]  # fmt: skip


def test_of_lots_that_wait_for_nothing_so_many_are_remembered_and_what_waits_is_told_of_however_many() -> None:
    bundles, many = Bundles(), limits.FORMER_GRANTORS_MAX + 5
    for epoch in range(many):
        bundles.started(OWNER_AT, (JOB, epoch), [epoch], 1.0)
    assert told(bundles.expire(2.0)) == [Progress(JOB, 0, [epoch]) for epoch in range(many)]
    for epoch in range(many, 2 * many):
        bundles.started(OWNER_AT, (JOB, epoch), [epoch], 3.0)
        bundles.expire(4.0)
    assert len(bundles._bundles) <= many
