"""Lightweight peers over real sockets: they join, keep, find, and go without a word."""

from __future__ import annotations

import asyncio
import os

import pytest

from p2pcpn.errors import Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.lightweight import LightweightPeer
from p2pcpn.protocol.effects import Hangup, Notify

WAIT_S = 20.0


@pytest.mark.asyncio
async def test_records_are_found_by_others_and_the_later_version_is_the_newer() -> None:
    key, owner = os.urandom(32), Keypair(os.urandom(32))
    peers = [LightweightPeer(Keypair(os.urandom(32)), key, loss=0.05) for _ in range(3)]
    try:
        async with asyncio.timeout(WAIT_S):
            for peer in peers:
                await peer.start()
            for peer in peers[1:]:
                await peer.join([peers[0].address], WAIT_S)
            for value in (b"old", b"new"):
                put = await peers[1].put_record(owner, b"salt", value, 3600.0)
            got = await peers[2].get_record(put.key)
        assert put.copies == 3
        assert got.record is not None and got.record.value == b"new"
        assert isinstance(peers[0].busy, bool)
    finally:
        for peer in peers:
            await peer.close()


@pytest.mark.asyncio
async def test_who_is_let_in_by_nobody_is_told_so() -> None:
    peer, other = (LightweightPeer(Keypair(os.urandom(32)), os.urandom(32)) for _ in range(2))
    try:
        await peer.start()
        await other.start()
        with pytest.raises(Unreachable, match="nobody of 1 let this peer in"):
            await peer.join([other.address], 0.3)  # another swarm's key
    finally:
        await peer.close()
        await other.close()


@pytest.mark.asyncio
async def test_effects_for_drivers_with_more_are_counted_and_a_peer_never_started_can_be_closed() -> None:
    peer = LightweightPeer(Keypair(os.urandom(32)), os.urandom(32))
    await peer.close()
    await peer.start()
    peer._perform([Hangup(peer.keypair.id, "why"), Notify("anything")])
    await peer.close()
    assert peer.counters == {"unused Hangup": 1}
