"""Legacies: who lacks least is brought a job first, and to as many as are short of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.protocol.legacies import heirs
from p2pcpn.wire.messages import JobState
from tests.unit.protocol.granting import at, keypair
from tests.unit.protocol.leased import Made

A, B = bytes([1]) * 20, bytes([2]) * 20
SPEC = Made().spec


def state(*logs: tuple[bytes, int, int]) -> JobState:
    return JobState(1, SPEC, None, None, 0, 0, list(logs), 0, 0, 0, False)


def test_nobody_is_needed_where_enough_others_have_all_of_it() -> None:
    contacts = [at(keypair(number), 5000 + number) for number in range(3)]
    found, needed = heirs(
        {(A, 0): 2, (B, 1): 1}, 2,
        [(contacts[0], state((A, 0, 2), (B, 1, 1))), (contacts[1], None), (contacts[2], state((A, 0, 5), (B, 1, 1)))],
    )  # fmt: skip
    assert needed == 0 and [heir.contact for heir in found] == [contacts[1]]


def test_who_lacks_least_comes_first_and_of_equal_ones_the_nearest() -> None:
    near, far, partly = (at(keypair(number), 5000 + number) for number in range(3))
    found, needed = heirs({(A, 0): 4}, 3, [(near, None), (far, None), (partly, state((A, 0, 3)))])
    assert needed == 3 and [heir.contact for heir in found] == [partly, near, far]
    assert found[0].knows and found[0].lacks == (((A, 0), 3),)
    assert not found[1].knows and found[1].lacks == (((A, 0), 0),)


counts = st.one_of(st.none(), st.integers(0, 5))


@given(st.lists(counts, max_size=8), st.integers(1, 5), st.integers(1, 5))
def test_those_who_have_all_and_those_who_are_brought_the_rest_make_the_replicas(
    held: list[int | None], ours: int, replicas: int
) -> None:
    answers = [
        (at(keypair(number), 5000 + number), None if count is None else state((A, 0, count)))
        for number, count in enumerate(held)
    ]
    found, needed = heirs({(A, 0): ours}, replicas, answers)
    whole = sum(count is not None and count >= ours for count in held)
    assert needed == max(0, replicas - whole) and len(found) == len(held) - whole
    for heir in found:
        assert all(0 <= first < ours for _, first in heir.lacks)
