"""Orphans: every worker's own, within a share of its own."""

from __future__ import annotations

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.orphans import Orphans, name_of, orphan_bytes, require_leased
from p2pcpn.wire.messages import Orphan
from p2pcpn.wire.statements import Lease, Receipt, signed
from tests.unit.protocol.leased import GRANTOR, ME, STRANGER


def said(token: int = 1, part: int = 0) -> Receipt:
    return Receipt(bytes(20), 0, GRANTOR.id, token, part, [(0, 1)], b"\0", bytes(16), bytes(32), 0.1, b"")


def test_the_same_lease_of_two_workers_is_two_orphans() -> None:
    orphans = Orphans()
    mine, other = name_of(ME.id, said()), name_of(STRANGER.id, said())
    assert mine != other and mine[0] == NodeId(ME.id)
    orphans.add(mine, 100)
    assert mine in orphans and other not in orphans and orphans.room(other, 100)
    orphans.add(mine, 100)  # it comes again where its acknowledgement was lost
    assert (len(orphans), orphans.held_bytes) == (1, 100)


def test_one_worker_fills_its_share_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ORPHANS_PER_JOB_MAX", 4)
    monkeypatch.setattr(limits, "ORPHANS_PER_WORKER_MAX", 2)
    orphans = Orphans()
    for token in range(2):
        assert orphans.room(name_of(ME.id, said(token)), 10)
        orphans.add(name_of(ME.id, said(token)), 10)
    assert not orphans.room(name_of(ME.id, said(2)), 10)
    assert orphans.room(name_of(STRANGER.id, said(2)), 10)
    assert not orphans.room(name_of(STRANGER.id, said(2)), limits.UNSETTLED_BYTES_MAX // 2 + 1)
    for part in range(2):
        orphans.add(name_of(STRANGER.id, said(part=part)), 10)
    assert not orphans.room(name_of(GRANTOR.id, said()), 10)  # as many as a job may have


def test_a_receipt_states_no_more_than_its_lease_gave_to_its_worker() -> None:
    gave = Lease(bytes(20), 0, 1, ME.id, [(4, 2), (0, 4)])
    receipt = msgspec.structs.replace(said(), spans=[(1, 5)])
    require_leased(signed(gave, GRANTOR), ME.public, receipt)
    for spans in ([(1, 6)], [(0, 1), (9, 1)]):
        with pytest.raises(PeerError, match="tasks that its lease did not give"):
            require_leased(signed(gave, GRANTOR), ME.public, msgspec.structs.replace(receipt, spans=spans))


@pytest.mark.parametrize("change", [{"job": bytes([1]) * 20}, {"epoch": 1}, {"token": 2}, {"worker": STRANGER.id}])
def test_a_receipt_comes_with_its_own_lease_alone(change: dict[str, object]) -> None:
    other = msgspec.structs.replace(Lease(bytes(20), 0, 1, ME.id, [(0, 1)]), **change)
    with pytest.raises(PeerError, match="the lease of another"):
        require_leased(signed(other, GRANTOR), ME.public, said())


def test_a_lease_that_its_grantor_did_not_sign_gives_nothing() -> None:
    lease = Lease(bytes(20), 0, 1, ME.id, [(0, 1)])
    with pytest.raises(PeerError, match="the lease of another"):
        require_leased(signed(lease, ME), ME.public, said())
    forged = msgspec.structs.replace(signed(lease, ME), key=GRANTOR.public)
    with pytest.raises(PeerError):
        require_leased(forged, ME.public, said())


def test_an_orphan_costs_its_lease_too() -> None:
    receipt, lease = signed(said(), ME), signed(Lease(bytes(20), 0, 1, ME.id, [(0, 1)]), GRANTOR)
    without, beside = orphan_bytes(Orphan(receipt, b"page", 1)), orphan_bytes(Orphan(receipt, b"page", 1, lease))
    assert without == len(receipt.body) + 4 + limits.STEWARD_ROW_BYTES
    assert beside == without + len(lease.body)
