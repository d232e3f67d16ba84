"""The rush: what nobody waits for lets what somebody waits for go first, but not for ever."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.node.rush import Rush


class Clock:
    now = 100.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Any:
    return Clock()


def test_where_nobody_is_in_a_hurry_all_may_go(clock: Any) -> None:
    rush = Rush(clock)
    assert rush.now == 100.0
    assert rush.lets(100.0)
    assert not rush.overdue(100.0)


def test_after_a_quiet_moment_what_waits_may_go(clock: Any) -> None:
    rush = Rush(clock)
    rush.note()
    assert not rush.lets(100.0)
    clock.now += limits.QUIET_S
    assert rush.lets(100.0)


def test_nothing_waits_longer_than_it_may(clock: Any) -> None:
    rush = Rush(clock)
    clock.now += limits.LATER_S
    rush.note()
    assert rush.lets(100.0)
    assert rush.overdue(100.0)
    assert not rush.lets(clock.now)
