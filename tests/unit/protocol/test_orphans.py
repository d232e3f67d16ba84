"""Orphans: every worker's own, within a share of its own."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.orphans import Orphans, name_of
from p2pcpn.wire.statements import Receipt
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
