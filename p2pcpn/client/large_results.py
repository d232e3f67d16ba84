"""Large results: opened and unpickled in a thread, one at a time, in the order in which they came.

200 MB take half a second to open and load. The event loop's thread serves sessions, timers and every other result
meanwhile; what is opened lies in memory twice for a moment, so there is one of them at a time.
"""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Callable
from typing import Any, Final

from p2pcpn.errors import PeerError
from p2pcpn.node.overlay import Overlay
from p2pcpn.wire.codec import Buffer
from p2pcpn.wire.sealing import TAG_BYTES, unseal_into
from p2pcpn.wire.statements import BlobRef

# Opening so much takes a millisecond or two: as long as handing it to a thread and back is worth.
AT_ONCE_BYTES: Final = 4 << 20


class LargeResults:
    """Opens the large results of one job."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._turn = asyncio.Lock()  # whoever asked first is first

    async def load(self, ref: BlobRef, worker: bytes, load: Callable[[Any], Any]) -> Any:
        """``load`` of the buffer with what ``ref`` names, in a thread: what it returns.

        Raises what it raises, and :class:`PeerError` where the blob is neither here nor with the node ``worker``.
        """
        overlay = self._overlay
        if overlay.shelf.has(ref.digest):
            read: Callable[[], Buffer | None] = overlay.shelf.reading(ref.digest)
        else:
            read = await self._fetched(ref, worker)
        async with self._turn:
            return await overlay.loop.run_in_executor(None, opened, read, ref, load)

    async def _fetched(self, ref: BlobRef, worker: bytes) -> Callable[[], Buffer]:
        listed = self._overlay.peer.directory.get(worker)
        holders = [listed.advert.contact] if listed is not None else []
        data = await self._overlay.library.fetch_blob(ref.digest, holders, ref.size_bytes)
        return lambda: data


def opened(read: Callable[[], Buffer | None], ref: BlobRef, load: Callable[[Any], Any]) -> Any:
    """``load`` of what the sealed bytes hold that ``read`` gives. Raises :class:`PeerError` where there are none."""
    sealed = read()
    if sealed is None:
        raise PeerError(f"the blob {ref.digest.hex()[:8]} is not here any more")
    size_bytes = len(sealed) - TAG_BYTES
    if size_bytes <= 0:
        raise PeerError("a sealed blob is shorter than any seal")
    # Fresh memory is first touched while it is filled, and the interpreter's lock is free then.
    with mmap.mmap(-1, size_bytes) as plain, memoryview(plain) as view:
        unseal_into(ref.key, 0, sealed, view)
        del sealed
        return load(view)
