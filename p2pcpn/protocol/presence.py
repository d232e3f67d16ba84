"""Presence: what this peer is to others now. It may be hidden, about to leave, or both; they are told at once.

::

    staying ──drain──> draining ──leave──> gone
       ^────── stay ──────┘

A peer that drains ends what it runs and takes nothing more; it answers as before, so nothing of it is missed yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pcpn.protocol import events
from p2pcpn.protocol.effects import Effect, Notify, Send
from p2pcpn.wire.datagrams import Gossip
from p2pcpn.wire.statements import Role

if TYPE_CHECKING:
    from p2pcpn.protocol.peer import Peer


class Presence:
    """See the module. Effects are the peer's to perform."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.draining = False
        self.left = False

    def drain(self, now: float) -> list[Effect]:
        """Take nothing more, neither tasks nor what others want kept; what runs goes on."""
        self.draining = self._peer.offers.leaving = True
        return [*self._peer.worker.drain(now), *self._tell(now)]

    def stay(self, now: float) -> list[Effect]:
        """Go back to being what we were before :meth:`drain`."""
        self.draining = False
        self._peer.offers.stay()
        self._peer.worker.stay()
        return self._tell(now)

    def leave(self, now: float) -> list[Effect]:
        """Give all leases back, for we are gone in a moment."""
        self.left = self._peer.offers.leaving = True
        return self._peer.worker.leave(now)

    def reached(self, hidden: bool, now: float) -> list[Effect]:
        """Strangers reach us no more, or do again: all that may look for something here are told."""
        if self.left:
            return []
        return [*self._tell(now), Notify(events.Exposed(hidden, self._peer.storing))]

    def _tell(self, now: float) -> list[Effect]:
        peer = self._peer
        away = Role.HIDDEN * peer.reachability.hidden | Role.DRAINING * self.draining
        peer.roles = peer.setup.roles & ~Role.STORAGE | away if away else peer.setup.roles
        peer.storing = peer.steward.storing = bool(peer.roles & Role.STORAGE)
        peer.pairs.present(peer.roles, peer.contact.port)
        peer.dht.storage.stores(peer.storing, now)
        effects = peer.advertised(peer.announcement.restated(peer.roles, now))
        if (mine := peer.announcement.signed) is not None:
            effects += [Send(contact, Gossip([mine], [0])) for contact in peer.dht.table.contacts()]
        return effects
