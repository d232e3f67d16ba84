"""Published: what this peer's program put into the DHT, to be put again each hour for as long as it is to live."""

from __future__ import annotations

import random
from collections import OrderedDict

from p2pcpn import limits
from p2pcpn.protocol.items import Item
from p2pcpn.protocol.timetable import Timetable

# What no peer took (perhaps we knew none yet) is put again so soon.
PUBLISH_AGAIN_S = 30.0


class Published:
    """Items by key, at most ``limits.PUBLISHED_RECORDS_MAX``; the one put first is forgotten first."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._items: OrderedDict[bytes, tuple[Item, int]] = OrderedDict()
        self._turns = Timetable()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, key: bytes, item: Item, copies: int, now: float) -> None:
        """``item`` was put, to have ``copies``; it replaces what was put under ``key`` before."""
        self._items.pop(key, None)
        self._items[key] = (item, copies)
        self._put_off(key, now, limits.REFRESH_S)
        if len(self._items) > limits.PUBLISHED_RECORDS_MAX:
            forgotten, _ = self._items.popitem(last=False)
            self._turns.drop(forgotten)

    def again_soon(self, key: bytes, item: Item, now: float) -> None:
        """Nobody took ``item``: if it is still the last put under ``key``, do not wait for an hour."""
        if key in self._items and self._items[key][0] is item:
            self._put_off(key, now, PUBLISH_AGAIN_S)

    def turn(self, now: float, wall: float) -> tuple[Item, int] | None:
        """An item that is due and how many copies it is to have, or ``None``; what is over is forgotten."""
        while (key := self._turns.take(now)) is not None:
            item, copies = self._items[key]
            if item.ends_s() > wall:
                self._put_off(key, now, limits.REFRESH_S)
                return item, copies
            del self._items[key]
        return None

    def deadline(self) -> float | None:
        """When the next item is due."""
        return self._turns.deadline()

    def _put_off(self, key: bytes, now: float, wait_s: float) -> None:
        self._turns.set(key, now + wait_s * self._rng.uniform(0.8, 1.2))
