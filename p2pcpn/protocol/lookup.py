"""A lookup: peers in four states around a target, until the nearest that live have all answered (Kademlia, 2.3).

::

              asked            answered
    HEARD ───────────▶ WAITING ─────────▶ QUERIED
      ▲                   │ failed
      └───────────────────┴─────────────▶ UNREACHABLE
       another address is known

Three peers are asked at a time. A late peer is still waited for, but the next is asked beside it (a hedged query),
and each timeout lets one more be asked at a time, up to ten: one dead peer costs a lookup one timeout, and many dead
cost little more. A peer late for the second time no longer holds up the end. When a value is known, being late once
is enough, and only as many of the nearest matter as records have copies. Nothing here sends: ``queries`` says whom
to ask next.
"""

from __future__ import annotations

import enum
from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact

# Addresses tried of a peer that is named with several: one wrong one must not hide it.
ADDRESSES_MAX = 3


class State(enum.IntEnum):
    """What a lookup knows of one peer."""

    HEARD = 0
    WAITING = 1
    QUERIED = 2
    UNREACHABLE = 3


@dataclass(slots=True)
class _Peer:
    contact: Contact
    addresses: list[Contact]  # all that were named, those that failed included
    state: State = State.HEARD
    late: int = 0


class Lookup:
    """One iterative lookup of ``target`` by ``own``, which is never asked itself.

    ``k`` nearest peers must have answered; ``is_dead(contact)`` leaves out whoever failed lately.
    """

    def __init__(
        self,
        own: bytes,
        target: bytes,
        start: Iterable[Contact],
        *,
        k: int = limits.BUCKET_PEERS,
        is_dead: Callable[[Contact], bool] = lambda contact: False,
    ) -> None:
        self.target = target
        self.impatient = False  # set where a value is known: only its nearest holders matter, and no late one
        self._own = own
        self._k = k
        self._is_dead = is_dead
        self._peers: dict[bytes, _Peer] = {}
        self._order: list[tuple[int, bytes]] = []
        self._alpha = limits.ALPHA
        for contact in start:
            self._hear(contact)

    def __len__(self) -> int:
        return len(self._peers)

    def queries(self) -> list[Contact]:
        """Whom to ask now; they count as asked."""
        waiting = sum(peer.state is State.WAITING and not peer.late for peer in self._peers.values())
        asked = []
        for peer in self._nearest():
            if waiting >= self._alpha:
                break
            if peer.state is State.HEARD:
                peer.state = State.WAITING
                waiting += 1
                asked.append(peer.contact)
        return asked

    def answered(self, asked: Contact, contacts: Iterable[Contact]) -> None:
        """``asked`` answered and named ``contacts``, of which at most a reply's worth is heard."""
        peer = self._peers.get(asked.id)
        if peer is None or peer.state is State.QUERIED:
            return
        peer.state, peer.contact = State.QUERIED, asked
        for number, contact in enumerate(contacts):
            if number >= limits.CONTACTS_MAX:
                break
            self._hear(contact)

    def late(self, asked: Contact) -> None:
        """``asked`` let a timeout pass: one more is asked beside it."""
        peer = self._peers.get(asked.id)
        if peer is not None and peer.state is State.WAITING:
            peer.late += 1
            self._alpha = min(limits.ALPHA_MAX, self._alpha + 1)

    def failed(self, asked: Contact) -> None:
        """``asked`` answered no try; another address of it is heard anew, if one was named."""
        peer = self._peers.get(asked.id)
        if peer is None or peer.state is not State.WAITING or peer.contact != asked:
            return
        peer.late = 0
        untried = peer.addresses.index(asked) + 1
        if untried < len(peer.addresses):
            peer.contact, peer.state = peer.addresses[untried], State.HEARD
        else:
            peer.state = State.UNREACHABLE

    @property
    def done(self) -> bool:
        """Whether the nearest peers have all answered, failed, or are so late that nobody waits for them."""
        patience = 1 if self.impatient else 2
        return not any(
            peer.state is State.HEARD or (peer.state is State.WAITING and peer.late < patience)
            for peer in self._nearest()
        )

    def nearest(self, count: int) -> list[Contact]:
        """The nearest ``count`` peers that answered, nearest first."""
        answered = [self._peers[node] for _, node in self._order if self._peers[node].state is State.QUERIED]
        return [peer.contact for peer in answered[:count]]

    def states(self) -> dict[State, int]:
        """How many peers are in each state."""
        return {state: sum(peer.state is state for peer in self._peers.values()) for state in State}

    def _nearest(self) -> list[_Peer]:
        found: list[_Peer] = []
        places = min(self._k, limits.RECORD_COPIES) if self.impatient else self._k
        for _, node in self._order:
            peer = self._peers[node]
            if peer.state is not State.UNREACHABLE:
                found.append(peer)
                # Who is late takes no place away: the window goes on to who may yet answer.
                places -= peer.state is not State.WAITING or peer.late < 2
                if not places:
                    break
        return found

    def _hear(self, contact: Contact) -> None:
        if contact.id == self._own or not contact.usable or self._is_dead(contact):
            return
        peer = self._peers.get(contact.id)
        if peer is not None:
            self._hear_address(peer, contact)
            return
        self._peers[contact.id] = _Peer(contact, [contact])
        insort(self._order, (distance(self.target, contact.id), contact.id))
        if len(self._order) > limits.LOOKUP_PEERS_MAX:
            _, farthest = self._order.pop()
            del self._peers[farthest]

    @staticmethod
    def _hear_address(peer: _Peer, contact: Contact) -> None:
        if peer.state is State.QUERIED or contact in peer.addresses or len(peer.addresses) >= ADDRESSES_MAX:
            return
        peer.addresses.append(contact)
        if peer.state is State.UNREACHABLE:
            peer.contact, peer.state = contact, State.HEARD
