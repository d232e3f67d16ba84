"""METG is where efficiency falls to half, between two lengths that were measured."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.bench.granularity import metg_s


def test_between_two_lengths_it_is_linear_in_the_logarithm() -> None:
    assert metg_s([(1e-4, 0.25), (1e-2, 0.75)]) == pytest.approx(1e-3)


def test_the_longest_dip_counts_not_a_lucky_short_length() -> None:
    found = metg_s([(1e-5, 0.6), (1e-4, 0.4), (1e-3, 0.6)])
    assert found is not None and 1e-4 < found < 1e-3


def test_where_all_or_none_reach_half() -> None:
    assert metg_s([(1e-5, 0.6), (1e-3, 0.9)]) == 1e-5
    assert metg_s([(1e-5, 0.1), (1e-3, 0.4)]) is None
    assert metg_s([]) is None


@given(st.lists(st.tuples(st.floats(1e-6, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=9, unique_by=lambda p: p[0]))
def test_it_lies_within_what_was_measured(curve: list[tuple[float, float]]) -> None:
    found = metg_s(curve)
    lengths = [length for length, _ in curve]
    if found is not None:
        assert min(lengths) <= found * (1 + 1e-9) and found <= max(lengths) * (1 + 1e-9)
        assert not math.isnan(found)
