"""Custody of a job: what its stewards and storage peers hold, and how many of them have it on disk.

Stewards (named in the spec) are sent the spec, every segment and every statement of the owner. Holders (the stewards,
and storage peers near the job's id where those are too few) are sent the settlement log. Whatever is sent carries a
request number; the :class:`Answer` to it means *durable on disk*. Nothing is called done before enough of them came.
A steward that was lost and lives is a storage peer like others, of the log alone: in a small swarm nobody else may be.

::

    segment closed ──> our disk, each holder ──Answer──> on one: the head names it; on enough: workers are told
                            │ died, refused, silent
                            └──> another storage peer is sent the log from its beginning: what our disk refused
                                 from memory, the rest from there
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import events
from p2pcpn.protocol.authority import DISTRIBUTED
from p2pcpn.protocol.copies import Copies, Holder, Parts
from p2pcpn.protocol.effects import Commit, Effect, Notify, OnDisk, Probe, Tell, TellLog, Write
from p2pcpn.protocol.heads import CONTACT, Head, Length
from p2pcpn.protocol.settlement import LogSegment
from p2pcpn.protocol.trustees import Trustees
from p2pcpn.protocol.vigil import DEAD_S, LOOK_S, PROBE_LOOKS, REFUSED_S, SILENT_LOOKS, Vigil
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import (
    Answer,
    AnswerCode,
    Append,
    Extend,
    Finish,
    Introduce,
    Mandate,
    Settled,
    Standing,
    Take,
)  # fmt: skip
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import LogHeader, Segment, Signed, Spec, read

if TYPE_CHECKING:
    from p2pcpn.protocol.grantor import Grantor


class Custody:
    """See the module. ``candidates()`` lists storage peers, best first; ``storing``: this node itself keeps the log.

    ``logs`` are all of this node's logs of the job, which share a head: by epoch, how long they are.
    """

    def __init__(
        self,
        *,
        job: bytes,
        spec: Signed,
        me: NodeId,
        epoch: int,
        storing: bool,
        candidates: Callable[[], list[Contact]],
        request: Callable[[], int],
        logs: dict[int, Length] | None = None,
    ) -> None:
        self.job = job
        self.signed_spec = spec
        self.spec = read(spec, Spec)
        self.me = me
        self.epoch = epoch
        self.storing = storing
        self.candidates = candidates
        self.request = request
        self.stewards = Trustees([s.contact for s in self.spec.stewards if s.contact.id != me], request)
        self.copies = Copies(storing)
        self.word: Take | Mandate | None = None  # by what right we grant; in epoch 0 the spec says it
        self.tasks = 0
        self.replicated = 0  # settled indices that lie on enough holders
        self.done = False
        self._total: int | None = None
        self._settled = 0
        self._ended = False  # nothing will be settled any more, and the log is closed
        self._parts: Parts = {}
        self._vigil = Vigil()
        self._now = 0.0
        self._head = Head(job, epoch, self.spec.retention_s, logs)
        self._look_at: float | None = None
        self._told: tuple[int, int, int, bool] | None = None
        self._told_kept: tuple[int, int, int] | None = None
        self._former = False
        self.together: Contact | None = None  # who sums up how safe the job is, where it is granted in lots
        self._heir: NodeId | None = None  # who grants in a newer epoch, and is brought the log
        self._unwritten: dict[int, LogSegment] = {}  # being written, or our disk refused them
        self._refused: dict[int, None] = {}  # which of them our disk refused
        self._refused_bytes = 0
        self._shown: set[NodeId] = set()  # holders beside the stewards that were told by what right we grant

    # --- the owner's words, to the stewards ---------------------------------------------------------------------

    def open(self) -> list[Effect]:
        """Introduce the job to its stewards."""
        effects = self.stewards.tell(lambda request: Introduce(request, self.signed_spec, True))
        for trustee in self.stewards.all.values():
            trustee.introduced = True
        return effects + ([] if self.spec.code is None else self._blobs([self.spec.code.digest]))

    def adopt(self, word: Take | Mandate | None) -> list[Effect]:
        """This steward became the grantor: the others were sent the job by its owner, all but by what right we grant.

        That comes from us, ahead of the first log segment: the owner may be gone, and a steward that does not know of
        a handover refuses our log.
        """
        for trustee in self.stewards.all.values():
            trustee.introduced = True
        return [] if word is None else self.show(word)

    def show(self, word: Take | Mandate) -> list[Effect]:
        """By what right we grant, or somebody else does: to every steward, and to whoever is introduced."""
        self.word = msgspec.structs.replace(word, request=0)
        return self.stewards.tell(lambda request: msgspec.structs.replace(word, request=request))

    def extend(self, segment: Signed, sealed: list[bytes], said: Segment | None = None) -> list[Effect]:
        """A segment and its pages; first the blobs that its tasks name."""
        said = said or read(segment, Segment)
        self.tasks = said.first + said.count
        effects = self._blobs(list(said.blobs))
        leased = self._by_all  # by those who are told: no lease of ours takes it along
        return effects + self.stewards.tell(lambda request: Extend(request, segment, sealed, True), awaited=leased)

    def divide(self, division: Signed, together: Contact, blobs: list[bytes]) -> list[Effect]:
        """The owner divides the job, which all stewards grant from now on: each has to have what its tasks name.

        They hear so behind all there is of it until now. How safe our log is, is told to ``together``.
        """
        self.together, self._told = together, None
        names = ([] if self.spec.code is None else [self.spec.code.digest]) + blobs
        effects = self._blobs(names)
        for trustee in self.stewards.live.values():
            trustee.lacks = False
        return effects + self.stewards.tell(lambda request: Take(request, division), awaited=True) + self._report()

    @property
    def _by_all(self) -> bool:
        """Whether each steward grants some of the job."""
        return self.together is not None or self.spec.orchestration == DISTRIBUTED

    def finish(self, statement: Signed) -> list[Effect]:
        """A close or a cancel."""
        return self.stewards.tell(lambda request: Finish(request, statement))

    def say(self, mandate: Mandate, *, everybody: bool) -> list[Effect]:
        """A sign of life to the stewards, which nobody answers; now and then also to those that were lost: they may
        live, and would take the job over from a grantor that they hear nothing of."""
        told = self.stewards.all if everybody else self.stewards.live
        return [Tell(trustee.contact, mandate) for trustee in told.values()]

    def _blobs(self, digests: list[bytes]) -> list[Effect]:
        if not digests:
            return []
        # Who leases has to have what its tasks name.
        copies = len(self.spec.stewards) if self._by_all else self.spec.replicas
        return self.stewards.send_blobs(digests, copies, self.job, self.spec.retention_s)

    def keeps(self, peer: NodeId) -> bool:
        """Whether that peer is a steward, which is sent the spec and every page: as a worker it needs none again."""
        trustee = self.stewards.get(peer)
        return trustee is not None and trustee.introduced

    def has_blob(self, peer: NodeId, digest: bytes) -> bool:
        """Whether a steward was sent that blob."""
        trustee = self.stewards.get(peer)
        return trustee is not None and digest in trustee.blobs

    def whole(self) -> int:
        """How many stewards hold the spec and every segment, durably."""
        return self.stewards.whole()

    # --- the settlement log, to the holders ----------------------------------------------------------------------

    def journalled(self, worker: Contact, number: int, part: int) -> None:
        """The segment being written settles this receipt: its worker is told once enough holders have it.

        ``number`` is the epoch and the token of its lease.
        """
        self._parts.setdefault(NodeId(worker.id), (worker, []))[1].append((number, part))

    def acknowledge(self, worker: Contact, number: int, part: int, *, writing: bool) -> list[Effect]:
        """A receipt that settles nothing: its worker may forget it when what did settle its tasks is safe.

        ``writing``: the segment being written holds something, so that may be it.
        """
        if writing:
            self.journalled(worker, number, part)
            return []
        if self.copies.wait(worker, (number, part)):
            return []
        return [Tell(worker, Settled(self.job, [(number, part)]))]

    def append(self, segment: LogSegment, now: float) -> list[Effect]:
        """Keep a closed segment: on our own disk, on the stewards, on storage peers where those are too few."""
        self._now = now
        said = read(segment.header, LogHeader)
        self.copies.add(said.settled, self._parts, digest(segment.header.body))
        self._parts = {}
        key = (self.job, self.me, self.epoch, segment.number)
        write = Write("logs", key, (pages.SIGNED.encode(segment.header), segment.body))
        effects: list[Effect] = [Commit((write,), (OnDisk(said),), (OnDisk(said, False),))]
        self._unwritten[segment.number] = segment
        self._recruit()
        for holder in self.copies.holders.values():
            if self.copies.owed(holder) and holder.sent == segment.number:
                request = self.request()
                self.copies.next(holder, request)
                effects += self._right(holder)
                effects.append(Tell(holder.contact, Append(request, segment.header, segment.body)))
            else:
                effects += self._catch_up(holder)
        self._head.follow(self.copies, now)
        return effects + self._enough()

    def logged(self, number: int, ok: bool, now: float) -> list[Effect]:
        """A segment is on our own disk, which counts as a holder's, or the disk refused it and counts no more."""
        self._now = now
        if ok:
            self._unwritten.pop(number, None)
        effects = [] if ok else self._refuse(number)
        if not self.storing:
            return effects
        if ok:
            self.copies.written(number)
            return self._enough() + self._report()
        self.storing = False
        self.copies.disown()
        return effects + self._replace()

    def _refuse(self, number: int) -> list[Effect]:
        """What our disk does not take stays in memory, for holders that come later; who was to be sent it from the disk
        would wait in vain."""
        segment = self._unwritten.get(number)
        if segment is None or number in self._refused:
            return []
        self._refused[number] = None
        self._refused_bytes += len(segment.body)
        while self._refused_bytes > limits.LOG_REFUSED_BYTES_MAX:  # the oldest lie on most holders
            oldest = next(iter(self._refused))
            del self._refused[oldest]
            self._refused_bytes -= len(self._unwritten.pop(oldest).body)
        return [
            Tell(holder.contact, Append(request, segment.header, segment.body))
            for holder in self.copies.holders.values()
            for request, awaited in holder.awaited.items()
            if awaited == number and request in holder.stored
        ]

    @property
    def logs(self) -> dict[int, Length]:
        """This node's logs of the job, by epoch, and how long each is."""
        return self._head.logs

    def holders(self) -> list[Contact]:
        """Who is sent the log: all live stewards, and storage peers until there are ``replicas``."""
        self._recruit()
        return [holder.contact for holder in self.copies.holders.values()]

    def bring(self, to: Contact) -> list[Effect]:
        """Whoever grants in a newer epoch is brought the whole log, whether or not it was lost to us before; of several
        the last."""
        if self._heir == to.id:
            return []
        self._heir = NodeId(to.id)
        self.copies.join(to)
        return self._catch_up(self.copies.holders[self._heir])

    def known_holders(self) -> list[Contact]:
        """Who is sent the log now."""
        return [holder.contact for holder in self.copies.holders.values()]

    def _recruit(self) -> None:
        for trustee in self.stewards.live.values():
            self.copies.join(trustee.contact)
        missing = self._missing
        if missing <= 0:
            return
        for contact in self.candidates():
            node = NodeId(contact.id)
            if node in self.copies.holders or node == self.me or self._vigil.shuns(node):
                continue
            self.copies.join(contact)
            missing -= 1
            if missing <= 0:
                break

    @property
    def _missing(self) -> int:
        return self.spec.replicas - len(self.copies.holders) - (1 if self.storing else 0)

    def wanted(self) -> int:
        """How many copies can be had: the job's ``replicas``, or all peers there are."""
        return max(1, min(self.spec.replicas, len(self.copies.holders) + (1 if self.storing else 0)))

    def _catch_up(self, holder: Holder) -> list[Effect]:
        """Stored segments, in order, to a holder that lacks them."""
        effects = self._right(holder) if self.copies.owed(holder) else []
        while self.copies.owed(holder):
            request = self.request()
            number = self.copies.next(holder, request)
            effects.append(self._stored(holder, request, number))
        return effects

    def _right(self, holder: Holder) -> list[Effect]:
        """The owner's handover ahead of a log that follows from it, once: a holder that keeps the job in the place of
        a steward would refuse the log of somebody who was never made its grantor."""
        node = NodeId(holder.contact.id)
        if not isinstance(self.word, Take) or self.stewards.get(node) is not None or node in self._shown:
            return []
        self._shown.add(node)
        return [Tell(holder.contact, msgspec.structs.replace(self.word, request=self.request()))]

    def _stored(self, holder: Holder, request: int, number: int) -> Effect:
        """A stored segment for a holder, behind all that is being written: it may be on its way to the disk."""
        if number in self._refused:
            segment = self._unwritten[number]
            return Tell(holder.contact, Append(request, segment.header, segment.body))
        holder.stored.add(request)
        return Commit((), (TellLog(holder.contact, request, self.job, self.me, self.epoch, number),))

    def _enough(self) -> list[Effect]:
        """Workers may drop their journals of what lies on enough holders."""
        effects: list[Effect] = []
        for worker, parts in self.copies.release(self.copies.safe(self.wanted())):
            for at in range(0, len(parts), limits.BATCH_TASKS_MAX):
                settled = Settled(self.job, parts[at : at + limits.BATCH_TASKS_MAX])
                effects.append(Tell(worker, settled))
        return effects

    def answer(self, peer: NodeId, message: Answer, now: float) -> list[Effect]:
        """A steward or holder answered: what we sent is on its disk, or it refused."""
        self._now = now
        ours = [request for request in dict.fromkeys((message.request, *message.also)) if self._awaits(peer, request)]
        if not ours:
            return []
        if message.code != AnswerCode.DONE:
            return self._lose(peer, now + REFUSED_S)
        self._vigil.answered(peer)
        holder = self.copies.holders.get(peer)
        logged = [request for request in ours if not self.stewards.answered(peer, request)]
        effects = self._report_kept() if len(logged) < len(ours) else []
        if logged:
            assert holder is not None
            for request in logged:
                self.copies.answered(peer, request)
            effects += self._catch_up(holder) + self._enough() + self._report()
        return effects

    def _awaits(self, peer: NodeId, request: int) -> bool:
        """Whether that peer was asked so and has not answered."""
        trustee, holder = self.stewards.get(peer), self.copies.holders.get(peer)
        return bool((trustee and request in trustee.unanswered) or (holder and request in holder.awaited))

    # --- peers come and go -------------------------------------------------------------------------------------

    def _owes(self, peer: NodeId) -> bool:
        trustee, holder = self.stewards.get(peer), self.copies.holders.get(peer)
        return bool((trustee and trustee.unanswered) or (holder and holder.awaited))

    def _contact(self, peer: NodeId) -> Contact | None:
        known = self.stewards.get(peer) or self.copies.holders.get(peer)
        return None if known is None else known.contact

    def session_closed(self, peer: NodeId) -> list[Effect]:
        """What this peer had not answered may be lost: find out whether it lives."""
        contact = self._contact(peer)
        if contact is None or not self._owes(peer):
            return []
        if not self._vigil.doubt(peer):  # it lives, says every probe, but no session with it holds
            return self._lose(peer, self._now + DEAD_S)
        return [Probe(contact)]

    def peer_alive(self, peer: NodeId) -> list[Effect]:
        """Only the session was lost: say again what was not answered. Requests are idempotent."""
        if not self._vigil.resolved(peer):
            return []
        trustee, holder = self.stewards.get(peer), self.copies.holders.get(peer)
        effects = list(trustee.unanswered.values()) if trustee is not None else []
        if holder is not None:
            self._shown.discard(peer)
            effects += self._right(holder) if holder.awaited else []
            for request, number in holder.awaited.items():
                effects.append(self._stored(holder, request, number))
        return effects

    def peer_dead(self, peer: NodeId, now: float) -> list[Effect]:
        """A holder is gone: its copies no longer count, and another storage peer is sent the log."""
        self._now = now
        return [] if self._contact(peer) is None else self._lose(peer, now + DEAD_S)

    def _lose(self, peer: NodeId, until: float) -> list[Effect]:
        self.stewards.lose(peer)
        self.copies.leave(peer)
        self._shown.discard(peer)
        self._vigil.give_up(peer, until)
        return self._replace() + self._report_kept()

    def _replace(self) -> list[Effect]:
        """Look for holders where they are too few; new ones are sent the whole log."""
        if not len(self.copies):
            return []
        self._recruit()
        effects = [effect for holder in self.copies.holders.values() for effect in self._catch_up(holder)]
        return effects + self._enough() + self._report()

    # --- time and reports ----------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        if self._look_at is None and self._uneasy:
            self._look_at = self._now + LOOK_S
        if self._head.at is None or self._look_at is None:
            return self._look_at if self._head.at is None else self._head.at
        return min(self._head.at, self._look_at)

    @property
    def _uneasy(self) -> bool:
        """Whether somebody owes an answer, or holders are too few."""
        if len(self.copies) and self._missing > 0:
            return True
        return any(trustee.unanswered for trustee in self.stewards.all.values()) or any(
            holder.awaited for holder in self.copies.holders.values()
        )

    def expire(self, now: float) -> list[Effect]:
        """Publish the log's head when it changed, at most once a second; look after the holders."""
        self._now = now
        effects = self._look(now) if self._look_at is not None and now >= self._look_at else []
        if self._head.due(now):
            effects += self._head.publish(self.copies, self.replicated, self._total, self.done, self.holders(), now)
        return effects

    def _look(self, now: float) -> list[Effect]:
        self._look_at = now + LOOK_S if self._uneasy else None
        self._vigil.relent(now)
        effects: list[Effect] = []
        for peer in dict.fromkeys([*self.stewards.all, *self.copies.holders]):
            looks, contact = self._vigil.look(peer, self._owes(peer)), self._contact(peer)
            if looks > SILENT_LOOKS:
                effects += self._lose(peer, now + DEAD_S)
            elif looks and looks % PROBE_LOOKS == 0 and contact is not None:
                effects.append(Probe(contact))
        return effects + self._replace()

    def report(self, grantor: Grantor, now: float) -> list[Effect]:
        """Tell the program above how much lies on how many holders, when that changed."""
        self._now = now
        facts = (grantor.total, grantor.log.settled, grantor.finished and grantor.log.empty)
        if facts == (self._total, self._settled, self._ended):
            return []
        self._total, self._settled, self._ended = facts
        return self._report()

    def retire(self) -> None:
        """Somebody else grants: the log still goes to its holders, and of the job nothing more is reported here."""
        self._former = True

    @property
    def brought(self) -> bool:
        """Whether the whole log lies on enough holders, or on all there are, and with whoever was to be brought it."""
        heir = None if self._heir is None else self.copies.holders.get(self._heir)
        if heir is not None and heir.disk.held < len(self.copies):
            return False
        return not len(self.copies) or self.copies.safe(self.wanted()) == len(self.copies)

    @property
    def at_rest(self) -> bool:
        """Whether the log needs nothing more of us: it was brought, and its head says how long it is."""
        return self.brought and self._head.at is None

    def _report(self) -> list[Effect]:
        self._head.follow(self.copies, self._now)
        safe = self.copies.safe(self.wanted())
        self.replicated = self.copies.settled(safe)
        done = self._ended and safe == len(self.copies)
        told = (self._settled, self.replicated, self.copies.whole, done)
        if told == self._told:
            return []
        if self._told is None or (self.replicated, done) != (self._told[1], self._told[3]):
            self._head.changed(self._now)
        self._told, self.done = told, done
        if self._former:
            return []
        if self.together is not None:
            copies = min(self.copies.whole, (1 << 32) - 1)
            return [Tell(self.together, Standing(self.job, self.epoch, self._settled, self.replicated, copies, done))]
        return [Notify(events.Replicated(self.job, *told[:3], self.spec.replicas, done))]

    def _report_kept(self) -> list[Effect]:
        told = (self.tasks, self.whole(), len(self.stewards.live))
        if told == self._told_kept:
            return []
        self._told_kept = told
        return [] if self._former else [Notify(events.Kept(self.job, *told))]


__all__ = ["CONTACT", "Custody"]
