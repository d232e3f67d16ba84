"""A roll: who has everybody in its table asks the nearest of them, in order, and follows nobody's word on the way.

It stands in a lookup's place where a swarm is so small that there is no way to find (see
:mod:`p2pcpn.protocol.acquaintance`). So many as have to answer are asked at once; the next nearest is asked beside who
is late, and after who failed. It ends with so many answers once a value is known, and otherwise with the last peer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from p2pcpn.errors import PeerError
from p2pcpn.protocol.replies import believed
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact


class Roll:
    """``contacts`` are all there are, nearest to ``target`` first, and those behind whom nobody is to wait for;
    ``reads`` of them have to answer."""

    def __init__(self, own: bytes, target: bytes, contacts: Sequence[Contact], reads: int) -> None:
        self.impatient = False  # set where a value is known
        self.liars: list[Contact] = []  # whose replies no honest peer gives
        self._own = own
        self._target = target
        self._left = deque(contact for contact in contacts if contact.id != own and contact.usable)
        self._reads = reads
        self._waiting: dict[Contact, int] = {}  # how often each was late
        self._answered: list[Contact] = []

    def queries(self) -> list[Contact]:
        """Whom to ask now; they count as asked."""
        in_time = sum(not late for late in self._waiting.values())
        places = self._reads - in_time - (len(self._answered) if self.impatient else 0)
        asked = [self._left.popleft() for _ in range(min(places, len(self._left)))]
        self._waiting.update(dict.fromkeys(asked, 0))
        return asked

    def answered(self, asked: Contact, contacts: Sequence[Contact]) -> None:
        """``asked`` answered, and named ``contacts``: whether that can be honest is all that counts of them."""
        if self._waiting.pop(asked, None) is None:
            return
        if contacts:
            try:
                believed(asked, self._target, contacts, self._own)
            except PeerError:
                self.liars.append(asked)
                return
        self._answered.append(asked)

    def late(self, asked: Contact) -> None:
        """``asked`` let a timeout pass."""
        if asked in self._waiting:
            self._waiting[asked] += 1

    def failed(self, asked: Contact) -> None:
        """``asked`` answered no try."""
        self._waiting.pop(asked, None)

    @property
    def done(self) -> bool:
        """Whether enough have answered, or nobody is left who is worth waiting for."""
        if self.impatient and len(self._answered) >= self._reads:
            return True
        return not self._left and all(late > 1 for late in self._waiting.values())

    def nearest(self, count: int) -> list[Contact]:
        """The nearest ``count`` that answered, nearest first."""
        return sorted(self._answered, key=lambda contact: distance(contact.id, self._target))[:count]
