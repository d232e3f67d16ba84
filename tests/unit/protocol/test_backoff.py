"""Back-off: delays by chance below a bound that doubles; what is due comes once, the longest due first."""

from __future__ import annotations

import random
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from p2pcpn.protocol.backoff import BASE_S, CAP_S, PATIENT_BASE_S, PATIENT_CAP_S, Backoff
from p2pcpn.wire.pages import cut


def delays(failures: int, count: int = 2000, **bounds: float) -> list[float]:
    """How long each of many tasks waits that failed so often."""
    backoff = Backoff(random.Random(5))
    for index in range(count):
        backoff.wait([(index, 1)], failures, 100.0, **bounds)
    found: list[float] = []
    while (at := backoff.deadline()) is not None:
        backoff.due(at, 1)
        found.append(at - 100.0)
    return found


@pytest.mark.parametrize(("failures", "bound_s"), [(1, BASE_S), (2, 2 * BASE_S), (5, 16 * BASE_S), (8, CAP_S)])
def test_any_delay_up_to_a_bound_that_doubles_is_as_likely_as_any_other(failures: int, bound_s: float) -> None:
    found = delays(failures)
    assert min(found) >= 0.0 and max(found) < bound_s
    tenths = Counter(int(10 * delay / bound_s) for delay in found)
    assert sorted(tenths) == list(range(10)) and min(tenths.values()) > 150


def test_no_number_of_failures_is_too_high() -> None:
    assert max(delays(10_000, 50)) < CAP_S
    patient = delays(3, 500, base_s=PATIENT_BASE_S, cap_s=PATIENT_CAP_S)
    assert 2 * PATIENT_BASE_S < max(patient) < 4 * PATIENT_BASE_S


def test_what_failed_together_is_spread_out_only_where_it_failed_apart() -> None:
    backoff = Backoff(random.Random(1))
    backoff.wait([(0, 3), (7, 2)], 1, 10.0)
    assert backoff.due(10.0 + BASE_S, 99) == [(0, 3), (7, 2)] and backoff.deadline() is None


def test_no_more_is_due_than_is_asked_for_and_the_rest_stays_due() -> None:
    backoff = Backoff(random.Random(1))
    backoff.wait([(0, 3), (7, 2), (9, 1)], 1, 10.0)
    at = backoff.deadline()
    assert at is not None and backoff.due(at - 1e-6, 99) == []
    assert backoff.due(at, 0) == [] and backoff.deadline() == at
    assert backoff.due(at, 4) == [(0, 3), (7, 1)] and backoff.deadline() == at
    assert backoff.due(at, 4) == [(8, 1), (9, 1)]


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 9), st.floats(0, 5))),
    st.lists(st.tuples(st.floats(0, 20), st.integers(0, 15)), min_size=1),
    st.integers(),
)
def test_every_task_comes_once_and_none_before_its_time(
    failed: list[tuple[int, int, float]], looks: list[tuple[float, int]], seed: int
) -> None:
    backoff, dice = Backoff(random.Random(seed)), random.Random(seed)
    due_at: dict[int, float] = {}
    now, first = 0.0, 0
    for failures, count, later_s in failed:
        now += later_s
        backoff.wait([(first, count)], failures, now)
        delay_s = dice.random() * min(CAP_S, BASE_S * 2.0 ** (failures - 1))
        due_at.update(dict.fromkeys(range(first, first + count), now + delay_s))
        first += count
    came: list[int] = []
    for later_s, most in [*looks, (100.0, first)]:
        now += later_s
        found = cut(backoff.due(now, most))
        assert len(found) <= most and all(due_at[index] <= now for index in found)
        came += found
    assert sorted(came) == list(range(first)) and backoff.deadline() is None
