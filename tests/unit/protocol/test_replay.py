"""The replay window: every number once, in any order, within its reach."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.protocol.replay import Window

REACH = limits.REPLAY_WINDOW


def test_numbers_up_to_the_start_were_seen() -> None:
    window = Window(5)
    assert [window.accept(number) for number in (0, 4, 5, 6, 6, 7)] == [False, False, False, True, False, True]


def test_a_late_number_is_accepted_once_within_reach() -> None:
    window = Window(0)
    assert window.accept(REACH + 10)
    assert window.accept(11) and not window.accept(11)
    assert not window.accept(10)
    assert window.newest == REACH + 10


def test_a_leap_beyond_reach_forgets_what_was_before() -> None:
    window = Window(0)
    assert window.accept(1) and window.accept(10 * REACH)
    assert not window.accept(1) and window.accept(10 * REACH - 1)


@given(st.integers(0, 3000), st.lists(st.integers(0, 6000)))
def test_no_number_is_accepted_twice_and_fresh_ones_always(start: int, numbers: list[int]) -> None:
    window, seen, newest = Window(start), set(range(start + 1)), start
    for number in numbers:
        fresh = number not in seen and number > newest - REACH
        assert window.accept(number) is fresh
        if fresh:
            seen.add(number)
            newest = max(newest, number)
    assert window.newest == newest
