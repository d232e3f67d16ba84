"""Sections travel between real peers on the loopback; liars, the silent and the dead cost a detour."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from p2pcpn.errors import PeerError, Unreachable
from p2pcpn.identity.keys import NodeId
from p2pcpn.node import hauling
from p2pcpn.node.hauling import missing_of, verified_manifest
from p2pcpn.node.lane import Lane
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol.transfer import Placing
from p2pcpn.wire import messages as m
from p2pcpn.wire.sealing import digest
from tests.unit.node.section_world import Made

Start = Callable[..., Awaitable[Overlay]]


async def turns(reached: Callable[[], Any], wait_s: float = 10.0) -> None:
    async with asyncio.timeout(wait_s):
        while not reached():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


class World:
    """Two who keep and one who asks; what came to whom asks."""

    def __init__(self, one: Overlay, two: Overlay, asker: Overlay) -> None:
        self.one, self.two, self.asker = one, two, asker
        self.made = Made(40)
        self.come: dict[int, bytes] = {}
        self.lane = Lane(asker.loop)

    async def deliver(self, to: Overlay, **other: Any) -> None:
        made = self.made
        await self.asker.hauler.deliver(
            to.peer.contact, made.deposit(), made.data, made.manifest, made.name, made.chunks.__getitem__, **other
        )

    def take(self, index: int, sealed: Any) -> None:
        if digest(sealed) != self.made.manifest.chunk(index):
            raise PeerError("wrong")
        self.come[index] = bytes(sealed)

    async def bring(self, had: list[int] | None = None, more: Any = None) -> None:
        more = more or (lambda: [self.one.peer.contact, self.two.peer.contact])  # who was slow to say that it has it
        found = await self.asker.hauler.seek(self.made.name, [self.one.peer.contact, self.two.peer.contact])
        manifest = verified_manifest(self.made.name, found) or self.made.manifest
        await self.asker.hauler.bring(self.made.name, manifest, found, had or [], self.take, self.lane, more=more)


@pytest_asyncio.fixture
async def world(peer: Start) -> World:
    one = await peer()
    two = await peer(one)
    asker = await peer(one, two, roles=())
    await turns(lambda: len(asker.hauler.storage_near(bytes(32))) == 2)
    return World(one, two, asker)


@pytest.mark.asyncio
async def test_a_section_is_delivered_found_and_brought_from_both(world: World) -> None:
    sent: list[int] = []
    await world.deliver(world.one, sent=sent.append)
    await world.deliver(world.two)
    await world.deliver(world.two)  # it is there
    assert sorted(sent) == list(range(40)) and world.asker.hauler.chunks_out == 80
    found = await world.asker.hauler.find(world.made.name)
    assert found is not None and found[0] == world.made.manifest and len(found[1]) == 2
    await world.bring(had=[0, 1])
    assert sorted(world.come) == list(range(2, 40))
    assert all(world.come[index] == world.made.chunks[index] for index in world.come)
    assert await world.asker.hauler.find(bytes(32)) is None


@pytest.mark.asyncio
async def test_only_missing_chunks_are_sent(world: World) -> None:
    made = world.made
    await world.asker.request(world.one.peer.contact, lambda number: m.Keep(number, made.deposit(), made.data, []))
    box = world.asker.sessions.outbox(world.one.id)
    assert box is not None
    for index in range(30):
        box.say(made.put(index))
    await turns(lambda: len(world.one.depot.ledger.kept[made.name].here) == 30)
    sent: list[int] = []
    await world.deliver(world.one, sent=sent.append)
    assert world.asker.hauler.chunks_out == 10 and sorted(sent) == list(range(40))


@pytest.mark.asyncio
async def test_a_liar_is_found_out_and_the_other_gives_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.deliver(world.one)
    await world.deliver(world.two)
    read = world.one.depot.store.read
    monkeypatch.setattr(world.one.depot.store, "read", lambda *place: bytes(len(read(*place))))
    await world.bring()
    assert world.come == dict(enumerate(world.made.chunks))
    contacts = [each.peer.contact for each in (world.one, world.two)]
    shown = [await world.asker.hauler.proves(each, world.made.name, world.made.manifest, 3) for each in contacts]
    assert shown == [False, True]


@pytest.mark.asyncio
async def test_who_has_lost_chunks_says_so_and_what_nobody_has_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hauling, "MISSING_S", 0.2)
    monkeypatch.setattr(hauling, "SEEK_AGAIN_S", 0.02)
    await world.deliver(world.one)
    world.one.depot.ledger.kept[world.made.name].whole = False
    world.one.depot.ledger.kept[world.made.name].here = set(range(20))
    with pytest.raises(PeerError, match=r"20 chunks .* are with no peer that answers"):
        await world.bring(more=lambda: [world.two.peer.contact])
    assert sorted(world.come) == list(range(20))
    await world.deliver(world.two)
    await world.bring(had=list(world.come), more=lambda: [world.two.peer.contact])
    assert world.come == dict(enumerate(world.made.chunks))


@pytest.mark.asyncio
async def test_a_holder_that_ends_is_left_out(world: World) -> None:
    await world.deliver(world.one)
    await world.deliver(world.two)
    found = await world.asker.hauler.seek(world.made.name, [world.one.peer.contact, world.two.peer.contact])
    await world.one.close()
    await world.asker.hauler.bring(
        world.made.name, world.made.manifest, found, [], world.take, world.lane, more=lambda: ()
    )
    assert world.come == dict(enumerate(world.made.chunks))
    assert await world.asker.hauler.seek(world.made.name, [world.one.peer.contact]) == []
    with pytest.raises(Unreachable):
        await world.deliver(world.one)


@pytest.mark.asyncio
async def test_what_was_not_written_when_a_get_is_given_up_holds_its_session_up_no_longer(world: World) -> None:
    await world.deliver(world.one)
    begun, go_on = threading.Event(), threading.Event()

    def take(index: int, sealed: Any) -> None:
        begun.set()
        go_on.wait(10.0)

    world.take = take  # type: ignore[method-assign]
    bringing = asyncio.ensure_future(world.bring())
    assert await asyncio.to_thread(begun.wait, 10.0)
    box = world.asker.sessions.outbox(NodeId(world.one.id))
    assert box is not None
    await turns(lambda: world.lane.waiting_bytes >= 8 * 4096)
    bringing.cancel()
    await asyncio.gather(bringing, return_exceptions=True)
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    await world.lane.close()
    await asyncio.sleep(0)
    assert box.session._held_bytes == 0


@pytest.mark.asyncio
async def test_a_disk_that_refuses_here_ends_it(world: World) -> None:
    await world.deliver(world.one)

    def take(index: int, sealed: Any) -> None:
        raise OSError("no space left")

    world.take = take  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no space left"):
        await world.bring()


@pytest.mark.asyncio
async def test_a_section_is_placed_with_the_next_where_one_refuses(world: World) -> None:
    made = world.made
    world.one.depot.leaving = True
    placing = Placing([world.one.peer.contact, world.two.peer.contact], 1)
    await world.asker.hauler.place(
        placing, made.deposit(), made.data, made.manifest, made.name, made.chunks.__getitem__
    )
    assert placing.holders == [world.two.peer.contact] and "is leaving" in placing.refusals[0]
    again = Placing([world.one.peer.contact], 1)
    world.one.depot.leaving = False

    def chunk(index: int) -> bytes:
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="is gone"):
        await world.asker.hauler.place(again, made.deposit(), made.data, made.manifest, made.name, chunk)


@pytest.mark.asyncio
async def test_wrong_chunks_are_sent_once_more_and_then_given_up(world: World) -> None:
    made = world.made
    with pytest.raises(PeerError, match="did not come, or were wrong"):
        await world.asker.hauler.deliver(
            world.one.peer.contact, made.deposit(), made.data, made.manifest, made.name,
            lambda index: bytes(len(made.chunks[index])),
        )  # fmt: skip
    assert world.asker.hauler.chunks_out == 80


def test_bits_say_which_chunks_are_missing() -> None:
    assert missing_of(b"\5", 4) == [1, 3] and missing_of(b"", 2) == [0, 1] and missing_of(b"\xff", 8) == []
    wrong = m.Holding(1, True, b"", b"wrong", [])
    assert verified_manifest(Made().name, [(None, wrong)]) is None  # type: ignore[list-item]
