"""The retry budget: earned by successes, forgotten soon, never empty for long; what it lets through is bounded."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from p2pcpn.protocol.retry_budget import BURST, EARNED, FLOOR_PER_S, FORGOTTEN_S, RetryBudget


def test_a_job_that_has_just_begun_may_retry_a_few_at_once_and_then_some_each_second() -> None:
    budget = RetryBudget(100.0)
    assert budget.left(100.0) == BURST
    budget.spend(int(BURST))
    assert budget.left(100.0) == 0 and budget.again_at() == 100.0 + 1 / FLOOR_PER_S
    assert budget.left(100.5) == FLOOR_PER_S / 2 and budget.again_at() == 100.5
    assert budget.left(1000.0) == BURST, "what nobody used does not pile up"


def test_where_one_run_of_three_fails_no_retry_waits() -> None:
    budget, now = RetryBudget(0.0), 0.0
    budget.spend(int(BURST))
    for _ in range(1000):
        now += 0.001
        budget.ended(2, now)
        assert budget.left(now) >= 1
        budget.spend(1)


def test_what_was_earned_is_forgotten_where_nothing_succeeds_any_more() -> None:
    budget = RetryBudget(0.0)
    budget.ended(100_000, 0.0)
    assert budget.left(0.0) == BURST + EARNED * 100_000
    assert budget.left(FORGOTTEN_S) < BURST + EARNED * 100_000 / 2.7
    assert budget.left(20 * FORGOTTEN_S) == BURST
    assert budget.left(5.0) == BURST, "time goes back nowhere"


def test_the_time_that_it_names_is_late_enough_and_no_retry_is_promised_twice() -> None:
    budget = RetryBudget(0.0)
    budget.spend(int(BURST))
    for _ in range(100):
        at = budget.again_at()
        assert budget.left(at) == 1
        budget.spend(1)


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 500), st.integers(0, 500)), max_size=60),
)
def test_whatever_happens_the_extra_runs_of_a_job_are_bounded(story: list[tuple[float, int, int]]) -> None:
    budget, now, ended = RetryBudget(0.0), 0.0, 0
    for later_s, successes, wanted in story:
        now += later_s
        budget.ended(successes, now)
        ended += successes
        budget.spend(min(wanted, budget.left(now)))
        assert budget.spent <= BURST + FLOOR_PER_S * now + EARNED * ended + 1
