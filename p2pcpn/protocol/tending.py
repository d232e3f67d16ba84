"""Tending: those who keep a section watch each other, and restore its replicas or drop what is too many. Nobody leads.

A holder compares with each other holder now and then, all sections they share in one message. Who says that it keeps
a section counts once it has shown a chunk of it, chosen by chance: a word costs a liar nothing. Where fewer than the
deposit's replicas answer it waits, then looks whether others have the section, and brings it to another peer. How long
it waits follows from how near its id is to the section's name: the nearest living holder acts first, the next one only
if that did not help, so that one acts and not all. A holder that has as many nearer ones as there are to be replicas
lets go, after it has seen that they have the bytes; the nearest never do, so all that is needed stays. Who joins
changes nothing: sections stay where they are, and provider records tell where that is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.protocol.table import distance
from p2pcpn.protocol.timetable import Timetable
from p2pcpn.wire.addresses import Contact


@dataclass(frozen=True, slots=True)
class Pace:
    """``check_s`` between two looks at a peer, ``wait_s`` before replicas are restored or dropped (for the nearest),
    ``hope_s`` for a holder that was named and has it not whole yet.
    """

    check_s: float = 60.0
    # A machine that is started anew is back within two minutes; a replica of 256 MiB is not moved for less.
    wait_s: float = 120.0
    hope_s: float = 900.0


# The peers of one machine's own swarm have no reboots to wait for.
LOCAL = Pace(check_s=2.0, wait_s=3.0, hope_s=30.0)
# What was asked of the driver is asked again when it does not say how it ended.
DRIVER_S = 600.0


@dataclass(frozen=True, slots=True)
class Check:
    """Ask ``peer`` which of ``names`` it keeps whole; ``confirmed`` and ``lacks``, or ``unreachable``, follow."""

    peer: Contact
    names: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Prove:
    """See that ``peer``, which says that it keeps ``name``, has a chunk of it; ``shown`` follows."""

    name: bytes
    peer: Contact


@dataclass(frozen=True, slots=True)
class SeekHolders:
    """Look for holders of ``name``; ``sought`` follows."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Replicate:
    """Bring ``name`` to ``count`` peers beside ``holders``; ``replicated`` follows."""

    name: bytes
    holders: tuple[Contact, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Release:
    """See that each of ``nearer`` has the bytes of ``name``, then let go of it; ``kept_on`` or ``dropped`` follows."""

    name: bytes
    nearer: tuple[Contact, ...]


Effect = Check | Prove | SeekHolders | Replicate | Release
# What is known of a peer and a section: somebody named it, it says so itself, it has shown it.
_NAMED, _SAID, _SHOWN = range(3)


@dataclass(slots=True)
class _Peer:
    contact: Contact
    names: dict[bytes, int] = field(default_factory=dict)  # sections: named, said or shown
    hoped: dict[bytes, float] = field(default_factory=dict)  # not whole there yet: until when that is waited for
    missing: bool = False
    cursor: bytes = b""


@dataclass(slots=True)
class _Section:
    replicas: int
    pinned: bool
    others: dict[bytes, None] = field(default_factory=dict)
    said: dict[bytes, None] = field(default_factory=dict)  # who is to be asked to show it
    proving: dict[bytes, float] = field(default_factory=dict)  # who is asked, and until when that is waited for
    short_since: float | None = None
    surplus_since: float | None = None
    sought_s: float | None = None
    busy_until: float = 0.0  # the driver does something about it


class Tending:
    """The sections that this peer keeps whole, and who else does. See the module."""

    def __init__(self, own: bytes, pace: Pace) -> None:
        self._own = own
        self._pace = pace
        self._sections: dict[bytes, _Section] = {}
        self._peers: dict[bytes, _Peer] = {}
        self._unheard: set[bytes] = set()  # peers that others named, and that have not said themselves what they keep
        self._refuted: OrderedDict[tuple[bytes, bytes], float] = OrderedDict()  # words not believed, and until when
        self._looks = Timetable()
        self._checks = Timetable()

    def holders(self, name: bytes) -> list[Contact]:
        """Who else keeps a section, as far as is known."""
        section = self._sections.get(name)
        return [] if section is None else [self._peers[node].contact for node in section.others]

    def living(self, name: bytes) -> list[Contact]:
        """Who else has shown that it keeps a section, and answers; nearest first."""
        section = self._sections.get(name)
        if section is None:
            return []
        found = [self._peers[node] for node in section.others]
        contacts = [peer.contact for peer in found if peer.names[name] == _SHOWN and not peer.missing]
        return sorted(contacts, key=lambda contact: distance(contact.id, name[:20]))

    def short(self) -> list[tuple[bytes, int]]:
        """The sections that would have fewer replicas than wanted without this peer, and how many fewer."""
        found = [(name, section.replicas - len(self.living(name))) for name, section in self._sections.items()]
        return [(name, count) for name, count in found if count > 0]

    # --- what happens ------------------------------------------------------------------------------------------------

    def kept(self, name: bytes, replicas: int, now: float, *, pinned: bool = False) -> None:
        """A section is here whole."""
        known = self._sections.get(name)
        if known is None:
            self._sections[name] = _Section(replicas, pinned)
        else:
            known.replicas, known.pinned = replicas, pinned
        self._looks.set(name, now)

    def dropped(self, name: bytes) -> None:
        """A section is here no longer."""
        section = self._sections.pop(name, None)
        self._looks.drop(name)
        for node in [] if section is None else list(section.others):
            self._part(node, name)

    def learned(self, name: bytes, contacts: Iterable[Contact], now: float) -> None:
        """Somebody says that these keep a section, or are about to: who does not answer then is asked once."""
        section = self._sections.get(name)
        if section is None:
            return
        for contact in contacts:
            if contact.id == self._own or contact.id in section.others or len(section.others) >= limits.HOLDERS_MAX:
                continue
            if contact.id not in self._peers:
                if len(self._unheard) >= limits.NAMED_HOLDERS_MAX:
                    continue
                self._unheard.add(contact.id)
            self._meet(section, name, contact, now)
            self._peers[contact.id].hoped[name] = now + self._pace.hope_s

    def confirmed(self, contact: Contact, names: Sequence[bytes], now: float) -> None:
        """A peer says that it keeps these whole. It counts when it has shown it."""
        self._heard(contact, names, now, _SAID)

    def shown(self, name: bytes, node: bytes, now: float, *, right: bool) -> None:
        """A peer showed a chunk of a section that it says it keeps; or, not ``right``, it could not."""
        section = self._sections.get(name)
        if section is None or section.proving.pop(node, None) is None:
            return
        if right:
            self._peers[node].names[name] = _SHOWN
        else:
            self._refuted[node, name] = now + self._pace.wait_s
            while len(self._refuted) > limits.NAMED_HOLDERS_MAX:
                self._refuted.popitem(last=False)
            section.others.pop(node)
            self._part(node, name)
        self._looks.set(name, now)

    def _heard(self, contact: Contact, names: Sequence[bytes], now: float, state: int) -> None:
        for name in names:
            section = self._sections.get(name)
            if section is None or contact.id == self._own or self._refuted.get((contact.id, name), 0.0) > now:
                continue
            if contact.id not in section.others:
                if len(section.others) >= limits.HOLDERS_MAX:
                    continue
                self._meet(section, name, contact, now)
            peer = self._peers[contact.id]
            self._unheard.discard(contact.id)
            peer.hoped.pop(name, None)
            if peer.names[name] < state or peer.missing:
                self._looks.set(name, now)
            if peer.names[name] < state:
                peer.names[name] = state
                if state == _SAID:
                    section.said[contact.id] = None
        found = self._peers.get(contact.id)
        if found is not None:
            found.contact = contact
            self._there(found, now)

    def lacks(self, node: bytes, names: Sequence[bytes], now: float) -> None:
        """A peer answers that it does not keep these (whole)."""
        peer = self._peers.get(node)
        if peer is None:
            return
        self._there(peer, now)
        for name in names:
            if peer.hoped.get(name, 0.0) > now or name not in self._sections:
                continue
            self._sections[name].others.pop(node, None)
            self._part(node, name)
            self._looks.set(name, now)

    def unreachable(self, node: bytes, now: float) -> None:
        """A peer does not answer, or is known to be dead. What it has not shown, it keeps no longer."""
        peer = self._peers.get(node)
        if peer is None or peer.missing:
            return
        peer.missing = True
        for name, state in list(peer.names.items()):
            if state != _SHOWN:
                self._sections[name].others.pop(node)
                self._part(node, name)
            self._looks.set(name, now)

    def lost(self, node: bytes, now: float) -> None:
        """The session with a peer ended, or it left: look soon whether it lives."""
        if node in self._peers:
            self._checks.set(node, now + min(1.0, self._pace.check_s))

    def sought(self, name: bytes, found: Iterable[Contact], now: float) -> None:
        """Who was found to keep a section whole."""
        section = self._sections.get(name)
        if section is None:
            return
        section.sought_s, section.busy_until = now, 0.0
        for contact in found:
            self.confirmed(contact, [name], now)
        self._looks.set(name, now)

    def replicated(self, name: bytes, to: Sequence[Contact], now: float) -> None:
        """These keep a section now; none, where nobody took it."""
        section = self._sections.get(name)
        if section is None:
            return
        section.busy_until = 0.0
        for contact in to:  # they were given all of it by us
            self._heard(contact, [name], now, _SHOWN)
        if to:
            for node in [node for node in section.others if self._peers[node].missing]:
                section.others.pop(node)
                self._part(node, name)
            self._looks.set(name, now)
        else:
            section.short_since = now  # there is nobody: wait as long again
            section.sought_s = None
            self._looks.set(name, now + self._pace.wait_s)

    def kept_on(self, name: bytes, now: float) -> None:
        """A section was not let go of: one of the others could not show it."""
        section = self._sections.get(name)
        if section is not None:
            section.surplus_since, section.busy_until = now, 0.0
            self._looks.set(name, now + self._pace.wait_s)

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        times = [due_s for due_s in (self._looks.deadline(), self._checks.deadline()) if due_s is not None]
        return min(times, default=None)

    def expire(self, now: float) -> list[Effect]:
        """What is to be done now."""
        effects: list[Effect] = []
        while (node := self._checks.take(now)) is not None:
            effects += self._check(self._peers[node], now)
        while (name := self._looks.take(now)) is not None:
            effects += self._look(name, self._sections[name], now)
        return effects

    def _check(self, peer: _Peer, now: float) -> list[Effect]:
        self._checks.set(peer.contact.id, now + self._pace.check_s)
        names = sorted(peer.names)
        after = [name for name in names if name > peer.cursor][: limits.COMPARED_MAX] or names[: limits.COMPARED_MAX]
        peer.cursor = after[-1]
        return [Check(peer.contact, tuple(after))]

    def _look(self, name: bytes, section: _Section, now: float) -> list[Effect]:
        asked: list[Effect] = [Prove(name, self._peers[node].contact) for node in section.said]
        section.proving.update(dict.fromkeys(section.said, now + DRIVER_S))
        section.said.clear()
        return asked + self._counted(name, section, now)

    def _counted(self, name: bytes, section: _Section, now: float) -> list[Effect]:
        """What follows from how many keep a section."""
        if section.busy_until > now:
            self._looks.set(name, section.busy_until)
            return []
        living = self.living(name)
        hoped = sum(
            self._peers[node].hoped.get(name, 0.0) > now and not self._peers[node].missing for node in section.others
        )
        count = section.replicas - 1 - len(living) - hoped
        mine = distance(self._own, name[:20])
        nearer = [contact for contact in living if distance(contact.id, name[:20]) < mine]
        if count > 0:
            section.surplus_since = None
            return self._restore(name, section, living, count, len(nearer), now)
        section.short_since = section.sought_s = None
        if len(nearer) < section.replicas or section.pinned:
            section.surplus_since = None
            if hoped:
                self._looks.set(name, now + self._pace.check_s)
            return []
        since = section.surplus_since = now if section.surplus_since is None else section.surplus_since
        if now < since + self._pace.wait_s:
            self._looks.set(name, since + self._pace.wait_s)
            return []
        self._wait(name, section, now)
        return [Release(name, tuple(nearer[: section.replicas]))]

    def _restore(
        self, name: bytes, section: _Section, living: list[Contact], count: int, rank: int, now: float
    ) -> list[Effect]:
        """One holder acts after the other, the nearest first; whoever acts looks first whether it must."""
        since = section.short_since = now if section.short_since is None else section.short_since
        act_s = since + self._pace.wait_s * (1 + rank)
        if now < act_s:
            self._looks.set(name, act_s)
            return []
        if section.sought_s is None or section.sought_s < act_s:
            self._wait(name, section, now)
            return [SeekHolders(name)]
        if section.proving and now < section.sought_s + self._pace.wait_s:  # no longer: some might say so for ever
            self._looks.set(name, section.sought_s + self._pace.wait_s)
            return []
        self._wait(name, section, now)
        return [Replicate(name, tuple(living), count)]

    def _wait(self, name: bytes, section: _Section, now: float) -> None:
        """For what the driver is asked to do now."""
        section.busy_until = now + DRIVER_S
        self._looks.set(name, section.busy_until)

    # --- small steps -------------------------------------------------------------------------------------------------

    def _meet(self, section: _Section, name: bytes, contact: Contact, now: float) -> None:
        section.others[contact.id] = None
        peer = self._peers.get(contact.id)
        if peer is None:
            peer = self._peers[contact.id] = _Peer(contact)
            self._checks.set(contact.id, now + self._pace.check_s)
        peer.names.setdefault(name, _NAMED)

    def _part(self, node: bytes, name: bytes) -> None:
        peer = self._peers[node]
        section = self._sections.get(name)
        if section is not None:
            section.said.pop(node, None)
            section.proving.pop(node, None)
        peer.names.pop(name, None)
        peer.hoped.pop(name, None)
        if not peer.names:
            del self._peers[node]
            self._unheard.discard(node)
            self._checks.drop(node)

    def _there(self, peer: _Peer, now: float) -> None:
        if peer.missing:
            peer.missing = False
            for name in peer.names:
                self._looks.set(name, now)
