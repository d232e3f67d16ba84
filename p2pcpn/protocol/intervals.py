"""Spans: arithmetic of index runs as (first, count), never index by index: a peer may state runs of billions."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter

Span = tuple[int, int]  # (first index, count)


def joined(spans: list[Span]) -> list[Span]:
    """Spans, in their order, those that follow on one another as one."""
    runs: list[Span] = []
    for first, count in spans:
        if runs and runs[-1][0] + runs[-1][1] == first:
            runs[-1] = (runs[-1][0], runs[-1][1] + count)
        else:
            runs.append((first, count))
    return runs


def merged(spans: list[Span]) -> list[Span]:
    """The same indices as ascending spans that neither touch nor overlap; empty ones are dropped."""
    runs: list[Span] = []
    for first, count in sorted(spans):
        if count <= 0:
            continue
        if runs and first <= runs[-1][0] + runs[-1][1]:
            runs[-1] = (runs[-1][0], max(runs[-1][1], first + count - runs[-1][0]))
        else:
            runs.append((first, count))
    return runs


def total(spans: list[Span]) -> int:
    """How many indices the spans count."""
    return sum(count for _, count in spans)


def without(first: int, count: int, gone: list[Span]) -> list[Span]:
    """What is left of (first, count) after ``gone``, which is :func:`merged`."""
    left: list[Span] = []
    end = first + count
    for at in range(max(bisect_right(gone, first, key=itemgetter(0)) - 1, 0), len(gone)):
        gone_first, gone_count = gone[at]
        if gone_first >= end:
            break
        if gone_first > first:
            left.append((first, gone_first - first))
        first = max(first, gone_first + gone_count)
    if first < end:
        left.append((first, end - first))
    return left
