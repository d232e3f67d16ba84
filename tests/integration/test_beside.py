"""Two peers of one machine, each a process: blobs go beside their session, or within it, and no lie becomes a blob."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from p2pcpn import limits
from p2pcpn.config import Config
from p2pcpn.errors import PeerError
from p2pcpn.net import beside
from p2pcpn.node.overlay import Overlay
from p2pcpn.wire.addresses import Contact, contact, parse_address
from p2pcpn.wire.sealing import digest
from tests.integration.beside_program import BLOB_BYTES, BLOBS, KEY, blob

PROGRAM = Path(__file__).with_name("beside_program.py")
pytestmark = [
    pytest.mark.skipif(not beside.possible(), reason="this system has no sealed memory"),
    pytest.mark.timeout(120),
]


class Other:
    """The process of the other peer."""

    def __init__(self, process: asyncio.subprocess.Process, where: Contact) -> None:
        self.process = process
        self.contact = where


@pytest_asyncio.fixture
async def other() -> AsyncIterator[Callable[[str], Awaitable[Other]]]:
    """Starts the other peer: ``await other(way)``."""
    started: list[asyncio.subprocess.Process] = []

    async def start(way: str) -> Other:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), way, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(30):
            address, name = (await process.stdout.readline()).decode().split()
        return Other(process, contact(bytes.fromhex(name), parse_address(address)))

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest_asyncio.fixture
async def me() -> AsyncIterator[Overlay]:
    async with Overlay(Config(listen="127.0.0.1:0", swarm_key=KEY, roles=["storage"], cpus=1, durable=False)) as me:
        yield me


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def fetched(me: Overlay, other: Other, number: int) -> bytes:
    return bytes(await me.library.fetch_blob(digest(blob(number)), [other.contact], BLOB_BYTES))


async def all_come(me: Overlay, other: Other) -> None:
    for number in range(BLOBS):
        assert await asyncio.wait_for(fetched(me, other, number), 20) == blob(number)


async def parted(me: Overlay, other: Other) -> None:
    """Wait until the session with the other has ended."""
    async with asyncio.timeout(20):
        while me.server.sessions:  # noqa: ASYNC110 - the node tells nobody
            await asyncio.sleep(0.01)


async def released(me: Overlay, before: int) -> None:
    """Wait until no ring is left, and no more descriptors than there were ``before``."""
    async with asyncio.timeout(20):
        while me.rings.statistics() != {"giving": 0, "taking": 0} or descriptors() > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_blobs_come_beside_the_session_and_nothing_is_left_when_it_ends(
    me: Overlay, other: Callable[[str], Awaitable[Other]]
) -> None:
    peer = await other("honest")
    before = descriptors()
    await all_come(me, peer)
    await all_come(me, peer)
    assert me.counters["rings taken"] == 1
    assert me.counters["bytes beside"] > BLOBS * BLOB_BYTES  # all but the first
    peer.process.kill()
    await parted(me, peer)
    await released(me, before)


@pytest.mark.asyncio
async def test_a_peer_that_is_killed_while_it_gives_leaves_nothing_and_stops_nothing(
    me: Overlay, other: Callable[[str], Awaitable[Other]]
) -> None:
    before = descriptors()
    peer = await other("honest")
    await all_come(me, peer)
    asked = [asyncio.ensure_future(fetched(me, peer, number)) for number in list(range(BLOBS)) * 8]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    peer.process.kill()
    ends = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
    assert {type(end) for end in ends} <= {bytes, PeerError}
    await parted(me, peer)
    await peer.process.wait()
    assert me.rings.statistics() == {"giving": 0, "taking": 0}
    again = await other("honest")
    await all_come(me, again)
    assert me.counters["rings taken"] == 2
    again.process.kill()
    await parted(me, again)
    await again.process.wait()
    assert descriptors() <= before + 4  # what asyncio keeps of the two processes until their pipes are collected


@pytest.mark.asyncio
@pytest.mark.parametrize("why", ["impossible", "another user", "not the loopback"])
async def test_where_nothing_can_be_shared_blobs_come_within_the_session(
    why: str, me: Overlay, other: Callable[[str], Awaitable[Other]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "another user":
        user = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: user + 1)
    elif why == "not the loopback":
        monkeypatch.setattr(beside, "near", lambda address: False)
    peer = await other("impossible" if why == "impossible" else "honest")
    await all_come(me, peer)
    await all_come(me, peer)
    assert me.counters["bytes beside"] == 0
    assert me.counters["rings refused"] == (why == "another user")
    assert me.rings.statistics() == {"giving": 0, "taking": 0}


@pytest.mark.asyncio
async def test_bytes_that_were_changed_in_the_ring_are_no_blob(
    me: Overlay, other: Callable[[str], Awaitable[Other]]
) -> None:
    peer = await other("lies")
    lied = 0
    for number in [*range(BLOBS), *range(BLOBS)]:
        try:
            assert await asyncio.wait_for(fetched(me, peer, number), 20) == blob(number)
        except PeerError:
            lied += 1
    assert lied >= BLOBS
    assert me.counters["bytes beside"] == lied * BLOB_BYTES


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["unsealed", "short", "flood"])
async def test_what_is_no_ring_is_not_taken_and_a_part_in_it_ends_the_session(
    way: str, me: Overlay, other: Callable[[str], Awaitable[Other]]
) -> None:
    peer = await other(way)
    before = descriptors()
    ends = [await asyncio.gather(fetched(me, peer, number), return_exceptions=True) for number in range(BLOBS)]
    assert any(isinstance(end, PeerError) for (end,) in ends)
    assert all(end == blob(number) for number, (end,) in enumerate(ends) if isinstance(end, bytes))
    assert me.counters["bytes beside"] == 0 and me.counters["rings refused"]
    peer.process.kill()
    await parted(me, peer)
    await released(me, before)
    assert limits.RING_PLACE_DATAGRAMS_MAX < 100
