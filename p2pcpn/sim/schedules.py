"""Schedules: how long jobs would take if everything were known beforehand, and how evenly peers were busy.

The omniscient scheduler knows each task's length and each slot's speed, and its messages take no time: longest task
first, each to the slot that ends it soonest. What a job takes is compared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace


def omniscient_s(takes_s: Sequence[float], slots: Sequence[float]) -> float:
    """When the last task ends. ``slots``: their slowness."""
    # Of slots of one speed the one that is free first ends a task soonest: so many heaps as there are speeds.
    heaps: dict[float, list[float]] = {}
    for slowness in sorted(slots):
        heaps.setdefault(slowness, []).append(0.0)
    for free in heaps.values():
        heapify(free)
    end = 0.0
    for length in sorted(takes_s, reverse=True):
        slowness = min(heaps, key=lambda slow: (heaps[slow][0] + length * slow, slow))
        until = heaps[slowness][0] + length * slowness
        heapreplace(heaps[slowness], until)
        end = max(end, until)
    return end


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index: 1 when all shares are alike, 1/n when one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that ``share`` of all do not exceed."""
    ranked = sorted(values)
    return ranked[min(max(-int(-len(ranked) * share // 1) - 1, 0), len(ranked) - 1)]
