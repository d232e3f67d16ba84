"""Pi by throwing darts: many equal tasks, each with dice of its own, so that every run gives the same number."""

from __future__ import annotations

import random
import sys

from p2pcpn import Executor

DARTS = 100_000


def hits(seed: int) -> int:
    """How many of ``DARTS`` darts at a square hit the circle in it."""
    dice = random.Random(seed)
    return sum(dice.random() ** 2 + dice.random() ** 2 <= 1.0 for _ in range(DARTS))


if __name__ == "__main__":
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    with Executor() as executor:
        inside = sum(executor.map(hits, range(tasks)))
    print(f"pi is about {4 * inside / (tasks * DARTS):.4f}, after {tasks * DARTS:,} darts")
