"""The jobs this node grants or has submitted: one grantor each, made here and woken here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId, node_id
from p2pcpn.protocol.admission import Rules, belongs, trusts
from p2pcpn.protocol.authority import Authority, Tenure
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.breakers import Breakers
from p2pcpn.protocol.custody import Custody
from p2pcpn.protocol.dependencies import Known
from p2pcpn.protocol.directory import Listed
from p2pcpn.protocol.effects import Effect, Gather, Send
from p2pcpn.protocol.granted import Granted
from p2pcpn.protocol.grantor import UNKNOWN, UNWANTED, Grantor
from p2pcpn.protocol.heads import Length
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.lots import Lots
from p2pcpn.protocol.opened_pages import blobs_named
from p2pcpn.protocol.spans import Span
from p2pcpn.protocol.witness import Note
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import ClaimReply, ClaimRequest
from p2pcpn.wire.messages import LeftState, Results, Take
from p2pcpn.wire.sealing import JobKeys, unwrap
from p2pcpn.wire.statements import Claim, Receipt, Segment, Signed, opened, read


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of a job that is resumed: segments with all their pages, what logs settle, the owner's close.

    ``result(index)`` is what counts of a task that they settle: those that are open may take it, and no log of it need
    lie here.
    """

    segments: list[tuple[Signed, list[bytes]]]
    settled: list[Span]
    close: Signed | None = None
    total: int | None = None
    age_s: float = 0.0
    result: Callable[[int], Known | None] | None = None


class Jobs:
    """Grantors by job. ``near(job, now)`` lists storage peers for a job, ``rank`` orders claims, ``age_s(job)`` is how
    old a job is that this node keeps."""

    def __init__(
        self,
        *,
        me: Keypair,
        contact: Callable[[], Contact],
        rules: Rules,
        storing: bool,
        request: Callable[[], int],
        rank: Callable[[Contact, float], tuple[float, bytes]],
        near: Callable[[bytes, float], list[Listed]],
        rng: random.Random,
        now: float,
        age_s: Callable[[bytes], float] = lambda job: 0.0,
        note: Note | None = None,
    ) -> None:
        self._me = me
        self._note = note
        self._contact = contact
        self._rules = rules
        self._storing = storing
        self._request = request
        self._rank = rank
        self._near = near
        self._rng = rng
        self._now = now
        self._age_s = age_s
        self.breakers = Breakers()
        self.granted = Granted()
        self.grantors = self.granted.whole
        self.former: list[Grantor] = []  # of older epochs: their logs are still being brought to the holders

    def open(
        self, authority: Authority, job_key: bytes, now: float, granting: bool, peers_max: int = 0
    ) -> list[Effect]:
        """Begin a job and introduce it to its stewards. See :class:`Grantor` for ``peers_max``."""
        # Whoever submits a distributed job only hears of it, and of all its lots.
        lots = None if authority.is_distributed else authority.lots
        grantor = self._grantor(authority, job_key, 0, now, granting, lots=lots, peers_max=peers_max)
        return grantor.custody.open()

    def adopt(
        self,
        kept: Kept,
        segments: list[tuple[Signed, list[bytes]]],
        settled: list[Span],
        now: float,
        inherited: list[Results] | None = None,
        states: Sequence[LeftState] = (),
    ) -> list[Effect]:
        """Grant a job from now on that this node has kept as a steward, or those of its lots that are this node's.

        ``inherited`` are results that workers brought here because their grantor was gone, ``states`` what tasks left
        that ran. Raises :class:`PeerError` before anything begins.
        """
        authority = kept.authority
        effects: list[Effect] = []
        fresh: list[Tenure] = []
        for tenure in authority.held_by(self._me.public):  # none, where others began newer epochs while this was read
            grantor = self.granted.at(authority.job, tenure.lot, authority.lots)
            if grantor is not None and grantor.epoch == tenure.epoch:
                effects += self._catch_up(grantor, segments, now)
            elif tenure.epoch not in kept.spent:
                fresh.append(tenure)
        if not fresh:
            return effects
        for segment, _ in segments:  # kept on the word of the one after it, perhaps; others will look at each
            opened(segment, Segment)
        mine = next((s for s in authority.spec.stewards if s.key == self._me.public), None)
        if mine is None:
            raise PeerError("this node keeps the job and is none of its stewards")
        job_key = unwrap(self._me, authority.owner, authority.spec.nonce, mine.wrapped)
        keys = JobKeys(job_key)
        named = [blobs_named(keys, segment, sealed) for segment, sealed in segments]
        whole = [(segment, sealed, blobs) for (segment, sealed), blobs in zip(segments, named, strict=True)]
        for tenure in fresh:
            effects += self._adopt(kept, tenure, job_key, whole, settled, inherited or [], states, now)
        return effects

    def _adopt(
        self,
        kept: Kept,
        tenure: Tenure,
        job_key: bytes,
        segments: list[tuple[Signed, list[bytes], list[list[bytes]]]],
        settled: list[Span],
        inherited: list[Results],
        states: Sequence[LeftState],
        now: float,
    ) -> list[Effect]:
        """Grant one lot, or all there is."""
        authority, epoch = kept.authority, tenure.epoch
        effects = self.retire(authority.job, now, tenure.lot, authority.lots)
        grantor = self._grantor(authority, job_key, epoch, now, True, lots=authority.lots)
        for (node, each), log in kept.logs.items():  # of before a restart
            if node == self._me.id:
                # Who else has it nobody knows any more; those who keep the job bring each other what one lacks.
                grantor.custody.logs.setdefault(each, Length(log.kept[0], log.kept[0]))
        grantor.division = authority.division
        for segment, sealed, blobs in segments:
            grantor.restore(segment, sealed, blobs)
        grantor.ledger.settled_already(settled)
        handover = authority.handover
        by_owner = handover is not None and handover.epoch == epoch
        word = Take(0, authority.signed_handover) if by_owner and authority.signed_handover else grantor.mandate()
        # Whose the first epoch of a lot is nobody need be told; and some may not have been introduced to the job yet.
        effects += grantor.custody.adopt(None if authority.is_first(epoch) else word)
        if kept.close is not None and kept.total is not None:
            grantor.total = kept.total
        if kept.pause is not None:
            grantor.restore_pause(kept.pause)
        sitting = kept.sittings[tenure.lot]
        before, sitting.grantor = sitting.grantor, None  # it is this node
        if before is not None and before.id != self._me.id:
            effects += grantor.depose(before)
        grantor.book.reconcile()
        for message in inherited:
            try:
                if authority.lots.of_epoch(read(message.receipt, Receipt).epoch) != tenure.lot:
                    continue
                effects += grantor.inherit(None, message, now)
            except PeerError:
                continue  # whoever brought it lied; its tasks are run again
        grantor.safekeeping.regain(states)
        return effects + self._gathering(grantor) + grantor.begin(now)

    def _gathering(self, grantor: Grantor) -> list[Effect]:
        """The project's code and what open tasks name went to the first stewards alone: the others are asked in turn.

        What comes too late for a first lease is said to be missing, and leased again.
        """
        spec = grantor.spec
        names = ([] if spec.code is None else [spec.code.digest]) + grantor.book.stock.named()
        effects: tuple[Effect, ...] = ()
        for steward in reversed(spec.stewards):
            if names and steward.contact.id != self._me.id:
                effects = (Gather(steward.contact, tuple(names), grantor.job, spec.retention_s, (), effects),)
        return list(effects)

    def _catch_up(self, grantor: Grantor, segments: list[tuple[Signed, list[bytes]]], now: float) -> list[Effect]:
        """Segments that were kept while the job was being taken over."""
        effects: list[Effect] = []
        for segment, sealed in segments:
            if read(segment, Segment).first == grantor.ledger.total:
                effects += grantor.follow(segment, sealed, now)
        return effects

    def resume(self, authority: Authority, job_key: bytes, held: Held, now: float) -> list[Effect]:
        """Grant a job of this node's owner by the owner's handover to this node, the newest word on it.

        The stewards are introduced to it again and shown what is left of it: this node may know more than they do.
        """
        job = authority.job
        assert authority.signed_handover is not None and authority.grantor == self._me.public
        before = self.grantors.get(job)
        effects = self.retire(job, now)
        segments, book, age_s, peers_max = held.segments, None, held.age_s, 0
        if before is not None:
            before.term.passes(now)  # whoever has nothing left to grant was not woken for long
            segments, book, age_s = before.book.stock.whole(), before.book, before.term.age_s
            peers_max = before.dividing.peers_max
        grantor = self._grantor(authority, job_key, authority.epoch, now, True, book, age_s, authority.lots, peers_max)
        effects += grantor.custody.open()
        effects += grantor.custody.show(Take(0, authority.signed_handover))
        for segment, sealed in segments:
            if before is None:
                grantor.restore(segment, sealed, blobs_named(grantor.keys, segment, sealed))
            effects += grantor.custody.extend(segment, sealed)
        grantor.ledger.settled_already(held.settled)
        grantor.total = held.total if before is None else before.total
        grantor.closing = held.close if before is None else before.closing
        if before is not None and before.pause is not None:
            grantor.restore_pause(before.pause)
        if grantor.closing is not None:
            effects += grantor.custody.finish(grantor.closing)
        if held.result is not None and (grantor.book.dependencies.used or grantor.total is None):
            grantor.book.count(held.result)
        return effects + grantor.begin(now)

    def retire(self, job: bytes, now: float, lot: int = 0, lots: Lots | None = None) -> list[Effect]:
        """Whoever grants the job (or that lot) here in an older epoch goes on bringing its log to the holders, and
        nothing else."""
        before = self.granted.drop(job, lot, lots or Lots(job))
        if before is None:
            return []
        effects = before.step_down(now)
        self.former.append(before)
        if len(self.former) > limits.FORMER_GRANTORS_MAX:
            del self.former[0]
        return effects

    def _grantor(
        self,
        authority: Authority,
        job_key: bytes,
        epoch: int,
        now: float,
        granting: bool,
        book: Book | None = None,
        age_s: float | None = None,
        lots: Lots | None = None,
        peers_max: int = 0,
    ) -> Grantor:
        self._now = now
        job, spec = authority.job, authority.signed_spec
        custody = Custody(
            job=job, spec=spec, me=self._me.id, epoch=epoch, storing=self._storing,
            candidates=lambda: [listed.advert.contact for listed in self._near(job, self._now)],
            request=self._request, logs=self._logs(job),
        )  # fmt: skip
        grantor = Grantor(
            job=job, spec=spec, keys=JobKeys(job_key), epoch=epoch, me=self._me, contact=self._contact(),
            trusted=lambda key, proof: trusts(self._rules, key, proof) or key == self._me.public,
            grants=authority.grants, rank=self._rank, custody=custody, breakers=self.breakers, rng=self._rng, now=now,
            granting=granting, book=book,
            age_s=(self._age_s(job) if epoch else 0.0) if age_s is None else age_s, note=self._note, lots=lots,
            peers_max=peers_max,
        )  # fmt: skip
        self.granted.add(grantor)
        return grantor

    def _logs(self, job: bytes) -> dict[int, Length]:
        """What this node writes, or wrote, of a job, by epoch: its grantors of other lots and epochs share it."""
        others = [*self.granted.of(job), *(grantor for grantor in self.former if grantor.job == job)]
        return others[0].custody.logs if others else {}

    def claimed(self, sender: Contact, message: ClaimRequest, now: float) -> list[Effect]:
        """A claim, and our verdict. Raises :class:`PeerError` for one that another peer signed."""
        claim = read(message.claim, Claim)
        if claim.contact.id != sender.id or sender.id != node_id(message.claim.key):
            raise PeerError("a claim comes from another peer than the one that signed it")
        grantor = self.granted.in_epoch(claim.job, claim.epoch)
        if grantor is None:
            return [Send(sender, ClaimReply(message.nonce, UNKNOWN))]
        if not self._admits(message.claim.key):
            return [Send(sender, ClaimReply(message.nonce, UNWANTED))]
        opened(message.claim, Claim)  # last, because it costs a hundred times the rest
        # The address the pair proved, not the one the claim states.
        claim = msgspec.structs.replace(claim, contact=sender)
        verdict, effects = grantor.claimed(claim, message.claim.key, now)
        return [Send(sender, ClaimReply(message.nonce, verdict)), *effects]

    def _admits(self, key: bytes) -> bool:
        """Whether that node may be leased tasks. In a keyed swarm all are members; in an open one a stranger would see
        the tasks, and its results would be refused."""
        return belongs(self._rules, key) or key == self._me.public

    def each(self, act: Callable[[Grantor], list[Effect]]) -> list[Effect]:
        """What every grantor makes of something, those of older epochs included."""
        return [effect for grantor in [*self.granted.all(), *self.former] for effect in act(grantor)]

    def peer_dead(self, node: NodeId, now: float) -> list[Effect]:
        """A peer is dead or has left."""
        return self.each(lambda grantor: grantor.peer_dead(node, now))

    @property
    def leases_out(self) -> bool:
        """Whether any peer runs something for us now."""
        return any(grantor.leases for grantor in self.granted.all())

    def deadline(self) -> float | None:
        """The earliest of all jobs."""
        if not len(self.granted) and not self.former:
            return None
        times = [grantor.deadline() for grantor in [*self.granted.all(), *self.former]]
        return min((time for time in times if time is not None), default=None)

    def expire(self, now: float) -> list[Effect]:
        """Do what is due."""
        self._now = now
        effects = self.each(lambda grantor: grantor.expire(now) if _has_to_look(grantor, now) else [])
        if self.former:
            self.former = [grantor for grantor in self.former if not (grantor.log.empty and grantor.custody.at_rest)]
        return effects


def _has_to_look(grantor: Grantor, now: float) -> bool:
    """Whether a grantor looks around now that something is due here: one that has nothing left to grant does what it is
    due for itself and no more, for a program may have ended many jobs before the one that it waits for."""
    if not grantor.finished:
        return True
    due_s = grantor.deadline()
    return due_s is not None and due_s <= now
