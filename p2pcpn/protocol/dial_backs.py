"""Dialling back: what this peer does for others that ask whether strangers reach them.

It connects to the asker's port and knocks there with a datagram from another port of its own, then says how that went.
Nobody can make it reach for anybody else: it goes only to the address that the asker's pair has proven, never to one
that a message names, once a minute for an asker and for an address, and in all no more often than
:data:`p2pcpn.limits.DIAL_BACKS_PER_S`. Who asks more often is not answered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from p2pcpn import limits
from p2pcpn.protocol.effects import Connect, Effect, Send
from p2pcpn.protocol.rates import Bucket
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import Datagram, DialBack, DialedBack, Knock


class DialBacks:
    """See the module. ``aside(to, message)`` says something to a pair from another port."""

    def __init__(self, aside: Callable[[Contact, Datagram], list[Effect]]) -> None:
        self._aside = aside
        self._dialed: OrderedDict[object, float] = OrderedDict()  # by asker and by address, the longest ago first
        self._allowed = Bucket(limits.DIAL_BACKS_PER_S, limits.DIAL_BACKS_MAX)
        self._under_way = 0

    def statistics(self) -> dict[str, int]:
        """How many are dialled now, and how many askers and addresses were within the last minute."""
        return {"under_way": self._under_way, "lately": len(self._dialed)}

    def asked(self, sender: Contact, message: DialBack, now: float) -> list[Effect]:
        """``sender``, which its pair proved to be there, asks to be dialled."""
        while self._dialed and next(iter(self._dialed.values())) + limits.DIAL_BACK_WAIT_S <= now:
            self._dialed.popitem(last=False)
        keys = (sender.id, sender.address)
        if any(key in self._dialed for key in keys) or not sender.usable:
            return []
        if self._under_way >= limits.DIAL_BACKS_MAX or not self._allowed.take(now):
            return [Send(sender, DialedBack(message.nonce, DialedBack.BUSY))]
        self._dialed.update(dict.fromkeys(keys, now))
        self._under_way += 1
        knocks = [effect for _ in range(limits.KNOCKS) for effect in self._aside(sender, Knock(message.nonce))]
        return [*knocks, Connect(sender, message.nonce)]

    def connected(self, to: Contact, nonce: int, reached: bool) -> list[Effect]:
        """A :class:`~p2pcpn.protocol.effects.Connect` ended."""
        self._under_way -= 1
        return [Send(to, DialedBack(nonce, DialedBack.REACHED if reached else DialedBack.MISSED))]
