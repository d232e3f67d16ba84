"""Chores: what a node does now and then for itself: remember whom it knows, drop from disk what has expired."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

from p2pcpn.errors import StoreError
from p2pcpn.node.meeting import save_contacts
from p2pcpn.node.shelf import Shelf
from p2pcpn.store.database import Database
from p2pcpn.wire.addresses import Contact

log = logging.getLogger("p2pcpn.node")

SAVE_PEERS_S = 60.0
SWEEP_S = 300.0


async def save_peers(
    database: Database, contacts: Callable[[], Sequence[Contact]], every_s: float = SAVE_PEERS_S
) -> None:
    """Remember the peers of the table, for ever."""
    while True:
        await asyncio.sleep(every_s)
        save_contacts(database, contacts())


async def sweep(database: Database, shelf: Shelf, counters: Counter[str], every_s: float = SWEEP_S) -> None:
    """Drop from disk what has expired, for ever. A disk that refuses is asked again."""

    def drop() -> None:
        now = time.time()
        # The files first: on a full disk they make the room that deleting rows takes, and a crash in between leaves
        # rows without files, which the next sweep drops, not files that no row would ever end.
        for digest in database.expired("blobs", now):
            shelf.forget(digest)
        for digest in database.drop_expired(now).blobs:
            shelf.forget(digest)  # a row that was still on its way when they were looked for

    while True:
        await asyncio.sleep(every_s)
        try:
            await asyncio.get_running_loop().run_in_executor(None, drop)
        except StoreError as error:
            counters["disk refused"] += 1
            log.error("what has expired is still on disk: %s", error)
