"""Acquaintance: whether everybody there is stands in our table, so that nobody need be asked for the way.

So it is in a swarm that fits one bucket, once somebody was asked who there is, and all whom others name have been heard
themselves. Whoever found no place in the table, or is named and was not met yet, makes it doubtful.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from p2pcpn import limits
from p2pcpn.protocol.table import RoutingTable
from p2pcpn.wire.addresses import Contact


class Acquaintance:
    """What the peer ``own`` knows of who is about beside those in its ``table``, which has buckets of ``k``."""

    def __init__(self, own: bytes, table: RoutingTable, k: int, now: float) -> None:
        self._own = own
        self._table = table
        self._k = k
        self._homeless_until_s = now  # until then somebody is about who found no place
        self._unmet: OrderedDict[bytes, None] = OrderedDict()
        self._was_told = False  # by somebody who was asked whom it knows

    def heard(self, peer: Contact, now: float) -> None:
        """``peer`` spoke, and has a place in the table or has not."""
        self._unmet.pop(peer.id, None)
        if peer.id not in self._table:
            self._homeless_until_s = now + limits.REFRESH_S

    def named(self, contacts: Iterable[Contact], now: float, *, asked: bool = True) -> None:
        """Somebody named ``contacts``; ``asked``: as an answer to the question who there is."""
        self._was_told = self._was_told or asked
        if len(self._table) >= self._k:
            return
        for contact in contacts:
            if contact.id in self._table or contact.id == self._own or self._table.dead.is_dead(contact, now):
                continue
            self._unmet[contact.id] = None
            if len(self._unmet) > self._k:
                self._unmet.popitem(last=False)

    def failed(self, peer: Contact) -> None:
        """``peer`` is gone."""
        self._unmet.pop(peer.id, None)
        if not len(self._table):
            self._was_told = False

    def is_complete(self, now: float) -> bool:
        """Whether everybody is in the table, which is a single bucket with room to spare."""
        single_bucket = 0 < len(self._table) < self._k
        return single_bucket and self._was_told and not self._unmet and now >= self._homeless_until_s
