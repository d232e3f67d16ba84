"""Scattered values: placed ahead once, named by any number of calls, loaded once by each worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pickle import PickleBuffer
from typing import Any, Generic, TypeVar

from p2pcpn.client.arguments import Arguments, Placed
from p2pcpn.client.cutting import Blob
from p2pcpn.node.shelf import Shelf
from p2pcpn.runtime.function.parts import as_scattered

T = TypeVar("T")


class Scattered(Generic[T]):
    """Stands for a value that :meth:`Executor.scatter` placed: as an argument, alone or inside containers, a task finds
    that value in its place. ``size_bytes`` is what travels to each peer.

    Tasks of one worker process share the object: treat it as read-only (its arrays are). It belongs to the executor
    that made it and lives as long; any other refuses it with :class:`~p2pcpn.errors.UsageError`, as every executor
    does a function that closes over one.
    """

    __slots__ = ("_blobs", "_owner", "size_bytes")

    def __init__(self, owner: Arguments, blobs: Sequence[Blob]) -> None:
        self._owner = owner
        # Their bytes are on disk: only the names are kept.
        self._blobs = tuple(Blob(blob.ref, b"") for blob in blobs)
        self.size_bytes = sum(blob.ref.size_bytes for blob in blobs)

    def __reduce__(self) -> tuple[Any, ...]:
        return as_scattered, tuple(PickleBuffer(Placed(blob, self._owner)) for blob in self._blobs)

    def __copy__(self) -> Scattered[T]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Scattered[T]:
        return self

    def __repr__(self) -> str:
        return f"<Scattered, {self.size_bytes} bytes>"


async def keep(shelf: Shelf, blobs: Sequence[Blob], job: bytes, retention_s: float) -> None:
    """Have ``blobs`` on disk. Raises :class:`~p2pcpn.errors.StoreError` where that refuses."""
    written: list[asyncio.Future[None]] = []
    for blob in blobs:
        if not shelf.is_on_disk(blob.ref.digest):
            future = asyncio.get_running_loop().create_future()
            shelf.put(blob.ref.digest, blob.sealed, job, retention_s, partial(_ended, future))
            written.append(future)
    for error in await asyncio.gather(*written, return_exceptions=True):
        if error is not None:
            raise error


def _ended(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
