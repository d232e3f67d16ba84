"""Published: what this peer's program put into the DHT, to be put again each hour for as long as it is to live.

Who kept it is remembered for hours: a newer version goes to them without another lookup among strangers, which is ten
times as dear. Those who come nearer meanwhile are given it by its holders, and who is gone is replaced by them. When
one of them does not keep the newer one, they are looked for anew.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence

from p2pcpn import limits
from p2pcpn.protocol.items import Item
from p2pcpn.protocol.operations import Putting
from p2pcpn.protocol.timetable import Timetable
from p2pcpn.wire.addresses import Contact

# Then who kept it is looked for anew, if each of them has kept every version since.
BELIEVED_S = 4.0 * limits.REFRESH_S
# What no peer took (perhaps we knew none yet) is put again so soon.
PUBLISH_AGAIN_S = 30.0


class Published:
    """Items by key, at most ``limits.PUBLISHED_RECORDS_MAX``; the one put first is forgotten first."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._items: OrderedDict[bytes, tuple[Item, int]] = OrderedDict()
        self._turns = Timetable()
        self._holders: OrderedDict[bytes, tuple[list[Contact], float]] = OrderedDict()  # until when they are believed

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

    def kept(self, operation: Putting, now: float) -> None:
        """A put of our program ended: who keeps it now, if enough do."""
        if not operation.is_kept:
            self._holders.pop(operation.target, None)
        elif not operation.knows:
            self.believe(operation.target, operation.holders, now + BELIEVED_S)

    def believe(self, key: bytes, holders: Sequence[Contact], until_s: float) -> None:
        """Until then ``holders`` are those who keep what is put under ``key``."""
        self._holders[key] = (list(holders), until_s)
        if len(self._holders) > limits.PUBLISHED_RECORDS_MAX:
            self._holders.popitem(last=False)

    def direct(self, operation: Putting, now: float) -> None:
        """Tell ``operation``, which is about to begin, who kept what it replaces, where that was found out lately."""
        holders, until_s = self._holders.get(operation.target, ([], 0.0))
        if now < until_s:
            operation.know(holders)

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
