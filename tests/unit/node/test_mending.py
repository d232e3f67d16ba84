"""What a disk lost comes back from others; what nobody has is not offered; all is read again now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from p2pcpn.errors import PeerError, StoreError
from p2pcpn.node.overlay import Overlay
from p2pcpn.store.sections import DATA
from tests.unit.node.section_world import Made
from tests.unit.node.test_upkeep import deliver, keeps, turns, world

Start = Callable[..., Awaitable[Overlay]]


def spoil(overlay: Overlay, made: Made, *indices: int) -> None:
    """Turn a bit of each of these chunks."""
    path = overlay.depot.store._path(made.name, DATA)
    data = bytearray(path.read_bytes())
    for index in indices:
        data[made.manifest.sealed_range(index)[0] + 7] ^= 1
    path.write_bytes(data)


async def two_holders(peer: Start, **other: object) -> tuple[Overlay, Overlay, Made]:
    one, two = await world(peer, 2)
    made = Made()
    await deliver(two, one, made, **other)
    await deliver(one, two, made, **other)
    return one, two, made


@pytest.mark.asyncio
async def test_a_damaged_chunk_is_fetched_from_another_holder(peer: Start) -> None:
    one, _, made = await two_holders(peer)
    spoil(one, made, 1, 3)
    changed: list[bool] = []
    before = one.depot.changed

    def on_changed(name: bytes) -> None:
        changed.append(keeps(one, made))
        before(name)

    one.depot.changed = on_changed
    fetched = one.hauler.chunks_in
    await one.mender.look(made.name)
    assert keeps(one, made) and changed == [False, True]  # the provider record goes, and comes back
    assert one.counters["chunks damaged"] == 2 and one.counters["sections mended"] == 1
    assert one.hauler.chunks_in == fetched + 2
    assert one.depot.store.wrong(made.name, made.manifest, 0, 5) == []
    await one.mender.look(made.name)
    await one.mender.look(bytes(32))
    assert one.counters["sections mended"] == 1


@pytest.mark.asyncio
async def test_what_nobody_has_is_offered_no_more_and_the_rest_stays(
    peer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pcpn.node.hauling.MISSING_S", 0.2)
    one, two, made = await two_holders(peer)
    spoil(one, made, 2)
    spoil(two, made, 2, 4)
    await two.mender.look(made.name)  # chunk 4 comes; of chunk 2 the one who has it does not know yet
    assert not keeps(two, made) and two.depot.ledger.kept[made.name].here == {0, 1, 3, 4}
    one.mender.doubted(made.name)
    await turns(lambda: one.counters["chunks damaged"] == 1)
    one.mender.doubted(made.name)  # it is under way
    await turns(lambda: not one.mender._mending)
    assert not keeps(one, made) and one.depot.ledger.kept[made.name].here == {0, 1, 3, 4}
    with pytest.raises(PeerError, match="no peer"):
        await one.mender.fill(made.name)


@pytest.mark.asyncio
async def test_everything_is_looked_at_again_and_again_and_what_is_pinned_is_filled(
    peer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _, made = await two_holders(peer)
    spoil(one, made, 0)
    one.depot.ledger.kept[made.name].pinned = True
    hauler, find = one.hauler, one.hauler.find
    nobody = asyncio.Event()

    async def no_one(name: bytes) -> None:
        nobody.set()

    monkeypatch.setattr(hauler, "find", no_one)
    monkeypatch.setattr("p2pcpn.node.mending.ROUND_S", 0.02)
    one.spawn(one.mender.run())
    async with asyncio.timeout(20):
        await nobody.wait()
    assert not keeps(one, made)
    monkeypatch.setattr(hauler, "find", find)
    await turns(lambda: keeps(one, made))
    assert one.depot.store.wrong(made.name, made.manifest, 0, 5) == []


@pytest.mark.asyncio
async def test_a_section_that_goes_meanwhile_is_not_filled(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, made = await two_holders(peer)
    spoil(one, made, 0)
    await one.depot.damaged(made.name, [0])
    bring = one.hauler.bring

    async def and_drop(*args: object, **other: object) -> None:
        await bring(*args, **other)  # type: ignore[arg-type]
        one.depot.drop(made.name)

    monkeypatch.setattr(one.hauler, "bring", and_drop)
    with pytest.raises(StoreError, match="not to be kept"):
        await one.mender.fill(made.name)
    assert not keeps(one, made) and keeps(two, made)
