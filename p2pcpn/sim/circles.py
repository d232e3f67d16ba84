"""Circles: who knows whom in a swarm that came together long ago, from all ids and all ways.

A lookup meets a few peers in each far bucket and everybody in the near ones, and who is met knows the other as well.
Ids stand sorted, so a bucket is a run of them. Of those it met a peer's neighbours are the nearest by way, the nearest
by id and some by chance; and an advert reaches the neighbours of neighbours.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import chain

from p2pcpn import limits
from p2pcpn.protocol.table import ID_BITS

# In each bucket that has more peers than places a peer asked so many, and about as many asked it. Together they fill
# it, as in swarms that stand for hours: *measured* in one of 1,000 that joined, 20, 20, 19.6, 18.8 of 20 after two.
ASKED_A_BUCKET = 11
# Adverts go two hops and are pulled from there. *Measured* in swarms of 600 that joined: after three lives of an advert
# a peer knows some 400 others.
ADVERTS_KNOWN = 400
BY_CHANCE = limits.NEIGHBOURHOOD_MAX - limits.NEIGHBOURS_BY_RTT - limits.NEIGHBOURS_BY_ID


class Ids:
    """All ids in their order; peers are numbers."""

    def __init__(self, ids: Sequence[bytes]) -> None:
        self._order = sorted(range(len(ids)), key=lambda number: ids[number])
        self._ids = sorted(int.from_bytes(node, "big") for node in ids)

    def _run(self, target: int, bits: int) -> tuple[int, int]:
        """The run of those that begin with the first ``bits`` of ``target``."""
        rest = ID_BITS - bits
        low = target >> rest << rest
        return bisect_left(self._ids, low), bisect_left(self._ids, low + (1 << rest))

    def nearest(self, target: bytes, count: int) -> list[int]:
        """The ``count`` peers nearest to ``target``, nearest first."""
        aim = int.from_bytes(target, "big")
        bits = len(self._ids).bit_length()
        while bits and (run := self._run(aim, bits))[1] - run[0] < count:
            bits -= 1
        near = sorted(range(*self._run(aim, bits)), key=lambda place: self._ids[place] ^ aim)
        return [self._order[place] for place in near[:count]]

    def asked(self, node: bytes, chance: random.Random) -> list[int]:
        """Whom ``node`` asked for something: some peers of each bucket, all of those that have room."""
        own = int.from_bytes(node, "big")
        found: list[int] = []
        for bits in range(1, ID_BITS + 1):
            first, end = self._run(own ^ 1 << (ID_BITS - bits), bits)  # the bucket whose ids differ first in that bit
            places: Sequence[int] = range(first, end)
            if end - first > limits.BUCKET_PEERS:
                places = chance.sample(places, ASKED_A_BUCKET)
            found += [self._order[place] for place in places]
            around, beyond = self._run(own, bits)
            if beyond - around <= 1:
                break
        return found


class Circles:
    """``asked`` and ``met`` of each peer: whom it asked, and all with whom it spoke; and who ``hears`` its adverts.

    ``way_s(one, other)`` is how far apart two are; ``chance`` has a stream for each peer. Everybody asked who is
    ``well_known``.
    """

    def __init__(
        self,
        ids: Sequence[bytes],
        way_s: Callable[[int, int], float],
        chance: Sequence[random.Random],
        well_known: Sequence[int] = (),
    ) -> None:
        self.by_id = Ids(ids)
        self.asked: list[list[int]] = []
        for number, (node, dice) in enumerate(zip(ids, chance, strict=True)):
            first = [other for other in well_known if other != number]
            self.asked.append(list(dict.fromkeys(first + self.by_id.asked(node, dice))))
        met: list[dict[int, None]] = [dict.fromkeys(asked) for asked in self.asked]
        for number, asked in enumerate(self.asked):
            for other in asked:
                met[other][number] = None
        self.met = [list(others) for others in met]
        near: list[list[int]] = []
        for number, (node, dice) in enumerate(zip(ids, chance, strict=True)):
            by_way = sorted(self.asked[number], key=lambda other: (way_s(number, other), other))
            around = [*by_way[: limits.NEIGHBOURS_BY_RTT], *self.by_id.nearest(node, 1 + limits.NEIGHBOURS_BY_ID)[1:]]
            near.append(list(dict.fromkeys(around + _some(self.met[number], BY_CHANCE, dice))))
        self.hears: list[list[int]] = []
        for number, dice in enumerate(chance):
            reached = dict.fromkeys(chain(near[number], *(near[other] for other in near[number])))
            reached.pop(number, None)
            self.hears.append(_some(list(reached), ADVERTS_KNOWN, dice))


def _some(numbers: Sequence[int], count: int, chance: random.Random) -> list[int]:
    return chance.sample(numbers, min(count, len(numbers)))
