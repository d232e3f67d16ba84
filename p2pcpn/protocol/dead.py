"""Dead peers: who let all tries of a request pass is not asked for a time that grows, until it speaks.

Two steps. Who let one timeout pass is *silent*: it is still asked, and nobody waits for it. Who answered no try is
*dead*: it is not asked at all for :data:`p2pcpn.limits.DEAD_S`, then for twice that, and so on. Both end the moment it
is heard. What others say of it counts for nothing, neither that it is dead nor, by naming it again, that it lives;
entries are of an id at an address, so that a wrong address condemns nobody.
"""

from __future__ import annotations

from collections import OrderedDict

from p2pcpn import limits
from p2pcpn.wire.addresses import Contact


class DeadPeers:
    """At most :data:`p2pcpn.limits.DEAD_PEERS_MAX` of either kind; the first condemned is forgotten first."""

    def __init__(self) -> None:
        self._silent: OrderedDict[Contact, float] = OrderedDict()  # until when
        self._dead: OrderedDict[Contact, tuple[float, float]] = OrderedDict()  # until when, and for how long

    def __len__(self) -> int:
        return len(self._dead)

    def knows(self, contact: Contact) -> bool:
        """Whether ``contact`` was late or failed, and was not heard since."""
        return bool(self._silent or self._dead) and (contact in self._silent or contact in self._dead)

    def heard(self, contact: Contact) -> None:
        """``contact`` spoke."""
        if self._silent or self._dead:
            self._silent.pop(contact, None)
            self._dead.pop(contact, None)

    def late(self, contact: Contact, now: float) -> None:
        """``contact`` let one timeout pass."""
        if contact not in self._silent:
            self._silent[contact] = now + limits.DEAD_S
            if len(self._silent) > limits.DEAD_PEERS_MAX:
                self._silent.popitem(last=False)

    def failed(self, contact: Contact, now: float, *, cut_off: bool = False) -> None:
        """``contact`` answered no try. ``cut_off``: nor did anybody else, so its time does not grow."""
        self._silent.pop(contact, None)
        _, before_s = self._dead.pop(contact, (0.0, limits.DEAD_S / 2))
        dead_s = limits.DEAD_S if cut_off else min(limits.DEAD_S_MAX, before_s * 2)
        self._dead[contact] = (now + dead_s, dead_s)
        if len(self._dead) > limits.DEAD_PEERS_MAX:
            self._dead.popitem(last=False)

    def is_silent(self, contact: Contact, now: float) -> bool:
        """Whether ``contact`` was late and has not been heard since, so that nobody should wait for it."""
        if not self._silent and not self._dead:
            return False
        return now < self._silent.get(contact, now) or contact in self._dead

    def is_dead(self, contact: Contact, now: float) -> bool:
        """Whether ``contact`` failed so lately that asking it again would be a waste."""
        return bool(self._dead) and (dead := self._dead.get(contact)) is not None and now < dead[0]
