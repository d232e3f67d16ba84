"""Of several settlements of a task one counts for every reader: the least made of results that count themselves."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.protocol.canonical import Canon, Stated, deciding, stale, stated
from p2pcpn.wire.statements import Receipt

A, B, C, D = (bytes([number]) * 16 for number in (1, 2, 3, 4))


def rank(settled: Stated) -> tuple[int, bytes]:
    return settled.epoch, settled.digest


def canon(*settlements: Stated) -> Canon[Stated]:
    found: Canon[Stated] = Canon()
    for each in settlements:
        found.add(each)
    found.settle()
    return found


def receipt(spans: list[tuple[int, int]], digests: bytes, inputs: list[tuple[int, int, bytes]]) -> Receipt:
    return Receipt(
        bytes(20), 0, bytes(20), 1, 0, spans, bytes(len(digests) // 16), digests, bytes(32), 0.0, b"", inputs
    )


def test_the_least_epoch_and_digest_counts() -> None:
    found = canon(Stated(0, 2, A), Stated(0, 1, C), Stated(0, 1, B), Stated(1, 0, D))
    assert (found.results[0], found.results[1].digest, found.conflicts) == (Stated(0, 1, B), D, 2)


def test_what_was_made_of_a_result_that_lost_counts_no_more_nor_what_was_made_of_that() -> None:
    found: Canon[Stated] = Canon()
    for each in (Stated(0, 1, B), Stated(1, 1, C, ((0, B),)), Stated(2, 1, D, ((1, C),))):
        found.add(each)
    assert found.settle() == [0, 1, 2]
    found.add(Stated(0, 0, A))
    assert found.settle() == [0]
    assert (sorted(found.results), sorted(found.stale)) == ([0], [1, 2])


def test_what_was_made_again_of_the_one_that_counts_is_taken_though_its_epoch_is_a_later_one() -> None:
    found = canon(Stated(0, 1, B), Stated(0, 0, A), Stated(1, 1, C, ((0, B),)), Stated(2, 1, D, ((1, C),)))
    found.add(Stated(1, 5, D, ((0, A),)))
    assert found.settle() == [1]
    assert found.results[1].epoch == 5 and sorted(found.stale) == [2]
    found.add(Stated(2, 5, A, ((1, D),)))
    assert found.settle() == [2] and not found.stale


def test_a_result_that_nobody_settled_contradicts_nothing() -> None:
    assert canon(Stated(3, 0, A, ((1, B),))).results[3].digest == A


def test_a_task_that_takes_a_later_one_or_itself_is_refused() -> None:
    found = canon(Stated(1, 0, A, ((1, A),)), Stated(2, 0, B, ((3, C),)), Stated(3, 0, C))
    assert sorted(found.stale) == [1, 2] and sorted(found.results) == [3]


def test_a_settlement_that_says_it_took_nothing_competes_with_one_that_took_something() -> None:
    found = canon(Stated(0, 0, A), Stated(1, 1, C), Stated(1, 0, B, ((0, A),)), Stated(1, 2, D))
    assert found.results[1].digest == B
    found = canon(Stated(0, 0, A), Stated(1, 1, C), Stated(1, 0, B, ((0, D),)))
    assert found.results[1].digest == C


def test_a_receipt_states_what_each_task_took_and_an_entry_may_settle_a_part_of_it() -> None:
    said = receipt([(4, 2), (9, 1)], A + B + C, [(5, 1, D), (5, 2, A)])
    assert list(stated(3, said, None)) == [
        Stated(4, 3, A), Stated(5, 3, B, ((1, D), (2, A))), Stated(9, 3, C),
    ]  # fmt: skip
    assert [each.index for each in stated(3, said, [(5, 1)])] == [5]


def test_stale_tasks_are_found_in_what_logs_state() -> None:
    lost = [(1, receipt([(0, 1), (7, 1)], B + B, []), None), (1, receipt([(1, 1)], C, [(1, 0, B)]), None)]
    asked = []

    def lines() -> list[tuple[int, Receipt, None]]:
        asked.append(1)
        return lost

    assert stale(lines) == [] and len(asked) == 2
    lost.append((0, receipt([(0, 1)], A, []), None))
    assert stale(lines) == [1]
    assert stale(lambda: lost[:1]) == []


def test_what_decides_on_a_result_is_what_was_taken_on_the_way_to_it_and_only_where_two_differ() -> None:
    one = (1, receipt([(0, 3)], A + B + C, [(1, 0, A), (2, 1, B)]), None)
    assert deciding(lambda: [one], [2]) == {2}
    two = (5, receipt([(2, 1)], D, [(2, 1, B)]), None)
    assert deciding(lambda: [one, two], [2]) == {0, 1, 2} and deciding(lambda: [one, two], [1]) == {1}
    assert deciding(lambda: [one, (5, receipt([(2, 1)], C, []), None)], [2]) == {2}


settlements = st.builds(
    Stated,
    st.integers(0, 5),
    st.integers(0, 3),
    st.sampled_from([A, B, C]),
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([A, B, C])), max_size=2).map(tuple),
)


@given(st.lists(settlements, max_size=25), st.integers(0, 1000))
def test_what_counts_does_not_depend_on_the_order_in_which_it_was_read(found: list[Stated], seed: int) -> None:
    once = canon(*found)
    shuffled, piecewise = list(found), Canon[Stated]()
    random.Random(seed).shuffle(shuffled)
    changed: set[int] = set()
    for each in shuffled:
        piecewise.add(each)
        changed.update(piecewise.settle())
    assert {index: rank(each) for index, each in once.results.items()} == {
        index: rank(each) for index, each in piecewise.results.items()
    }
    assert set(once.stale) == set(piecewise.stale)
    assert set(once.results) <= changed
    assert set(once.results) | set(once.stale) == {each.index for each in found}
    for index, result in once.results.items():
        assert all(taken < index and taken not in once.stale for taken, _ in result.inputs)
        better = [
            each for each in found if each.index == index and (each.epoch, each.digest) < (result.epoch, result.digest)
        ]
        for each in better:  # each was made of something that does not count
            assert any(
                taken >= index
                or taken in once.stale
                or (taken in once.results and once.results[taken].digest != digest)
                for taken, digest in each.inputs
            )
