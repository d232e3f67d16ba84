"""Replies of lookups, read strictly: what no honest peer says costs a reply all belief, and odd addresses are left out.

An honest reply names at most twenty peers from the table of whoever replies: nearest to the target first, each once,
neither the asker nor the one that replies. Addresses are left out that nobody can be sent to, and those of a narrower
scope than the one of the peer that names them: somebody on the Internet must not make us knock at doors of our own
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.wire.addresses import Contact

LOOPBACK, LINK, PRIVATE, GLOBAL = range(4)


@lru_cache(maxsize=1 << 14)
def scope(packed: bytes) -> int:
    """How far a packed host can be reached from: this machine, this link, a private network, everywhere."""
    host = ip_address(packed)
    if host.is_loopback:
        return LOOPBACK
    if host.is_link_local:
        return LINK
    return GLOBAL if host.is_global else PRIVATE


def believed(asked: Contact, target: bytes, contacts: Sequence[Contact], own: bytes) -> list[Contact]:
    """The contacts that ``asked`` named as nearest to ``target`` and that may be asked.

    Raises :class:`PeerError` where the reply cannot be an honest one.
    """
    if len(contacts) > limits.CONTACTS_MAX:
        raise PeerError(f"a reply names {len(contacts)} peers")
    before, aim = -1, int.from_bytes(target, "big")
    for contact in contacts:
        gap = int.from_bytes(contact.id, "big") ^ aim
        if gap <= before:
            raise PeerError("a reply does not name the nearest first, each once")
        if contact.id in (own, asked.id):
            raise PeerError("a reply names who asks or who answers")
        before = gap
    narrowest = scope(asked.host)
    return [contact for contact in contacts if contact.usable and scope(contact.host) >= narrowest]
