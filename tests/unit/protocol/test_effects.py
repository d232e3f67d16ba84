"""Effects: plain values that compare, are hashed by what they hold, and do not change."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import effects
from p2pcpn.protocol.effects import Commit, Effect, Heard, Notify, Send, SendBytes, TellBlob, Transmit, Turn, Write
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.datagrams import Ping
from p2pcpn.wire.messages import Goodbye

KINDS = [value for _, value in inspect.getmembers(effects, inspect.isclass) if issubclass(value, Effect)]
TO = contact(bytes(20), ("192.0.2.7", 4000))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Effect])
def test_every_effect_is_a_frozen_slotted_value(kind: type[Effect]) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    value = kind(*range(len(dataclasses.fields(kind))))
    assert not hasattr(value, "__dict__")
    assert value == kind(*range(len(dataclasses.fields(kind))))
    assert kind.__doc__


def test_effects_that_hold_the_same_are_the_same() -> None:
    assert [Send(TO, Ping(1, 2)), SendBytes(b"x", TO.address)] == [Send(TO, Ping(1, 2)), SendBytes(b"x", TO.address)]
    assert Send(TO, Ping(1, 2)) != Send(TO, Ping(2, 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Send(TO, Ping(1, 2)).message = Ping(3, 4)  # type: ignore[misc]


def test_a_commit_carries_what_follows_it() -> None:
    write = Write("segments", (b"job", 1), (b"body", None))
    commit = Commit((write,), then=(Notify("kept"),), otherwise=(Heard("full", TO),))
    assert commit.then == (Notify("kept"),) and commit.otherwise == (Heard("full", TO),)
    assert Commit((write,)).then == Commit((write,)).otherwise == ()


def test_what_is_sent_is_urgent_and_in_order_unless_it_says_otherwise() -> None:
    peer = NodeId(bytes(20))
    assert Transmit(peer, Goodbye("")).urgent and Transmit(peer, Goodbye("")) != Transmit(peer, Goodbye(""), False)
    assert TellBlob(TO, 1, bytes(32), bytes(20), 1.0).turn is Turn.NOW
