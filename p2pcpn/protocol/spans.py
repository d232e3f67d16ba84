"""Spans: runs of indices as (first, count), and the arithmetic of lists of them.

A list is *joined* when it is sorted, touching runs are one, and none overlap. Work on joined lists costs a binary
search a span, so that a lease cut into thousands of pieces stays cheap. Nothing is done index by index: a peer may
state runs of billions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Span = tuple[int, int]  # (first index, count)

_LAST = 1 << 64  # above every count


def total(spans: Sequence[Span]) -> int:
    """How many indices the spans hold."""
    return spans[0][1] if len(spans) == 1 else sum([count for _, count in spans])


def joined(spans: Sequence[Span]) -> list[Span]:
    """The same indices, sorted, touching runs made one. The spans must not overlap."""
    return chained(sorted(spans))


def chained(spans: Iterable[Span]) -> list[Span]:
    """Spans, in their order, those that follow on one another as one."""
    found: list[Span] = []
    for first, count in spans:
        if found and found[-1][0] + found[-1][1] == first:
            found[-1] = (found[-1][0], found[-1][1] + count)
        else:
            found.append((first, count))
    return found


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same indices, joined, of spans that may overlap or be empty."""
    found: list[Span] = []
    for first, count in sorted(spans):
        if count <= 0:
            continue
        if found and first <= found[-1][0] + found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], first + count - found[-1][0]))
        else:
            found.append((first, count))
    return found


def disjoint(spans: Sequence[Span]) -> bool:
    """Whether no index is named twice and no span is empty. Any order is fine."""
    end = 0
    for first, count in sorted(spans):
        if count < 1 or first < end:
            return False
        end = first + count
    return True


def covers(held: Sequence[Span], spans: Sequence[Span]) -> bool:
    """Whether every one of ``spans`` lies within one run of the joined list ``held``."""
    for first, count in spans:
        at = bisect_right(held, (first, _LAST)) - 1
        if at < 0 or count < 1 or first + count > held[at][0] + held[at][1]:
            return False
    return True


def overlap(spans: Sequence[Span], held: Sequence[Span]) -> list[Span]:
    """What of ``spans`` lies within the joined list ``held``, in the order of ``spans``."""
    found: list[Span] = []
    for first, count in spans:
        end = first + count
        at = max(bisect_right(held, (first, _LAST)) - 1, 0)
        while at < len(held) and held[at][0] < end:
            low, high = max(first, held[at][0]), min(end, held[at][0] + held[at][1])
            if low < high:
                found.append((low, high - low))
            at += 1
    return found


def outside(spans: Iterable[Span], held: Sequence[Span]) -> list[Span]:
    """What of ``spans``, which may overlap, lies outside of the joined list ``held``, in the order of ``spans``."""
    found: list[Span] = []
    for first, count in spans:
        end = first + count
        for at in range(max(bisect_right(held, (first, _LAST)) - 1, 0), len(held)):
            low, size = held[at]
            if low >= end:
                break
            if low > first:
                found.append((first, low - first))
            first = max(first, low + size)
        if first < end:
            found.append((first, end - first))
    return found


def without(held: Sequence[Span], spans: Sequence[Span]) -> list[Span]:
    """The joined list ``held`` less ``spans``; joined again."""
    rest = list(held)
    for first, count in spans:
        end = first + count
        start = max(bisect_right(rest, (first, _LAST)) - 1, 0)
        stop = start
        pieces: list[Span] = []
        while stop < len(rest) and rest[stop][0] < end:
            low, size = rest[stop]
            if low < first:
                pieces.append((low, min(size, first - low)))
            if low + size > end:
                low_left = max(low, end)
                pieces.append((low_left, low + size - low_left))
            stop += 1
        rest[start:stop] = pieces
    return rest


def clipped(spans: Sequence[Span], count: int) -> list[Span]:
    """What of ``spans`` is below ``count``; nothing, where they name more than there are: some twice."""
    found = [(first, min(number, count - first)) for first, number in spans if first < count]
    return found if total(found) <= count else []
