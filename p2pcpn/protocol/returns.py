"""Returns: what a grantor makes of tasks that a peer gives back unrun, by the code it gives them.

They wait again, and none of it is charged to them. What is "declined" never goes to that peer again; who lacks
something is sent it again; who gives back what it has slots for works for others, and is not counted on for a while.
"""

from __future__ import annotations

from p2pcpn.protocol.attendance import Attendance
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.effects import Effect, Hangup
from p2pcpn.protocol.hardship import Hardship
from p2pcpn.protocol.leases import LeaseHeld
from p2pcpn.protocol.spans import joined, overlap
from p2pcpn.protocol.supply import Supply
from p2pcpn.wire.messages import Return

# Leases in a row that a peer declines, or returns for want of what it was sent, before it takes part no more.
DECLINES_MAX = 8
MISSING_MAX = 4
# A peer that gives back tasks it has slots for works for others: its slots are not counted on for so long.
CROWDED_S = 1.0


class Returns:
    """See the module. What is leased next is not its concern."""

    __slots__ = ("_book", "_supply", "_hardship", "_attendance")

    def __init__(self, book: Book, supply: Supply, hardship: Hardship, attendance: Attendance) -> None:
        self._book = book
        self._supply = supply
        self._hardship = hardship
        self._attendance = attendance

    def back(self, lease: LeaseHeld, message: Return, now: float) -> list[Effect]:
        """Tasks of a live lease, all of them its own, come back."""
        book = self._book
        peer = book.participants.peers[lease.peer]
        owed = joined(overlap([(first, count) for first, count in message.spans], lease.open))
        peer.asked_until = now
        effects: list[Effect] = []
        if message.code == "declined":
            book.ledger.bar(owed, peer.node)
            self._hardship.decline(peer.node, message.text, now)
            peer.declines += 1
        elif message.code == "missing":
            effects += self._supply.again(peer)
            peer.missing += 1
        elif message.code == "late" or peer.held <= peer.slots:
            book.participants.crowd(peer, now + CROWDED_S)
        book.give_back(message.token, owed)
        if message.code == "leaving" and peer.held:
            book.participants.retire(peer)
        elif message.code == "leaving" or peer.declines > DECLINES_MAX or peer.missing > MISSING_MAX:
            self._attendance.dismiss(peer, now)
            if peer.missing > MISSING_MAX:  # begin anew: a peer whose session is closed claims again
                effects = [Hangup(peer.node, "lacks what it was sent, again and again")]
        return effects
