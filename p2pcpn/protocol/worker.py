"""The worker's side of jobs: leases come in, batches go to worker processes, receipts go out.

What is granted is checked here and cut into pieces (``leased_pages``); the pieces take turns (``turns``); what a batch
comes to (``outcomes``) is stated in a receipt (``receipts``) that is journalled until somebody keeps it (``journal``).

::

    granted ──> pieces ──turn──> Run ──> ran ──> Results ──> Settled
       │           │              ├────> died ──> Results (one death) + Return (the rest)
       │           └── revoked    └────> refused ──> Return "broken" / "unusable" / "unreachable"
       └──> Return "declined" / "missing" / "late" / "leaving"
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId, node_id
from p2pcpn.protocol import journal
from p2pcpn.protocol.admission import Rules
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.effects import Effect, Run, StopRun, Tell
from p2pcpn.protocol.journal import Journal
from p2pcpn.protocol.leased_pages import Lacking, LeasedPages, bring, covered, drawn, named, pieces_of
from p2pcpn.protocol.leases_taken import Leases
from p2pcpn.protocol.objections import LEAVES, Objections
from p2pcpn.protocol.outcomes import Outcomes
from p2pcpn.protocol.recalls import Recalls
from p2pcpn.protocol.receipts import Receipts, Value
from p2pcpn.protocol.resuming import Resuming
from p2pcpn.protocol.spans import Span, merged, outside, total
from p2pcpn.protocol.turns import STARTED_AFTER_S, Batch, Turns
from p2pcpn.protocol.work import TOKEN_BITS, LeaseTaken, Piece, Work, Works, numbers_from
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import (
    Extend,
    Further,
    Grant,
    Input,
    Inputs,
    Mandate,
    PageSlice,
    Recall,
    Results,
    Resume,
    Return,
    Revoke,
    Settled,
)  # fmt: skip
from p2pcpn.wire.statements import Lease, Segment, Signed, opened, read

NEWER = "a newer epoch of the job has begun"


class Worker:
    """See the module. ``running()`` tells, per batch, the position that its worker process is at; ``boot`` is the
    number of this life of the peer."""

    def __init__(
        self, *, me: Keypair, rules: Rules, slots: int, running: Callable[[], dict[int, int]], boot: int = 0
    ) -> None:
        self.me = me
        self.rules = rules
        self.slots = slots
        self.running_positions = running
        self._numbers = numbers_from(boot)
        self.pages = LeasedPages()
        self.turns = Turns(slots)
        self._objections = Objections(lambda: self.rules, slots, self.turns)
        self.declines = self._objections.declines  # for Offers.decline, drained by peer.py
        self._sessions: set[NodeId] = {me.id}
        self.journal = Journal(me.id, self._sessions)
        self._works = Works(self._sessions, self._drop)
        self.works = self._works.jobs
        self._leases = Leases(self._sessions)
        self._outcomes = Outcomes(
            me.id, self.turns, self._leases, Receipts(me, rules.swarm_key), self.journal
        )  # fmt: skip
        self._resuming = Resuming()
        self._recalls = Recalls(self.turns, self._leases, lambda: self.running_positions())
        self._tick_at: float | None = None
        self._now = 0.0

    @property
    def leaving(self) -> bool:
        """Whether no more leases are taken."""
        return self._objections.leaving

    @leaving.setter
    def leaving(self, leaves: bool) -> None:
        self._objections.leaving = leaves

    @property
    def running(self) -> int:
        """Worker processes that have a batch now."""
        return self.turns.running

    @property
    def queued(self) -> int:
        """Leased tasks that wait for a slot."""
        return self.turns.queued

    @property
    def busy(self) -> bool:
        """Whether there is a job here of which something runs, waits or is not acknowledged."""
        return self._works.busy

    def sated(self, owner: bytes, priority: int) -> bool:
        """Whether a further job of ``owner`` would get nothing more of this peer; see :class:`Shares`."""
        return self.turns.shares.sated(owner, priority, self.slots)

    # --- what the grantor says -----------------------------------------------------------------------------------

    def introduced(
        self, sender: Contact, key: bytes, spec: Signed, now: float, age_s: float = 0.0, handover: Signed | None = None
    ) -> list[Effect]:
        """A job that wants us, ``age_s`` old. Raises :class:`PeerError` when what comes with it is not signed as it
        says."""
        authority = Authority(spec)
        if handover is not None:
            authority.hand_over(handover)
        self._now = now
        self._sessions.add(NodeId(sender.id))
        known = self.works.get(authority.job)
        if known is not None:
            known.refused = self._objections.to_job(authority)
            if handover is not None:
                return self.taken(sender, key, handover, authority.job, now)
            for tenure in known.authority.tenures:
                if known.authority.grants(key, tenure.epoch):
                    known.seat(sender, tenure.epoch)
            return []
        if authority.takes_part(key):  # whoever else shows it will never grant it
            deadline_s = authority.spec.deadline_s
            due = now + deadline_s - age_s if deadline_s else math.inf
            self._works.add(
                Work(authority, sender, self._objections.to_job(authority), NodeId(sender.id), due=due), now
            )
        return []

    def taken(self, sender: Contact, key: bytes, handover: Signed, job: bytes, now: float) -> list[Effect]:
        """The owner made another peer the grantor. Raises :class:`PeerError` unless it did."""
        work = self.works.get(job)
        if work is None:
            return []
        work.authority.hand_over(handover)
        return self._granted_by(work, sender, key, work.authority.epoch, now)

    def mandated(self, sender: Contact, key: bytes, epoch: int, job: bytes, now: float) -> list[Effect]:
        """A peer says that it grants in ``epoch``. Raises :class:`PeerError` where that epoch is not its own.

        One so far ahead that it can hardly have come supersedes nobody: it would end all those before it for ever.
        """
        work = self.works.get(job)
        if work is None or work.authority.far(epoch) or not work.authority.take_over(key, epoch):
            return []
        return self._granted_by(work, sender, key, epoch, now)

    def _granted_by(self, work: Work, sender: Contact, key: bytes, epoch: int, now: float) -> list[Effect]:
        """Where ``sender`` is the newest grantor it hears what nobody acknowledged, and leases what has not begun."""
        self._now = now
        newest_of = work.authority.tenure(epoch)
        if key != newest_of.grantor:
            return []
        work.seat(sender, newest_of.epoch)
        if work.brought.get(newest_of.lot, 0) == newest_of.epoch:
            return []
        work.brought[newest_of.lot] = newest_of.epoch
        newest = []
        for piece in self.turns.clear(work):
            if not work.authority.is_past(piece.lease.epoch):
                newest.append(piece)
            else:
                self._leases.ended(work, piece.lease, len(piece.arguments), now)
        self.turns.add(work, newest)
        effects = self.journal.superseded(work, newest_of.epoch, now)
        self._works.changed(work, now)
        return effects + self._start(now)

    def extended(self, message: Extend, *, believed: Segment | None = None) -> None:
        """A segment's header and some of its pages. Raises :class:`PeerError` unless the owner signed for them.

        What is ``believed``, as it was read, comes from the owner's own node and is proved afterwards.
        """
        said = believed or opened(message.segment, Segment)
        work = self.works.get(said.job)
        if work is None:
            return
        work.authority.require_owner(message.segment)
        self.pages.extend(message, said)

    def condemn(self, job: bytes, sender: NodeId, now: float) -> list[Effect]:
        """What ``sender`` said of a job was believed and is not the owner's: nothing of it runs any more."""
        work = self.works.get(job)
        if work is None:
            return []
        everything: list[Span] = [(0, limits.TASKS_PER_JOB_MAX)]
        for lease, count in self.turns.drop(work, everything, sender):
            self._leases.ended(work, lease, count, now)
        effects: list[Effect] = []
        for batch in self.turns.batches.values():
            if batch.work is work and batch.lease.grantor.id == sender:
                left = range(batch.done, batch.count)
                batch.revoked.update(left)
                batch.killed = True
                effects.append(StopRun(batch.number, tuple(left), True))
        self.pages.forget(work.job)
        work.foreseen = None
        self._works.changed(work, now)
        return effects

    def given(self, key: bytes, message: Inputs) -> None:
        """Results that tasks take which are about to be leased. Raises :class:`PeerError` where the sender grants not,
        or gives more than a lease may name."""
        work = self.works.get(message.job)
        if work is None:
            return
        if not work.authority.grants(key, message.epoch):
            raise PeerError("results for a lease come from a peer that does not grant the job")
        given = work.given.setdefault((message.epoch, message.token), {})
        given.update({each.index: each for each in message.inputs})
        size_bytes = sum(len(each.value) for each in given.values() if isinstance(each.value, bytes))
        if len(given) > limits.LEASE_INPUTS_MAX or size_bytes > limits.LEASE_INPUTS_BYTES_MAX:
            del work.given[message.epoch, message.token]
            raise PeerError("a lease names more results than it may")
        while len(work.given) > limits.INPUTS_PENDING_MAX:
            del work.given[next(iter(work.given))]

    def granted(self, sender: Contact, key: bytes, message: Grant, now: float) -> list[Effect]:
        """A lease. What cannot be run is returned with the reason; the rest is queued and started.

        Raises :class:`PeerError` for a lease that is not the sender's to grant or not ours, and for one whose tasks,
        pages and keys do not fit together.
        """
        self._now = now
        if message.lease.key != key:
            raise PeerError("a lease is signed by another peer than the one that sends it")
        said = read(message.lease, Lease)  # its signer says it, over a session that proves the same key
        work = self.works.get(said.job)
        if work is None:
            known = self._works.takes(NodeId(sender.id))
            back = ("missing", "knows no such job") if known else ("declined", "works for as many jobs as it can")
            return [Tell(sender, Return(said.job, said.token, named(message.slices), *back))]
        if not work.authority.grants(key, said.epoch) or said.worker != self.me.id:
            raise PeerError("a lease is signed by a peer that does not grant this job, or is another's")
        if said.token >> TOKEN_BITS:
            raise PeerError("a lease's token is beyond those that an epoch may have")
        if not work.is_new(said.epoch, said.token):
            return []
        if work.authority.is_past(said.epoch):
            unrun = Return(work.job, said.token, named(message.slices), "leaving", NEWER)
            return [Tell(sender, self._newest(work, said.epoch)), Tell(sender, unrun)]
        superseded = self.mandated(sender, key, said.epoch, said.job, now)
        ahead = covered([(first, count) for first, count in said.spans], message.slices)
        self._sessions.add(NodeId(sender.id))
        work.heard(said.epoch, said.token)
        if not work.authority.far(said.epoch):  # whose lease runs all the same, for we may have missed much of the job
            work.seat(sender, said.epoch)
        lease = LeaseTaken(
            said.token, said.epoch, sender, 0, message.result_key, message.digest_key, message.code_key, now,
            self._numbers, self._numbers, self._numbers, ahead=ahead, until=now + limits.LEASE_S,
            signed=message.lease,
        )  # fmt: skip
        work.slots = max(1, min(message.slots, self.slots))
        work.foreseen = lease if ahead else None
        return superseded + self._leased(work, lease, message.slices, now)

    def furthered(self, sender: Contact, message: Further, now: float) -> list[Effect]:
        """Tasks that a lease gave before they were there. Where it is not held (any more) they are returned.

        Raises :class:`PeerError` for tasks that it does not give.
        """
        self._now = now
        work = self.works.get(message.job)
        lease = None if work is None else work.foreseen
        if work is None or lease is None or lease.key != (message.epoch, message.token) or now >= lease.until:
            back = Return(message.job, message.token, named(message.slices), "missing", "holds no such lease any more")
            return [Tell(sender, back)]
        if lease.grantor.id != sender.id:
            raise PeerError("tasks come under a lease that another peer granted")
        if work.authority.is_past(message.epoch):
            unrun = Return(work.job, message.token, named(message.slices), "leaving", NEWER)
            return [Tell(sender, self._newest(work, message.epoch)), Tell(sender, unrun)]
        left = drawn(lease.ahead, message.slices)
        if left is lease.ahead:
            return []  # said again, over another session
        lease.ahead = left
        return self._leased(work, lease, message.slices, now)

    def _leased(self, work: Work, lease: LeaseTaken, slices: list[PageSlice], now: float) -> list[Effect]:
        """Tasks under a lease: queued and started, or returned with the reason."""
        spans = named(slices)
        count = total(spans)
        found = self.pages.find(work.job, slices)
        why_not = self._objections.to_tasks(work, found, count)
        pieces: list[Piece] = []
        given: dict[int, Input] = {}
        if why_not is None and found is not None:
            given = work.given.pop(lease.key, given)
            try:
                pieces = pieces_of(lease, slices, found, given)
                why_not = self._objections.to_bytes(work, pieces)
            except Lacking as error:
                why_not = "missing", str(error)
        if why_not is not None:
            return [Tell(lease.grantor, Return(work.job, lease.token, spans, *why_not))]
        lease.remaining += count
        self._leases.take(work, lease, now)
        self._recalls.granted(work)
        self._works.changed(work, now)
        self._resuming.granted(work.job, lease, pieces)
        self.turns.add(work, pieces)
        return bring(work, given.values(), self.me.id) + self._start(now)

    def resumed(self, sender: Contact, key: bytes, message: Resume) -> list[Effect]:
        """What an earlier run of a task left, said ahead of its lease. Raises :class:`PeerError` where the sender
        has no part in the job: nothing that it could say would be leased."""
        work = self.works.get(message.job)
        if work is None:
            return []
        if not work.authority.takes_part(key):
            raise PeerError("a state for a lease comes from a peer that has no part in the job")
        self._resuming.said(sender.id, message)
        return []

    def _drop(self, job: bytes) -> None:
        self.pages.forget(job)
        self._resuming.forget(job)

    @staticmethod
    def _newest(work: Work, epoch: int) -> Mandate:
        """Who grants now, for one that believes it does in ``epoch``."""
        authority, newest = work.authority, work.authority.tenure(epoch)
        handover = authority.handover
        by_owner = authority.signed_handover if handover is not None and handover.epoch == newest.epoch else None
        return Mandate(0, work.job, newest.epoch, work.grantor_in(epoch), by_owner, 0, 0, 0)

    def revoked(self, sender: Contact, message: Revoke, now: float) -> list[Effect]:
        """The grantor takes tasks back: unstarted ones are dropped, running ones stopped where it says so."""
        self._now = now
        work = self.works.get(message.job)
        if work is None:
            return []
        gone = merged([(first, count) for first, count in message.spans])
        for lease, count in self.turns.drop(work, gone, sender.id):
            self._leases.ended(work, lease, count, now)
        effects: list[Effect] = []
        for batch in self.turns.batches.values():
            if batch.work is not work or batch.lease.grantor.id != sender.id:
                continue
            begin = batch.first + batch.done
            left = set(pages.cut(outside([(begin, batch.count - batch.done)], gone)))
            hit = [i for i in range(batch.done, batch.count) if batch.first + i not in left]
            if hit:
                batch.revoked.update(hit)
                batch.killed = batch.killed or message.stop
                effects.append(StopRun(batch.number, tuple(hit), message.stop))
        self._works.changed(work, now)
        return effects + self._start(now)

    def recalled(self, sender: Contact, message: Recall, now: float) -> list[Effect]:
        """Somebody idles: the grantor wants tasks back that have not started."""
        self._now = now
        work = self.works.get(message.job)
        if work is None:
            return []
        effects = self._recalls.recalled(work, message.count, NodeId(sender.id), now)
        self._works.changed(work, now)
        return effects + self._start(now)

    def settled(self, sender: Contact, message: Settled) -> list[Effect]:
        """These receipts lie on enough holders (or with a steward): the journal may forget them."""
        work = self.works.get(message.job)
        if work is None or not self._settles(work, NodeId(sender.id)):
            return []
        effects = self.journal.settled(work, [(number, part) for number, part in message.parts])
        self._works.changed(work, self._now)
        return effects

    def logged(self, job: bytes, keys: list[tuple[int, int, int]]) -> list[Effect]:
        """These receipts, as (epoch, token, part), stand in a settlement log on our disk, which is handed on."""
        work = self.works[job]
        effects = self.journal.forget(work, [key for key in keys if key in work.unsettled])
        self._works.changed(work, self._now)
        return effects

    @staticmethod
    def _settles(work: Work, sender: NodeId) -> bool:
        spec = work.authority.spec
        if any(sender == grantor.id for grantor in work.grantors) or any(
            steward.contact.id == sender for steward in spec.stewards
        ):
            return True
        if sender == node_id(spec.grantor):  # what it settled counts, whoever grants by now
            return True
        return any(entry.grantor.id == sender for entry in work.unsettled.values())

    # --- what the runtime says -----------------------------------------------------------------------------------

    def failing(self, job: bytes) -> tuple[str, str] | None:
        """(code, words) where nothing of such a job succeeds here: why grantors ask this peer less and less."""
        work = self.works.get(job)
        shut = [] if work is None else self._outcomes.health.shut(work.authority.spec.runtime)
        return ("failing", f"{shut[0].why}, {shut[0].failures} times in a row") if shut else None

    def ran(
        self, number: int, position: int, outcomes: bytes, values: Sequence[Value], digests: bytes, ran_s: float,
        now: float, renderings: Sequence[str] = (),
    ) -> list[Effect]:  # fmt: skip
        """Positions of a batch from ``position`` on are over: a byte, a value and a 16-byte digest each.

        An outcome 2 says that the runtime dropped the position unrun: it has no value. They come in order, no gaps.
        """
        return self._over(
            number, now, lambda batch: self._outcomes.ran(batch, outcomes, values, digests, ran_s, now, renderings)
        )

    def died(self, number: int, position: int, signal: int | None, exit_code: int | None, now: float) -> list[Effect]:
        """The worker process died at ``position`` and the batch is over: nothing else of it has a result."""
        return self._over(number, now, lambda batch: self._outcomes.died(batch, position, signal, exit_code, now))

    def refused(
        self, number: int, code: str, why: str, now: float, positions: Collection[int] | None = None
    ) -> list[Effect]:
        """The runtime cannot run a batch: of its tasks those at ``positions`` (by default all) go back with ``code``.

        "broken": nothing can be run here now; "unusable": an input is here and is no good; "unreachable": it is not.
        """
        return self._over(number, now, lambda batch: self._outcomes.refused(batch, code, why, now, positions))

    def cut(self, number: int, count: int, now: float) -> list[Effect]:
        """What :class:`CutRun` came to: the runtime ends a batch before position ``count`` (its old end: it cannot)."""
        return self._over(number, now, lambda batch: self._recalls.cut(batch, count, now))

    def printed(self, number: int, position: int, stream: int, data: bytes) -> list[Effect]:
        """A running task printed something: told at once where the grantor listens, and again with its result."""
        batch = self.turns.batches.get(number)
        if batch is None:
            return []
        return self._outcomes.printed(batch, position, stream, data)

    def checkpoint(self, number: int, position: int, state: bytes) -> list[Effect]:
        """A running task left a state, for the next run of it."""
        batch = self.turns.batches.get(number)
        if batch is None or not self.journal.listens(batch.lease.grantor):
            return []
        return self._resuming.left(batch, position, state)

    def _over(self, number: int, now: float, act: Callable[[Batch], list[Effect]]) -> list[Effect]:
        """Something of a batch is over; what comes after a batch ended speaks of nothing any more."""
        self._now = now
        batch = self.turns.batches.get(number)
        if batch is None:
            return []
        effects = act(batch)
        self._recalls.over(batch.work)
        self._works.changed(batch.work, now)
        return effects + self._start(now)

    @property
    def completed(self) -> int:
        """Tasks that have run here to a result."""
        return self._outcomes.completed

    def _start(self, now: float) -> list[Effect]:
        """Hand batches to the runtime while it has room, the jobs in turn."""
        effects: list[Effect] = []
        while (turn := self.turns.next(now)) is not None:
            effects.append(_run(*turn))
        if self.turns.batches and self._tick_at is None:
            self._tick_at = now + STARTED_AFTER_S
        return effects + self._recalls.due(now)

    # --- sessions and time -----------------------------------------------------------------------------------------

    def session_opened(self, peer: NodeId, now: float) -> list[Effect]:
        """A grantor is (again) there: its leases are renewed, and it is offered what it has not acknowledged."""
        self._now = now
        self._sessions.add(peer)
        effects = self._leases.session_opened(peer, now)
        for work in self.works.values():
            if work.unsettled:
                effects += self.journal.found(work, peer)
        return effects

    def session_closed(self, peer: NodeId, now: float) -> None:
        """The session with a grantor is lost: its results go to the stewards if it does not come back."""
        self._now = now
        if peer == self.me.id:
            return
        self._sessions.discard(peer)
        for work in self.works.values():
            if work.unsettled:
                self.journal.lost(work, now)

    def drain(self, now: float) -> list[Effect]:
        """Take no more leases, and give back what has not started. What runs goes on to its end."""
        self._now = now
        self.leaving = True
        effects: list[Effect] = []
        for work in self.works.values():
            for piece in self.turns.clear(work):
                spans = [(piece.first, len(piece.arguments))]
                effects += self._leases.give_back(work, piece.lease, spans, LEAVES, now, "leaving")
            self._recalls.all_of(work)
            self._works.changed(work, now)
        return effects + self._recalls.due(now)

    def resize(self, slots: int, now: float) -> list[Effect]:
        """Run so many at a time from now on, at most those there are in all; what runs goes on."""
        self._now = now
        self.turns.slots = min(slots, self.slots)
        return self._start(now)

    def stay(self) -> None:
        """Take leases again."""
        self.leaving = False

    def leave(self, now: float) -> list[Effect]:
        """As :meth:`drain`, and stop what runs: it goes back, too, for the processes end with this peer."""
        effects = self.drain(now)
        for batch in self.turns.batches.values():
            left = [at for at in range(batch.done, batch.count) if at not in batch.revoked]
            if left:
                batch.revoked.update(left)
                batch.killed = True
                spans = merged([(batch.first + at, 1) for at in left])
                back = Return(batch.work.job, batch.lease.token, spans, "leaving", LEAVES)
                effects += [Tell(batch.lease.grantor, back), StopRun(batch.number, tuple(left), True)]
        return effects

    @property
    def unsettled(self) -> int:
        """Results of this peer that nobody has on disk yet, in receipts."""
        return sum(len(work.unsettled) for work in self.works.values())

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        times = (
            self._tick_at, self._leases.deadline(), self.journal.deadline(), self._works.deadline(),
            self._recalls.deadline(),
        )  # fmt: skip
        return min([time for time in times if time is not None], default=None)

    def expire(self, now: float) -> list[Effect]:
        """Renew leases, tell what has started, look after orphans, forget idle jobs."""
        self._now = now
        effects = self._started(now) + self._leases.expire(now)
        offers, given_up = self.journal.expire(now)
        for work in given_up:
            self._works.changed(work, now)
        self._works.expire(now)
        return effects + offers + self._recalls.due(now)

    def _started(self, now: float) -> list[Effect]:
        """Tell of tasks that have run for a while and were not told of yet."""
        if self._tick_at is None or now < self._tick_at:
            return []
        found: dict[LeaseTaken, tuple[Batch, list[int]]] = {}
        for batch, index in self.turns.started(self.running_positions(), now):
            found.setdefault(batch.lease, (batch, []))[1].append(index)
        self._tick_at = now + STARTED_AFTER_S if self.turns.untold else None  # whoever runs for an hour wakes nobody
        effects: list[Effect] = []
        for lease, (batch, indices) in found.items():
            effects += self._leases.progress(batch.work, lease, indices, now)
        return effects

    # --- over restarts -----------------------------------------------------------------------------------------------

    def restore(self, rows: list[tuple[Signed, Contact, list[Results]]], now: float) -> None:
        """After a restart: journalled results of jobs whose spec is known, to be offered again."""
        self._now = now
        for spec, grantor, results in rows:
            authority = Authority(spec)
            mine = journal.own(results, self.me.public)
            if not mine or authority.job in self.works:
                continue
            work = Work(authority, grantor, self._objections.to_job(authority), NodeId(grantor.id))
            for said, _ in mine:  # no lease may bring a token again whose rows are still on disk
                work.newest[said.epoch] = max(said.token, work.newest.get(said.epoch, -1))
            if self._works.add(work, now):
                self.journal.restore(work, mine, now)
                self._works.changed(work, now)


def _run(batch: Batch, piece: Piece) -> Run:
    authority = batch.work.authority
    return Run(
        batch.number, authority.owner, authority.spec.code, piece.lease.code_key, piece.functions, piece.numbers,
        piece.arguments, piece.lease.digest_key, authority.spec.output, authority.spec.render,
        piece.parts, Resuming.states(piece),
    )  # fmt: skip
