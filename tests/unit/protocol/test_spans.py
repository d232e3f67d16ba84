"""The arithmetic of spans is that of sets of indices."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from p2pcpn.protocol.spans import (
    Span,
    chained,
    clipped,
    covers,
    disjoint,
    joined,
    merged,
    outside,
    overlap,
    total,
    without,
)
from p2pcpn.wire.pages import cut

LIMIT = 40
# Of any kind: out of order, empty, overlapping.
ANY = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), max_size=8)


@st.composite
def disjoint_spans(draw: st.DrawFn) -> list[Span]:
    """Spans without overlap, in any order, touching ones kept apart."""
    edges = sorted(draw(st.sets(st.integers(0, LIMIT), max_size=12)))
    spans = [(low, high - low) for low, high in pairwise(edges)]
    return draw(st.permutations([span for span in spans if draw(st.booleans())]))


@given(disjoint_spans())
def test_joined_spans_are_sorted_apart_and_hold_the_same(spans: list[Span]) -> None:
    found = joined(spans)
    assert cut(found) == sorted(cut(spans))
    assert all(first + count < after for (first, count), (after, _) in pairwise(found))
    assert total(found) == total(spans) == len(cut(spans))
    assert disjoint(spans)


@given(disjoint_spans(), disjoint_spans())
def test_overlap_and_rest_are_those_of_sets(spans: list[Span], others: list[Span]) -> None:
    held = joined(others)
    here, there = set(cut(spans)), set(cut(held))
    assert sorted(cut(overlap(spans, held))) == sorted(here & there)
    rest = without(held, spans)
    assert cut(rest) == sorted(there - here)
    assert rest == joined(rest)
    assert covers(held, spans) == (here <= there)


def test_spans_that_name_an_index_twice_or_none_are_not_disjoint() -> None:
    assert not disjoint([(0, 2), (1, 1)])
    assert not disjoint([(5, 1), (0, 1), (5, 1)])
    assert not disjoint([(3, 0)])


def test_an_empty_span_is_covered_by_nothing() -> None:
    assert not covers([(0, 9)], [(3, 0)])
    assert covers([(0, 9)], [])
    assert not covers([], [(0, 1)])


def test_counts_of_any_size_are_answered() -> None:
    huge = [((1 << 63) - 1, (1 << 32) - 1)]
    assert not covers([(0, 5)], huge)
    assert overlap([(0, 1 << 63)], [(3, 2)]) == [(3, 2)]
    assert total(huge * 3) == 3 * ((1 << 32) - 1)


@given(ANY)
def test_merged_spans_hold_the_same_indices_once_and_in_order(spans: list[Span]) -> None:
    found = merged(spans)
    assert cut(found) == sorted(set(cut(spans)))
    assert found == joined(found)


@given(ANY, ANY)
def test_what_is_outside_is_what_was_not_taken_in_the_order_of_the_spans(spans: list[Span], held: list[Span]) -> None:
    left = outside(spans, merged(held))
    assert cut(left) == [index for index in cut(spans) if index not in set(cut(held))]
    assert total(left) == len(cut(left))


@given(ANY)
def test_chained_spans_keep_their_order(spans: list[Span]) -> None:
    assert cut(chained(spans)) == cut(spans)


def test_spans_of_billions_cost_nothing() -> None:
    left = outside([(5, 1 << 40)], merged([(7, 1 << 39), (0, 6)]))
    assert left == [(6, 1), (7 + (1 << 39), (1 << 40) - 2 - (1 << 39))]


def test_what_is_outside_of_single_indices_keeps_its_order() -> None:
    assert outside([(5, 3), (0, 4), (0, 1)], [(0, 1), (2, 1), (6, 1), (9, 1)]) == [(5, 1), (7, 1), (1, 1), (3, 1)]
    assert outside([(1, 2)], []) == [(1, 2)]


def test_clipped_spans_end_where_the_indices_end_and_name_none_twice() -> None:
    assert clipped([(8, 5), (0, 2), (10, 1)], 10) == [(8, 2), (0, 2)]
    assert clipped([(0, 6), (3, 6)], 10) == []
