"""The ledger: states, lines and luck of each index."""

from __future__ import annotations

import time

import pytest

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.ledger import CANCELLED, ELSEWHERE, FAILED, HELD, LEASED, SETTLED, WAITING, Ledger

A, B = NodeId(b"a" * 20), NodeId(b"b" * 20)


def ledger(*counts: int) -> Ledger:
    """A ledger with pages of so many waiting tasks."""
    made = Ledger()
    for count in counts:
        made.extend(count)
    return made


def test_what_is_taken_is_leased_first_come_first() -> None:
    found = ledger(3, 3)
    assert found.take(4, A) == [(0, 4)]
    assert found.take(9, A) == [(4, 2)]
    assert found.take(1, A) == []
    assert (found.waiting, found.leased, found.open, found.total) == (0, 6, 6, 6)
    assert list(found.states) == [LEASED] * 6


def test_what_is_given_back_waits_first_in_the_line() -> None:
    found = ledger(6)
    found.take(4, A)
    assert found.give_back([(1, 2)]) == 2
    assert found.give_back([(1, 2)]) == 0
    assert found.take(3, A) == [(1, 2), (4, 1)]


def test_an_index_ends_once() -> None:
    found = ledger(4)
    found.take(2, A)
    assert found.settle([(0, 2)]) == [(0, 2)]
    assert found.settle([(0, 3)]) == [(2, 1)]
    assert found.fail([(0, 4)]) == [(3, 1)]
    assert found.cancel([(0, 4)]) == []
    assert found.open == 0
    assert list(found.states) == [SETTLED, SETTLED, SETTLED, FAILED]


def test_spans_beyond_the_end_or_empty_end_nothing_there() -> None:
    found = ledger(2)
    assert found.cancel([(1, 1 << 40), (7, 3), (0, 0)]) == [(1, 1)]
    assert found.total == 2


def test_what_ended_while_it_waited_is_never_taken() -> None:
    found = ledger(6)
    found.cancel([(1, 1), (3, 2)])
    assert found.waiting == 3
    assert found.take(9, A) == [(0, 1), (2, 1), (5, 1)]


def test_what_an_earlier_epoch_settled_is_settled() -> None:
    found = ledger(4)
    found.settled_already([(0, 2), (3, 100)])
    assert (found.waiting, found.total) == (1, 4)
    assert found.take(9, A) == [(2, 1)]


def test_a_barred_peer_never_gets_the_task_and_others_get_it_first() -> None:
    found = ledger(4)
    found.take(2, A)
    found.bar([(1, 1)], A)
    found.give_back([(0, 2)])
    assert (found.waits_for(A), found.waits_for(B)) == (3, 4)
    assert found.barred_waiting == [frozenset({A})]
    assert found.stuck([A]) == [frozenset({A})]
    assert found.stuck([A, B]) == []
    assert found.take(9, A) == [(0, 1), (2, 2)]
    assert found.take(1, B) == [(1, 1)]
    assert found.barred_waiting == []


def test_an_index_that_waits_can_be_barred_too() -> None:
    found = ledger(5)
    found.bar([(2, 1)], A)
    found.bar([(2, 1)], A)
    found.bar([(2, 1)], B)
    assert found.barred_from(2) == {A, B}
    assert (found.waits_for(A), found.waiting) == (4, 5)
    assert found.take(9, A) == [(0, 2), (3, 2)]
    assert found.take(9, B) == []
    found.fail([(2, 1)])
    assert found.barred_waiting == []


def test_neighbours_with_the_same_luck_are_taken_together() -> None:
    found = ledger(6)
    found.take(6, A)
    found.bar([(0, 3), (4, 2)], A)
    found.give_back([(0, 6)])
    assert found.take(9, B) == [(0, 6)]


def test_deaths_are_counted_by_peer_and_bar_it() -> None:
    found = ledger(2)
    found.take(2, A)
    assert found.died(0, A, (9, None), 1.0) == 1
    assert found.died(0, A, (9, None), 2.0) == 1
    assert found.died(0, B, (None, 1), 3.0) == 2
    assert found.troubles[0].deaths == {A: (9, None), B: (None, 1)}
    assert found.barred_from(0) == {A, B}


def test_a_task_may_lose_its_peer_as_often_as_its_budget_says() -> None:
    found = ledger(2)
    assert found.lose([(0, 2)], 1) == []
    assert found.lose([(1, 1)], 1) == [1]


def test_nothing_is_remembered_of_an_index_that_ended() -> None:
    found = ledger(3)
    found.take(3, A)
    found.died(0, A, (9, None), 1.0)
    found.lose([(1, 1)], 5)
    found.bar([(2, 1)], A)
    found.settle([(0, 3)])
    assert not found.troubles
    assert not found._losses
    assert not found._barred


def test_what_rests_is_nobodys_until_it_is_woken_and_then_comes_first_in_its_line() -> None:
    found = ledger(6)
    found.take(4, A)
    found.bar([(1, 1)], A)
    found.rest([(0, 3), (5, 1)])
    assert (found.waiting, found.leased, found.resting, found.open) == (2, 1, 3, 6)
    assert found.take(6, B) == [(4, 2)] and found.barred_waiting == []
    assert found.wake([(0, 2), (3, 3)]) == 2
    assert (found.waiting, found.leased, found.resting) == (2, 3, 1)
    assert found.take(6, A) == [(0, 1)] and found.take(6, B) == [(1, 1)]
    assert found.unleased_of([(0, 6)]) == [(2, 1)] and found.open_spans() == [(0, 6)]


@pytest.mark.parametrize("end", ["settle", "fail", "cancel"])
def test_what_rests_may_end_all_the_same(end: str) -> None:
    found = ledger(4)
    found.take(3, A)
    found.rest([(0, 2)])
    assert getattr(found, end)([(0, 4)]) == [(0, 2), (2, 1), (3, 1)]
    assert (found.waiting, found.leased, found.resting, found.open) == (0, 0, 0, 0)
    assert found.wake([(0, 4)]) == 0 and found.take(4, B) == []


def test_tasks_are_told_apart_by_how_often_they_lost_their_peer() -> None:
    found = ledger(5)
    found.lose([(0, 4)], 9)
    found.lose([(1, 2)], 9)
    assert found.losses_of([(0, 5)]) == {0: [(4, 1)], 1: [(0, 1), (3, 1)], 2: [(1, 2)]}


def test_what_waits_among_spans_is_found_in_their_order() -> None:
    found = ledger(6)
    found.take(2, A)
    assert found.unleased_of([(4, 2), (0, 3)]) == [(4, 2), (2, 1)]


def test_states_that_alternate_cost_no_more_than_a_pass() -> None:
    count = 200_000
    found = ledger(count)
    before = time.process_time()
    found.cancel([(index, 1) for index in range(0, count, 2)])
    assert found.cancel([(0, count)]) == [(index, 1) for index in range(1, count, 2)]
    assert found.take(5, A) == []
    assert time.process_time() - before < 5
    assert set(found.states) == {CANCELLED}
    assert WAITING not in found.states


def test_what_is_open_is_told_in_order_whoever_has_it() -> None:
    ledger = Ledger()
    ledger.extend(6)
    ledger.take(2, NodeId(bytes(20)))
    ledger.settle([(1, 1), (4, 1)])
    assert ledger.open_spans() == [(0, 1), (2, 2), (5, 1)]


def test_what_is_held_back_nobody_gets_until_it_is_released() -> None:
    ledger = Ledger()
    ledger.extend(6)
    ledger.hold([(1, 2), (5, 1)])
    assert (ledger.waiting, ledger.held, ledger.open) == (3, 3, 6)
    assert ledger.take(9, NodeId(bytes(20))) == [(0, 1), (3, 2)]
    ledger.hold([(0, 1)])  # it is leased: nothing to hold back
    ledger.release([(2, 1), (3, 1)])
    assert (ledger.waiting, ledger.held, ledger.leased) == (1, 2, 3)
    assert ledger.take(9, NodeId(bytes(20))) == [(2, 1)]
    assert ledger.cancel([(0, 6)]) == [(0, 6)] or ledger.open == 0
    assert (ledger.waiting, ledger.held, ledger.leased) == (0, 0, 0)


def test_what_was_released_and_barred_never_goes_to_whom_it_is_barred_from() -> None:
    ledger, one, two = Ledger(), NodeId(bytes(20)), NodeId(b"2" * 20)
    ledger.extend(4)
    ledger.hold([(1, 2)])
    ledger.release([(1, 2)])
    ledger.bar([(1, 1), (3, 1)], one)
    assert ledger.take(9, one) == [(0, 1), (2, 1)] and ledger.take(9, two) == [(1, 1), (3, 1)]


def test_what_is_held_back_may_end_without_having_been_leased() -> None:
    ledger = Ledger()
    ledger.extend(3)
    ledger.hold([(0, 3)])
    assert ledger.settle([(0, 1)]) == [(0, 1)] and ledger.fail([(1, 1)]) == [(1, 1)]
    assert ledger.held == 1 and ledger.open_spans() == [(2, 1)] and list(ledger.states) == [SETTLED, FAILED, HELD]


def test_what_others_grant_is_leased_to_nobody_and_is_not_open() -> None:
    ledger = Ledger()
    ledger.extend(6)
    ledger.cede([(1, 2), (4, 1)])
    assert (ledger.open, ledger.waiting, ledger.ceded, ledger.ended) == (3, 3, 3, 0)
    assert ledger.take(9, NodeId(b"p" * 20)) == [(0, 1), (3, 1), (5, 1)]
    assert ledger.settle([(0, 6)]) == [(0, 1), (3, 1), (5, 1)] and ledger.ended == 3
    assert list(ledger.states[1:3]) == [ELSEWHERE, ELSEWHERE]


def test_what_others_settled_or_gave_up_is_known_as_ended() -> None:
    ledger = Ledger()
    ledger.extend(4)
    ledger.cede([(1, 3)])
    ledger.settled_already([(0, 2)])
    ledger.note_elsewhere([(2, 1)], FAILED)
    assert list(ledger.states) == [SETTLED, SETTLED, FAILED, ELSEWHERE]
    assert (ledger.ended, ledger.open, ledger.ceded) == (1, 0, 3)


def test_what_was_never_leased_and_is_open_may_be_given_away() -> None:
    ledger = Ledger()
    ledger.extend(10)
    assert ledger.untouched == 0
    ledger.take(4, NodeId(bytes(20)))
    ledger.give_back([(3, 1)])
    ledger.hold([(8, 1)])
    assert ledger.untouched == 3 and ledger.unbegun_of([(2, 8)]) == [(3, 7)]
    ledger.settle([(5, 1)])
    assert ledger.untouched == 6 and ledger.unbegun_of([(2, 8)]) == [(3, 2), (6, 4)]
    ledger.cede([(6, 4)])
    assert ledger.note_elsewhere([(5, 3)]) == [(6, 2)] and ledger.note_elsewhere([(5, 3)]) == [], "each once"
