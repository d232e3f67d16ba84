"""What a peer is made of: values that do not change, a puzzle only where the owner wants one."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from p2pcpn import limits
from p2pcpn.protocol.setup import Pulse, Setup
from p2pcpn.wire.statements import Role
from tests.unit.protocol.leased import ME, ME_AT, rules


def test_a_setup_asks_for_no_puzzle_and_does_not_change() -> None:
    setup = Setup(
        keypair=ME, boot=1, contact=ME_AT, rules=rules(), slots=2, roles=Role.COMPUTE, network_group=lambda a: a[0]
    )
    assert (setup.puzzle, setup.difficulty) == (0, 0)
    assert setup.record_copies == limits.RECORD_COPIES
    assert setup.pulse == Pulse(limits.PROBE_IDLE_S, limits.PUSH_PULL_S, limits.ADVERT_AGAIN_S)
    assert setup.network_group(("192.0.2.1", 4000)) == "192.0.2.1"
    with pytest.raises(FrozenInstanceError):
        setup.slots = 3  # type: ignore[misc]
