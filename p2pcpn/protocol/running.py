"""Running: what workers say of leases that live: what has begun, what it prints, what states it leaves."""

from __future__ import annotations

import math

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol import events
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.checkpoints import Checkpoints
from p2pcpn.protocol.effects import Effect, Notify
from p2pcpn.protocol.leases import LeaseHeld
from p2pcpn.protocol.ledger import LEASED
from p2pcpn.protocol.safekeeping import Safekeeping
from p2pcpn.protocol.spans import covers
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.sealing import JobKeys, output_key, unseal


class Running:
    """See the module. One object a grantor; whatever is said of a live lease renews it."""

    def __init__(
        self,
        *,
        job: bytes,
        epoch: int,
        me: Keypair,
        keys: JobKeys,
        book: Book,
        checkpoints: Checkpoints,
        safekeeping: Safekeeping,
    ) -> None:
        self._job = job
        self._epoch = epoch
        self._me = me
        self._keys = keys
        self._book = book
        self._checkpoints = checkpoints
        self._safekeeping = safekeeping

    def progress(self, sender: Contact, message: m.Progress, now: float) -> list[Effect]:
        """A lease is alive; these of its tasks run."""
        lease = self.live(sender, message.token, now)
        if lease is None:
            return []
        started = [index for index in message.started if covers(lease.open, [(index, 1)])]
        known = self._book.participants.peers[lease.peer].started
        for index in [index for index in known if self._book.ledger.states[index] != LEASED]:
            del known[index]
        for index in started:
            known.setdefault(index, now)
        return [Notify(events.Started(self._job, started))] if started else []

    def output(self, sender: Contact, message: m.Output, now: float) -> list[Effect]:
        """Lines of a running task, for the program that submitted it. Raises :class:`PeerError` for a task that was not
        leased to who says so."""
        lease = self.live(sender, message.token, now)
        if lease is None or lease.hedge:  # of two runs of a task one is heard
            return []
        key = output_key(self._keys.results(self._epoch, self._me.id, message.token))
        line = pages.PRINT.decode(unseal(key, message.number, message.sealed))
        if not covers(lease.spans, [(line.index, 1)]):
            raise PeerError("output of a task that was not leased to this peer")
        return [Notify(events.Printed(self._job, line.index, line.stream, line.data, sender.id))]

    def checkpoint(self, sender: Contact, message: m.Checkpoint, now: float) -> list[Effect]:
        """The state of a task that runs, for the next run of it."""
        lease = self.live(sender, message.token, now)
        # Of two runs of a task the older, which is ahead, is heard; the other once it is the only one.
        if lease is not None and not (lease.hedge and message.index in self._book.doubled):
            key = self._keys.results(self._epoch, self._me.id, message.token)
            self._checkpoints.take(message, key, lease.spans)
            self._safekeeping.left(message.index, now)
        return []

    def live(self, sender: Contact, token: int, now: float) -> LeaseHeld | None:
        """The live lease that ``sender`` speaks of, renewed; none where it has ended, or is another's."""
        peer = self._book.participants.peers.get(NodeId(sender.id))
        if peer is not None:
            peer.spoke()
            if peer.crowded_until == math.inf:
                self._book.participants.crowd(peer)
        lease = self._book.leases.live.get(token)
        if lease is None or lease.peer != sender.id:
            return None
        self._book.renew(token, now + limits.LEASE_S)
        return lease
