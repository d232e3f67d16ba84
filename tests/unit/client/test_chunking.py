"""Chunks are as long as pays, and shrink to single items at the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.client.chunking import AHEAD_MAX, CHUNK_BYTES, CHUNK_S, FIRST, HORIZON_S, Chunking


def measured(item_s: float, result_bytes: int = 4) -> Chunking:
    chunking = Chunking()
    for _ in range(20):
        chunking.ran(10, 10 * item_s, 10 * result_bytes)
        chunking.sent(10, 40)
    return chunking


def test_before_anything_is_known_items_go_one_by_one_and_few() -> None:
    assert Chunking().items(1_000_000, 8) == 1
    assert Chunking().out(1_000_000, 2) == FIRST and Chunking().out(1_000_000, 100) == 200


def test_short_items_go_in_thousands_and_long_ones_alone() -> None:
    assert measured(1e-6).items(1_000_000, 2) == limits.MAP_BLOCK_ITEMS
    assert measured(1e-4).items(1_000_000, 2) == int(CHUNK_S / 1e-4)
    assert measured(1.0).items(1_000_000, 2) == 1
    assert measured(0.0).items(1_000_000, 2) == limits.MAP_BLOCK_ITEMS


def test_arguments_and_results_of_a_chunk_stand_inline() -> None:
    assert measured(1e-6, 100).items(1_000_000, 2) == CHUNK_BYTES // 100
    chunking = measured(1e-6)
    for _ in range(20):
        chunking.sent(1, CHUNK_BYTES * 2)
    assert chunking.items(1_000_000, 2) == 1


def test_the_tail_is_shared_by_all_slots() -> None:
    chunking, left, sizes = measured(1e-5), 10_000, []
    while left:
        sizes.append(chunking.items(left, 4))
        left -= sizes[-1]
    assert sizes == sorted(sizes, reverse=True) and 490 < sizes[0] <= 500 and sizes[-4:] == [1, 1, 1, 1]


def test_a_change_is_followed_within_a_few_chunks() -> None:
    chunking = measured(1.0)
    for _ in range(24):
        chunking.ran(1, 1e-6, 4)
    assert chunking.items(1_000_000, 2) > 1000
    chunking.ran(1, 0.5, 4)
    assert chunking.items(1_000_000, 2) == 1


def test_so_much_is_out_as_slots_run_in_the_horizon() -> None:
    assert measured(1.0).out(100, 3) == 6
    out = measured(1e-4).out(1_000_000, 3)
    assert HORIZON_S / CHUNK_S <= out / 3 <= HORIZON_S / CHUNK_S + 2
    assert measured(1e-6).out(1, 3) == 3 * (AHEAD_MAX + 2)


@given(st.floats(0, 1e4), st.integers(1, 1 << 40), st.integers(0, 1 << 20), st.integers(0, 1 << 30))
def test_whatever_was_measured_a_chunk_has_items_and_not_too_many(
    ran_s: float, waiting: int, slots: int, result_bytes: int
) -> None:
    chunking = Chunking()
    chunking.ran(7, ran_s, result_bytes)
    assert 1 <= chunking.items(waiting, slots) <= limits.MAP_BLOCK_ITEMS
    assert 1 <= chunking.out(waiting, slots) <= max(slots, 1) * (AHEAD_MAX + 2)
