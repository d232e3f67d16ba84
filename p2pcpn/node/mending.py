"""Mending: sections that are to be here whole and are not: read again slowly, and made whole from others' copies.

A disk loses bytes in silence. Every section is read once a day, chunk by chunk; one that lacks chunks is unfinished
again, so that nobody is offered them, its provider record is withdrawn, and what is missing is asked of other holders.
Where nobody has it the rest stays for an hour, in case somebody comes back, and for ever where it is pinned.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from p2pcpn.errors import P2pcpnError, PeerError, StoreError
from p2pcpn.wire.codec import Buffer
from p2pcpn.wire.sealing import digest

if TYPE_CHECKING:
    from p2pcpn.node.overlay import Overlay

log = logging.getLogger("p2pcpn.node")

# 20 GiB take a quarter of an hour, and 0.4 % of a processor.
BYTES_PER_S: Final = 24 << 20
ROUND_S: Final = 86400.0
# In one go of a thread: 4 MiB of full chunks.
CHUNKS_AT_ONCE: Final = 16


class Mender:
    """See the module. One of a node."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._depot = overlay.depot
        self._mending: set[bytes] = set()

    async def run(self) -> None:
        """Look at everything, again and again."""
        while True:
            for name in sorted(self._depot.ledger.kept):
                await self.look(name)
            await asyncio.sleep(ROUND_S)

    def doubted(self, name: bytes) -> None:
        """Something of a section was not as it should be: look at it now."""
        if name not in self._mending:
            self._overlay.spawn(self.look(name, bytes_per_s=None))

    async def look(self, name: bytes, *, bytes_per_s: float | None = BYTES_PER_S) -> None:
        """Read a whole section, slowly, and mend what is wrong with it."""
        kept = self._depot.ledger.kept.get(name)
        if kept is None or name in self._mending:
            return
        self._mending.add(name)
        try:
            wrong: list[int] = []
            for first in range(0, kept.manifest.count if kept.whole else 0, CHUNKS_AT_ONCE):
                wrong += await self._overlay.loop.run_in_executor(
                    None, self._depot.store.wrong, name, kept.manifest, first, CHUNKS_AT_ONCE
                )
                if self._depot.ledger.kept.get(name) is not kept or not kept.whole:
                    return
                if bytes_per_s is not None:
                    await asyncio.sleep(CHUNKS_AT_ONCE * kept.manifest.chunk_bytes / bytes_per_s)
            if wrong:
                self._overlay.counters["chunks damaged"] += len(wrong)
                log.error("section %s: %d of its chunks are damaged; check that disk", name.hex()[:8], len(wrong))
                await self._depot.damaged(name, wrong)
            if not kept.whole and (wrong or kept.pinned):
                await self.fill(name)
                self._overlay.counters["sections mended"] += 1
        except P2pcpnError as error:
            log.error("section %s is not whole: %s", name.hex()[:8], error)
        finally:
            self._mending.discard(name)

    async def fill(self, name: bytes) -> None:
        """Bring here what a section that is kept lacks.

        Raises :class:`PeerError` where nobody who answers has it, :class:`StoreError` where the disk refuses.
        """
        depot, hauler = self._depot, self._overlay.hauler
        kept = depot.ledger.kept[name]
        found = await hauler.find(name)
        if found is None:
            raise PeerError(f"no peer that answers has the section {name.hex()[:8]}")

        def take(index: int, sealed: Buffer) -> None:
            if digest(sealed) != kept.manifest.chunk(index):
                raise PeerError("a chunk is not the one that its manifest names")
            depot.store.write(name, kept.manifest.sealed_range(index)[0], sealed)

        def came(index: int) -> None:
            if depot.ledger.kept.get(name) is kept and not kept.whole:
                depot.ledger.came(name, index, self._overlay.loop.time())

        await hauler.bring(
            name, kept.manifest, found[1], sorted(kept.here), take, depot.lane,
            more=lambda: hauler.storage_near(name), kept=came,
        )  # fmt: skip
        if depot.ledger.kept.get(name) is not kept:
            raise StoreError(f"the section {name.hex()[:8]} is not to be kept any more")
        await depot.finish(name)
