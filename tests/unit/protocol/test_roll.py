"""A roll asks the nearest, as many as have to answer, and more only where some of them do not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from p2pcpn.protocol.roll import Roll
from p2pcpn.wire.addresses import Contact

OWN = bytes(20)
TARGET = bytes(20)


def peer(number: int, port: int = 4000) -> Contact:
    return Contact(number.to_bytes(20, "big"), bytes([127, 0, 0, 1]), port)


PEERS = [peer(number) for number in range(1, 10)]


def test_it_ends_with_as_many_answers_as_are_wanted_once_a_value_is_known() -> None:
    roll = Roll(OWN, TARGET, [peer(0), *PEERS, peer(99, port=0)], 3)
    assert roll.queries() == PEERS[:3] and roll.queries() == [] and not roll.done
    roll.answered(PEERS[1], ())
    roll.impatient = True
    assert roll.queries() == [] and not roll.done
    roll.answered(PEERS[2], ())
    roll.answered(PEERS[2], ())
    roll.answered(PEERS[0], [PEERS[4]])
    assert roll.done and roll.queries() == []
    assert roll.nearest(2) == PEERS[:2] and roll.nearest(9) == PEERS[:3]


def test_without_a_value_it_goes_on_to_the_last() -> None:
    roll = Roll(OWN, TARGET, PEERS, 3)
    asked = roll.queries()
    for contact in asked:  # grows while it is gone through
        assert not roll.done
        roll.answered(contact, ())
        asked += roll.queries()
    assert asked == PEERS and roll.done


def test_who_is_late_has_another_asked_beside_it_and_may_still_answer() -> None:
    roll = Roll(OWN, TARGET, PEERS, 2)
    assert roll.queries() == PEERS[:2]
    roll.impatient = True
    roll.late(PEERS[0])
    roll.late(PEERS[8])
    assert roll.queries() == [PEERS[2]]
    roll.answered(PEERS[0], ())
    assert not roll.done
    roll.answered(PEERS[2], ())
    assert roll.done and roll.nearest(9) == [PEERS[0], PEERS[2]]


def test_who_failed_is_replaced_and_who_is_late_twice_holds_up_nobody() -> None:
    roll = Roll(OWN, TARGET, PEERS[:3], 2)
    roll.queries()
    roll.failed(PEERS[0])
    assert roll.queries() == [PEERS[2]]
    roll.answered(PEERS[2], ())
    roll.late(PEERS[1])
    assert not roll.done
    roll.late(PEERS[1])
    assert roll.done
    assert Roll(OWN, TARGET, (), 2).done


def test_a_reply_that_cannot_be_honest_is_no_answer() -> None:
    roll = Roll(OWN, TARGET, PEERS, 1)
    roll.queries()
    roll.answered(PEERS[0], [PEERS[2], PEERS[1]])
    assert roll.liars == [PEERS[0]] and roll.nearest(9) == [] and roll.queries() == [PEERS[1]]


@given(some.lists(some.tuples(some.integers(0, 8), some.sampled_from(["answered", "late", "failed", "value"]))))
def test_nobody_is_asked_twice_and_answers_never_go_missing(events: list[tuple[int, str]]) -> None:
    roll = Roll(OWN, TARGET, PEERS, 4)
    asked = roll.queries()
    answered: set[Contact] = set()
    for number, what in events:
        contact = PEERS[number]
        if what == "answered":
            roll.answered(contact, ())
            answered |= {contact} & set(asked)
        elif what == "value":
            roll.impatient = True
        else:
            getattr(roll, what)(contact)
        asked += roll.queries()
        assert len(set(asked)) == len(asked)
        assert set(roll.nearest(99)) <= answered
