"""Glances: a far bucket stays alive by asking a few who are in it for one more each, not by a lookup.

What Kademlia refreshes a bucket for (section 2.3) is that its peers live and that its places are filled. A lookup of a
random id asks its way to the very nearest of that id, some 25 peers among whom most are strangers to be greeted, and
whoever is nearest to a random id matters to nobody. A glance asks the three of the bucket that were silent for longest,
each for another id within it, and then one stranger that each of them names, as long as there is room. Near to our own
id, where it matters to know everybody, it is a lookup still.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pcpn.errors import PeerError
from p2pcpn.protocol.replies import believed
from p2pcpn.protocol.requests import Answered
from p2pcpn.protocol.table import RoutingTable
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import Find, Nodes


@dataclass(frozen=True, slots=True)
class Glance:
    """Why somebody is asked whom it knows near to ``target``, which is in its own bucket."""

    target: bytes

    def question(self, nonce: int) -> Find:
        """What it is asked."""
        return Find(nonce, self.target)


def strangers(answer: Answered, own: bytes, table: RoutingTable, now: float) -> list[Contact]:
    """Who is to be asked whether it lives, now that a glance was answered: the nearest named that ``table`` has room
    for, if there is one."""
    if not isinstance(answer.purpose, Glance) or not isinstance(answer.reply, Nodes):
        return []
    try:
        named = believed(answer.asked, answer.purpose.target, answer.reply.contacts, own)
    except PeerError:
        return []
    return [it for it in named if table.has_room(it) and not table.dead.is_dead(it, now)][:1]
