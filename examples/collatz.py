"""A function for the command line: ``p2pcpn submit collatz.py:steps 27`` runs it on a peer."""

from __future__ import annotations


def steps(start: str) -> int:
    """How many steps of 3n + 1 and n / 2 lead from ``start`` to 1. What comes from a command line is text."""
    number, count = int(start), 0
    while number != 1:
        number = 3 * number + 1 if number % 2 else number // 2
        count += 1
    return count
