"""Histories: lines come back from disk as they were noted, and a cut-off last one costs nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.errors import PeerError
from p2pcpn.protocol import history as h

LINE = h.Line("ab/3", 7, 1.5, h.Leased("job", 0, 4, "cd", ((0, 2), (5, 1)), 31.5, True))


def test_a_line_comes_back_as_it_was_noted() -> None:
    row = h.packed(LINE)
    assert row.endswith(b"\n") and row.count(b"\n") == 1
    assert h.lines_of(row) == [LINE]
    assert (LINE.node, LINE.boot) == ("ab", 3)
    assert b'"what":"leased"' in row  # it can be read by eye and by jq


@given(st.integers(0, 10_000))
def test_what_was_cut_off_when_its_writer_died_is_left_out(cut: int) -> None:
    data = h.packed(LINE) * 3
    found = h.lines_of(data[: cut % len(data)])
    assert found == [LINE] * len(found) and len(found) <= 3


@given(st.binary(max_size=60))
def test_anything_else_is_refused(junk: bytes) -> None:
    with pytest.raises(PeerError, match="line 1"):
        h.lines_of(b"?" + junk.replace(b"\n", b"") + b"\n" + h.packed(LINE))


def test_a_process_without_a_number_of_its_life_is_refused() -> None:
    with pytest.raises(PeerError, match="line 1"):
        h.lines_of(h.packed(h.Line("ab/x", 1, 0.0, h.Began())) + h.packed(LINE))


def test_spans_become_columns() -> None:
    assert list(h.indices([(3, 2), (9, 1)])) == [3, 4, 9]
    assert list(h.columns([(3, 2)], "a" * 32 + "b" * 32)) == [(3, "a" * 32), (4, "b" * 32)]
    assert list(h.columns([(3, 1)], "")) == [(3, "")]
