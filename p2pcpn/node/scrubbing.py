"""Scrubbing: after a start the blobs found on disk are proved one after the other, slowly, in a thread.

A peer that was killed between a blob's file and its row has a file that nothing would ever end; it gets a row here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Final

from p2pcpn import limits
from p2pcpn.errors import StoreError
from p2pcpn.protocol.effects import Write
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database

log = logging.getLogger("p2pcpn.node")

# A start is when a peer has most to do: 20 GiB take seven minutes at this, and a disk of 100 MB/s is half free.
BYTES_PER_S: Final = 50 << 20
LEAST_PAUSE_S: Final = 0.001


async def scrub(store: BlobStore, database: Database, counters: Counter[str]) -> None:
    """Prove every blob that was here before this start. A disk that refuses is counted, and the next one's turn."""
    loop = asyncio.get_running_loop()
    for digest in store.unproved():
        size = 0
        try:
            size = store.size(digest) or 0
            whole = await loop.run_in_executor(None, lambda digest=digest: _look(store, database, digest))  # type: ignore[misc]
            if not whole:
                counters["blobs damaged"] += 1
        except StoreError as error:
            counters["disk refused"] += 1
            log.error("%s", error)
        await asyncio.sleep(max(LEAST_PAUSE_S, size / BYTES_PER_S))


def _look(store: BlobStore, database: Database, digest: bytes) -> bool:
    """Whether the blob is whole, or gone since; with a row it ends some day."""
    size = store.size(digest)
    if size is None:
        return True
    if not store.prove(digest):
        return False
    if database.get("blobs", (digest,)) is None:
        # Whoever brought it may have been told that it is kept for as long as can be.
        until = time.time() + limits.RETENTION_S_MAX
        database.commit((Write("blobs", (digest,), (size, b"", until)),))
    return True
