"""Succession: a steward that keeps a job watches its grantor, and takes the job over when its turn has come.

Of a job that is granted in lots it watches the grantor of each, and takes over lot by lot.

Only jobs that stewards may take over (see :mod:`p2pcpn.protocol.authority`), and only while tasks are open. Nobody is
asked for leave: whose the next epoch is follows from the spec, and two that take over at once, on the two sides of a
partition, do so in epochs of their own. From then on readers find the job here, too.

::

    heard ──(session lost, or silent for 5 s)──> asked ──dead──> suspected ──turn──> Load: this node grants
      ^                                            │ alive, three times silent ──^      │
      └──────────── a sign of life, or a newer epoch ──────────────────────────────────┘

A turn comes when all stewards before us, in the order of their epochs, are known to be dead or have had time enough.
Who granted itself before a restart asks the others first, and goes on in its next epoch where there is no newer one:
the tokens it gave out in the old one are lost with its memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from p2pcpn.identity.keys import Keypair, NodeId, node_id
from p2pcpn.protocol.authority import Tenure
from p2pcpn.protocol.effects import Commit, Effect, Load, Probe, Provide, Tell
from p2pcpn.protocol.heartbeat import BEAT_S
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.steward import Steward
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Mandate

# Two beats may be late or lost.
SILENT_S = 2.5 * BEAT_S
# A node that answers probes so many times in a row and says nothing of the job grants it no more: its program is gone
# or stands still.
SILENT_LOOKS = 3
# What a steward whose turn it is needs to be found dead (0.9 s), or to read the job and tell the others.
TURN_S = 2.0
LOOK_S = 0.5


@dataclass(slots=True)
class Watch:
    """What is known of the grantor of a job, or of one of its lots. ``before`` are the stewards whose turn comes before
    ours."""

    heard_at: float
    looks: int = 0  # times that it was asked since it was heard
    suspected_at: float | None = None
    before: dict[NodeId, None] = field(default_factory=dict)


class Succession:
    """See the module. ``grants(job, epoch)``: whether this node grants now what is granted in that epoch; ``contact()``
    is where others reach us."""

    def __init__(
        self, me: Keypair, steward: Steward, grants: Callable[[bytes, int], bool], contact: Callable[[], Contact]
    ) -> None:
        self._me = me
        self._steward = steward
        self._grants = grants
        self._contact = contact
        self._watches: dict[tuple[bytes, int], Watch] = {}  # by job and lot
        self._look_at: float | None = None
        self.taken_over = 0

    def __len__(self) -> int:
        """How many grantors are watched."""
        return len(self._watches)

    # --- what is heard -----------------------------------------------------------------------------------------------

    def heard(self, job: bytes, sender: Contact, now: float) -> None:
        """``sender`` said something about a job; where it is the grantor of some of it, that is a sign of life."""
        kept = self._steward.jobs.get(job)
        if kept is None or not kept.authority.is_taken_over:
            return
        for lot in kept.heard(sender):
            self._watches.pop((job, lot), None)
        for tenure in kept.authority.granted:
            self._watch(job, tenure.lot, now)

    def superseded(self, job: bytes, lot: int, now: float) -> None:
        """A newer epoch has begun: its grantor has all the time that a new one has."""
        self._watches.pop((job, lot), None)
        self._watch(job, lot, now)

    def restored(self, now: float) -> list[Effect]:
        """After a restart: what this node granted it asks for, all other grantors are watched as if just heard."""
        effects: list[Effect] = []
        for job, kept in self._steward.jobs.items():
            if not kept.authority.is_taken_over:
                continue
            kept.spent.update(tenure.epoch for tenure in kept.authority.held_by(self._me.public))
            for tenure in kept.authority.granted:
                if kept.open_in(tenure.lot):
                    self._watch(job, tenure.lot, now)
                    if tenure.grantor == self._me.public:
                        effects += self._ask(kept, tenure, now)
        return effects

    def _ask(self, kept: Kept, tenure: Tenure, now: float) -> list[Effect]:
        """Whether somebody has begun a newer epoch of what this node granted."""
        job = kept.authority.job
        watch = self._watches[job, tenure.lot]
        watch.suspected_at = now
        watch.before = {self._me.id: None}  # one turn for the others to tell of a newer epoch
        said = self._mandate(kept, tenure)
        return [Tell(other, said) for other in self._others(kept)]

    def _mandate(self, kept: Kept, tenure: Tenure) -> Mandate:
        """What this node says of what it grants, or granted, and has not looked at: as it was when last heard."""
        known = kept.sittings[tenure.lot].mandate
        tasks, left = (kept.tasks, kept.tasks) if known is None else (known.tasks, known.open)
        return Mandate(0, kept.authority.job, tenure.epoch, self._contact(), None, 0, tasks, left)

    def _others(self, kept: Kept) -> list[Contact]:
        return [s.contact for s in kept.authority.spec.stewards if s.contact.id != self._me.id]

    def _watch(self, job: bytes, lot: int, now: float) -> Watch:
        if self._look_at is None:
            self._look_at = now + LOOK_S
        return self._watches.setdefault((job, lot), Watch(now))

    def session_closed(self, node: NodeId) -> list[Effect]:
        """A session ended: where it was a grantor's, find out whether it lives."""
        for _, kept, tenure in self._open_lots():
            grantor = kept.sittings[tenure.lot].grantor
            if grantor is not None and grantor.id == node:
                return [Probe(grantor)]
        return []

    def dead(self, node: NodeId, now: float) -> list[Effect]:
        """A peer is dead, or has left: its jobs want another grantor, and nobody waits for its turn."""
        effects: list[Effect] = []
        for watch, kept, tenure in self._open_lots():
            watch.before.pop(node, None)
            if watch.suspected_at is None and node == node_id(tenure.grantor):
                effects += self._suspect(watch, kept, tenure, now)
            effects += self._turn(watch, kept, tenure, now)
        return effects

    def _open_lots(self) -> list[tuple[Watch, Kept, Tenure]]:
        """Those of which somebody else should be the grantor; the others are watched no more."""
        found: list[tuple[Watch, Kept, Tenure]] = []
        for (job, lot), watch in list(self._watches.items()):
            kept = self._steward.jobs.get(job)
            if kept is None or not kept.open_in(lot) or self._grants(job, kept.authority.tenures[lot].epoch):
                del self._watches[job, lot]
            else:
                found.append((watch, kept, kept.authority.tenures[lot]))
        return found

    # --- suspicion and turns -----------------------------------------------------------------------------------------

    def _suspect(self, watch: Watch, kept: Kept, tenure: Tenure, now: float) -> list[Effect]:
        """The grantor is gone: whoever comes before us is looked at, so that nobody waits for the dead."""
        watch.suspected_at = now
        gone = node_id(tenure.grantor)
        watch.before = {}
        for _, steward in kept.authority.successors(tenure.lot):
            if steward.key == self._me.public:
                break
            if steward.contact.id != gone and steward.wrapped:
                watch.before[NodeId(steward.contact.id)] = None
        return [Probe(contact) for contact in self._others(kept) if contact.id in watch.before]

    def _turn(self, watch: Watch, kept: Kept, tenure: Tenure, now: float) -> list[Effect]:
        """Take the job over, or that lot of it, where it is our turn."""
        if watch.suspected_at is None or now < watch.suspected_at + TURN_S * len(watch.before):
            return []
        del self._watches[kept.authority.job, tenure.lot]
        effects = self.renew(kept, tenure.lot)
        # An owner that was gone as soon as its job was kept left no record that leads readers here.
        return (
            [*effects, Provide(kept.authority.job, max(0.0, kept.expires_s - self._steward.wall()))] if effects else []
        )

    def renew(self, kept: Kept, lot: int = 0) -> list[Effect]:
        """Begin the next epoch that is ours, whoever grants now: ourselves, perhaps."""
        authority = kept.authority
        mine = next((epoch for epoch, s in authority.successors(lot) if s.key == self._me.public and s.wrapped), None)
        if mine is None:
            return []
        authority.take_over(self._me.public, mine)
        kept.sittings[lot].grantor = self._contact()
        # On disk before the first lease: whoever forgot the epoch with its memory would give its tokens out twice.
        kept.sittings[lot].mandate = self._mandate(kept, authority.tenures[lot])
        self.taken_over += 1
        return [Commit((self._steward.row(kept),), (Load(authority.job),))]

    def deadline(self) -> float | None:
        """When it is looked at next who is silent and whose turn it is."""
        return self._look_at

    def expire(self, now: float) -> list[Effect]:
        """Ask the silent whether they live; take over what it is our turn to."""
        if self._look_at is None or now < self._look_at:
            return []
        effects: list[Effect] = []
        for watch, kept, tenure in self._open_lots():
            if watch.suspected_at is None and now >= watch.heard_at + SILENT_S * (watch.looks + 1):
                watch.looks += 1
                grantor = kept.sittings[tenure.lot].grantor
                if grantor is None or watch.looks >= SILENT_LOOKS:
                    effects += self._suspect(watch, kept, tenure, now)
                else:
                    effects.append(Probe(grantor))
            effects += self._turn(watch, kept, tenure, now)
        self._look_at = now + LOOK_S if self._watches else None
        return effects
