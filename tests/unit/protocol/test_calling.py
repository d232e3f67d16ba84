"""Calling for peers: numbered, ever wider, ever more rarely, never in a burst."""

from __future__ import annotations

from p2pcpn.protocol.calling import (
    HEARD_S,
    HOPS_MAX,
    HOPS_MIN,
    OFFER_TTL_S,
    OFFER_WAIT_S,
    OFFER_WAIT_S_MAX,
    RING_WAIT_S,
    WIDER_WAIT_S,
    Calling,
)  # fmt: skip


def test_an_offer_goes_out_at_once_and_then_when_it_is_due() -> None:
    calling = Calling()
    assert calling.deadline() is None
    assert calling.wanted(1.0)
    assert (calling.number, calling.hops(1), calling.deadline()) == (1, HOPS_MIN, 1.0 + OFFER_WAIT_S)
    assert not calling.wanted(1.2)
    assert calling.wanted(1.5)
    assert (calling.number, calling.hops(1)) == (2, HOPS_MIN + 1)


def test_offers_come_less_and_less_often_up_to_a_bound() -> None:
    calling, now, waits = Calling(), 0.0, []
    for _ in range(12):
        assert calling.wanted(now)
        due = calling.deadline()
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits == sorted(waits)
    assert round(waits[-1], 6) == OFFER_WAIT_S_MAX
    assert calling.hops(1) == HOPS_MAX


def test_a_need_that_comes_and_goes_makes_no_burst_of_offers() -> None:
    calling, offers = Calling(), 0
    for step in range(100):
        offers += calling.wanted(step * 0.01)
        calling.satisfied()
        assert calling.deadline() is None
    assert offers == 2


def test_a_need_that_must_wait_is_due_when_an_offer_may_go_out() -> None:
    calling = Calling()
    calling.wanted(0.0)
    calling.satisfied()
    assert not calling.wanted(0.1)
    assert calling.deadline() == OFFER_WAIT_S


def test_who_wants_many_slots_calls_far_at_once() -> None:
    calling = Calling()
    assert calling.wanted(0.0)
    assert [calling.hops(wanted) for wanted in (1, 64, 65, 512, 513, 40_000)] == [2, 2, 3, 3, 4, 6]
    assert calling.hops((1 << 32) - 1) == HOPS_MAX
    assert calling.wanted(1.0) and calling.hops(512) == 4, "and further the next time"


def test_a_need_that_has_grown_by_a_ring_waits_a_moment_only() -> None:
    calling = Calling()
    assert calling.wanted(0.0, 10) and calling.hops(10) == HOPS_MIN
    assert not calling.wanted(0.01, 60), "as far as before"
    assert not calling.wanted(0.02, 600) and calling.deadline() == WIDER_WAIT_S
    assert calling.wanted(WIDER_WAIT_S, 600)
    assert (calling.number, calling.hops(600)) == (2, 4), "farther because of the need, not because nobody came"
    due = WIDER_WAIT_S + OFFER_WAIT_S + 2 * RING_WAIT_S
    assert not calling.wanted(0.11, 600) and calling.deadline() == due, "they need longer who come from so far"
    assert calling.wanted(due, 600) and calling.hops(600) == 5


def test_an_offer_stands_until_the_next_one_is_heard() -> None:
    calling = Calling()
    calling.wanted(0.0)
    assert calling.stands_s == OFFER_WAIT_S + HEARD_S
    for _ in range(12):
        due = calling.deadline()
        assert due is not None and calling.wanted(due, 600)
    assert calling.stands_s == OFFER_WAIT_S_MAX + HEARD_S
    calling.satisfied()
    assert calling.stands_s == OFFER_TTL_S


def test_another_need_is_told_from_near_to_far_again() -> None:
    calling = Calling()
    for now in (0.0, 10.0, 20.0):
        assert calling.wanted(now)
    assert calling.hops(1) == HOPS_MIN + 2
    calling.satisfied()
    assert calling.wanted(30.0) and calling.hops(1) == HOPS_MIN
