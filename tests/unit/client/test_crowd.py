"""A crowd is up when all have joined and are at rest, and gone with its block."""

from __future__ import annotations

import asyncio
import os
import resource

import pytest

from p2pcpn.client import crowd as module
from p2pcpn.client.crowd import Crowd
from p2pcpn.identity.keys import Keypair

WAIT_S = 40.0


@pytest.mark.asyncio
async def test_all_of_a_crowd_know_their_neighbours_and_find_what_any_of_them_put() -> None:
    async with asyncio.timeout(WAIT_S), Crowd(12) as crowd:
        assert 0 < crowd.joined_s <= crowd.settled_s
        assert not any(peer.busy for peer in crowd.peers)
        owner = Keypair(os.urandom(32))
        put = await crowd.peers[3].put_record(owner, b"salt", b"value", 60.0)
        got = [await peer.get_record(put.key) for peer in crowd.peers]
        assert all(it.record is not None and it.record.value == b"value" for it in got)
        await crowd.close(crowd.peers[:2])
        assert (await crowd.peers[-1].get_record(put.key)).record is not None


@pytest.mark.asyncio
async def test_a_crowd_that_cannot_join_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOIN_S", 0.0)
    crowd = Crowd(3)
    with pytest.raises(Exception, match="let this peer in"):
        await crowd.__aenter__()
    assert all(peer.udp._stream is None for peer in crowd.peers if hasattr(peer, "udp"))


def test_files_are_asked_of_the_system_only_where_there_are_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, 500))
    monkeypatch.setattr(resource, "setrlimit", lambda which, wanted: asked.append(wanted))
    module._allow_files(100)
    module._allow_files(400)
    module._allow_files(900)
    assert asked == [(400, 500), (500, 500)]
