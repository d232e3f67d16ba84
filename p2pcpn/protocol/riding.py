"""Riding: rumors that are in no hurry go along with datagrams that leave for other members anyway.

A quarter of the datagrams of a swarm at rest repeated what a peer had said of itself before, each for itself. SWIM
(Das 2002) and memberlist let what they gossip ride on probes and their answers; here those adverts do that say nothing
new. A rider is told to nobody twice and never to who told it, until enough neighbours were told. While it rides others
tell it here: then it is told to fewer. What found no datagram for minutes is told to neighbours for itself, many
together, when rumors are compared: nobody wakes up for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pcpn import limits
from p2pcpn.protocol.neighbourhood import Neighbourhood
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import Ack, Compound, Datagram, Ping, RumorDigest

if TYPE_CHECKING:
    from p2pcpn.protocol.gossip import Held

# What a rumor may ride with: small, frequent, and said to neighbours or by them.
CARRIERS = frozenset({Ping, Ack, RumorDigest})
# A body less the framing of a compound and its two lists, and the ping of two long numbers within.
ROOM_BYTES = limits.BODY_BYTES_MAX - 8 - 20
# Four rounds of three by chance are ten different neighbours of 32. So few, and those who ask, reach as many peers: who
# tells it slowly hears meanwhile whom it need not tell. A calm peer pings, and is pinged, each 20 s or less often, so
# this takes minutes.
TELLINGS = 7
# It is held for so long, and rides in the first half of that at most. The comparison that finds the second begun, in
# 144 s, ends the ride: a hop takes no longer. From then on it is offered in comparisons, where adverts are.
RIDER_S = 2 * limits.RUMOR_S


@dataclass(slots=True)
class Rider:
    """A rumor that waits for datagrams: to be told to so many neighbours more."""

    held: Held
    untold: int


class Riding:
    """The riders of one peer."""

    def __init__(self, neighbourhood: Neighbourhood) -> None:
        self._neighbourhood = neighbourhood
        self._riders: dict[bytes, Rider] = {}  # the longest waiting first

    def __len__(self) -> int:
        return len(self._riders)

    def __contains__(self, rumor: bytes) -> bool:
        return rumor in self._riders

    def add(self, held: Held) -> None:
        """Let ``held`` ride."""
        self._riders[held.id] = Rider(held, TELLINGS)
        if len(self._riders) > limits.RIDERS_MAX:
            self.drop(next(iter(self._riders)))

    def drop(self, rumor: bytes) -> None:
        """Forget a rider, if it is one."""
        self._riders.pop(rumor, None)

    def heard_again(self, rumor: bytes, sender: Contact) -> None:
        """``sender`` tells it as far as we do: one less needs to be told."""
        if (rider := self._riders.get(rumor)) is not None and sender.id in self._neighbourhood:
            self._told(rider, True)

    def load(self, to: Contact, message: Datagram) -> Datagram:
        """``message`` to the member ``to``, or where some may ride with it a compound of it and these."""
        if type(message) not in CARRIERS:
            return message
        room = ROOM_BYTES - (len(message.ids) if isinstance(message, RumorDigest) else 0)
        near = to.id in self._neighbourhood
        going: list[Rider] = []
        for rider in self._riders.values():
            size_bytes, tellers = rider.held.size_bytes, rider.held.tellers
            if size_bytes <= room and to.id not in tellers and (near or len(tellers) < limits.NEIGHBOURHOOD_MAX):
                room -= size_bytes
                going.append(rider)
        if not going:
            return message
        for rider in going:
            rider.held.tellers.append(to.id)
            self._told(rider, near)
        assert isinstance(message, Ping | Ack | RumorDigest)
        return Compound(message, [rider.held.signed for rider in going], [rider.held.hops - 1 for rider in going])

    def overdue(self, now: float) -> list[tuple[Contact, list[Held]]]:
        """Who is to be told what for itself: the riders that waited too long, which ride no more."""
        late = [rider for rider in self._riders.values() if rider.held.expires_s <= now + RIDER_S / 2]
        told: list[tuple[Contact, list[Held]]] = []
        for peer in self._neighbourhood.sample(max((rider.untold for rider in late), default=0)):
            lacks = [rider for rider in late if rider.untold and peer.id not in rider.held.tellers]
            for rider in lacks:
                rider.untold -= 1
            told.append((peer, [rider.held for rider in lacks]))
        for rider in late:
            self.drop(rider.held.id)
        return told

    def _told(self, rider: Rider, counts: bool) -> None:
        rider.untold -= counts
        if rider.untold <= 0:
            self.drop(rider.held.id)
