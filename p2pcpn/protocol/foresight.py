"""Foresight: tasks that come one by one are leased before they are there, so that none of them waits for a lease.

A program that calls, waits for the result and calls again would have a lease chosen, signed, sent and checked for each
task. When some tasks in a row came alone, the next lease gives its peer those that will come, too. Each of them is
named to that peer when it is there (``Further``), with the key to its page; until then the lease gives nothing that
could be run.

Nobody gets a task by it who would not have got it: it is used only while nothing else of the job waits or runs, by the
peer that is next in line, and not for long. Whatever else is leased ends it, as a newer token fences an older one.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from p2pcpn import limits
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.effects import Effect, Tell
from p2pcpn.protocol.participants import NOT_CROWDED, Participant
from p2pcpn.protocol.placement import Placement
from p2pcpn.protocol.spans import Span
from p2pcpn.wire.messages import Extend, Further

# So many tasks in a row came alone before more are foreseen: by chance a few do.
ALONE_MIN = 4
# How many are foreseen at a time: a lease's share of each of them is small then. A peer could run no more of them than
# it is told of, so a larger number would promise nothing more.
FORESEEN = 64
# Half of what a lease lasts after its peer has it: there is no doubt then, whatever the way took.
FORESEEN_S = limits.LEASE_S / 2


@dataclass(slots=True)
class Foreseen:
    """Tasks from ``next`` to ``end`` (exclusive) are given to ``peer`` under a lease from ``first`` on."""

    token: int
    peer: Participant
    session: object
    slots: int
    first: int
    next: int
    end: int
    until: float


class Foresight:
    """See the module. One object a grantor; ``Leasing`` tells it of every lease."""

    __slots__ = ("_alone", "_book", "_foreseen", "_newest", "_placement")

    def __init__(self, book: Book, placement: Placement) -> None:
        self._book = book
        self._placement = placement
        self._foreseen: Foreseen | None = None
        self._alone = 0  # tasks in a row that came alone
        self._newest = -1  # the last of them

    def leased(self, peer: Participant, token: int, now: float) -> None:
        """A lease of waiting tasks was granted, and is about to be said."""
        book = self._book
        newest = book.ledger.total - 1
        alone = book.ledger.leased == 1 and book.leases.live[token].open == [(newest, 1)] and newest > self._newest
        if not alone or book.lots.split or book.dependencies.used:
            self.other()
            return
        self._foreseen, self._newest = None, newest
        self._alone += 1
        end = min(newest + 1 + FORESEEN, limits.TASKS_PER_JOB_MAX)
        if self._alone > ALONE_MIN and newest + 1 < end:
            self._foreseen = Foreseen(
                token, peer, peer.session, peer.slots, newest, newest + 1, end, now + FORESEEN_S
            )  # fmt: skip
            book.foresee(token, [(newest + 1, end - newest - 1)])

    def other(self) -> None:
        """Something else was leased: tasks do not come one by one, or not to one peer."""
        self._foreseen, self._alone = None, 0

    def withdraw(self, token: int) -> None:
        """Its peer gave back what it was leased: it may not have the lease, or not run what comes."""
        if self._foreseen is not None and self._foreseen.token == token:
            self.other()

    def beyond(self, token: int) -> int:
        """How many tasks more than it owes the lease gives."""
        found = self._foreseen
        return 0 if found is None or found.token != token else found.end - found.next

    def take(self, now: float) -> tuple[Participant, int, list[Span]] | None:
        """Lease the one task that waits as it was foreseen: the peer, the token and the task; none where that does not
        suit any more."""
        found, book = self._foreseen, self._book
        if found is None or book.ledger.waiting != 1 or book.ledger.leased:
            return None
        peer, token = found.peer, found.token
        if found.next != book.ledger.total - 1 or not self._suits(found, now):
            return None
        self._newest = found.next
        found.next += 1
        if found.next == found.end:
            self._foreseen = None
        fresh = book.further(token, peer, found.first, now + limits.LEASE_S, now)
        book.blame.leased(peer, now)
        peer.pace.heard_at = now
        return peer, token, fresh

    def _suits(self, found: Foreseen, now: float) -> bool:
        """Whether the peer would be leased the task, and knows the lease."""
        peer, book = found.peer, self._book
        peers = book.participants.peers
        if peer.session is not found.session or peers.get(peer.node) is not peer or now >= found.until:
            return False
        if found.token in book.leases.unfulfilled:
            return False
        if not (peer.taken and peer.ready) or peer.held or peer.slots != found.slots or now < peer.hear_until:
            return False
        if peer.crowded_until != NOT_CROWDED or not book.blame.may_have(peer.node, now):
            return False
        if book.dependencies.used or self._placement.near_end(now) is not None:
            return False
        return not any(
            other.rank < peer.rank for other in peers.values() if other.taken and other.ready and other is not peer
        )


def carried(copies: list[Effect], effects: list[Effect]) -> list[Effect]:
    """``copies`` of a segment for those who keep it, and what follows from it. Where its task is named to a peer that
    is sent a copy both go in one message, ahead of the other copies."""
    last = effects[-1] if effects else None
    if not isinstance(last, Tell) or not isinstance(last.message, Further):
        return copies + effects
    before = copies + effects[:-1]
    for at, each in enumerate(before):
        if isinstance(each, Tell) and isinstance(each.message, Extend) and each.to.id == last.to.id:
            del before[at]
            return [Tell(last.to, msgspec.structs.replace(last.message, extend=each.message)), *before]
    return [*before, last]
