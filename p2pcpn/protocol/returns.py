"""Returns: what a grantor makes of tasks that a peer gives back unrun, by the code it gives them.

They wait again, and none of it is charged to them. What is "declined" never goes to that peer again; who lacks
something is sent it again; who gives back what it has slots for works for others, and is not counted on for a while.
Whose runtime is "broken", and who declines what it claimed to run, is to blame for it.

An input that a peer has and cannot use, for it does not open, is "unusable": two more peers try, which need not trust
the first, then the task fails with what they said. One that it could not have is "unreachable": it is sent again, later
each time, for it may be on its way to whoever grants; a dozen times, and the task fails with that. Neither is charged
to the task's budget of lost runs, nor to the peer.
"""

from __future__ import annotations

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.attendance import Attendance
from p2pcpn.protocol.backoff import PATIENT_BASE_S, PATIENT_CAP_S
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.effects import Effect, Hangup, Notify
from p2pcpn.protocol.hardship import Hardship
from p2pcpn.protocol.leases import LeaseHeld
from p2pcpn.protocol.ledger import WAITING
from p2pcpn.protocol.spans import Span, joined, overlap
from p2pcpn.protocol.supply import Supply
from p2pcpn.wire.messages import Return
from p2pcpn.wire.pages import cut

# Leases in a row that a peer returns for want of what it was sent before it takes part no more.
MISSING_MAX = 4
# An input that so many peers found unusable is so; one that could not be had so often, in five minutes or so, is lost.
UNUSABLE_PEERS = 3
UNREACHABLE_TIMES = 12
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
        elif message.code == "missing":
            effects += self._supply.again(peer)
            peer.missing += 1
        elif message.code == "late" or peer.held <= peer.slots:
            book.participants.crowd(peer, now + CROWDED_S)
        if message.code == "unusable":
            effects += self._unusable(message, owed, peer.node, now)
        elif message.code == "unreachable":
            effects += self._supply.again(peer) + self._unreachable(message, owed, now)
            peer.missing += 1
        book.give_back(message.token, owed)
        if message.code in ("broken", "declined"):
            book.blame.failed(peer.node, message.text, now)
            self._hardship.watch(now)
        if message.code == "leaving" and peer.held:
            book.participants.retire(peer)
        elif message.code == "leaving" or peer.missing > MISSING_MAX:
            self._attendance.dismiss(peer, now)
            told = [effect for effect in effects if isinstance(effect, Notify)]
            if peer.missing > MISSING_MAX:  # begin anew: a peer whose session is closed claims again
                effects = [*told, Hangup(peer.node, "lacks what it was sent, again and again")]
        return effects

    def _unusable(self, message: Return, owed: list[Span], peer: NodeId, now: float) -> list[Effect]:
        """An input is there and is no good. It may have been the peer's memory or disk: others try."""
        book, effects = self._book, list[Effect]()
        for index in cut(owed):
            peers = book.ledger.unusable(index, peer, message.text, now)
            if peers < UNUSABLE_PEERS:
                book.retry(message.token, [(index, 1)], peers, now)
            elif self._is_nobodys(message.token, index):
                effects.append(self._hardship.unusable(index))
        self._hardship.watch(now)
        return effects

    def _unreachable(self, message: Return, owed: list[Span], now: float) -> list[Effect]:
        """An input is not there (yet). It is nobody's fault, and may come: the waits grow to a minute."""
        book, effects = self._book, list[Effect]()
        for index in cut(owed):
            times = book.ledger.unreachable(index)
            if times < UNREACHABLE_TIMES:
                book.retry(message.token, [(index, 1)], times, now, base_s=PATIENT_BASE_S, cap_s=PATIENT_CAP_S)
            elif self._is_nobodys(message.token, index):
                effects.append(self._hardship.unreachable(index, message.text))
        return effects

    def _is_nobodys(self, token: int, index: int) -> bool:
        """Give a task back: whether it waits now, and does not run under another lease."""
        self._book.give_back(token, [(index, 1)])
        return self._book.ledger.states[index] == WAITING
