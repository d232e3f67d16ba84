"""The grantor of a job: takes claims, leases batches, accepts results, settles them.

One object a job, at the submitter or at the steward that took the job over. What it knows is in the :class:`Book`
(ledger, leases, participants, stock); who gets the next batch is decided by :class:`Leasing`, what a receipt settles
by :class:`Acceptance`, what becomes of tasks that nobody may have by :class:`Hardship`; what stewards and storage
peers keep is in :class:`Custody`. What it says to whom are effects.

::

    claim ──> Participant ──(session)──> grant: Lease(token, spans) ──> Results ──> settle ──> log ──> holders
                   │                          │ silent 30 s, or session lost and probes fail
                   └── dropped <──────────────┘ its indices wait again
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol import events
from p2pcpn.protocol.acceptance import Acceptance
from p2pcpn.protocol.attendance import Attendance
from p2pcpn.protocol.authority import DISTRIBUTED, TAKEN_OVER
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.breakers import Breakers
from p2pcpn.protocol.checkpoints import Checkpoints
from p2pcpn.protocol.custody import Custody
from p2pcpn.protocol.dependencies import Needs, found_in
from p2pcpn.protocol.dividing import Dividing
from p2pcpn.protocol.effects import Commit, Effect, LoadInputs, Notify, Tell
from p2pcpn.protocol.foresight import carried
from p2pcpn.protocol.hardship import Hardship
from p2pcpn.protocol.heartbeat import Heartbeat
from p2pcpn.protocol.hedging import Hedging
from p2pcpn.protocol.leases import LeaseHeld
from p2pcpn.protocol.leasing import Leasing
from p2pcpn.protocol.lots import RANGE_TASKS, Lots
from p2pcpn.protocol.opened_pages import blobs_named, needs_named
from p2pcpn.protocol.participants import Participant
from p2pcpn.protocol.returns import Returns
from p2pcpn.protocol.running import Running
from p2pcpn.protocol.safekeeping import Safekeeping
from p2pcpn.protocol.settlement import LogWriter
from p2pcpn.protocol.spans import Span, covers, disjoint, joined
from p2pcpn.protocol.stock import Page
from p2pcpn.protocol.supply import Supply
from p2pcpn.protocol.term import Term
from p2pcpn.protocol.witness import Note, Witness
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.pages import Entry
from p2pcpn.wire.sealing import JobKeys
from p2pcpn.wire.statements import Cancel, Claim, Close, Handover, LogHeader, Pause, Segment, Signed, Spec, read

# A lease whose last receipt came before others of its parts (they overtake each other when a session is lost).
LEFTOVER_S = 1.0
TAKEN, STANDBY, UNWANTED, UNKNOWN = range(4)


class Grantor:
    """See the module. Times are the caller's ``now``; ``trusted(key, proof)`` is the job's trust rule for workers, and
    ``grants(key, epoch)`` says who may grant it. ``book`` is that of an earlier epoch of ours, in which nothing is
    leased and nobody takes part. Of a job with several ``lots`` that one is granted whose epoch it is, and whoever
    claims first is taken first. With more than ``peers_max`` peers the program may divide the job (zero: never).
    """

    def __init__(
        self,
        *,
        job: bytes,
        spec: Signed,
        keys: JobKeys,
        epoch: int,
        me: Keypair,
        contact: Contact,
        trusted: Callable[[bytes, bytes], bool],
        grants: Callable[[bytes, int], bool],
        rank: Callable[[Contact, float], tuple[float, bytes]],
        custody: Custody,
        breakers: Breakers,
        rng: random.Random,
        now: float,
        granting: bool = True,
        age_s: float = 0.0,
        note: Note | None = None,
        book: Book | None = None,
        lots: Lots | None = None,
        peers_max: int = 0,
    ) -> None:
        self.job = job
        self.spec = read(spec, Spec)
        self.owner = spec.key
        self.keys = keys
        self.epoch = epoch
        self.me = me
        self.contact = contact
        self.custody = custody
        self.granting = granting
        self.total: int | None = None
        self.closing: Signed | None = None  # the owner's word on the total
        self.cancelled = False
        self.pause: Signed | None = None  # the owner's newest word on it
        self.paused = False
        self.overdue = False
        self.lapsed = False
        self.superseded = False
        self.term = Term(self.spec, age_s, now, owners=epoch == 0)
        lots = lots or Lots(job)
        lot = lots.of_epoch(epoch)
        self._witness = None if note is None else Witness(note, job, epoch, 1 if lots.is_stem(lot) else lots.stewards)
        self.book = book or Book(
            self.spec.retries, lots.of_slots(self.spec.max_workers, epoch), runtime=self.spec.runtime,
            breakers=breakers, rng=rng, now=now, witness=self._witness, lots=lots, epoch=epoch,
        )  # fmt: skip
        self.book.reopen(self._witness)
        self.ledger = self.book.ledger
        self.log = LogWriter(job, epoch, me)
        self._acceptance = Acceptance(
            job=job, epoch=epoch, me=me.id, keys=keys, trusted=trusted, book=self.book, log=self.log, custody=custody,
            witness=self._witness, grants=grants,
        )  # fmt: skip
        self._hardship = Hardship(job, self.book)
        self._supply = Supply(job, spec, self.spec, custody, self.book.stock, self.term, keys.digests)
        self.checkpoints = Checkpoints(job, self.ledger)
        self.safekeeping = Safekeeping(job, epoch, keys, self.checkpoints, custody.stewards, me.id, rng)
        self._leasing = Leasing(
            job=job, epoch=epoch, me=me, contact=contact, owner=spec.key, spec=self.spec, keys=keys, book=self.book,
            supply=self._supply, checkpoints=self.checkpoints, witness=self._witness,
        )  # fmt: skip
        self._attendance = Attendance(
            job=job, epoch=epoch, me=me.id, retries=self.spec.retries, rank=rank, book=self.book,
            leasing=self._leasing, hardship=self._hardship,
        )  # fmt: skip
        self.running = Running(
            job=job, epoch=epoch, me=me, keys=keys, book=self.book, checkpoints=self.checkpoints,
            safekeeping=self.safekeeping,
        )  # fmt: skip
        self._returns = Returns(self.book, self._supply, self._hardship, self._attendance)
        self.dividing = Dividing(peers_max)
        self.division: Signed | None = None  # the owner's word on it
        # Whoever submitted a distributed job grants nothing of it: it hears what its stewards make of it.
        self._hears = self.spec.orchestration == DISTRIBUTED and not granting
        self._heartbeat = Heartbeat(now, beating=self.spec.orchestration in TAKEN_OVER and not self._hears)
        custody.report(self, now)

    @property
    def participants(self) -> dict[NodeId, Participant]:
        """The peers that claimed, by id."""
        return self.book.participants.peers

    @property
    def leases(self) -> dict[int, LeaseHeld]:
        """The live leases, by token."""
        return self.book.leases.live

    @property
    def declined(self) -> dict[NodeId, str]:
        """What peers said who declined tasks."""
        return self._hardship.declined

    @property
    def hedging(self) -> Hedging:
        """Second leases of what ends last."""
        return self._leasing.hedging

    @property
    def conflicts(self) -> int:
        """Receipts that settled nothing: somebody else's came first."""
        return self._acceptance.conflicts

    @property
    def refused(self) -> int:
        """Results of peers that the job's trust rule does not accept."""
        return self._acceptance.refused

    # --- what the owner adds -----------------------------------------------------------------------------------

    def place(self, blobs: Sequence[bytes]) -> list[Effect]:
        """Blobs, here already, that tasks will name: sent ahead to whoever takes part, now or later."""
        return self._supply.place(blobs, self.book.participants.ready())

    def spent(self) -> list[bytes]:
        """Blobs that no open task names and of which no copy is on its way to a steward: told once, in order."""
        return self.book.stock.spent(self.custody.stewards.owed)

    def extend(
        self, segment: Signed, sealed: list[bytes], blobs: list[list[bytes]], now: float, needs: Needs = ()
    ) -> list[Effect]:
        """A new segment of tasks, its sealed pages, the blobs each page names, and which tasks take whose results."""
        said = self.restore(segment, sealed, blobs, needs)
        return carried(self.custody.extend(segment, sealed, said), self._added(now))

    def follow(self, segment: Signed, sealed: list[bytes], now: float) -> list[Effect]:
        """A segment that its owner brought to every steward, and so to us."""
        self.restore(segment, sealed, blobs_named(self.keys, segment, sealed))
        return self._added(now)

    def prolong(self, now: float) -> list[Effect]:
        """The owner adds, or is about to: the job's time to live begins anew, also where it had passed."""
        self.term.extended(now)
        if self.lapsed:
            self.lapsed, self.total = False, None
        return []

    def _added(self, now: float) -> list[Effect]:
        self.prolong(now)
        effects = self._look_up(now, self.book.dependencies.fresh())
        return effects + (self._too_late(now) if self.overdue else self._work(now))

    def restore(
        self, segment: Signed, sealed: list[bytes], blobs: list[list[bytes]], needs: Needs | None = None
    ) -> Segment:
        """A segment that the stewards hold already, read: of a job that this node takes over. :meth:`begin` follows.

        Who takes whose results the pages say where ``needs`` do not.
        """
        said = read(segment, Segment)
        assert said.first == self.ledger.total and len(sealed) == len(said.pages) == len(blobs)
        first, added = said.first, []
        for (count, _), data, names in zip(said.pages, sealed, blobs, strict=True):
            added.append(Page(said.number, first, count, data, self.keys.page(first), names, count))
            self.ledger.extend(count)
            first += count
        self.book.stock.add(segment, said, added)
        if needs is None:
            needs = needs_named(added)
        self.book.cede(said.first, first - said.first)
        if needs and not self._hears:
            self.book.need(needs)
        if self._witness is not None:
            self._witness.said(first)
        return said

    def begin(self, now: float) -> list[Effect]:
        """Start granting what :meth:`restore` brought, less what ``ledger.settled_already`` took from it."""
        self.book.reconcile()
        return self._look_up(now) + self._log_due(now) + self._work(now)

    def _look_up(self, now: float, indices: list[int] | None = None) -> list[Effect]:
        """Results that ended before anybody wanted them: from memory, or from the log, which is closed first."""
        lacking = self.book.look_up(indices) if self.granting else []
        if not lacking:
            return []
        return [*self._acceptance.flush(now), Commit((), (LoadInputs(self.job, tuple(lacking)),))]

    def loaded(self, indices: Sequence[int], log: Sequence[tuple[int, Entry]], now: float) -> list[Effect]:
        """What logs on this disk, of the epochs that stand beside it, hold of ``indices``, and what decides on that."""
        found = found_in(log, self._acceptance.open, set(indices))
        ready = self.book.dependencies.read(indices, found.get)
        self.ledger.release(ready)
        return self._work(now)

    def told(self, statement: Signed, said: Close | Cancel | Pause, now: float) -> list[Effect]:
        """The owner's word, its signature checked, from wherever the owner is."""
        if isinstance(said, Close):
            return self.close(statement, said.total, now)
        return self.cancel_job(statement, now) if isinstance(said, Cancel) else self.pause_job(statement, now)

    def close(self, statement: Signed, total: int, now: float) -> list[Effect]:
        """The owner adds no more: ``total`` tasks are all."""
        if self.closing is not None and self.total == total:  # grantors of other lots pass it on, too
            return []
        self.total, self.closing = total, statement
        if self._witness is not None:
            self._witness.closed(total)
        return self.custody.finish(statement) + self._log_due(now, force=True) + self._work(now)

    def cancel_job(self, statement: Signed, now: float) -> list[Effect]:
        """The owner ends the job."""
        if self.cancelled:
            return []
        self.cancelled = True
        if self._witness is not None:
            self._witness.cancelled()
        effects = [Notify(events.Cancelled(self.job)), *self.custody.finish(statement)]
        return effects + self.cancel([(0, self.ledger.total)], stop=True, now=now)

    def pause_job(self, statement: Signed, now: float) -> list[Effect]:
        """The owner has the job wait, or go on; what it said before counts no more. What runs may end."""
        if not self.restore_pause(statement):
            return []
        effects: list[Effect] = [Notify(events.Paused(self.job, self.paused)), *self.custody.finish(statement)]
        if self.finished:
            return effects
        if self.paused:
            return effects + [effect for peer in self.participants.values() for effect in self._recall(peer)]
        self._leasing.hasten(now)
        return effects + self._work(now)

    def restore_pause(self, statement: Signed) -> bool:
        """Note what the stewards know already of whether the job pauses; false where that is nothing new."""
        said = read(statement, Pause)
        if self.pause is not None and said.number <= read(self.pause, Pause).number:
            return False
        self.pause, self.paused = statement, said.paused
        return True

    def _recall(self, peer: Participant) -> list[Effect]:
        """While the job pauses a peer gives back what it has not begun."""
        most = limits.BATCH_TASKS_MAX
        if not self.paused:
            return []
        return [Tell(peer.contact, m.Recall(self.job, min(most, peer.held - at))) for at in range(0, peer.held, most)]

    def cancel(self, spans: list[Span], *, stop: bool, now: float) -> list[Effect]:
        """Drop the open ones among ``spans``; where they are leased, revoke them (``stop``: also what runs)."""
        effects: list[Effect] = [
            Tell(peer.contact, m.Revoke(self.job, held, stop)) for peer, held in self.book.cancel(spans)
        ]
        if self._hears or self.custody.together:
            effects += self.custody.stewards.mention(m.Revoke(self.job, spans, stop))
        return effects + self._log_due(now) + self._work(now)

    # --- other grantors --------------------------------------------------------------------------------------------

    def mandate(self, request: int = 0) -> m.Mandate:
        """That we grant, and how far it is."""
        handover = self.custody.word.handover if isinstance(self.custody.word, m.Take) else None
        handover, ledger = self.division or handover, self.ledger
        return m.Mandate(
            request, self.job, self.epoch, self.contact, handover, self.log.number, ledger.total, self.left
        )  # fmt: skip

    def hand_over(self, take: Signed, now: float) -> list[Effect]:
        """The owner's handover to a steward that has said yes: the others are told, and we step down."""
        return self.safekeeping.say(now) + self.custody.show(m.Take(0, take)) + self.step_down(now)

    def divide(self, division: Signed, *, submitted: bool = False) -> list[Effect]:
        """The owner divides the job: what lies behind its stem and is not leased is the stewards' to grant.

        Whoever ``submitted`` it tells them, and hears from them what becomes of their lots.
        """
        first = read(division, Handover).first
        if self.division is not None or first is None:
            return []
        blobs = self.book.stock.named()
        self.division = division
        self.book.lots.divide(first)
        self.book.divide()
        return self.custody.divide(division, self.contact, blobs) if submitted else []

    @property
    def border(self) -> int:
        """The first range of which nothing was ever leased, or has ended: from there on others may grant the job."""
        return -(-self.ledger.untouched // RANGE_TASKS) * RANGE_TASKS

    def _outgrown(self, now: float) -> list[Effect]:
        """Too many peers, or too much to do: the program may divide the job."""
        peers = self.book.participants
        due = self.division is None and self.granting and self.dividing.due(
            peers=len(peers.peers), slots=peers.slots, waiting=self.ledger.waiting, more=self.total is None,
            stewards=len(self.custody.stewards.live), now=now,
        )  # fmt: skip
        return [Notify(events.Outgrown(self.job))] if due else []

    def depose(self, before: Contact) -> list[Effect]:
        """``before`` granted until now, and may not know that it does so no more."""
        request = self.custody.request()
        self._heartbeat.depose(before, request)
        return [Tell(before, self.mandate(request))]

    def farewell(self) -> list[Effect]:
        """The program lets go of the job: where nothing is open the stewards hear so, and else nothing more."""
        return [] if self.left or not self._heartbeat.beating else self.custody.say(self.mandate(), everybody=False)

    def hear(self, message: m.Settlement, now: float) -> list[Effect]:
        """Whoever grants tasks of this job settled them. Raises :class:`PeerError` for a receipt that is not right."""
        return self._acceptance.told(message) + self._log_due(now)

    def settled_elsewhere(self, spans: list[Span], now: float) -> list[Effect]:
        """Another grantor's log settles ``spans``: nobody need run them (again)."""
        effects: list[Effect] = [
            Tell(peer.contact, m.Revoke(self.job, held, True)) for peer, held in self.book.settled_elsewhere(spans)
        ]
        effects += self._look_up(now, self.book.dependencies.wanted(spans))
        return effects + self._log_due(now) + self._work(now)

    def step_down(self, now: float) -> list[Effect]:
        """A newer epoch has begun: nothing is leased any more, the unbegun is taken back, what came is logged."""
        if self.superseded:
            return []
        self.granting, self.superseded = False, True
        self._heartbeat.beating = False
        effects: list[Effect] = []
        for peer in list(self.participants.values()):
            held = joined([span for token in peer.tokens for span in self.leases[token].open])
            if held:
                effects.append(Tell(peer.contact, m.Revoke(self.job, held, False)))
            self.book.relieve(peer)
            self.book.participants.remove(peer.node)
        self.custody.retire()
        return effects + self._log_due(now, force=True)

    # --- claims ------------------------------------------------------------------------------------------------

    def claimed(self, claim: Claim, key: bytes, now: float) -> tuple[int, list[Effect]]:
        """A peer's claim, signature checked. Returns the verdict and what follows from it."""
        effects = self._ended_by_itself(now)
        if self.finished or not self.granting:
            return UNKNOWN, effects
        found, lost = self._attendance.claimed(claim, key, now)
        effects += lost
        if found is None:
            return UNWANTED, effects
        self._leasing.hasten(now)
        effects += self._work(now)
        verdict = TAKEN if found.taken else STANDBY
        if self._witness is not None:
            self._witness.claimed(found.node, verdict)
        return verdict, effects + self._outgrown(now)

    # --- leases ------------------------------------------------------------------------------------------------

    def _work(self, now: float, spoke: Participant | None = None, *, recalled: int = 0) -> list[Effect]:
        """Lease what waits, where there is anything to lease; see :meth:`Leasing.work`."""
        self.term.passes(now)
        if self.finished or self.paused or not self.granting:
            return []
        return self._leasing.work(now, spoke, recalled=recalled)

    # --- what workers say --------------------------------------------------------------------------------------

    def results(self, sender: Contact, message: m.Results, now: float) -> list[Effect]:
        """A receipt and its page. Raises :class:`PeerError` when anything in it is not what was leased or signed."""
        admitted = self._acceptance.admit(sender, message)
        if admitted is None:
            return self._acceptance.forgotten(sender, message)
        peer = self.participants.get(admitted.lease.peer)
        live = admitted.token in self.leases
        if peer is not None:
            peer.spoke()
            self.book.participants.crowd(peer)
            if live and not admitted.deaths:
                self.book.participants.ran(peer, len(admitted.opened.indices), admitted.opened.receipt.ran_s, now)
                self.book.speeds.ran(peer.node, len(admitted.opened.indices), admitted.opened.receipt.ran_s)
        if live:
            self.book.renew(admitted.token, now + limits.LEASE_S)
        effects = self._acceptance.accept(admitted, message, sender, now)
        if admitted.deaths:
            self._hardship.watch(now)
        if message.last and admitted.token in self.leases and not self.leases[admitted.token].further:
            self.book.leases.hasten(admitted.token, now + LEFTOVER_S)
        return effects + self._log_due(now) + self._work(now, None if admitted.deaths else peer)

    def blobs_of(self, message: m.Results) -> list[bytes]:
        """The blobs that results name. Raises :class:`PeerError` for what can settle nothing."""
        return self._acceptance.blobs_of(message)

    def inherit(self, worker: Contact | None, message: m.Results, now: float) -> list[Effect]:
        """Results under a lease of an older epoch; see :meth:`Acceptance.adopt`."""
        effects = self._acceptance.adopt(worker, message, now)
        return effects + self._log_due(now) + self._work(now)

    def returned(self, sender: Contact, message: m.Return, now: float) -> list[Effect]:
        """A peer gives tasks back unrun. Declined ones never go to it again."""
        lease = self.running.live(sender, message.token, now)
        if lease is None:
            return []
        self._leasing.foresight.withdraw(message.token)
        if not covers(lease.spans, message.spans) or not disjoint(message.spans):
            raise PeerError("a peer returns tasks that were not leased to it, or one twice")
        recalled = lease.moved + 1 if message.code == "recalled" else 0
        return self._returns.back(lease, message, now) + self._work(now, recalled=recalled)

    # --- peers come and go -------------------------------------------------------------------------------------

    def answered(self, peer: NodeId, message: m.Answer, now: float) -> list[Effect]:
        """A steward or holder has on disk what it was sent, or refused it."""
        self._heartbeat.answered(peer, message.request)
        return self.custody.answer(peer, message, now) + self._last_beat(now)

    def logged(self, header: LogHeader, ok: bool, now: float) -> list[Effect]:
        """A segment of our log is on our own disk, or not ``ok``: the disk refused it."""
        if (header.job, header.epoch) != (self.job, self.epoch):
            return []
        return self.custody.logged(header.number, ok, now) + self._last_beat(now)

    def _last_beat(self, now: float) -> list[Effect]:
        """That all has ended is said at once, when it has."""
        return self._beat(now) if self.finished and not self.superseded else []

    def session_opened(self, peer: NodeId, now: float) -> list[Effect]:
        """A session is there (again), whoever dialled: a participant that was in doubt goes on."""
        effects = self.custody.peer_alive(peer)
        if self.superseded:
            return effects
        effects += self._attendance.session_opened(peer, now)
        if peer in self.participants:
            effects += self._recall(self.participants[peer]) + self._work(now)
        return effects

    def session_closed(self, peer: NodeId, now: float) -> list[Effect]:
        """The session is lost, or could not be made: nothing is leased to the peer until we know that it lives."""
        effects = self.custody.session_closed(peer)
        if self.superseded:
            return effects
        effects += self._ended_by_itself(now)
        effects += [effect for effect in self._attendance.session_closed(peer, now) if effect not in effects]
        return effects + self._work(now)

    def peer_dead(self, peer: NodeId, now: float) -> list[Effect]:
        """Probes failed: its leases end now, not in 30 seconds."""
        effects = self.custody.peer_dead(peer, now)
        if self.superseded:
            return effects
        return effects + self._ended_by_itself(now) + self._attendance.dead(peer, now) + self._work(now)

    def peer_alive(self, peer: NodeId, now: float) -> list[Effect]:
        """Only the session was lost: ask for a new one and say there what may have got lost with the old."""
        effects = self.custody.peer_alive(peer)
        return effects if self.superseded else effects + self._attendance.alive(peer)

    # --- time --------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Nothing is left to grant: cancelled, too late, or closed and every index ended."""
        if self.cancelled or self.overdue:
            return True
        return self.total is not None and self.ledger.total >= self.total and not self.ledger.open

    @property
    def left(self) -> int:
        """How many tasks have not ended. What ended has done so when its settlement lies on enough disks, ours alone
        may be lost with us: until then as much as one has not."""
        kept = self.log.empty and self.custody.brought
        return self.ledger.open or (0 if kept else 1)

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        times = [self.log.deadline(), self.custody.deadline()]
        if not self.superseded:
            times += [
                self.book.leases.deadline(), self._hardship.deadline(), self.safekeeping.deadline(),
                self._heartbeat.deadline(self.ledger.total, self.left),
                # Who has nothing left to grant makes no offer: a deadline that nobody meets would be due for ever.
                None if self.finished or self.paused or not self.granting else self._leasing.deadline(),
                self.term.due if self.granting and self.term.due < math.inf and not self.finished else None,
                self.term.lapses if self.total is None and self.term.lapses < math.inf and not self.finished else None,
            ]  # fmt: skip
        return min((time for time in times if time is not None), default=None)

    def expire(self, now: float) -> list[Effect]:
        """Act on every deadline that has passed."""
        if self.superseded:
            return self._log_due(now) + self.custody.expire(now)
        if self.dividing.peers_max and (due := self.deadline()) is not None and due <= now:
            self.dividing.looked(now - due, now)
        effects = self._ended_by_itself(now) + self._attendance.expire(now) + self._hardship.expire(now)
        effects += self.safekeeping.expire(now) + self._log_due(now)
        if not self.finished and not self.paused and self.granting:
            effects += self._leasing.expire(now)
        return effects + self.custody.expire(now) + self._work(now) + self._outgrown(now)

    def _ended_by_itself(self, now: float) -> list[Effect]:
        """The deadline has passed, or nobody closed the job and nobody added to it for so long as its owner said.

        Asked before anything that may give a task up: what is open then failed of the deadline, however late we look.
        """
        effects: list[Effect] = []
        if now >= self.term.lapses and self.total is None and not self.finished:
            self.lapsed, self.total = True, self.ledger.total
            effects.append(Notify(events.Lapsed(self.job)))
        if now >= self.term.due and self.granting and not self.finished:
            effects += self._too_late(now)
        return effects

    def _too_late(self, now: float) -> list[Effect]:
        """What is open fails: nobody wants its results any more."""
        self.overdue = True
        opened = self.ledger.open_spans()
        effects: list[Effect] = [
            Tell(peer.contact, m.Revoke(self.job, held, True)) for peer, held in self.book.cancel(opened)
        ]
        if opened:
            text = f"deadline passed: the job had {self.spec.deadline_s:g} s (see deadline_s=)"
            effects.append(Notify(events.GaveUp(self.job, pages.cut(opened), text)))
        return effects + self._log_due(now)

    def _log_due(self, now: float, *, force: bool = False) -> list[Effect]:
        """Close a log segment when it is time, and give it to the holders."""
        effects: list[Effect] = []
        if force or self.finished or self.log.due(now):
            effects += self._acceptance.flush(now)
        return effects + self._beat(now) + ([] if self._hears else self.custody.report(self, now))

    def _beat(self, now: float) -> list[Effect]:
        """A sign of life, where it is time for one or where it is the last."""
        if not self._heartbeat.due(self.ledger.total, self.left, now, last=self.finished):
            return []
        effects = self.custody.say(self.mandate(), everybody=self._heartbeat.far)
        if self._heartbeat.told is not None:
            before, request = self._heartbeat.told
            effects.append(Tell(before, self.mandate(request)))
        return effects
