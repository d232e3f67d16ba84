"""Events: plain values that compare, do not change, and carry no mutable default of another."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from p2pcpn.protocol import events

JOB = bytes(20)
KINDS = [kind for kind in vars(events).values() if isinstance(kind, type) and kind.__module__ == events.__name__]


def test_every_event_is_a_frozen_value_with_slots() -> None:
    assert len(KINDS) >= 9
    for kind in KINDS:
        assert is_dataclass(kind)
        assert not hasattr(kind(*[None] * len(fields(kind))), "__dict__")


def test_an_event_does_not_change() -> None:
    event = events.Started(JOB, [1, 2])
    assert event == events.Started(JOB, [1, 2])
    with pytest.raises(FrozenInstanceError):
        event.job = b""  # type: ignore[misc]


def test_results_come_without_renderings_unless_some_are_given() -> None:
    one, other = (events.Delivered(JOB, [0], bytes(1), [b"value"], bytes(32), []) for _ in range(2))
    assert one.renderings == []
    assert one.renderings is not other.renderings


def test_tasks_that_were_given_up_did_not_die_unless_it_is_said() -> None:
    event = events.GaveUp(JOB, [3], "its peer was lost")
    assert (event.died, event.signal, event.exit_code) == (False, None, None)
