"""Leasing: who gets the next batch, and when more peers are called for.

A peer gets one batch whenever something changed for it: it brought results, it was taken, or tasks came to wait. So
batches follow what is observed, and at the tail of a job they shrink instead of going to whoever asked first.
"""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.calling import OFFER_TTL_S, Calling
from p2pcpn.protocol.effects import Effect, Spread, Tell
from p2pcpn.protocol.participants import Participant
from p2pcpn.protocol.supply import Supply
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Grant
from p2pcpn.wire.sealing import JobKeys
from p2pcpn.wire.statements import Lease, Offer, Spec, signed

# An offer states no more, however much waits.
SLOTS_WANTED_MAX = (1 << 32) - 1


class Leasing:
    """See the module. One object a grantor."""

    def __init__(
        self,
        *,
        job: bytes,
        epoch: int,
        me: Keypair,
        contact: Contact,
        owner: bytes,
        spec: Spec,
        keys: JobKeys,
        book: Book,
        supply: Supply,
    ) -> None:
        self._job = job
        self._epoch = epoch
        self._me = me
        self._contact = contact
        self._owner = owner
        self._spec = spec
        self._keys = keys
        self._book = book
        self._supply = supply
        self._calling = Calling()

    def work(self, now: float, spoke: Participant | None = None) -> list[Effect]:
        """Take claims, lease what waits to whom it suits, and call for more claims where they are too few.

        ``spoke``: only this peer's needs can have changed.
        """
        ledger, peers = self._book.ledger, self._book.participants
        if not ledger.waiting:
            self._calling.satisfied()
            return []
        stuck = ledger.stuck(peers.taken()) if ledger.barred_waiting else []
        promoted = peers.promote(ledger.waiting, stuck, now)
        effects: list[Effect] = []
        for peer in promoted:
            peer.ready = True
            effects += self._supply.introduce(peer)
        for peer in peers.ready() if spoke is None or promoted else [spoke]:
            if peer.taken and peer.ready:
                effects += self._grant(peer, now)
        if peers.wanted(ledger.waiting) <= 0 and not ledger.barred_waiting:
            self._calling.satisfied()
        elif self._calling.wanted(now):
            effects.append(self._offer())
        return effects

    def _grant(self, peer: Participant, now: float) -> list[Effect]:
        """One batch for ``peer``, or nothing when it has enough."""
        count = peer.pace.batch(peer.held, self._book.ledger.waits_for(peer.node), self._book.participants.slots)
        token = self._book.lease(peer, count, now + limits.LEASE_S) if count else None
        return [] if token is None else self._say(peer, token)

    def _say(self, peer: Participant, token: int) -> list[Effect]:
        """The lease for what ``token`` still owes, and ahead of it what the peer lacks."""
        spans = self._book.leases.live[token].open
        slices, effects = self._supply.ahead_of(peer, spans)
        lease = signed(Lease(self._job, self._epoch, token, peer.node, limits.LEASE_S, spans), self._me)
        key = self._keys.results(self._epoch, self._me.id, token)
        grant = Grant(lease, slices, key, self._keys.digests, self._keys.code, peer.slots)
        return [*effects, Tell(peer.contact, grant)]

    def resume(self, peer: Participant) -> list[Effect]:
        """Introduce a peer again, for it may have restarted, and say its leases again: those it knows it ignores."""
        effects = self._supply.introduce(peer)
        for token in peer.tokens:
            effects += self._say(peer, token)
        return effects

    def _offer(self) -> Effect:
        said, waiting = self._spec, self._book.ledger.waiting
        wanted = max(1, min(self._book.participants.wanted(waiting), SLOTS_WANTED_MAX))
        offer = Offer(
            self._job, self._owner, self._epoch, self._contact, self._calling.number, said.runtime, said.python,
            list(said.requires), said.memory_bytes, waiting, wanted, OFFER_TTL_S,
        )  # fmt: skip
        return Spread(offer, self._calling.hops)

    def deadline(self) -> float | None:
        """When the next offer is due, which :meth:`work` makes."""
        return self._calling.deadline()
