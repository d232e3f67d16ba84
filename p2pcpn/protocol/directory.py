"""The directory: which peers advertise what, as far as this peer has heard.

An advert counts until its ``ttl_s`` has passed since it was heard; a newer version (or boot) replaces an older one.
Keys cost nothing and an advert may name any address: where there are too many, those of a network group beyond its
share go first, then those of peers whom we never met.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId, node_id
from p2pcpn.protocol.announcement import repeats
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.statements import Advert, Role, Signed, read

TTL_S_MAX = 7200.0
# A full directory gives each network group so much of it, and forgets so much of it at once: 4 ms for 64 adverts.
GROUPS = 64
FORGOTTEN_PART = 64


@dataclass(frozen=True, slots=True)
class Listed:
    """One peer's advert as it was heard."""

    advert: Advert
    signed: Signed
    until: float


class Directory:
    """Adverts by node, bounded; of those that may go the longest unrefreshed is forgotten first.

    ``group(contact)`` is a peer's network group, ``met(node)`` whether it proved its key to us from where it is.
    """

    def __init__(
        self,
        group: Callable[[Contact], Hashable] = lambda contact: contact.id,
        met: Callable[[NodeId], bool] = lambda node: False,
    ) -> None:
        self._group = group
        self._met = met
        self._listed: dict[NodeId, Listed] = {}  # the longest unrefreshed first

    def __len__(self) -> int:
        return len(self._listed)

    def heard(self, advert: Advert, signed: Signed, now: float) -> bool:
        """Take note of an advert whose signature is right.

        False when it is not its peer's own, names no place where anybody can be, or is older than what is known.
        """
        node = node_id(signed.key)
        if advert.contact.id != node or not advert.contact.usable:
            return False
        known = self._listed.get(node)
        if known is not None and (advert.boot, advert.version) <= (known.advert.boot, known.advert.version):
            return False
        self._listed.pop(node, None)
        self._listed[node] = Listed(advert, signed, now + min(advert.ttl_s, TTL_S_MAX))
        if len(self._listed) > limits.ADVERTS_MAX:
            self._crowd_out()
        return node in self._listed

    def _crowd_out(self) -> None:
        """Forget some, many at once: all of them are looked at."""
        groups: dict[Hashable, list[NodeId]] = {}
        for node, listed in self._listed.items():
            groups.setdefault(self._group(listed.advert.contact), []).append(node)
        share = max(1, limits.ADVERTS_MAX // GROUPS)
        going = {node for members in groups.values() for node in members[: max(0, len(members) - share)]}
        going = going or {node for node in self._listed if not self._met(node)} or set(self._listed)
        oldest = [node for node in self._listed if node in going]
        for node in oldest[: 1 + limits.ADVERTS_MAX // FORGOTTEN_PART]:
            del self._listed[node]

    def get(self, node: bytes) -> Listed | None:
        """The advert of one peer."""
        return self._listed.get(NodeId(node))

    def repeats(self, advert: Advert) -> bool | None:
        """Whether ``advert`` tells nothing of its peer that is not known; ``None`` where nothing is."""
        known = self._listed.get(NodeId(advert.contact.id))
        return None if known is None else repeats(advert, known.advert)

    def back(self, signed: Signed | None, now: float) -> None:
        """The peer with this advert, which was forgotten with it, lives after all."""
        if signed is not None:
            self.heard(read(signed, Advert), signed, now)

    def gone(self, node: bytes) -> bytes:
        """That peer is dead or has left. Returns its key, as far as it is known here."""
        listed = self._listed.pop(NodeId(node), None)
        return b"" if listed is None else listed.signed.key

    def listed(self, now: float) -> list[Listed]:
        """All adverts that count, ordered by node id."""
        for node in [node for node, listed in self._listed.items() if listed.until <= now]:
            del self._listed[node]
        return [self._listed[node] for node in sorted(self._listed)]

    def storage_near(self, target: bytes, now: float) -> list[Listed]:
        """Storage peers, nearest to ``target`` first, peers of other machines before second ones of the same."""
        near = sorted(
            (listed for listed in self.listed(now) if listed.advert.roles & Role.STORAGE),
            key=lambda listed: distance(listed.advert.contact.id, target),
        )
        seen: set[int] = set()
        first: list[Listed] = []
        again: list[Listed] = []
        for listed in near:
            (again if listed.advert.machine in seen else first).append(listed)
            seen.add(listed.advert.machine)
        return first + again

    def contacts(self, now: float) -> list[Contact]:
        """Where the advertised peers are."""
        return [listed.advert.contact for listed in self.listed(now)]
