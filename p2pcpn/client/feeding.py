"""Feeding: the maps of one job, and the chunks that leave them as peers come to want more."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from p2pcpn import limits
from p2pcpn.client.chunks import Afresh, Loaded, run_item, run_items
from p2pcpn.client.cutting import Call, make_blob
from p2pcpn.client.maps import Chunk, Map
from p2pcpn.client.pickling import Callee, Functions, dumps
from p2pcpn.wire.sealing import JobKeys


def callees(functions: Functions, function: Callable[..., Any]) -> tuple[Callee, Callee]:
    """What the chunks of a map over ``function`` call, and what the task of one large item does.

    The function is as it is now, for all items. Raises what pickling it raises.
    """
    callee, bound = functions.prepare(function, ())
    target: Any = Afresh(dumps(bound[0])) if bound else Loaded(callee.pickled)
    several, single = (Callee(pickle.dumps(partial(run, target), 5), callee.needs) for run in (run_items, run_item))
    return several, single


class Feeding:
    """See the module. ``lock`` is the job's, ``add`` takes a task of its own for each chunk, with the lock held."""

    def __init__(self, lock: threading.RLock, keys: JobKeys, add: Callable[[Chunk, Call], None]) -> None:
        self.maps: list[Map] = []
        self._lock = lock
        self._keys = keys
        self._add = add

    def __bool__(self) -> bool:
        return bool(self.maps)

    @property
    def open(self) -> bool:
        """Whether something of some map waits or is out."""
        return any(each.open for each in list(self.maps))

    def feed(self, slots: int) -> tuple[object, bool]:
        """Chunks of each map, as many as keep ``slots`` slots busy.

        Returns what is to live until they have ended, and whether to come again soon, for iterables are slow.
        """
        keep: object = None
        slow = False
        for each in list(self.maps):
            with self._lock:
                for _ in range(each.wanted(slots)):
                    chunk = each.cut(slots)
                    if chunk is None:
                        break
                    call = chunk.block.call
                    self._add(chunk, call if isinstance(call, tuple) else self._call(each, chunk))
                    keep = each.keep
                slow = slow or each.slow
        return keep, slow

    def _call(self, each: Map, chunk: Chunk) -> Call:
        data = pickle.dumps((chunk.arguments(), {}), 5)
        each.chunking.sent(chunk.block.count, len(data))
        return each.callee, data if len(data) <= limits.INLINE_BYTES_MAX else make_blob(self._keys, data)

    def forget_ended(self) -> None:
        """Let go of maps that are over. The caller holds the lock."""
        self.maps = [each for each in self.maps if not each.over]

    def cancel(self) -> None:
        """Cancel what has not started of each. From any thread."""
        for each in list(self.maps):
            each.cancel()

    def abandon(self, error: BaseException) -> None:
        """Whatever is left of each fails with ``error``."""
        for each in list(self.maps):
            each.abandon(error)
