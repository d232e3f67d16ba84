"""Refusers: who said lately that it stores nothing, and is asked to store last."""

from __future__ import annotations

from collections import OrderedDict

from p2pcpn import limits
from p2pcpn.protocol.requests import Reply
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import StoreCode, Stored

REFUSAL_S = 600.0


class Refusers:
    """At most ``limits.DEAD_PEERS_MAX`` of them; the one that refused first is forgotten first."""

    def __init__(self) -> None:
        self._until_s: OrderedDict[bytes, float] = OrderedDict()

    def heard(self, peer: Contact, reply: Reply, now: float) -> bool:
        """``peer`` answered a request; whether it refused to store."""
        if not isinstance(reply, Stored):
            return False
        self._until_s.pop(peer.id, None)
        if reply.code != StoreCode.REFUSED:
            return False
        self._until_s[peer.id] = now + REFUSAL_S
        if len(self._until_s) > limits.DEAD_PEERS_MAX:
            self._until_s.popitem(last=False)
        return True

    def is_one(self, node: bytes, now: float) -> bool:
        """Whether the peer ``node`` refused within the last ten minutes."""
        return self._until_s.get(node, 0.0) > now
