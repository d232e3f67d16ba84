"""Blocks are cut without copying what is not cut, and know what they weigh."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.client.blocks import Block, apart, sizes_of, within
from p2pcpn.client.chunks import TOGETHER


@given(st.lists(st.integers(1, 20), max_size=20), st.booleans())
def test_pieces_of_a_block_have_its_items_in_order_and_its_weight(cuts: list[int], columns: bool) -> None:
    numbers = list(range(100))
    block = Block(5, 100, TOGETHER, [numbers, numbers], 4001) if columns else apart([bytes([i]) * i for i in numbers])
    first, total, alone = block.first, block.size_bytes, True
    block.alone = alone
    pieces = []
    for count in cuts:
        if count <= block.count:
            pieces.append(block.cut(count))
    if block.count:
        pieces.append(block.cut(block.count))
    assert block.count == 0 and block.size_bytes == 0 and all(piece.alone for piece in pieces)
    for piece in pieces:
        assert piece.first == first and piece.count > 0 and piece.size_bytes >= 0
        first += piece.count
    assert sum(piece.size_bytes for piece in pieces) == total
    found = [item for piece in pieces for item in (piece.items[1] if columns else piece.items)]
    assert found == (numbers if columns else [bytes([i]) * i for i in numbers])


def test_as_many_pickles_as_fit_are_taken_and_one_at_least() -> None:
    pickles = [bytes(10)] * 10
    assert within(pickles, 10, 1000) == 10 and within(pickles, 4, 1000) == 4
    assert within(pickles, 10, 30) == 2 and within(pickles, 10, 1) == 1


@pytest.mark.parametrize(
    ("values", "least", "most"),
    [([1, 2.5, None], 20, 50), (["x" * 100], 100, 200), ([b"x" * 100, "y"], 50, 200), ([(1, "x" * 100), 3], 20, 300)],
)
def test_what_cannot_change_is_weighed_by_its_kind(values: list[object], least: int, most: int) -> None:
    sizes = sizes_of(values)
    assert len(sizes) == len(values) and all(least <= size <= most for size in sizes)
