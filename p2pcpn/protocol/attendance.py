"""Attendance: who takes part in a job, and what follows when a peer claims, falls silent, is lost or comes back.

What a peer held when it is gone is charged to its tasks (the retry budget), unless it cannot have got them. A peer that
may not know that it is out is kept: a silent one may speak again, one that cannot be dialled is tried again later.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId, node_id
from p2pcpn.protocol import events
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.effects import Effect, Notify, Probe
from p2pcpn.protocol.hardship import Hardship
from p2pcpn.protocol.leasing import Leasing
from p2pcpn.protocol.participants import SLOTS_MAX, Participant
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.statements import Claim

# A peer that lives and with which no session can be made is dialled again after this, then twice that, up to a minute.
UNDIALLED_S = 4.0
UNDIALLED_S_MAX = 64.0


class Attendance:
    """See the module. ``rank(contact, rtt_ms)`` orders peers, nearest first. What is leased next is not its concern."""

    def __init__(
        self,
        *,
        job: bytes,
        epoch: int,
        me: NodeId,
        retries: int,
        rank: Callable[[Contact, float], tuple[float, bytes]],
        book: Book,
        leasing: Leasing,
        hardship: Hardship,
    ) -> None:
        self._job = job
        self._epoch = epoch
        self._me = me
        self._retries = retries
        self._rank = rank
        self._book = book
        self._peers = book.participants
        self._leasing = leasing
        self._hardship = hardship

    def claimed(self, claim: Claim, key: bytes, now: float) -> tuple[Participant | None, list[Effect]]:
        """A peer's claim, signature checked: the participant, or none where there are too many.

        Raises :class:`PeerError` for a claim that is not for this grantor, or not of the peer that signed it.
        """
        if claim.job != self._job or claim.epoch != self._epoch or claim.grantor != self._me or claim.slots == 0:
            raise PeerError("a claim names another job, epoch or grantor, or no slots")
        if node_id(key) != claim.contact.id:
            raise PeerError("a claim is signed by another key than its peer's")
        node = NodeId(claim.contact.id)
        effects: list[Effect] = []
        found = self._peers.peers.get(node)
        if found is not None and claim.boot > found.boot:
            effects += self._lost(found, now, "it restarted")
        elif found is not None:
            if found.leaving:
                self._peers.returns(found)
            if found.rest_until == math.inf:  # that it claims is a word, too
                found.rest_until = now
            return found, effects
        if self._peers.seats <= 0:
            return None, effects
        slots = min(claim.slots, SLOTS_MAX)
        found = Participant(claim.contact, key, claim.boot, slots, self._rank(claim.contact, claim.rtt_ms))
        found.shut_until = self._book.blame.until(node)
        self._peers.add(found)
        self._hardship.declined.pop(node, None)
        return found, effects

    # --- sessions ------------------------------------------------------------------------------------------------

    def session_opened(self, node: NodeId, now: float) -> list[Effect]:
        """A session is there (again), whoever dialled: a participant that was in doubt goes on."""
        found = self._peers.peers.get(node)
        if found is None:
            return []
        doubted = found.in_doubt
        found.reached(now)
        found.spoke()
        return self._leasing.resume(found) if doubted else []

    def session_closed(self, node: NodeId, now: float) -> list[Effect]:
        """The session is lost, or could not be made: nothing is leased to the peer until we know that it lives."""
        found = self._peers.peers.get(node)
        if found is None:
            return []
        found.session_lost()
        if found.tokens and not found.redialled:
            found.in_doubt = True
            return [Probe(found.contact)]
        if found.heard:  # it knows that its session is lost, and claims again
            return self._lost(found, now, "no session with it holds")
        if found.taken or found.rest_until > now:  # no session with it can be made, and it knows nothing of that
            self._book.relieve(found)
            self._peers.rest(found, now + min(UNDIALLED_S * 2**found.failed_dials, UNDIALLED_S_MAX))
            found.failed_dials += 1
            found.redialled = False
        return []

    def alive(self, node: NodeId) -> list[Effect]:
        """Only the session was lost: ask for a new one and say there what may have got lost with the old."""
        found = self._peers.peers.get(node)
        if found is None or not found.in_doubt:
            return []
        found.in_doubt, found.redialled = False, True
        return self._leasing.resume(found)

    # --- loss ----------------------------------------------------------------------------------------------------

    def dead(self, node: NodeId, now: float) -> list[Effect]:
        """Probes failed: its leases end now, not in 30 seconds."""
        found = self._peers.peers.get(node)
        if found is None:
            return []
        return self._lost(found, now, "it died", silent=found.taken and not found.in_doubt)

    def expire(self, now: float) -> list[Effect]:
        """Leases that nobody renewed end; a peer that let its last one end is silent."""
        effects: list[Effect] = []
        for token in self._book.leases.expired(now):
            peer = self._peers.peers[self._book.leases.live[token].peer]
            effects += self._lose_lease(token, now, "no sign of life for 30 s")
            self._book.blame.failed(peer.node, "let a lease end without a sign of life", now)
            if not peer.tokens:
                effects += self._lost(peer, now, "it is silent", silent=not peer.in_doubt)
            else:  # it gets nothing in place of what it let end
                self._peers.crowd(peer, math.inf)
        return effects

    def dismiss(self, peer: Participant, now: float) -> None:
        """A peer takes part no more; what it holds waits again, uncharged."""
        self._book.relieve(peer)
        self._peers.remove(peer.node)
        self._hardship.watch(now)

    def _lost(self, peer: Participant, now: float, why: str, *, silent: bool = False) -> list[Effect]:
        """A peer is gone with all it held; it may claim again. ``silent``: its session is not, so it may only speak."""
        effects: list[Effect] = []
        if peer.tokens:
            self._book.blame.failed(peer.node, f"was lost with what it ran: {why}", now)
        for token in list(peer.tokens):
            effects += self._lose_lease(token, now, f"peer {peer.node.hex()[:8]}: {why}")
        if silent:
            self._peers.rest(peer, math.inf)
        else:
            self._peers.remove(peer.node)
        self._hardship.watch(now)
        return effects

    def _lose_lease(self, token: int, now: float, why: str) -> list[Effect]:
        """A lease ends unfulfilled: its tasks rest, each one loss richer, or have lost too often."""
        over = self._book.lose_lease(token, now)
        if not over:
            return []
        text = f"its peer was lost {self._retries + 1} times ({why}); see retries="
        return [Notify(events.GaveUp(self._job, over, text))]
