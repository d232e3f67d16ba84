"""The trace: every field of every entry is in the hash."""

from __future__ import annotations

import pytest

from p2pcpn.sim import trace
from p2pcpn.sim.trace import Trace

ENTRY = (trace.DATAGRAM, 1.0, 1, 2, b"data")


def hashed(*entries: tuple[int, float, int, int, bytes]) -> str:
    it = Trace()
    for entry in entries:
        it.note(*entry)
    assert it.entries == len(entries)
    return it.hash


@pytest.mark.parametrize("field", range(5))
def test_another_field_is_another_hash(field: int) -> None:
    other = [*ENTRY]
    other[field] = b"date" if field == 4 else other[field] + 1
    assert hashed(ENTRY) == hashed(ENTRY) != hashed(tuple(other))


def test_another_order_is_another_hash() -> None:
    other = (trace.MESSAGE, 1.0, 1, 2, b"data")
    assert hashed(ENTRY, other) != hashed(other, ENTRY)


def test_counts_are_kept_by_word() -> None:
    it = Trace()
    it.count("Grant")
    it.count("Grant")
    assert it.counts == {"Grant": 2}
