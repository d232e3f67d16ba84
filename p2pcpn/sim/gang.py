"""A gang: hostile peers that know of each other and do to lookups what can be done with a valid identity.

They join like anybody. Asked who is near, they name each other, or invent peers nearer than any that lives. Asked for
a value they give an old version, one that its owner never signed, another record, or none. What they are to keep they
refuse, or promise and drop. Some are deaf to all of it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Send
from p2pcpn.protocol.table import distance
from p2pcpn.protocol.table_peer import TablePeer
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import CONTACTS_WITH_RECORD_MAX, Find, Get, Nodes, Put, StoreCode, Stored, Value
from p2pcpn.wire.statements import Signed

DEAF_SHARE = 0.2
INVENTED_SHARE = 0.5


class Gang:
    """What hostile peers share: who they are, and records they once saw."""

    def __init__(self, members: Sequence[Contact], rng: random.Random) -> None:
        self.members = list(members)
        self.rng = rng
        self.seen: dict[bytes, Signed] = {}  # by key: the oldest version

    def named(self, target: bytes, asker: bytes, member: bytes) -> list[Contact]:
        """Members nearest to ``target``, or inventions at members' addresses, as an honest reply would be made up."""
        if self.rng.random() < INVENTED_SHARE:
            aim = int.from_bytes(target, "big")
            gaps = sorted({self.rng.getrandbits(100) + 1 for _ in range(limits.CONTACTS_MAX)})
            homes = [self.rng.choice(self.members) for _ in gaps]
            return [
                Contact((aim ^ gap).to_bytes(20, "big"), home.host, home.port)
                for gap, home in zip(gaps, homes, strict=True)
            ]
        others = [it for it in self.members if it.id not in (asker, member)]
        return sorted(others, key=lambda it: distance(it.id, target))[: limits.CONTACTS_MAX]

    def value(self, key: bytes) -> Signed | None:
        """A record to give for ``key``: the oldest, a forgery, somebody else's, or none."""
        oldest = self.seen.get(key)
        others = [signed for other, signed in self.seen.items() if other != key]
        lies: list[Signed | None] = [oldest, None]
        if oldest is not None:
            lies.append(Signed(oldest.kind, oldest.key, oldest.body[:-1] + b"!", oldest.signature))
        if others:
            lies.append(self.rng.choice(others))
        return self.rng.choice(lies)


class Liar:
    """Answers others as its gang wants. Its peer's own lookups, by which it gets into tables, are those of all."""

    def __init__(self, own: bytes, gang: Gang, deaf: bool) -> None:
        self.own = own
        self.gang = gang
        self.deaf = deaf

    def answer(self, sender: Contact, message: Find | Get | Put) -> list[Effect]:
        """What ``sender`` gets for its question: a lie, or nothing."""
        return [] if self.deaf else [Send(sender, self._lie(sender, message))]

    def _lie(self, sender: Contact, message: Find | Get | Put) -> Nodes | Value | Stored:
        if isinstance(message, Find):
            return Nodes(message.nonce, self.gang.named(message.target, sender.id, self.own))
        if isinstance(message, Get):
            value, contacts = self.gang.value(message.key), self.gang.named(message.key, sender.id, self.own)
            return Value(message.nonce, value, contacts if value is None else contacts[:CONTACTS_WITH_RECORD_MAX])
        code = StoreCode.KEPT if self.gang.rng.random() < 0.5 else StoreCode.REFUSED
        return Stored(message.nonce, code, 0)


def turn_hostile(peer: TablePeer, gang: Gang) -> Liar:
    """Make ``peer`` one of ``gang``; returns what it answers by."""
    liar = Liar(peer.dht.own, gang, gang.rng.random() < DEAF_SHARE)
    peer.liar = liar.answer
    return liar
