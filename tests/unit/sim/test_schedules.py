"""Schedules: the omniscient one, fairness and quantiles, by hand and against other ways to compute them."""

from __future__ import annotations

from itertools import product

import hypothesis.strategies as st
import pytest
from hypothesis import given

from p2pcpn.sim.schedules import jain, omniscient_s, quantile


def test_the_longest_task_goes_where_it_ends_soonest() -> None:
    assert omniscient_s([1.0, 4.0], [1.0, 2.0]) == 4.0
    assert omniscient_s([1.0, 1.0, 1.0], [1.0, 10.0]) == 3.0
    assert omniscient_s([], [1.0]) == 0.0


@given(
    st.lists(st.integers(1, 20).map(float), min_size=1, max_size=6),
    st.lists(st.sampled_from([1.0, 2.0, 4.0]), min_size=1, max_size=3),
)
def test_it_is_no_better_than_the_best_of_all_and_not_twice_as_long(takes_s: list[float], slots: list[float]) -> None:
    best = min(
        max(
            sum(length * slots[s] for length, s in zip(takes_s, chosen, strict=True) if s == slot)
            for slot in range(len(slots))
        )
        for chosen in product(range(len(slots)), repeat=len(takes_s))
    )
    assert best * (1 - 1e-9) <= omniscient_s(takes_s, slots) <= 2 * best


def test_fairness_is_one_for_equal_shares_and_small_for_one_that_has_all() -> None:
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain([0.0]) == 1.0


def test_quantiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
