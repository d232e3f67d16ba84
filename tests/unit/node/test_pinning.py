"""A node's owner has a blob brought and kept; retention and quota do not end it, unpinning does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.client import putting
from p2pcpn.errors import DiskFull, PeerError, UsageError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.control import ControlServer, ask
from p2pcpn.node.overlay import Overlay
from p2pcpn.wire.manifests import BlobName, parse_name
from tests.unit.node.test_upkeep import world

Start = Callable[..., Awaitable[Overlay]]
OWNER = Keypair(b"\6" * 32)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(putting, "SECTION_CHUNKS", 2)
    monkeypatch.setattr("p2pcpn.node.hauling.MISSING_S", 0.2)


async def put(by: Overlay, chunks: int, replicas: int = 1, **other: Any) -> BlobName:
    data = b"".join(bytes([at]) * limits.CHUNK_BYTES for at in range(chunks))
    return parse_name((await putting.put_blob(by, OWNER, data, replicas=replicas, **other)).name)


@pytest.mark.asyncio
async def test_a_large_blob_is_brought_kept_and_let_go_of(peer: Start) -> None:
    one, two = await world(peer, 2)
    name = await put(one, 3)  # two sections and their list, all on the other one
    assert one.depot.statistics()["whole"] == 0
    await one.pins.pin(name)
    assert (one.depot.statistics()["whole"], one.depot.statistics()["pinned"]) == (3, 3)
    assert len(one.depot.ledger.expired(time.time() + 1e9)) == 0
    await one.pins.pin(name)  # it is there
    two.depot.drop(name.digest)
    await one.upkeep.hand_over()  # what is kept for ourselves is nobody else's
    assert name.digest not in two.depot.ledger.kept and one.counters["sections brought to others"] == 0
    one.depot.leaving = False
    await one.pins.unpin(name)
    assert one.depot.statistics()["sections"] == 0
    with pytest.raises(UsageError, match="not pinned"):
        await one.pins.unpin(name)
    name = await put(one, 3)
    await two.pins.pin(name)  # here under its owner's deposit
    await two.pins.unpin(name)
    assert (two.depot.statistics()["whole"], two.depot.statistics()["pinned"]) == (3, 0)


@pytest.mark.asyncio
async def test_what_is_pinned_outlives_its_retention_and_bothers_nobody(peer: Start) -> None:
    one, two = await world(peer, 2)
    name = await put(one, 1)
    await two.pins.pin(name)
    kept = two.depot.ledger.kept[name.digest]
    kept.deposit = msgspec.structs.replace(kept.deposit, created_s=1.0)
    assert kept.expires_s < time.time()
    two.upkeep.sweep()
    assert name.digest in two.depot.ledger.kept
    await asyncio.sleep(0.6)  # three times what a holder waits before it brings a section to others
    assert two.counters["sections brought to others"] == 0
    assert await one.hauler.find(name.digest) is not None


@pytest.mark.asyncio
async def test_what_cannot_be_had_leaves_nothing_behind(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await world(peer, 2)
    with pytest.raises(PeerError, match="no peer that answers has"):
        await one.pins.pin(BlobName(bytes(32), bytes(32)))
    name = await put(one, 1)
    monkeypatch.setattr(one.depot.ledger, "quota_bytes", 100)
    with pytest.raises(DiskFull, match="they are taken"):
        await one.pins.pin(name)
    monkeypatch.setattr(one.depot.ledger, "quota_bytes", None)

    async def broken(section: bytes) -> None:
        raise PeerError("broken")

    monkeypatch.setattr(one.mender, "fill", broken)
    with pytest.raises(PeerError, match="broken"):
        await one.pins.pin(name)
    assert one.depot.statistics()["sections"] == 0
    with pytest.raises(PeerError, match="the name's key"):
        await two.pins.pin(BlobName((await put(one, 3)).digest, bytes(32)))


@pytest.mark.asyncio
async def test_the_owner_asks_over_the_control_socket(
    peer: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = await world(peer, 2)
    name = await put(one, 1)
    server = ControlServer(one, tmp_path / "c.sock")
    await server.open()

    async def asked(op: str, text: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while (  # noqa: ASYNC110
                found := await asyncio.to_thread(ask, server.path, op, name=text)
            )["state"] == "under way":
                await asyncio.sleep(0.01)
        return found

    try:
        assert await asked("pin", str(name)) == {"state": "done"}
        assert one.depot.ledger.kept[name.digest].pinned
        assert await asyncio.to_thread(ask, server.path, "pins") == {"digests": [name.digest.hex()]}
        assert await asked("unpin", str(name)) == {"state": "done"}
        assert await asked("unpin", str(name)) == {"state": "failed", "why": "that blob is not pinned here"}
        with pytest.raises(UsageError, match="is no name of a blob"):
            await asked("pin", "nonsense")
        monkeypatch.setattr("p2pcpn.node.pinning.UNDER_WAY_MAX", 0)
        with pytest.raises(UsageError, match="on their way here already"):
            await asked("pin", str(name))
    finally:
        await server.close()
