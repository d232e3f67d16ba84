"""Dialling back: whoever asks is dialled at its proven address, seldom, and nobody else ever is."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.protocol.dial_backs import DialBacks
from p2pcpn.protocol.effects import Connect, Effect, Send, SendAside
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.datagrams import Datagram, DialBack, DialedBack, Knock


def asker(number: int, host: int = 0, port: int = 4000) -> Contact:
    return contact(number.to_bytes(20, "big"), (f"192.0.2.{host or number}", port))


@pytest.fixture
def helper() -> DialBacks:
    def aside(to: Contact, message: Datagram) -> list[Effect]:
        assert isinstance(message, Knock)
        return [SendAside(message.nonce.to_bytes(8, "big"), to.address)]

    return DialBacks(aside)


def test_who_asks_is_knocked_at_and_dialled_where_it_proved_to_be_and_told(helper: DialBacks) -> None:
    one = asker(1)
    knock = SendAside((7).to_bytes(8, "big"), one.address)
    assert helper.asked(one, DialBack(7), 0.0) == [knock] * limits.KNOCKS + [Connect(one, 7)]
    assert helper.statistics() == {"under_way": 1, "lately": 2}
    assert helper.connected(one, 7, True) == [Send(one, DialedBack(7, DialedBack.REACHED))]
    helper.asked(asker(2), DialBack(8), 0.0)
    assert helper.connected(asker(2), 8, False) == [Send(asker(2), DialedBack(8, DialedBack.MISSED))]
    assert helper.statistics()["under_way"] == 0


def test_an_asker_and_an_address_are_dialled_once_a_minute(helper: DialBacks) -> None:
    assert helper.asked(asker(1), DialBack(1), 0.0)
    assert helper.asked(asker(1), DialBack(1), 1.0) == []
    assert helper.asked(asker(1, host=9), DialBack(2), 1.0) == [], "it names another address"
    assert helper.asked(asker(2, host=1), DialBack(3), 1.0) == [], "another key, at the same address"
    assert helper.asked(asker(1), DialBack(4), limits.DIAL_BACK_WAIT_S)
    assert helper.statistics()["lately"] == 2, "what is over is forgotten"


def test_all_together_get_a_dial_a_second_and_few_at_a_time(helper: DialBacks) -> None:
    for number in range(1, limits.DIAL_BACKS_MAX + 1):
        assert len(helper.asked(asker(number), DialBack(0), 0.0)) == limits.KNOCKS + 1
    assert helper.asked(asker(50), DialBack(5), 0.0) == [Send(asker(50), DialedBack(5, DialedBack.BUSY))]
    assert helper.asked(asker(50), DialBack(5), 30.0) == [Send(asker(50), DialedBack(5, DialedBack.BUSY))], "none ended"
    helper.connected(asker(1), 0, False)
    assert len(helper.asked(asker(50), DialBack(5), 30.0)) == limits.KNOCKS + 1


def test_an_address_that_nobody_can_have_is_not_dialled(helper: DialBacks) -> None:
    assert helper.asked(asker(1, port=0), DialBack(1), 0.0) == []


def test_what_is_remembered_is_bounded_by_what_is_dialled(helper: DialBacks) -> None:
    dialled = 0
    for number in range(4000):
        effects = helper.asked(contact(number.to_bytes(20, "big"), ("192.0.2.1", 1 + number)), DialBack(0), number / 20)
        if Connect in map(type, effects):
            dialled += 1
            helper.connected(asker(1), 0, False)
    seconds = 4000 / 20
    assert dialled <= limits.DIAL_BACKS_MAX + seconds * limits.DIAL_BACKS_PER_S
    assert helper.statistics()["lately"] <= 2 * (limits.DIAL_BACKS_MAX + limits.DIAL_BACK_WAIT_S + 1)
