"""Presiding: who grants which job, as this peer hears it, and what follows for what it grants, keeps and runs itself.

A newer epoch is heard of in four ways: the owner's handover, a mandate that its grantor says, hearsay of either by
somebody whom an older grantor still leases to, and an offer of work. Whoever grants here in an older epoch steps down;
what it settled counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId, node_id
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.gaps import Gaps
from p2pcpn.protocol.jobs import Held, Jobs
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.others_logs import OthersLogs
from p2pcpn.protocol.relaying import Relaying
from p2pcpn.protocol.reviewing import Reviewing
from p2pcpn.protocol.showing import shown
from p2pcpn.protocol.spans import Span, clipped
from p2pcpn.protocol.steward import Steward
from p2pcpn.protocol.succession import Succession
from p2pcpn.protocol.worker import Worker
from p2pcpn.wire import messages as m
from p2pcpn.wire import statements as st
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.sealing import job_id
from p2pcpn.wire.statements import Signed, opened, read

Segments = list[tuple[Signed, list[bytes]]]
# A job of a million tasks is read in less.
LOADING_S = 1.0
# Orphans are 64 MB at most: time for them to be on their way before they are asked for again.
PASSED_ON_S = 10.0


class Presiding:
    """See the module. ``prove(now)`` keeps at once what was believed of the owner's own node.

    ``refused`` counts a message that cannot be right, against its sender.
    """

    def __init__(
        self,
        *,
        me: Keypair,
        contact: Callable[[], Contact],
        jobs: Jobs,
        steward: Steward,
        worker: Worker,
        prove: Callable[[float], list[fx.Effect]],
        refused: Callable[[NodeId, m.Message, PeerError], list[fx.Effect]],
        request: Callable[[], int],
    ) -> None:
        self.me = me
        self.jobs = jobs
        self.steward = steward
        self.worker = worker
        self.prove = prove
        self.refused = refused
        self.divides = False  # whether a job of this node's owner ever was divided
        self.succession = Succession(me, steward, self._grants, contact)
        self.reviewing = Reviewing()
        self.gaps = Gaps(steward, request, self.extended)
        self.relaying = Relaying(jobs.granted)
        self.others_logs = OthersLogs(jobs.granted)
        self._own: dict[bytes, Authority] = {}  # of jobs that are this node's owner's
        self.contact = contact
        self._passed_on: dict[bytes, float] = {}  # jobs whose orphans were passed on, and when
        self._loading: dict[bytes, float] = {}  # jobs that are being read from disk, and since when

    def _grants(self, job: bytes, epoch: int) -> bool:
        grantor = self.jobs.granted.in_epoch(job, epoch)
        return grantor is not None and grantor.granting

    def authority(self, job: bytes) -> Authority | None:
        """What is known of who grants a job that is kept or was submitted here."""
        kept = self.steward.jobs.get(job)
        return self._own.get(job) if kept is None else kept.authority

    # --- what the program asks ---------------------------------------------------------------------------------------

    def open(
        self, spec: Signed, job: bytes, job_key: bytes, now: float, granting: bool, peers_max: int = 0
    ) -> list[fx.Effect]:
        """Begin a job of this node's owner. See :class:`Grantor` for ``peers_max``."""
        own = self._own[job] = Authority(spec)
        return self.jobs.open(own, job_key, now, granting, peers_max)

    def divide(self, division: Signed) -> list[fx.Effect]:
        """The owner divides a job that was submitted here. Raises :class:`PeerError` for what does not divide it."""
        job = read(division, st.Handover).job
        own, grantor = self._own.get(job), self.jobs.grantors.get(job)
        if own is None or grantor is None:
            return []
        own.hand_over(division)
        self.divides = True
        return grantor.divide(division, submitted=True)

    def forget(self, job: bytes) -> list[fx.Effect]:
        """The program needs the job no more. Where nothing of it is open the stewards hear so."""
        self._own.pop(job, None)
        self.relaying.forget(job)
        grantor = self.jobs.grantors.pop(job, None)
        return [] if grantor is None or grantor.superseded else grantor.farewell()

    def resume(
        self, spec: Signed, job_key: bytes, handovers: list[Signed], held: Held | None, now: float
    ) -> list[fx.Effect]:
        """Grant a job of this node's owner by the newest of its handovers, which names this node.

        Without ``held`` this node granted it before and goes on with what it has; ``held.settled`` comes on top.
        Raises :class:`PeerError` for handovers that are not the owner's.
        """
        authority = Authority(spec)
        for handover in handovers:
            authority.hand_over(handover)
        if authority.grantor != self.me.public:
            raise PeerError("the newest handover names another node")
        if authority.is_split:
            raise PeerError("the job was divided: its stewards grant it, and go on by themselves")
        self._own[authority.job] = authority
        return self.jobs.resume(authority, job_key, held or Held([], []), now)

    def adopt(
        self, job: bytes, segments: Segments, settled: list[Span], inherited: list[m.Results], now: float,
        states: Sequence[m.LeftState] = (),
    ) -> list[fx.Effect]:  # fmt: skip
        """Become the grantor of a job that is kept here, as its newest epoch says: all of it was read from disk.

        Raises :class:`PeerError`, and nothing has begun, where its owner gave us no key or one that opens nothing.
        """
        self._loading.pop(job, None)
        kept = self.steward.jobs.get(job)
        if kept is None:
            return []
        before = {id(grantor): grantor.ledger.total for grantor in self.jobs.granted.of(job)}
        try:
            effects = self.jobs.adopt(kept, segments, settled, now, inherited, states)
        except PeerError:
            # Reading it all again, as often as anybody introduces it, would open it no better.
            kept.spent.update(tenure.epoch for tenure in kept.authority.held_by(self.me.public))
            raise
        effects += self._let_go(now)
        here = self.jobs.granted.of(job)
        fresh = [grantor for grantor in here if id(grantor) not in before]
        for grantor in fresh:
            self.reviewing.begun(grantor)
        if any(not kept.authority.is_first(grantor.epoch) for grantor in fresh):
            effects += self.gaps.ask_all(kept)
        elif fresh:
            self.gaps.begun(job, now)
        for grantor in here:
            if kept.tasks > grantor.ledger.total > before.get(id(grantor), -1):
                effects.append(fx.Commit((), (fx.Load(job),)))  # more came while this was read
                break
        return effects

    def _let_go(self, now: float) -> list[fx.Effect]:
        """Who granted jobs that are kept here no more. The last of them stay: should their job come again, no token of
        theirs is given out twice."""
        left = [g for g in self.jobs.granted.all() if g.job not in self.steward.jobs and g.job not in self._own]
        effects: list[fx.Effect] = []
        for grantor in left[: max(0, len(left) - limits.FORMER_GRANTORS_MAX)]:
            effects += self.jobs.retire(grantor.job, now, grantor.book.lot, grantor.book.lots)
        return effects

    def reviewed(self, job: bytes, stale: Sequence[int], now: float) -> list[fx.Effect]:
        """The logs of a job were looked through: these tasks are to be run again, in a new epoch of ours."""
        kept = self.steward.jobs.get(job)
        effects: list[fx.Effect] = []
        for grantor in self.jobs.granted.of(job):
            if kept is None or not grantor.granting or not kept.authority.presides(self.me.public, grantor.epoch):
                continue
            book = grantor.book
            if self.reviewing.needed(grantor, [index for index in stale if book.lots.of(index) == book.lot]):
                effects += self.succession.renew(kept, book.lot)
        return self._taking(effects, now)

    # --- handovers and mandates --------------------------------------------------------------------------------------

    def take(self, contact: Contact, key: bytes, message: m.Take, now: float) -> list[fx.Effect]:
        """A handover. Raises :class:`PeerError` unless it is the owner's."""
        said = opened(message.handover, st.Handover)
        job = said.job
        effects = self.worker.taken(contact, key, message.handover, job, now)
        own = self._own.get(job)
        if own is not None:
            own.hand_over(message.handover)
            effects += self._superseded(job, own, now)
        if message.request == 0:
            return effects
        effects += self.prove(now)  # what was said before
        before = self._newest(job)
        try:
            mine, kept = self.steward.taken(contact, message, job)
        except PeerError as error:  # what was proved is kept all the same
            return effects + self.refused(NodeId(contact.id), message, error)
        if self._newest(job) != before:
            self.succession.superseded(job, 0, now)
        if said.first is not None:
            return effects + self._divided(job, kept, now)
        self._place(job, contact, key)
        effects += self._pass_on(job, contact, key, now)
        known = self.authority(job)
        if known is not None:
            effects += self._superseded(job, known, now)
        if mine and not self._grants(job, said.epoch) and said.epoch not in self.steward.jobs[job].spent:
            kept = self._load(job, kept, now)
        return effects + kept

    def _load(self, job: bytes, kept: list[fx.Effect], now: float) -> list[fx.Effect]:
        """Read a job that is to be granted here once ``kept`` is done; once, however often we are told: it is much, and
        read at one go. Where the disk refused it is read when that is said again later."""
        if now < self._loading.get(job, -math.inf) + LOADING_S:
            return kept
        self._loading = {other: at for other, at in self._loading.items() if now < at + LOADING_S} | {job: now}
        # Commits are made in order: with the last one all that was kept before is on disk, to be loaded.
        if not any(isinstance(effect, fx.Commit) for effect in kept):
            return [*kept, fx.Commit((), (fx.Load(job),))]
        return [replace(e, then=(*e.then, fx.Load(job))) if isinstance(e, fx.Commit) else e for e in kept]

    def _newest(self, job: bytes) -> tuple[int, bytes] | None:
        """In which epoch who grants a job that is kept here."""
        kept = self.steward.jobs.get(job)
        return None if kept is None else (kept.authority.epoch, kept.authority.grantor)

    def _place(self, job: bytes, contact: Contact, key: bytes) -> None:
        """Where the newest grantor is, who said so itself or is a steward."""
        kept = self.steward.jobs.get(job)
        if kept is None:
            return
        newest = kept.authority.grantor
        if newest == key:
            kept.grantor = contact
        else:
            stewards = kept.authority.spec.stewards
            kept.grantor = next((s.contact for s in stewards if s.key == newest), kept.grantor)

    def mandate(self, contact: Contact, key: bytes, message: m.Mandate, now: float) -> list[fx.Effect]:
        """Somebody grants in a certain epoch: says it, or somebody else. Raises :class:`PeerError` where it may not."""
        if message.grantor.id != contact.id:
            return self._hearsay(message, now)
        job = message.job
        effects: list[fx.Effect] = []
        if message.handover is not None:
            effects += self.worker.taken(contact, key, message.handover, job, now)
        effects += self.worker.mandated(contact, key, message.epoch, job, now)
        kept, own = self.steward.jobs.get(job), self._own.get(job)
        if kept is not None:
            newest = kept.authority.tenure(message.epoch)
            before, split = newest.epoch, kept.authority.is_split
            effects += self.steward.mandated(contact, key, message)
            if kept.authority.is_split and not split:  # whoever was to tell us so may be gone
                effects = self._divided(job, [*effects, fx.Commit((self.steward.row(kept),))], now)
            if newest.epoch > before:
                self.succession.superseded(job, newest.lot, now)
            if message.request:
                effects += self._pass_on(job, contact, key, now)
            grantor = self.jobs.granted.in_epoch(job, message.epoch)
            if newest.epoch == message.epoch:
                self.succession.heard(job, contact, now)
            elif grantor is not None and grantor.granting:
                effects.append(fx.Tell(contact, grantor.mandate()))
            effects += self._compared(kept, contact, message, now)
        elif own is not None:
            effects += self._own_mandate(own, contact, key, message)
        known = self.authority(job)
        return effects if known is None else effects + self._superseded(job, known, now)

    def _compared(self, kept: Kept, contact: Contact, message: m.Mandate, now: float) -> list[fx.Effect]:
        """Who grants some of a job says how many tasks it knows of: we may lack some, or it."""
        self.gaps.knows(message.job, contact, now, tasks=message.tasks)
        granting = [grantor for grantor in self.jobs.granted.of(message.job) if grantor.granting]
        if not granting or message.tasks >= granting[0].ledger.total:
            return []
        return [fx.Tell(contact, granting[0].mandate())]

    def _own_mandate(self, own: Authority, contact: Contact, key: bytes, message: m.Mandate) -> list[fx.Effect]:
        """Somebody grants a job of this node's owner."""
        if message.handover is not None:
            own.hand_over(message.handover)
        own.require_near(message.epoch)
        own.take_over(key, message.epoch)
        effects: list[fx.Effect] = []
        if message.request:
            effects.append(fx.Tell(contact, m.Answer(message.request, m.AnswerCode.DONE, "")))
        grantor = self.jobs.grantors.get(own.job)
        if grantor is not None and grantor.granting and message.epoch < grantor.epoch:
            effects.append(fx.Tell(contact, grantor.mandate()))
        elif own.presides(key, message.epoch):
            effects.append(fx.Notify(events.Mandated(own.job, message.epoch, contact, message.segments, message.open)))
        return effects

    def _hearsay(self, message: m.Mandate, now: float) -> list[fx.Effect]:
        """Somebody tells us that another grants a job by now which we grant. Raises :class:`PeerError` if it cannot.

        The owner's word proves it. Of a steward's own epoch that steward alone can tell us: it hears from us what we
        believe, and answers over its session where it grants; where it does not, we go on.
        """
        known, grantor = self.authority(message.job), self.jobs.granted.in_epoch(message.job, message.epoch)
        if known is None or grantor is None or message.epoch < grantor.epoch:
            return []
        if message.handover is not None:
            known.hand_over(message.handover)
        named = known.key_of(message.grantor.id, message.epoch)
        if named is None:
            raise PeerError("a peer says that another grants a job in an epoch that is not its own")
        if not known.handed(named, message.epoch):
            steward = known.steward_of(message.epoch)
            if steward is None or steward.key == self.me.public or not grantor.granting:
                return []
            return [fx.Tell(steward.contact, grantor.mandate())]
        kept = self.steward.jobs.get(message.job)
        if kept is not None and known.presides(named, message.epoch) and named != self.me.public:
            kept.grantor = message.grantor
            self.succession.superseded(message.job, 0, now)
        return self._superseded(message.job, known, now)

    def offered(self, offer: st.Offer, key: bytes, now: float) -> list[fx.Effect]:
        """Somebody offers work of a job: one that we grant, perhaps, in an older epoch."""
        grantor, known = self.jobs.granted.in_epoch(offer.job, offer.epoch), self.authority(offer.job)
        if grantor is None or known is None or offer.epoch <= grantor.epoch or not known.grants(key, offer.epoch):
            return []
        if known.far(offer.epoch):
            return []
        known.take_over(key, offer.epoch)
        kept = self.steward.jobs.get(offer.job)
        if kept is not None:
            lot = known.tenure(offer.epoch).lot
            kept.sittings[lot].grantor = offer.grantor
            self.succession.superseded(offer.job, lot, now)
        return self._superseded(offer.job, known, now)

    def _superseded(self, job: bytes, known: Authority, now: float) -> list[fx.Effect]:
        """Where we grant in an older epoch than the newest, or in one that another has, we do so no more."""
        effects: list[fx.Effect] = []
        for grantor in [*self.jobs.granted.of(job), *(each for each in self.jobs.former if each.job == job)]:
            newest, follows = known.tenure(grantor.epoch), grantor.superseded
            if newest.epoch < grantor.epoch or known.presides(self.me.public, grantor.epoch):
                continue
            if known.is_distributed and not grantor.granting and not follows:  # its submitter, who only hears of it
                continue
            effects += [] if follows else grantor.step_down(now)
            heir = known.steward_of(newest.epoch)
            if heir is not None and grantor.book.dependencies.used:  # which tells what lost, and has it made again
                effects += grantor.custody.bring(heir.contact)
            effects += [] if follows else [fx.Notify(events.Superseded(job, newest.epoch))]
        return effects

    # --- what stewards are sent, where they grant --------------------------------------------------------------------

    def introduced(self, contact: Contact, message: m.Introduce, now: float) -> list[fx.Effect]:
        """A job to keep."""
        effects = self.steward.introduced(contact, message)
        job = Authority(message.spec).job
        self.succession.heard(job, contact, now)
        return self._displaced(now) + self._begun(job, effects, now)

    def _displaced(self, now: float) -> list[fx.Effect]:
        """Guests' jobs that made room for another are granted here no more; what their logs are short of is written
        before they are deleted. Other stewards take their lots over."""
        gone = [g for g in self.jobs.granted.lots.values() if g.granting and g.job not in self.steward.jobs]
        return [effect for grantor in gone for effect in grantor.step_down(now)]

    def _divided(self, job: bytes, effects: list[fx.Effect], now: float) -> list[fx.Effect]:
        """The owner divided a job that is kept here: whoever grants its stem here gives away what lies behind it, and
        of its lots this node grants its own."""
        kept = self.steward.jobs.get(job)
        division = None if kept is None else kept.authority.division
        if kept is None or division is None:
            return effects
        for grantor in self.jobs.granted.of(job):
            effects += grantor.divide(division)
        for tenure in kept.authority.granted:
            self.succession.superseded(job, tenure.lot, now)
        return self._begun(job, effects, now)

    def _begun(self, job: bytes, effects: list[fx.Effect], now: float) -> list[fx.Effect]:
        """What stewards grant of a job from the beginning this one does for its lot: as soon as it is on its disk."""
        kept = self.steward.jobs.get(job)
        if kept is None or not kept.authority.is_split:
            return effects
        waiting = [
            tenure
            for tenure in kept.authority.held_by(self.me.public)
            if tenure.epoch not in kept.spent and not self._grants(job, tenure.epoch)
        ]
        return self._load(job, effects, now) if waiting else effects

    def extended(self, contact: Contact, message: m.Extend, now: float) -> list[fx.Effect]:
        """A segment to keep, or one that was asked for; where the job is granted here it is leased, too."""
        if not message.keep:
            return self.gaps.extended(contact, message, now)
        effects = self.steward.extended(contact, message)
        said = read(message.segment, st.Segment)
        self.succession.heard(said.job, contact, now)
        kept = self.steward.jobs.get(said.job)
        if kept is None or said.number >= len(kept.segments):
            return effects
        behind = False
        for grantor in self.jobs.granted.of(said.job):
            if grantor.granting and said.first == grantor.ledger.total:
                effects += grantor.follow(message.segment, message.pages, now)
            behind = behind or (grantor.granting and said.first > grantor.ledger.total)
        return [*effects, fx.Commit((), (fx.Load(said.job),))] if behind else effects

    def appended(self, contact: Contact, message: m.Append, now: float) -> list[fx.Effect]:
        """A log segment to keep."""
        effects, said = self.steward.appended(contact, message), read(message.header, st.LogHeader)
        self.succession.heard(said.job, contact, now)
        try:
            self.others_logs.appended(said, message.body)
        except PeerError as error:  # readers judge it for themselves; who only brings it need not have the key
            effects += self.refused(NodeId(contact.id), message, error) if contact.id == said.grantor else []
        return effects

    def on_disk(self, news: fx.OnDisk, now: float) -> list[fx.Effect]:
        """A log segment is on our disk, or cannot be; where the job is granted here, too, what another grantor's log
        settles need not be run (again)."""
        said, effects = news.header, list[fx.Effect]()
        if said.grantor == self.me.id:
            effects += self.jobs.each(lambda grantor: grantor.logged(said, news.ok, now))
        if not news.ok:
            return effects
        if said.grantor == self.me.id:
            for grantor in self.jobs.granted.of(said.job):
                self.reviewing.logged(grantor, now)
        else:
            self.steward.on_disk(said)
        for grantor, settled in self.others_logs.on_disk(said) if said.job in self.steward.jobs else []:
            self.reviewing.appended(grantor, now)
            effects += grantor.settled_elsewhere(settled, now)
        return effects

    def entrusted(self, contact: Contact, message: m.Entrust, now: float) -> list[fx.Effect]:
        """A job whose keeper leaves; its owner's orders are obeyed where it is granted here."""
        effects = self.steward.entrusted(contact, message)
        job = job_id(message.spec.key, message.spec.body)
        if job not in self.steward.jobs:  # which has looked at the words
            return effects
        effects = self._displaced(now) + effects
        for grantor in self.jobs.granted.of(job):
            for statement in [] if grantor.superseded else message.words:
                if statement.kind == st.Handover.kind or (
                    statement.kind == st.Close.kind and grantor.total is not None
                ):
                    continue
                effects += grantor.told(statement, read(statement, st.owners_word(statement)), now)
        return effects

    def finished(self, contact: Contact, message: m.Finish, now: float) -> list[fx.Effect]:
        """The owner closes, cancels or pauses a job that is kept here, granted here, or both."""
        effects = self.steward.finished(contact, message)
        statement = message.statement
        said = read(statement, st.owners_word(statement))
        for grantor in self.jobs.granted.of(said.job):
            effects += grantor.told(statement, said, now) if grantor.owner == statement.key else []
        return effects

    # --- results and questions ---------------------------------------------------------------------------------------

    def results(self, contact: Contact, message: m.Results, now: float) -> list[fx.Effect]:
        """Results: under a lease of ours, of an older grantor's, or of one who cannot be reached."""
        said = read(message.receipt, st.Receipt)
        grantor = self.jobs.granted.in_epoch(said.job, said.epoch)
        if grantor is None or not grantor.granting or said.epoch > grantor.epoch:
            return self.steward.orphan(contact, message)
        if said.epoch < grantor.epoch:
            return grantor.inherit(contact, message, now)
        return grantor.results(contact, message, now)

    def inherited(self, contact: Contact, message: m.Orphan, now: float) -> list[fx.Effect]:
        """A result that was brought to a steward while nobody granted: whoever passes it on, it speaks for itself."""
        said = read(message.receipt, st.Receipt)
        grantor = self.jobs.granted.in_epoch(said.job, said.epoch)
        if grantor is None or not grantor.granting or said.epoch >= grantor.epoch:
            return self.steward.orphan_passed_on(contact, message) if message.request else []
        results = m.Results(message.receipt, message.page, False, message.lease)
        taken: list[fx.Effect] = []
        if message.request:
            taken.append(fx.Tell(contact, m.Answer(message.request, m.AnswerCode.DONE, "")))
        blobs = grantor.blobs_of(results) if contact.id != self.me.id else []
        if not blobs:
            return grantor.inherit(None, results, now) + taken
        # Once they are here, who holds the log can have them from us.
        again = fx.Tell(self.contact(), m.Orphan(message.receipt, message.page, 0, message.lease))
        return [fx.Gather(contact, tuple(blobs), said.job, grantor.spec.retention_s, (again, *taken), tuple(taken))]

    def _pass_on(self, job: bytes, contact: Contact, key: bytes, now: float) -> list[fx.Effect]:
        """Who grants in the newest epoch and says so is passed on what was brought here while nobody did."""
        kept = self.steward.jobs.get(job)
        if kept is None or not len(kept.orphans) or not kept.authority.held_by(key) or key == self.me.public:
            return []
        if now < self._passed_on.get(job, -math.inf) + PASSED_ON_S:
            return []
        self._passed_on = {other: at for other, at in self._passed_on.items() if now < at + PASSED_ON_S} | {job: now}
        return [fx.Commit((), (fx.TellOrphans(contact, job),))]

    def asked(self, contact: Contact, message: m.Ask, now: float) -> list[fx.Effect]:
        """What is held of a job; where it is granted here, our own log, too: it may lie nowhere else (any more)."""
        effects = self.steward.asked(contact, message)
        for grantor in self.jobs.granted.of(message.job):
            if grantor.granting and grantor.custody.storing:
                effects = [shown(effect, grantor, now) for effect in effects]
        return effects

    def revoked(self, key: bytes, message: m.Revoke, now: float) -> list[fx.Effect]:
        """Whoever submitted a job takes tasks of it back, which are granted here in a lot."""
        kept = self.steward.jobs.get(message.job)
        if kept is None or not kept.authority.is_split or key != kept.authority.spec.grantor:
            return []
        effects: list[fx.Effect] = []
        for grantor in self.jobs.granted.of(message.job):
            effects += grantor.cancel(clipped(message.spans, grantor.ledger.total), stop=message.stop, now=now)
        return effects

    # --- a job that is granted in lots, told to whoever submitted it -------------------------------------------------

    def relayed(self, effects: list[fx.Effect], now: float) -> list[fx.Effect]:
        """What follows from what grantors report here of jobs that are granted in lots."""
        if not self.jobs.granted.lots and not self.divides:
            return []
        return self.relaying.relayed(effects, self.steward.jobs, self._own, now)

    def told(self, key: bytes, message: m.Delivery | m.GivenUp | m.Standing, now: float) -> list[fx.Effect]:
        """What became of tasks that are granted elsewhere."""
        own = self._own.get(message.job)
        if isinstance(message, m.Delivery):
            effects, wrong = self.relaying.delivered(own, key, message, now)
            return effects if wrong is None else effects + self.refused(node_id(key), message, wrong)
        if isinstance(message, m.Standing):
            return self.relaying.stands(own, key, message)
        known = self.authority(message.job)
        return [] if known is None else self.relaying.gave_up(known, key, message, now)

    def under(
        self, contact: Contact, key: bytes, message: m.Progress | m.Return | m.Output | m.Checkpoint, now: float
    ) -> list[fx.Effect]:
        """What a worker says of a lease. Raises :class:`PeerError` as whoever granted it does."""
        grantor = self.jobs.granted.under(message.job, message.token)
        if grantor is None:
            return []
        match message:
            case m.Progress():
                # A steward tells so what runs of its lots.
                started = self.relaying.started(self._own.get(message.job), key, message)
                return started + grantor.running.progress(contact, message, now)
            case m.Return():
                return grantor.returned(contact, message, now)
            case m.Output():
                return grantor.running.output(contact, message, now)
        return grantor.running.checkpoint(contact, message, now)

    # --- peers come and go -------------------------------------------------------------------------------------------

    def session_closed(self, node: NodeId) -> list[fx.Effect]:
        """A session ended."""
        gone = [kept.owner_at for kept in self._lots_here() if kept.owner_at is not None and kept.owner_at.id == node]
        self.gaps.session_closed(node)
        return [*self.succession.session_closed(node), *(fx.Probe(owner) for owner in gone[:1] if owner is not None)]

    def _lots_here(self) -> list[Kept]:
        """The jobs of which lots are granted here."""
        found = dict.fromkeys(job for job, _ in self.jobs.granted.lots)
        return [self.steward.jobs[job] for job in found if job in self.steward.jobs]

    def dead(self, node: NodeId, now: float) -> list[fx.Effect]:
        """A peer is dead or has left."""
        effects: list[fx.Effect] = []
        for kept in self._lots_here():
            if kept.owner_at is not None and kept.owner_at.id == node:
                kept.owner_at = None  # nobody is told any more, until it says something again
                newest = max(tenure.epoch for tenure in kept.authority.granted)
                if self._grants(kept.authority.job, newest):  # one of us says it
                    left_s = max(0.0, kept.expires_s - self.steward.wall())
                    effects.append(fx.Provide(kept.authority.job, left_s))
        return [*effects, *self._taking(self.succession.dead(node, now), now)]

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        times = (self.succession.deadline(), self.reviewing.deadline(), self.gaps.deadline(), self.relaying.deadline())
        return min((time for time in times if time is not None), default=None)

    def expire(self, now: float) -> list[fx.Effect]:
        """Take over what is ours to."""
        told = self.relaying.expire(now) + self.reviewing.expire(now) + self.gaps.expire(now)
        return told + self._taking(self.succession.expire(now), now)

    def _taking(self, effects: list[fx.Effect], now: float) -> list[fx.Effect]:
        """What was believed is on disk before a job is read from there."""
        return self.prove(now) + effects if any(isinstance(effect, fx.Commit) for effect in effects) else effects
