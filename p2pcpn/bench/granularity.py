"""METG, the minimum effective task granularity: the shortest task of which two workers still get half.

Slaughter et al., "Task Bench: A Parameterized Benchmark for Evaluating Parallel Runtime Performance", SC 2020. Between
two measured lengths the efficiency is taken as linear in the logarithm of the length.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

HALF: Final = 0.5

Point = tuple[float, float]  # length of a task in seconds, efficiency


def metg_s(curve: Sequence[Point], efficiency: float = HALF) -> float | None:
    """The shortest length from which on, up to the longest one measured, ``efficiency`` is reached.

    ``None`` where even the longest tasks do not reach it; the shortest length measured where all do: the true value is
    that or less.
    """
    falling = sorted(curve, reverse=True)
    if not falling or falling[0][1] < efficiency:
        return None
    for (longer, above), (shorter, below) in itertools.pairwise(falling):
        if below < efficiency:
            share = (above - efficiency) / (above - below)
            return math.exp(math.log(longer) + share * (math.log(shorter) - math.log(longer)))
    return falling[-1][0]
