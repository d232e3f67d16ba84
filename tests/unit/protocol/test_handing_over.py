"""Handing over: each put is taken by one heir or lost, and nobody is waited for in vain."""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Notify, Send
from p2pcpn.protocol.handing_over import Handed, HandedOver, HandingOver
from p2pcpn.protocol.requests import Answered, Failed, Late
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.datagrams import Find, Leave, StoreCode, Stored

FIRST, SECOND = (contact(bytes([number]) * 20, ("10.0.0.1", number)) for number in (1, 2))
GOODBYE = Send(FIRST, Leave(0))


def put(*heirs: Contact) -> Handed:
    return Handed(lambda nonce: Find(nonce, b"k" * 20), list(heirs))


def answered(one: Handed, code: int) -> Answered:
    return Answered(one, FIRST, FIRST, Stored(1, code, 0), 0.01)


def end(given: int, left: int) -> list[Effect]:
    return [GOODBYE, Notify(HandedOver(given, left))]


def test_with_nothing_to_give_it_is_over_at_once() -> None:
    assert HandingOver([], (GOODBYE,), 5.0).done == end(0, 0)


def test_the_best_heir_is_asked_and_who_refuses_or_is_late_is_replaced() -> None:
    one = put(SECOND, FIRST)
    leaving = HandingOver([one], (GOODBYE,), 5.0)
    assert leaving.asks() == [(FIRST, one)]
    assert leaving.done == [] and leaving.asks() == []
    leaving.settled(one, answered(one, StoreCode.REFUSED), 5.1)
    assert leaving.asks() == [(SECOND, one)]
    leaving.settled(one, Late(one, SECOND, 1), 5.2)
    assert leaving.done == end(0, 1)
    leaving.settled(one, Failed(one, SECOND), 6.0)  # what was late fails at last
    assert leaving.done == end(0, 1)


def test_what_is_taken_counts_and_so_does_what_others_hold_newer() -> None:
    puts = [put(FIRST) for _ in range(4)]
    leaving = HandingOver(puts, (GOODBYE,), 5.0)
    assert len(leaving.asks()) == 4
    for one, code in zip(puts, (StoreCode.KEPT, StoreCode.OLDER, StoreCode.FULL), strict=False):
        leaving.settled(one, answered(one, code), 5.1)
    leaving.settled(puts[3], None, 5.1)
    assert leaving.done == end(2, 2)


def test_only_so_many_are_under_way_at_a_time() -> None:
    puts = [put(FIRST) for _ in range(limits.HANDOVER_PUTS_MAX + 5)]
    leaving = HandingOver(puts, (), 5.0)
    assert len(leaving.asks()) == limits.HANDOVER_PUTS_MAX
    leaving.settled(puts[0], answered(puts[0], StoreCode.KEPT), 5.0)
    assert len(leaving.asks()) == 1


def test_it_ends_half_a_second_after_the_last_answer_and_after_three_in_any_case() -> None:
    puts = [put(FIRST) for _ in range(100)]
    leaving = HandingOver(puts, (GOODBYE,), 5.0)
    leaving.asks()
    assert leaving.deadline() == 5.0 + limits.HANDOVER_SILENT_S
    assert leaving.expire(5.4) == []
    for number in range(10):
        leaving.settled(puts[number], answered(puts[number], StoreCode.KEPT), 5.3 + 0.3 * number)
    assert leaving.deadline() == 5.0 + limits.HANDOVER_S
    assert leaving.expire(5.0 + limits.HANDOVER_S) == end(10, 90)


def test_who_was_busy_itself_gives_the_others_another_half_second() -> None:
    one = put(FIRST)
    leaving = HandingOver([one], (GOODBYE,), 5.0)
    leaving.asks()
    assert leaving.expire(6.5) == [] and leaving.deadline() == 6.5 + limits.HANDOVER_SILENT_S
    assert leaving.expire(leaving.deadline()) == end(0, 1)
    assert HandingOver([put(FIRST)], (GOODBYE,), 5.0).expire(9.0) == end(0, 1)
