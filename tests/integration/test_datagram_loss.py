"""One datagram in ten is lost on the way out of every peer: jobs end, and every record is found."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from p2pcpn import Config
from p2pcpn.client.swarm import Swarm
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Faults, Overlay
from p2pcpn.protocol.items import record_key

LOSS = 0.1
PEERS = 8
RECORDS = 50
WAIT_S = 60.0


def square(number: int) -> int:
    return number * number


def test_a_job_of_three_hundred_tasks_completes() -> None:
    with Swarm(peers=4, datagram_loss=LOSS) as swarm, swarm.executor() as executor:
        began = time.monotonic()
        assert list(executor.map(square, range(300), timeout=WAIT_S)) == [number * number for number in range(300)]
        print(f"\n300 of 300 tasks at {LOSS:.0%} loss in {time.monotonic() - began:.2f} s")


@asynccontextmanager
async def lossy_peers(count: int) -> AsyncIterator[list[Overlay]]:
    """Storage peers that know each other, each losing its share."""
    key = os.urandom(32)
    async with AsyncExitStack() as stack:
        peers: list[Overlay] = []
        for _ in range(count):
            bootstrap = [f"127.0.0.1:{peer.address[1]}" for peer in peers[:2]]
            config = Config(profile="local", bootstrap=bootstrap, swarm_key=key, roles=("storage",), durable=False)
            peers.append(await stack.enter_async_context(Overlay(config, faults=Faults(datagram_loss=LOSS))))
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*(peer.joined.wait() for peer in peers))
            while any(len(peer.peer.dht.table.contacts()) < count - 1 for peer in peers):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        yield peers


@pytest.mark.asyncio
async def test_fifty_of_fifty_records_are_found() -> None:
    """Put by some peers, read by others."""
    async with lossy_peers(PEERS) as peers:
        owner = Keypair(os.urandom(32))
        async with asyncio.timeout(WAIT_S):
            stored = await asyncio.gather(
                *(
                    peers[number % 4].put_record(owner, b"%d" % number, b"value %d" % number, 3600.0)
                    for number in range(RECORDS)
                )
            )
            began = time.monotonic()
            found = await asyncio.gather(
                *(
                    peers[4 + number % 4].get_record(record_key(owner.public, b"%d" % number))
                    for number in range(RECORDS)
                )
            )
            took_s = time.monotonic() - began
        values = [None if got.record is None else got.record.value for got in found]
        lost = sum(peer.udp.statistics().get("dropped_loss", 0) for peer in peers)
        print(
            f"\n{RECORDS - values.count(None)} of {RECORDS} records found in {took_s:.2f} s; {lost} datagrams were lost"
        )
        assert lost > 0 and all(put.holders for put in stored)
        assert values == [b"value %d" % number for number in range(RECORDS)]
