"""Demand: how many slots grantors call for, as their offers tell. A call that is not said again in time is over.

A grantor offers at once when it wants more slots than it has, and again, less and less often, while it still does
(``calling``). One offer says little: a burst of short tasks is over before its second one. So a call counts from its
second offer on, and until the next one is overdue; what follows at once, to be heard farther, is the same one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.protocol.calling import OFFER_WAIT_S, OFFER_WAIT_S_MAX
from p2pcpn.wire.statements import Offer

# The time between two offers grows by half each time; what comes later than this much of it is another call.
GROWTH = 1.5
LATE = 1.5
# Offers that are said again are farther apart, however long each was on its way.
AGAIN_S = OFFER_WAIT_S / 2
LATE_S = 0.5


@dataclass(slots=True)
class _Call:
    wanted: int
    offers: int
    at: float
    until: float


class Demand:
    """See the module. Calls by (job, grantor), bounded; the one that was heard longest ago goes first."""

    def __init__(self) -> None:
        self._calls: OrderedDict[tuple[bytes, bytes], _Call] = OrderedDict()

    def heard(self, offer: Offer, now: float) -> None:
        """An offer, newer than any of its grantor before."""
        key = (offer.job, offer.grantor.id)
        known = self._calls.pop(key, None)
        offers = 1
        if known is not None and now <= known.until:
            offers = known.offers + int(now >= known.at + AGAIN_S)
        gap_s = min(OFFER_WAIT_S * GROWTH ** min(offers - 1, 16), OFFER_WAIT_S_MAX)
        self._calls[key] = _Call(offer.slots_wanted, offers, now, now + gap_s * LATE + LATE_S)
        if len(self._calls) > limits.OFFERS_MAX:
            self._calls.popitem(last=False)

    def wanted(self, now: float) -> int:
        """How many slots are called for at this time."""
        for key in [key for key, call in self._calls.items() if call.until < now]:
            del self._calls[key]
        return sum(call.wanted for call in self._calls.values() if call.offers > 1)
