"""Circuit breakers: closed, open for longer each time, half-open for one task; kept for a bounded number of peers."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.breakers import ANY, FAILURES_MAX, OPEN_S, OPEN_S_MAX, PROBE_S, Breakers, Shut

A, B = NodeId(b"a" * 20), NodeId(b"b" * 20)


def opened(now: float = 100.0) -> Breakers:
    """A breaker that has just opened for A."""
    breakers = Breakers()
    assert [breakers.failed("function", A, "no", now) for _ in range(FAILURES_MAX)] == [False] * 4 + [True]
    return breakers


def test_it_opens_after_failures_in_a_row_and_for_that_peer_and_runtime_alone() -> None:
    breakers = opened()
    assert breakers.may_have("function", A, 100.0) == 0
    assert breakers.may_have("function", B, 100.0) == breakers.may_have("wasm", A, 100.0) == ANY
    assert breakers.shut("function") == [Shut(A, FAILURES_MAX, 100.0 + OPEN_S, "no")] and breakers.shut("wasm") == []


def test_a_success_between_begins_the_count_anew() -> None:
    breakers = Breakers()
    for _ in range(3 * FAILURES_MAX):
        assert not breakers.failed("function", A, "no", 1.0) and not breakers.failed("function", A, "no", 1.0)
        assert not breakers.succeeded("function", A)
    assert breakers.shut("function") == [] and breakers.may_have("function", A, 1.0) == ANY


def test_half_open_it_lets_one_task_through_and_nothing_beside_it() -> None:
    breakers, now = opened(), 100.0 + OPEN_S
    assert breakers.until("function", A) == now and breakers.may_have("function", A, now) == 1
    breakers.probed("function", A, now)
    assert breakers.may_have("function", A, now + PROBE_S - 0.1) == 0
    assert breakers.may_have("function", A, now + PROBE_S) == 1, "a probe that nobody decides is followed by another"


def test_what_a_probe_comes_to_closes_it_or_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    breakers, now = opened(), 100.0
    waits = []
    for _ in range(9):
        until = breakers.until("function", A)
        waits.append(until - now)
        now = until
        breakers.probed("function", A, now)
        assert breakers.failed("function", A, "still no", now)
    assert waits == pytest.approx([min(OPEN_S * 2**n, OPEN_S_MAX) for n in range(9)])
    breakers.probed("function", A, breakers.until("function", A))
    assert breakers.succeeded("function", A)
    assert breakers.may_have("function", A, now) == ANY and breakers.until("function", A) < now
    assert not breakers.failed("function", A, "no", now)


def test_a_probe_that_was_taken_back_decides_nothing_and_another_follows_at_once() -> None:
    breakers, now = opened(), 100.0 + OPEN_S
    breakers.probed("function", A, now)
    breakers.undecided("function", A)
    assert breakers.may_have("function", A, now) == 1
    breakers.undecided("function", A)
    breakers.undecided("function", B)
    assert breakers.failed("function", A, "no", now) and breakers.until("function", A) == now + 2 * OPEN_S


def test_what_was_leased_before_it_opened_and_fails_after_counts_as_no_probe() -> None:
    breakers = opened()
    for _ in range(20):
        assert breakers.failed("function", A, "no", 100.5)
    assert breakers.until("function", A) == 100.0 + OPEN_S


def test_a_failure_that_was_not_its_own_after_all_is_taken_back() -> None:
    breakers = opened()
    breakers.excused("function", A)
    assert breakers.may_have("function", A, 100.0) == ANY and breakers.shut("function") == []
    assert breakers.failed("function", A, "no", 100.0)
    for _ in range(FAILURES_MAX + 3):
        breakers.excused("function", A)
    assert not breakers.failed("function", A, "no", 100.0)


def test_of_no_more_peers_is_anything_known_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BREAKERS_MAX", 2)
    breakers = opened()
    breakers.failed("function", B, "no", 101.0)
    breakers.failed("function", A, "no", 102.0)
    breakers.failed("function", NodeId(b"c" * 20), "no", 103.0)
    assert [each.peer for each in breakers.shut("function")] == [A]
    breakers.failed("function", NodeId(b"d" * 20), "n" * 1000, 103.0)
    assert breakers.shut("function") == []


class OnePeer(RuleBasedStateMachine):
    """Whatever a peer does: without failures in a row it is closed, and an open one gets one task at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.breakers, self.now = Breakers(), 0.0
        self.failures = 0

    @rule(count=st.integers(1, 7))
    def fails(self, count: int) -> None:
        for _ in range(count):
            self.failures += 1
            assert self.breakers.failed("function", A, "no", self.now) == (self.failures >= FAILURES_MAX)

    @rule()
    def succeeds(self) -> None:
        assert self.breakers.succeeded("function", A) == (self.failures >= FAILURES_MAX)
        self.failures = 0

    @rule()
    def is_excused(self) -> None:
        self.breakers.excused("function", A)
        self.failures = max(0, self.failures - 1)

    @rule()
    def holds_nothing_any_more(self) -> None:
        self.breakers.undecided("function", A)

    @rule(seconds=st.floats(0.0, 100.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def is_leased_what_it_may_have(self) -> None:
        most = self.breakers.may_have("function", A, self.now)
        if most:
            self.breakers.probed("function", A, self.now)
            assert most == ANY or not self.breakers.may_have("function", A, self.now)

    @invariant()
    def it_is_open_where_it_failed_too_often_and_never_for_ever(self) -> None:
        opened = self.failures >= FAILURES_MAX
        assert [each.failures for each in self.breakers.shut("function")] == [self.failures] * opened
        assert self.breakers.until("function", A) <= self.now + max(OPEN_S_MAX, PROBE_S)
        assert opened or self.breakers.may_have("function", A, self.now) == ANY


OnePeer.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestWhateverAPeerDoes = OnePeer.TestCase
