"""Pinning: blobs that the owner of this node wants to have here, whatever their retention says and whoever else goes.

A section that is here under its owner's deposit is marked; one that is not is brought, under a deposit that the node
signs for itself. The blob's name is needed, with its key: the list of a large blob's sections is sealed.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from p2pcpn import limits
from p2pcpn.errors import DiskFull, P2pcpnError, PeerError, UsageError
from p2pcpn.node.depot import head_of
from p2pcpn.protocol.deposits import Kept
from p2pcpn.wire import manifests
from p2pcpn.wire.chunks import ChunkSeal, blob_id
from p2pcpn.wire.manifests import LIST, BlobName
from p2pcpn.wire.sealing import digest, swarm_proof
from p2pcpn.wire.statements import Deposit, signed

if TYPE_CHECKING:
    from p2pcpn.node.overlay import Overlay

# Each may bring a large blob.
UNDER_WAY_MAX: Final = 16


class Pins:
    """What is pinned here, and what is about to be."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._depot = overlay.depot
        self._under_way: dict[bytes, asyncio.Task[Any]] = {}

    async def pin(self, name: BlobName) -> None:
        """Have a blob here and keep it until :meth:`unpin`.

        Raises :class:`PeerError` where nobody who answers has all of it, :class:`DiskFull` where there is no room.
        """
        names = [name.digest]
        await self._have(name, name.digest)
        names += await self._listed(name)
        for each in names[1:]:
            await self._have(name, each)
        for each in names:
            await self._depot.pin(each)

    async def unpin(self, name: BlobName) -> None:
        """Keep a blob for as long as its deposit says, and what was brought for us alone no longer.

        Raises :class:`UsageError` where it is not pinned here.
        """
        kept = self._depot.ledger.kept.get(name.digest)
        if kept is None or not kept.pinned:
            raise UsageError("that blob is not pinned here")
        for each in [*await self._listed(name), name.digest]:
            section = self._depot.ledger.kept.get(each)
            if section is None or not section.pinned:
                continue
            if section.owner == self._overlay.keypair.public:
                self._depot.drop(each)
            else:
                await self._depot.pin(each, pinned=False)

    def names(self) -> list[bytes]:
        """The digests of the blobs that are pinned here: of their manifests, which name all of each."""
        kept = self._depot.ledger.kept
        return sorted(name for name, section in kept.items() if section.pinned and section.deposit.is_root)

    def asked(self, name: BlobName, *, pinned: bool) -> dict[str, Any]:
        """Begin to (un)pin, or say what has become of it: ``state`` is ``under way``, ``done`` or ``failed``."""
        task = self._under_way.get(name.digest)
        if task is None:
            if len(self._under_way) >= UNDER_WAY_MAX:
                raise UsageError(f"{UNDER_WAY_MAX} blobs are on their way here already; ask again later")
            task = self._overlay.spawn(self._kept_quiet(self.pin(name) if pinned else self.unpin(name)))
            self._under_way[name.digest] = task
        if not task.done():
            return {"state": "under way"}
        del self._under_way[name.digest]
        why = "" if task.cancelled() else task.result()
        return {"state": "failed", "why": why} if why else {"state": "done"}

    @staticmethod
    async def _kept_quiet(work: Any) -> str:
        """What went wrong, in words; empty where nothing did."""
        try:
            await work
        except P2pcpnError as error:
            return str(error) or type(error).__name__
        return ""

    async def _have(self, name: BlobName, section: bytes) -> None:
        """Have one section here whole."""
        depot, ledger = self._depot, self._depot.ledger
        kept = ledger.kept.get(section)
        if kept is not None and kept.whole:
            return
        fresh = kept is None
        if kept is None:
            kept = await self._own(name, section)
            head = head_of(kept)
            await depot.lane.run(lambda: depot.store.begin(section, head))
        try:
            await self._overlay.mender.fill(section)
        except (P2pcpnError, asyncio.CancelledError):
            if fresh and ledger.kept.get(section) is kept:
                depot.drop(section)
            raise

    async def _own(self, name: BlobName, section: bytes) -> Kept:
        """A section that nobody brought here: under a deposit of this node's."""
        overlay, ledger = self._overlay, self._depot.ledger
        found = await overlay.hauler.find(section)
        if found is None:
            raise PeerError(f"no peer that answers has the section {section.hex()[:8]}")
        manifest = found[0]
        data = manifests.CODEC.encode(manifest)
        if digest(data) != section:
            raise PeerError("a manifest is written in another way than it is read")
        deposit = Deposit(
            section, blob_id(name.key), section == name.digest, 0, manifest.size_bytes, int(time.time()),
            limits.RETENTION_S, 1, b"", swarm_proof(overlay.swarm_key, overlay.keypair.public),
        )  # fmt: skip
        kept = Kept(signed(deposit, overlay.keypair), deposit, manifest, data, touched_s=overlay.loop.time())
        room = ledger.room_bytes
        if room is not None and ledger.total_bytes + kept.disk_bytes > room:
            raise DiskFull(f"this node gives {room >> 20} MiB to blobs, and they are taken")
        if section in ledger.kept:  # somebody brings it meanwhile
            return ledger.kept[section]
        ledger.add(kept)
        return kept

    async def _listed(self, name: BlobName) -> list[bytes]:
        """The sections of a blob whose root is here, without the root itself."""
        depot = self._depot
        kept = depot.ledger.kept.get(name.digest)
        if kept is None or not kept.whole or kept.manifest.level != LIST:
            return []
        manifest, opener = kept.manifest, ChunkSeal(name.key, LIST, kept.manifest.part)

        def read() -> bytes:
            ranges = [manifest.sealed_range(index) for index in range(manifest.count)]
            return b"".join(
                opener.open(index, depot.store.read(name.digest, start, size))
                for index, (start, size) in enumerate(ranges)
            )

        packed = await self._overlay.loop.run_in_executor(None, read)
        return [section for section, _ in manifests.unpack_list(packed)]
