"""A node announces what it keeps, restores what others lost, lets go of what is too many, and hands over at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from p2pcpn.errors import PeerError, StoreError
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol import tending as t
from tests.unit.node.section_world import Made

Start = Callable[..., Awaitable[Overlay]]
FAST = t.Pace(check_s=0.1, wait_s=0.2, hope_s=0.5)


async def turns(reached: Callable[[], Any], wait_s: float = 20.0) -> None:
    async with asyncio.timeout(wait_s):
        while not reached():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def keeps(overlay: Overlay, made: Made) -> bool:
    kept = overlay.depot.ledger.kept.get(made.name)
    return kept is not None and kept.whole


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.node.overlay.LOCAL", FAST)


async def world(peer: Start, count: int) -> list[Overlay]:
    peers = [await peer()]
    for _ in range(count - 1):
        peers.append(await peer(*peers))
    for each in peers:
        await turns(lambda each=each: len(each.hauler.storage_near(bytes(32))) == count - 1)  # type: ignore[misc]
    return peers


async def deliver(by: Overlay, to: Overlay, made: Made, **other: Any) -> None:
    await by.hauler.deliver(
        to.peer.contact, made.deposit(**other), made.data, made.manifest, made.name, made.chunks.__getitem__
    )


@pytest.mark.asyncio
async def test_a_lone_holder_brings_it_to_another_and_says_so_in_the_dht(peer: Start) -> None:
    one, two, three = await world(peer, 3)
    made = Made()
    await deliver(three, one, made)
    await turns(lambda: sum(keeps(each, made) for each in (one, two, three)) == 2)
    await turns(lambda: one.counters["sections brought to others"] == 1)
    async with asyncio.timeout(20):
        while len(await three.hauler.providers(made.name)) + keeps(three, made) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.asyncio
async def test_a_replica_too_many_is_let_go_of_where_the_others_show_that_they_have_it(peer: Start) -> None:
    peers = await world(peer, 3)
    made = Made()
    for at, each in enumerate(peers):
        await deliver(peers[at - 1], each, made)
    await turns(lambda: sum(keeps(each, made) for each in peers) == 2)
    assert sum(each.counters["sections released"] for each in peers) == 1
    await asyncio.sleep(0.5)
    assert sum(keeps(each, made) for each in peers) == 2


@pytest.mark.asyncio
async def test_who_only_says_that_it_has_the_bytes_is_not_believed(
    peer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await world(peer, 2)
    made = Made()
    await deliver(two, one, made, replicas=1)
    await deliver(one, two, made, replicas=1)

    def gone(*_: object) -> bytes:
        raise StoreError("unreadable")

    near, far = sorted((one, two), key=lambda each: t.distance(each.id, made.name[:20]))
    monkeypatch.setattr(near.depot.store, "read", gone)
    monkeypatch.setattr("p2pcpn.node.hauling.SEEK_WAIT_S", 0.2)
    await asyncio.sleep(1.0)
    assert keeps(far, made) and far.counters["sections released"] == 0


@pytest.mark.asyncio
async def test_one_that_only_says_it_has_a_section_keeps_nobody_from_restoring_its_replicas(peer: Start) -> None:
    one, two, three = await world(peer, 3)
    made = Made()
    await deliver(three, one, made)
    one.upkeep._machine.confirmed(two.peer.contact, [made.name], one.loop.time())
    one.upkeep._wake.set()
    await turns(lambda: one.counters["sections brought to others"] == 1)
    await turns(lambda: sum(keeps(each, made) for each in (one, two, three)) == 2)


@pytest.mark.asyncio
async def test_what_could_not_be_said_in_the_dht_is_said_later(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await world(peer, 2)
    made, provide = Made(), one.provide

    async def refused(*_: object) -> None:
        raise PeerError("nobody keeps it")

    monkeypatch.setattr(one, "provide", refused)
    await deliver(two, one, made, replicas=1)
    await turns(lambda: one.counters["sections not announced"] == 1)
    monkeypatch.setattr(one, "provide", provide)
    one.upkeep.sweep()
    await turns(lambda: made.name in one.upkeep._provided)
    one.depot.drop(made.name)
    await turns(lambda: made.name not in one.upkeep._provided)


@pytest.mark.asyncio
async def test_a_damaged_section_is_brought_to_nobody_and_whole_no_more(
    peer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await world(peer, 2)
    made = Made()
    monkeypatch.setattr(one.depot.store, "read", lambda name, start, size: bytes(size))
    await deliver(two, one, made)
    await turns(lambda: one.counters["sections damaged"] == 1)
    await turns(lambda: not keeps(one, made))  # once all of its chunks were looked at
    assert not keeps(two, made)


@pytest.mark.asyncio
async def test_a_section_that_cannot_be_read_holds_nothing_up(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await world(peer, 2)
    made = Made()

    def gone(name: bytes, start: int, size: int) -> bytes:
        raise StoreError("the section is not here")

    monkeypatch.setattr(one.depot.store, "read", gone)
    await deliver(two, one, made)
    await turns(lambda: one.counters["sections damaged"] == 1)
    assert not keeps(two, made)


@pytest.mark.asyncio
async def test_who_leaves_hands_over_what_would_be_short_and_takes_nothing_more(peer: Start) -> None:
    one, two = await world(peer, 2)
    made = Made()
    await deliver(two, one, made, replicas=1)
    await one.upkeep.hand_over()
    assert keeps(two, made) and one.depot.leaving
    await two.upkeep.hand_over(0.001)  # there is nobody; it ends all the same
