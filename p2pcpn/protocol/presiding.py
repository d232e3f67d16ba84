"""Presiding: who grants which job, as this peer hears it, and what follows for what it grants, keeps and runs itself.

A newer epoch is heard of in four ways: the owner's handover, a mandate that its grantor says, hearsay of either by
somebody whom an older grantor still leases to, and an offer of work. Whoever grants here in an older epoch steps down;
what it settled counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.jobs import Held, Jobs
from p2pcpn.protocol.reviewing import Reviewing
from p2pcpn.protocol.spans import Span
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
    ) -> None:
        self.me = me
        self.jobs = jobs
        self.steward = steward
        self.worker = worker
        self.prove = prove
        self.refused = refused
        self.succession = Succession(me, steward, self._grants, contact)
        self.reviewing = Reviewing()
        self._own: dict[bytes, Authority] = {}  # of jobs that are this node's owner's
        self.contact = contact
        self._passed_on: dict[bytes, float] = {}  # jobs whose orphans were passed on, and when
        self._loading: dict[bytes, float] = {}  # jobs that are being read from disk, and since when

    def _grants(self, job: bytes) -> bool:
        grantor = self.jobs.grantors.get(job)
        return grantor is not None and grantor.granting

    def _authority(self, job: bytes) -> Authority | None:
        kept = self.steward.jobs.get(job)
        return self._own.get(job) if kept is None else kept.authority

    # --- what the program asks ---------------------------------------------------------------------------------------

    def open(self, spec: Signed, job: bytes, job_key: bytes, now: float, granting: bool) -> list[fx.Effect]:
        """Begin a job of this node's owner."""
        self._own[job] = Authority(spec)
        return self.jobs.open(spec, job, job_key, now, granting)

    def forget(self, job: bytes) -> list[fx.Effect]:
        """The program needs the job no more. Where nothing of it is open the stewards hear so."""
        self._own.pop(job, None)
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
        before = self.jobs.grantors.get(job)
        tasks = -1 if before is None else before.ledger.total
        effects = self.jobs.adopt(kept, segments, settled, now, inherited, states)
        grantor = self.jobs.grantors.get(job)
        if (
            grantor is not None
            and kept.tasks > grantor.ledger.total
            and (grantor is not before or grantor.ledger.total > tasks)
        ):
            effects.append(fx.Commit((), (fx.Load(job),)))  # more came while this was read
        return effects

    def reviewed(self, job: bytes, stale: Sequence[int], now: float) -> list[fx.Effect]:
        """What :class:`Review` found: tasks of whose results none counts. They run again in the next epoch of ours."""
        kept, grantor = self.steward.jobs.get(job), self.jobs.grantors.get(job)
        if kept is None or grantor is None or not grantor.granting or kept.authority.grantor != self.me.public:
            return []
        if not self.reviewing.needed(grantor, stale):
            return []
        return self._taking(self.succession.renew(kept), now)

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
            self.succession.superseded(job, now)
        self._place(job, contact, key)
        effects += self._pass_on(job, contact, key, now)
        known = self._authority(job)
        if known is not None:
            effects += self._superseded(job, known, now)
        if mine and not self._grants(job):
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
            before = kept.authority.epoch
            effects += self.steward.mandated(contact, key, message)
            if kept.authority.epoch > before:
                self.succession.superseded(job, now)
            if message.request:
                effects += self._pass_on(job, contact, key, now)
            if kept.authority.epoch == message.epoch:
                self.succession.heard(job, contact, now)
            elif self._grants(job):
                effects.append(fx.Tell(contact, self.jobs.grantors[job].mandate()))
        elif own is not None:
            effects += self._own_mandate(own, contact, key, message)
        known = self._authority(job)
        return effects if known is None else effects + self._superseded(job, known, now)

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
        elif (message.epoch, key) == (own.epoch, own.grantor):
            effects.append(fx.Notify(events.Mandated(own.job, message.epoch, contact, message.segments, message.open)))
        return effects

    def _hearsay(self, message: m.Mandate, now: float) -> list[fx.Effect]:
        """Somebody tells us that another grants a job by now which we grant. Raises :class:`PeerError` if it cannot.

        The owner's word proves it. Of a steward's own epoch that steward alone can tell us: it hears from us what we
        believe, and answers over its session where it grants; where it does not, we go on.
        """
        known, grantor = self._authority(message.job), self.jobs.grantors.get(message.job)
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
        if kept is not None and (known.epoch, known.grantor) == (message.epoch, named) and named != self.me.public:
            kept.grantor = message.grantor
            self.succession.superseded(message.job, now)
        return self._superseded(message.job, known, now)

    def offered(self, offer: st.Offer, key: bytes, now: float) -> list[fx.Effect]:
        """Somebody offers work of a job: one that we grant, perhaps, in an older epoch."""
        grantor, known = self.jobs.grantors.get(offer.job), self._authority(offer.job)
        if grantor is None or known is None or offer.epoch <= grantor.epoch or not known.grants(key, offer.epoch):
            return []
        if known.far(offer.epoch):
            return []
        known.take_over(key, offer.epoch)
        kept = self.steward.jobs.get(offer.job)
        if kept is not None:
            kept.grantor = offer.grantor
            self.succession.superseded(offer.job, now)
        return self._superseded(offer.job, known, now)

    def _superseded(self, job: bytes, known: Authority, now: float) -> list[fx.Effect]:
        """Where we grant in an older epoch than the newest, or in one that another has, we do so no more."""
        grantor = self.jobs.grantors.get(job)
        if grantor is None or grantor.superseded or known.epoch < grantor.epoch:
            return []
        if (known.epoch, known.grantor) == (grantor.epoch, self.me.public):
            return []
        effects = grantor.step_down(now)
        heir = known.steward_of(known.epoch)
        if heir is not None and grantor.book.dependencies.used:  # which tells what lost, and has it made again
            effects += grantor.custody.bring(heir.contact)
        return [*effects, fx.Notify(events.Superseded(job, known.epoch))]

    # --- what stewards are sent, where they grant --------------------------------------------------------------------

    def introduced(self, contact: Contact, message: m.Introduce, now: float) -> list[fx.Effect]:
        """A job to keep."""
        effects = self.steward.introduced(contact, message)
        self.succession.heard(Authority(message.spec).job, contact, now)
        return effects

    def extended(self, contact: Contact, message: m.Extend, now: float) -> list[fx.Effect]:
        """A segment to keep; where the job is granted here it is leased, too."""
        effects = self.steward.extended(contact, message)
        said = read(message.segment, st.Segment)
        self.succession.heard(said.job, contact, now)
        kept, grantor = self.steward.jobs.get(said.job), self.jobs.grantors.get(said.job)
        if kept is None or grantor is None or not grantor.granting or said.number >= len(kept.segments):
            return effects
        if said.first == grantor.ledger.total:
            return effects + grantor.follow(message.segment, message.pages, now)
        if said.first > grantor.ledger.total:
            effects.append(fx.Commit((), (fx.Load(said.job),)))
        return effects

    def appended(self, contact: Contact, message: m.Append, now: float) -> list[fx.Effect]:
        """A log segment to keep."""
        effects = self.steward.appended(contact, message)
        self.succession.heard(read(message.header, st.LogHeader).job, contact, now)
        return effects

    def on_disk(self, news: fx.OnDisk, now: float) -> list[fx.Effect]:
        """A log segment is on our disk, or cannot be; where the job is granted here, too, what another grantor's log
        settles need not be run (again)."""
        said = news.header
        if said.grantor == self.me.id:
            return self.jobs.each(lambda grantor: grantor.logged(said, news.ok, now))
        if not news.ok:
            return []
        self.steward.on_disk(said)
        grantor = self.jobs.grantors.get(said.job)
        kept = self.steward.jobs.get(said.job)
        if grantor is None or not grantor.granting or kept is None:
            return []
        # Each index once, and none that the job has not, however often the header names it.
        total = grantor.ledger.total
        clipped = [(first, min(count, total - first)) for first, count in said.spans if first < total]
        if sum(count for _, count in clipped) > total:
            return []
        self.reviewing.appended(grantor, now)
        return grantor.settled_elsewhere(clipped, now)

    def entrusted(self, contact: Contact, message: m.Entrust, now: float) -> list[fx.Effect]:
        """A job whose keeper leaves; its owner's orders are obeyed where it is granted here."""
        effects = self.steward.entrusted(contact, message)
        job = job_id(message.spec.key, message.spec.body)
        grantor = self.jobs.grantors.get(job)
        if grantor is None or grantor.superseded or job not in self.steward.jobs:  # which has looked at the words
            return effects
        for statement in message.words:
            if statement.kind == st.Handover.kind or (statement.kind == st.Close.kind and grantor.total is not None):
                continue
            effects += grantor.told(statement, read(statement, st.owners_word(statement)), now)
        return effects

    def finished(self, contact: Contact, message: m.Finish, now: float) -> list[fx.Effect]:
        """The owner closes, cancels or pauses a job that is kept here, granted here, or both."""
        effects = self.steward.finished(contact, message)
        statement = message.statement
        said = read(statement, st.owners_word(statement))
        grantor = self.jobs.grantors.get(said.job)
        return effects + (grantor.told(statement, said, now) if grantor and grantor.owner == statement.key else [])

    # --- results and questions ---------------------------------------------------------------------------------------

    def results(self, contact: Contact, message: m.Results, now: float) -> list[fx.Effect]:
        """Results: under a lease of ours, of an older grantor's, or of one who cannot be reached."""
        said = read(message.receipt, st.Receipt)
        grantor = self.jobs.grantors.get(said.job)
        if grantor is None or not grantor.granting or said.epoch > grantor.epoch:
            return self.steward.orphan(contact, message)
        if said.epoch < grantor.epoch:
            return grantor.inherit(contact, message, now)
        return grantor.results(contact, message, now)

    def inherited(self, contact: Contact, message: m.Orphan, now: float) -> list[fx.Effect]:
        """A result that was brought to a steward while nobody granted: whoever passes it on, it speaks for itself."""
        said = read(message.receipt, st.Receipt)
        grantor = self.jobs.grantors.get(said.job)
        if grantor is None or not grantor.granting or said.epoch >= grantor.epoch:
            return []
        results = m.Results(message.receipt, message.page, False)
        blobs = grantor.blobs_of(results) if contact.id != self.me.id else []
        if not blobs:
            return grantor.inherit(None, results, now)
        again = fx.Tell(self.contact(), message)  # once they are here, who holds the log can have them from us
        return [fx.Gather(contact, tuple(blobs), said.job, grantor.spec.retention_s, (again,), ())]

    def _pass_on(self, job: bytes, contact: Contact, key: bytes, now: float) -> list[fx.Effect]:
        """Who grants in the newest epoch and says so is passed on what was brought here while nobody did."""
        kept = self.steward.jobs.get(job)
        if kept is None or not len(kept.orphans) or kept.authority.grantor != key or key == self.me.public:
            return []
        if now < self._passed_on.get(job, -math.inf) + PASSED_ON_S:
            return []
        self._passed_on = {other: at for other, at in self._passed_on.items() if now < at + PASSED_ON_S} | {job: now}
        return [fx.Commit((), (fx.TellOrphans(contact, job),))]

    def asked(self, contact: Contact, message: m.Ask, now: float) -> list[fx.Effect]:
        """What is held of a job; where it is granted here, our own log, too: it may lie nowhere else (any more)."""
        effects = self.steward.asked(contact, message)
        grantor = self.jobs.grantors.get(message.job)
        if grantor is None or not grantor.granting or not grantor.custody.storing:
            return effects
        log = (bytes(self.me.id), grantor.epoch, grantor.log.number)
        return [
            fx.Tell(
                effect.to,
                msgspec.structs.replace(
                    effect.message,
                    logs=[log, *effect.message.logs[1 - limits.LOGS_PER_JOB_MAX :]],
                    mandate=grantor.mandate(),
                    overdue=grantor.overdue,
                    shut_out=_shut_out(grantor, now),
                ),
            )
            if isinstance(effect, fx.Tell) and isinstance(effect.message, m.JobState)
            else effect
            for effect in effects
        ]

    # --- peers come and go -------------------------------------------------------------------------------------------

    def session_closed(self, node: NodeId) -> list[fx.Effect]:
        """A session ended."""
        return self.succession.session_closed(node)

    def dead(self, node: NodeId, now: float) -> list[fx.Effect]:
        """A peer is dead or has left."""
        return self._taking(self.succession.dead(node, now), now)

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        times = (self.succession.deadline(), self.reviewing.deadline())
        return min((time for time in times if time is not None), default=None)

    def expire(self, now: float) -> list[fx.Effect]:
        """Take over what is ours to."""
        return self.reviewing.expire(now) + self._taking(self.succession.expire(now), now)

    def _taking(self, effects: list[fx.Effect], now: float) -> list[fx.Effect]:
        """What was believed is on disk before a job is read from there."""
        return self.prove(now) + effects if any(isinstance(effect, fx.Commit) for effect in effects) else effects


def _shut_out(grantor: Grantor, now: float) -> list[m.ShutOut]:
    """Who gets nothing at present, those first who wait for longest."""
    found = sorted(grantor.book.blame.shut(), key=lambda each: (-each.until, each.peer))
    return [
        m.ShutOut(each.peer, each.failures, max(0.0, each.until - now), each.why)
        for each in found[: limits.SHUT_OUT_SHOWN_MAX]
    ]
