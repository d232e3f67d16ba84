"""Intervals: the same indices as sets would give, in time that does not depend on how many they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.protocol.intervals import joined, merged, total, without
from p2pcpn.wire.pages import cut

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), max_size=8)


@given(SPANS)
def test_merged_spans_hold_the_same_indices_once_and_in_order(spans: list[tuple[int, int]]) -> None:
    assert cut(merged(spans)) == sorted(set(cut(spans)))


@given(SPANS, st.integers(0, 30), st.integers(0, 10))
def test_what_is_left_is_what_was_not_taken(spans: list[tuple[int, int]], first: int, count: int) -> None:
    left = without(first, count, merged(spans))
    assert cut(left) == [i for i in range(first, first + count) if i not in set(cut(spans))]
    assert total(left) == len(cut(left))


@given(SPANS)
def test_joined_spans_keep_their_order(spans: list[tuple[int, int]]) -> None:
    assert cut(joined(spans)) == cut(spans)


def test_spans_of_billions_cost_nothing() -> None:
    left = without(5, 1 << 40, merged([(7, 1 << 39), (0, 6)]))
    assert left == [(6, 1), (7 + (1 << 39), (1 << 40) - 2 - (1 << 39))]
