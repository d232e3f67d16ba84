"""Reunion: a peer looks for those it lost and those it never met, so that parts of a swarm become one again.

Two swarms that started apart, or that a broken cable parted until each buried the other, hear nothing of one another:
every peer asks only those it knows. So each, now and then, asks one of the bootstraps it does not know (any more), and
one of the dead (as Serf reconnects), for the peers near its own id. Whoever answers with strangers only is of another
part: the strangers are asked as well, nearest first, until the neighbours of our id over there know us and we know
them. Each peer of either part does so, and that is all a Kademlia table needs. Where many are known and no share of
the neighbours was lost lately each asks more rarely: all of them together ask the same few bootstraps. One who dies
among many is no cut: thirty watched it, and each would ask the dead, and a bootstrap that it must greet first.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict, deque
from collections.abc import Iterable

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.dht import Dht
from p2pcpn.protocol.effects import Effect, Heard
from p2pcpn.protocol.neighbourhood import Neighbourhood
from p2pcpn.protocol.replies import believed
from p2pcpn.protocol.requests import ANYBODY, Answered, Failed, Late, Requests
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import Datagram, Find, Nodes

# First so soon, then ever more rarely, down to this; where more than REUNION_PEERS are known and nobody was lost lately
# so much more rarely again for each doubling: 10,000 peers, who know 512 each, ask all bootstraps 20 times a second.
REUNION_S = 10.0
REUNION_S_MAX = 120.0
REUNION_PEERS = 64
# A cut takes a share of the neighbours: one of so many (and one at least) within this time.
CUT_SHARE = 8
CUT_S = REUNION_S_MAX
# Who was lost is looked for so long: a laptop comes back the next morning.
LOST_S = 86_400.0
# Of the strangers in one answer, and of all in one reunion.
ASKED_PER_ANSWER = 8
ASKED_MAX = 24


class Reunion:
    """Looks for lost peers and bootstraps. Who is in the table of ``dht`` or in ``neighbourhood`` is not looked for."""

    def __init__(
        self, dht: Dht, neighbourhood: Neighbourhood, roundtrips: RoundTrips, rng: random.Random, now: float
    ) -> None:
        self._own = own = dht.own
        self._dht = dht
        self._table = dht.table
        self._neighbourhood = neighbourhood
        self._requests = Requests(roundtrips, rng, 2 * ASKED_MAX)
        self._losses_s: deque[float] = deque(maxlen=limits.NEIGHBOURHOOD_MAX // CUT_SHARE)  # when the last were lost
        self._lost: OrderedDict[bytes, tuple[Contact, float]] = OrderedDict()
        self._turn = 0  # which bootstrap is next
        self._wait_s = REUNION_S
        self._uneven = 0.8 + own[0] / 640  # so that not everybody asks at once
        self._due_s = now + REUNION_S * self._uneven
        self._left = ASKED_MAX
        self._asked: dict[bytes, None] = {}  # in this reunion
        self._met = 0

    def statistics(self) -> dict[str, int]:
        """Peers that are looked for, and how many of another part of the swarm were met."""
        return {"lost": len(self._lost), "met": self._met}

    def lost(self, peer: Contact, now: float) -> None:
        """``peer`` is held to be dead."""
        self._lost.pop(peer.id, None)
        self._lost[peer.id] = (peer, now)
        if len(self._lost) > limits.LOST_PEERS_MAX:
            self._lost.popitem(last=False)
        self._losses_s.append(now)
        if sum(now - lost_s <= CUT_S for lost_s in self._losses_s) >= max(1, len(self._neighbourhood) // CUT_SHARE):
            self._due_s = min(self._due_s, now + REUNION_S * self._uneven)
            self._wait_s = min(self._wait_s, REUNION_S_MAX)  # perhaps it is we who are parted from them

    def receive(self, sender: Contact, message: Datagram, now: float) -> list[Effect]:
        """An answer, perhaps to us. Whatever else there is said among peers is no matter of ours."""
        return self._settle(self._requests.receive(sender, message, now), now) if isinstance(message, Nodes) else []

    def deadline(self) -> float:
        """When the next bootstrap and the next of the lost are asked, or an answer is late."""
        due_s = self._requests.deadline()
        return self._due_s if due_s is None else min(due_s, self._due_s)

    def expire(self, now: float) -> list[Effect]:
        """Ask again, give up, begin the next reunion."""
        effects = self._settle(self._requests.expire(now), now)
        if now < self._due_s:
            return effects
        self._due_s = now + self._wait_s * self._uneven
        doublings = math.log2(max(1.0, self._neighbourhood.known / REUNION_PEERS))
        self._wait_s = min((1.0 + doublings) * REUNION_S_MAX, 2 * self._wait_s)
        self._left = ASKED_MAX
        self._asked.clear()
        return effects + self._ask([*self._next_bootstrap(), *self._one_lost(now)], now)

    def _next_bootstrap(self) -> list[Contact]:
        bootstraps = self._dht.bootstraps
        for step in range(len(bootstraps)):
            contact = bootstraps[(self._turn + step) % len(bootstraps)]
            if not self._knows(contact):
                self._turn = (self._turn + step + 1) % len(bootstraps)
                return [contact]
        return []

    def _one_lost(self, now: float) -> list[Contact]:
        for node in [n for n, (c, since_s) in self._lost.items() if now - since_s > LOST_S or self._knows(c)]:
            del self._lost[node]
        for node, (contact, _) in self._lost.items():
            self._lost.move_to_end(node)
            return [contact]
        return []

    def _knows(self, peer: Contact) -> bool:
        """Whether that peer, or where its id is not known whoever listens there, is one that we talk to."""
        if peer.id != ANYBODY:
            return peer.id in self._neighbourhood or peer.id in self._table
        if self._table.listens_at(peer):
            return True
        host, port = peer.host, peer.port
        return any([it.port == port and it.host == host for it in self._neighbourhood.contacts()])  # noqa: C419 (faster)

    def _ask(self, peers: Iterable[Contact], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for peer in peers:
            if self._left and peer.usable and peer.id not in self._asked:
                self._left -= 1
                if peer.id != ANYBODY:
                    self._asked[peer.id] = None
                effects += self._requests.ask(peer, lambda nonce: Find(nonce, self._own), None, now, tries=2)
        return self._settle(effects, now)

    def _settle(self, outcomes: list[Effect], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for effect in outcomes:
            outcome = effect.value if isinstance(effect, Heard) else None
            if isinstance(outcome, Answered):
                effects += self._answered(outcome, now)
            elif not isinstance(outcome, Late | Failed):
                effects.append(effect)
        return effects

    def _answered(self, outcome: Answered, now: float) -> list[Effect]:
        assert isinstance(outcome.reply, Nodes)
        self._lost.pop(outcome.peer.id, None)
        try:
            named = believed(outcome.peer, self._own, outcome.reply.contacts, self._own)
        except PeerError:
            return []
        strangers = [contact for contact in named if not self._knows(contact)]
        if 2 * len(strangers) <= len(named):
            return []  # of our own part: what it knows, lookups find
        self._met += 1
        self._wait_s = REUNION_S  # the parts are not one yet
        strangers.sort(key=lambda contact: (distance(contact.id, self._own), contact.id))
        return self._ask(strangers[:ASKED_PER_ANSWER], now)
