"""Keepers: who has one job beside this peer, as they say and show it, in the order in which they act and let go.

The order is the same for all of them: those whom the owner named first, then the nearest to the job's id. Who was not
named counts when it has shown a segment of a log: an id near a job costs nothing to make, and a word even less.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.passing import covers, held, lacking, needs_segments
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import JobKept

# One more is kept than the owner wants: a death is noticed, waited for and made good within some minutes, and a second
# one in that time must not leave a single copy. It costs nothing before three of the usual five stewards are gone.
SPARE = 1


@dataclass(slots=True)
class Keeper:
    """A peer that says that it keeps the job; ``shown_s``: when it last showed some of it, or had it from us."""

    contact: Contact
    shown_s: float | None = None


@dataclass(slots=True)
class Keepers:
    """Of one job: ``mine`` is what is here of it, since ``changed_s``; ``answers`` are what others said last.

    ``awaited`` are to answer yet. ``unwilling`` took it not, or could not show it: until when they do not count.
    ``failed`` took some of it, and their disk may lack what they say. ``short_since`` and ``surplus_since``: too few
    keep it, or more than enough that come before us.
    """

    kept: Kept
    mine: JobKept
    changed_s: float
    others: dict[NodeId, Keeper] = field(default_factory=dict)
    awaited: dict[NodeId, None] = field(default_factory=dict)
    answers: dict[NodeId, tuple[Contact, JobKept | None]] = field(default_factory=dict)
    unwilling: dict[NodeId, float] = field(default_factory=dict)
    failed: dict[NodeId, None] = field(default_factory=dict)
    short_since: float | None = None
    surplus_since: float | None = None

    @property
    def copies(self) -> int:
        """How many are to keep it."""
        return self.kept.authority.spec.replicas + SPARE

    def names(self, node: bytes) -> bool:
        """Whether the owner named that peer."""
        return any(steward.contact.id == node for steward in self.kept.authority.spec.stewards)

    def place(self, node: bytes) -> tuple[bool, int]:
        """Where a peer stands in the order of those who keep it."""
        return not self.names(node), distance(node, self.kept.authority.job)

    def know(self, contact: Contact) -> Keeper | None:
        """Somebody says that it keeps the job: it is asked from now on. None where as many have shown that they do."""
        node = NodeId(contact.id)
        known = self.others.get(node)
        if known is not None:
            known.contact = contact
            return known
        if len(self.others) >= limits.KEEPERS_MAX:
            word = next((each for each, keeper in self.others.items() if keeper.shown_s is None), None)
            if word is None:
                return None
            del self.others[word]
        known = self.others[node] = Keeper(contact)
        return known

    def changed(self, now: float) -> bool:
        """Whether something came since the last time: somebody still settles tasks, and sees to the copies of that."""
        mine = held(self.kept)
        if mine == self.mine:
            return False
        self.mine, self.changed_s = mine, now
        self.short_since = self.surplus_since = None
        return True

    @property
    def shows(self) -> bool:
        """Whether there is a log that somebody could show."""
        return any(count for _, _, count in self.mine.logs)

    def whole(self, now: float) -> tuple[list[Contact], list[Contact]]:
        """Who has all of it, as they said last, and who says so and has to show it yet."""
        whole: list[Contact] = []
        claimed: list[Contact] = []
        segments = needs_segments(self.kept)
        for node, (contact, theirs) in self.answers.items():
            if theirs is None and not self.names(node):
                self.others.pop(node, None)
            if not covers(theirs, self.mine, segments=segments):
                continue
            keeper = self.know(contact)
            if self.names(node) or not self.shows:
                whole.append(contact)
            elif keeper is not None and self.unwilling.get(node, 0.0) <= now:
                (claimed if keeper.shown_s is None else whole).append(contact)
        return whole, claimed

    def before(self, node: bytes, whole: Sequence[Contact]) -> list[Contact]:
        """Those of them that come before a peer, in their order."""
        place = self.place(node)
        return sorted((each for each in whole if self.place(each.id) < place), key=lambda each: self.place(each.id))

    def unshown(self, contacts: Sequence[Contact], since_s: float) -> list[Contact]:
        """Those of them that have shown nothing of it since then."""
        found = []
        for contact in contacts:
            keeper = self.others.get(NodeId(contact.id))
            if keeper is None or keeper.shown_s is None or keeper.shown_s <= since_s:
                found.append(contact)
        return found

    def heir(
        self, me: Contact, whole: Sequence[Contact], group: Callable[[Contact], Hashable], now: float
    ) -> Contact | None:
        """Who is brought the job: whom the owner named, or one in a network where it is not yet, that lacks least of
        it, and lives nearest to it."""
        taken = {group(contact) for contact in (me, *whole)}
        had = {contact.id for contact in whole}
        job = self.kept.authority.job
        found = [
            ((not self.names(node), group(contact) in taken, lacking(theirs, self.mine), distance(node, job)), contact)
            for node, (contact, theirs) in self.answers.items()
            if contact.id not in had and self.unwilling.get(node, 0.0) <= now
        ]
        return min(found, key=lambda each: each[0])[1] if found else None

    def refused(self, node: NodeId, until_s: float) -> None:
        """A peer did not take it."""
        self.unwilling[node] = until_s
        self.failed[node] = None

    def doubted(self, node: NodeId, until_s: float) -> None:
        """A peer could not show what it says that it has."""
        self.unwilling[node] = until_s
        self.answers.pop(node, None)
        self.others.pop(node, None)

    def relent(self, now: float) -> None:
        """Forget what is long past."""
        self.unwilling = {node: until_s for node, until_s in self.unwilling.items() if until_s > now}
        self.failed = dict.fromkeys(list(self.failed)[-limits.KEEPERS_MAX :])
