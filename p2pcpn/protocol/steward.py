"""A steward's side: keep spec, segments, settlement logs and the owner's statements of jobs; show them to whoever asks.

Everything kept is signed by its author, so a steward can withhold but not forge; everything acknowledged is on disk
first, also when it is said again. A storage peer that is no steward of a job keeps segments of its log for the grantor
that signed them.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable

import msgspec

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId, node_id
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.effects import Commit, Effect, Gather, OnDisk, Provide, Saved, Tell, Write
from p2pcpn.protocol.foreign import ForeignLogs
from p2pcpn.protocol.guests import Guests
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.leased_pages import check_segment_head
from p2pcpn.protocol.legacies import Legacy, legacy
from p2pcpn.protocol.orphans import name_of, orphan_bytes, require_leased
from p2pcpn.protocol.passing import Parcel
from p2pcpn.protocol.quota import Quota
from p2pcpn.protocol.settlement import check_body
from p2pcpn.protocol.work import TOKEN_BITS, run_number
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import (
    Answer,
    AnswerCode,
    Append,
    Ask,
    Entrust,
    Extend,
    Finish,
    Introduce,
    Jobs,
    JobState,
    ListJobs,
    Mandate,
    Orphan,
    Results,
    Settled,
    States,
    Take,
)  # fmt: skip
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import (
    LogHeader,
    Receipt,
    Segment,
    Signed,
    opened,
    owners_word,
)  # fmt: skip

# The tables that hold something of a job that is kept here.
KEPT_IN = ("jobs", "segments", "logs", "orphans", "states")


class Steward:
    """See the module.

    ``wall()`` is the wall clock, for expiry alone; ``granting(job)`` gives the counts of a live grantor;
    ``trusted(key, proof)`` is the rule for owners, ``group(contact)`` the network group of a peer, ``belongs(key)``
    whether a node that we have a session with is no stranger.
    """

    def __init__(
        self,
        me: Keypair,
        storing: bool,
        wall: Callable[[], float],
        granting: Callable[[bytes], tuple[int, int, int] | None],
        trusted: Callable[[bytes, bytes], bool] = lambda key, proof: True,
        group: Callable[[Contact], Hashable] = lambda contact: contact.host,
        belongs: Callable[[bytes], bool] = lambda key: True,
    ) -> None:
        self.me = me
        self.storing = storing
        self.wall = wall
        self.granting = granting
        self.trusted = trusted
        self.group = group
        self.guests = Guests()
        self.jobs: OrderedDict[bytes, Kept] = OrderedDict()
        self.belongs = belongs
        self.quota = Quota(limits.STEWARD_BYTES_MAX, limits.STEWARD_BYTES_PER_OWNER_MAX)
        self.foreign = ForeignLogs(self.quota, self.guests)
        self._by_owner: Counter[bytes] = Counter()

    def restore(self, kept: Kept) -> None:
        """A job read from disk at start. Who brought it is forgotten: guests share by owner then."""
        if not self._is_trusted(kept.authority):
            kept.guest = kept.authority.owner
        self._keep(kept)

    def restore_foreign(self, job: bytes, grantor: bytes, expires_s: float, disk_bytes: int) -> None:
        """So much lies on disk of the log of an unknown job; ``grantor`` is the key that signed it."""
        guest = None if self.belongs(grantor) else grantor
        self.foreign.take(job, node_id(grantor), disk_bytes, expires_s, guest)

    def _keep(self, kept: Kept) -> None:
        self.jobs[kept.authority.job] = kept
        self._by_owner[kept.authority.owner] += 1
        self.quota.take(kept.authority.owner, kept.disk_bytes)
        if kept.guest is not None:
            self.guests.add(kept.guest, kept.authority.job)
            self.guests.quota.take(kept.guest, kept.disk_bytes)

    def _is_trusted(self, authority: Authority) -> bool:
        return self.trusted(authority.owner, authority.spec.swarm_proof)

    def age_s(self, job: bytes) -> float:
        """How old a job is that is kept here."""
        kept = self.jobs[job]
        retention_s = min(kept.authority.spec.retention_s, limits.RETENTION_S_MAX)
        return max(0.0, retention_s - (kept.expires_s - self.wall()))

    def _find(self, job: bytes) -> Kept | None:
        """The job, unless its retention is over."""
        kept = self.jobs.get(job)
        if kept is not None and kept.expires_s < self.wall():
            self.forget(job)
            return None
        return kept

    def forget(self, job: bytes) -> None:
        """Keep a job no more."""
        kept = self.jobs.pop(job)
        owner = kept.authority.owner
        self._by_owner[owner] -= 1
        if not self._by_owner[owner]:
            del self._by_owner[owner]
        self.quota.give_back(owner, kept.disk_bytes)
        if kept.guest is not None:
            self.guests.remove(kept.guest, job)
            self.guests.quota.give_back(kept.guest, kept.disk_bytes)

    def drop(self, job: bytes) -> Effect:
        """Keep a job no more, on disk neither; what this peer ran of it and nobody acknowledged stays."""
        self.forget(job)
        return Commit(tuple(Write(table, (job,), None) for table in KEPT_IN))

    def _sweep(self) -> None:
        """Forget all that has expired; the store deletes it from the disk by itself."""
        now = self.wall()
        for job in [job for job, kept in self.jobs.items() if kept.expires_s < now]:
            self.forget(job)
        self.foreign.sweep(now)

    def _fits(self, owner: bytes, size_bytes: int, guest: bytes | None = None) -> bool:
        if not self.quota.fits(owner, size_bytes) or not self.guests.fits(guest, size_bytes):
            self._sweep()
        return self.quota.fits(owner, size_bytes) and self.guests.fits(guest, size_bytes)

    def _spend(self, kept: Kept, size_bytes: int) -> None:
        kept.disk_bytes += size_bytes
        self.quota.take(kept.authority.owner, size_bytes)
        if kept.guest is not None:
            self.guests.quota.take(kept.guest, size_bytes)

    # --- the owner's words -----------------------------------------------------------------------------------------

    def introduced(self, sender: Contact, message: Introduce) -> list[Effect]:
        """Keep a job. Answered when it is on disk."""
        authority = Authority(message.spec)
        kept = self._find(authority.job)
        effects: list[Effect] = []
        if kept is None:
            guest = self._guest(authority, sender)
            # What is left of it, for a steward that comes late: the end of the retention tells how old a job is.
            left_s = min(authority.spec.retention_s, limits.RETENTION_S_MAX) - message.age_s
            why = self._why_not(authority, guest, left_s)
            if why is not None:
                return [_answer(sender, message.request, *why)]
            effects = self._make_room(guest)
            kept = Kept(authority, self.wall() + left_s, disk_bytes=len(message.spec.body) + _ROW, guest=guest)
            self._keep(kept)
        kept.heard(sender)
        return [*effects, self._commit_job(kept, sender, message.request)]

    def entrusted(self, sender: Contact, message: Entrust) -> list[Effect]:
        """Keep a job whose keeper leaves, though its owner named others; readers find it here under the job's id.

        It counts as its owner's, like any job that is kept for him.
        """
        authority = Authority(message.spec)
        known = self._find(authority.job)
        guest = self._guest(authority, sender)
        left_s = min(authority.spec.retention_s, limits.RETENTION_S_MAX) - message.age_s
        why = None if known is not None else self._why_not(authority, guest, left_s, named=False)
        if why is not None:
            return [_answer(sender, message.request, *why)]
        kept = known or Kept(authority, self.wall() + left_s, disk_bytes=len(message.spec.body) + _ROW, guest=guest)
        orders = [statement for statement in message.words if kept.stated(statement)]
        commit = self._commit_job(kept, sender, message.request)
        if known is not None:
            return [commit, *(tell for order in orders for tell in self._pass_on(kept, sender, order))]
        room = self._make_room(guest)
        self._keep(kept)
        self.foreign.drop(authority.job)  # it comes again, and counts as its owner's then
        return [*room, commit, Provide(authority.job, left_s)]

    def legacies(self) -> list[Legacy]:
        """The jobs of which something is kept here that has to go to others when this peer leaves."""
        self._sweep()
        found = {job: legacy(kept) for job, kept in self.jobs.items()}
        for job in self.foreign.jobs():
            found.setdefault(job, Legacy(Parcel(job, None, 0, 0, ()), 1))
        return list(found.values())

    def _guest(self, authority: Authority, sender: Contact) -> bytes | None:
        """As whose guest a job comes, where its owner is not trusted."""
        return None if self._is_trusted(authority) else self._group(sender)

    def _group(self, sender: Contact) -> bytes:
        return repr(self.group(sender)).encode()

    def _why_not(
        self, authority: Authority, guest: bytes | None, left_s: float, *, named: bool = True
    ) -> tuple[int, str] | None:
        if not self.storing:
            return AnswerCode.REFUSED, "keeps nothing for others"
        if left_s <= 0:
            return AnswerCode.REFUSED, "its retention is over"
        if named and not any(steward.key == self.me.public for steward in authority.spec.stewards):
            return AnswerCode.REFUSED, "is no steward of that job"
        if not self._has_room(authority.owner, guest):
            self._sweep()
        leaves = None if self._has_room(authority.owner, guest) else self._leaves(guest)
        if self._by_owner[authority.owner] >= limits.JOBS_PER_OWNER_MAX or not (
            leaves is not None or self._has_room(authority.owner, guest)
        ):
            return AnswerCode.FULL, "keeps as many jobs as it can"
        if not self._fits(authority.owner, len(authority.signed_spec.body) + _ROW, guest):
            return AnswerCode.FULL, _NO_DISK
        return None

    def _has_room(self, owner: bytes, guest: bytes | None) -> bool:
        if len(self.jobs) >= limits.JOBS_PER_PEER_MAX or self._by_owner[owner] >= limits.JOBS_PER_OWNER_MAX:
            return False
        return guest is None or self.guests.count < limits.JOBS_PER_PEER_MAX // limits.GUESTS_PART

    def _leaves(self, guest: bytes | None) -> bytes | None:
        """Which guest's job can go: what is granted here is not dropped under its grantor, if any other can. But a
        distributed one is granted from the first moment on, here and elsewhere, and else no such job ever went."""
        found = self.guests.leaves(guest, lambda job: self.granting(job) is None)
        if found is not None:
            return found
        return self.guests.leaves(guest, lambda job: self.jobs[job].authority.is_distributed)

    def _make_room(self, guest: bytes | None) -> list[Effect]:
        """Let a guest's job go, where the table is full."""
        if self._has_room(b"", guest):
            return []
        job = self._leaves(guest)
        if job is None:
            return []
        return [self.drop(job)]

    def _commit_job(self, kept: Kept, sender: Contact, request: int) -> Effect:
        """Answer once it is on disk, which it may be already: it is said again where the answer was lost."""
        row = self.row(kept)
        name = digest(msgspec.msgpack.encode(row.value))
        done, failed = _done(sender, request), _answer(sender, request, AnswerCode.FAILED, _REFUSED)
        return done if name == kept.saved else Commit((row,), (Saved(kept.authority.job, name), done), (failed,))

    def saved(self, news: Saved) -> None:
        """The owner's words on a job are on disk, as they were then."""
        kept = self.jobs.get(news.job)
        if kept is not None:
            kept.saved = news.row

    @staticmethod
    def row(kept: Kept) -> Write:
        """The owner's words and what is known of who grants, as they are kept on disk."""
        authority = kept.authority
        row = (
            authority.owner, pages.SIGNED.encode(authority.signed_spec), kept.expires_s,
            _bytes(kept.close), _bytes(kept.order),
            pages.GRANTS.encode(pages.Grants(authority.handovers, None, kept.mandates)),
        )  # fmt: skip
        return Write("jobs", (authority.job,), row)

    def extended(self, sender: Contact, message: Extend) -> list[Effect]:
        """Keep a segment with all its pages: the next in the chain, or one that is held already.

        Without a request it was asked for here (``gaps``): its blobs have to be, too, and nobody waits for an answer.
        """
        said = opened(message.segment, Segment)
        kept = self._find(said.job)
        if kept is None:
            return [_answer(sender, message.request, AnswerCode.UNKNOWN, "keeps no such job")]
        kept.authority.require_owner(message.segment)
        check_segment_head(message.segment.body, said)
        known = kept.segments[said.number] if said.number < len(kept.segments) else None
        if known is None and (said.number, said.previous, said.first) != (len(kept.segments), kept.last, kept.tasks):
            return [_answer(sender, message.request, AnswerCode.REFUSED, "lacks the segment before that one")]
        if known is not None and known != digest(message.segment.body):
            raise PeerError("an owner says two things in one place of a job")
        if [digest(sealed) for sealed in message.pages] != [name for _, name in said.pages]:
            raise PeerError("a segment came without its pages, or with others")
        if known is None:
            size_bytes = sum(len(sealed) for sealed in message.pages)
            if not self._fits(kept.authority.owner, len(message.segment.body) + size_bytes + _ROW, kept.guest):
                return [_answer(sender, message.request, AnswerCode.FULL, _NO_DISK)]
            before = kept.disk_bytes
            kept.add_segment(message.segment, said.count, size_bytes)
            added = kept.disk_bytes - before
            kept.disk_bytes = before
            self._spend(kept, added)
        row = (said.first, said.count, pages.SIGNED.encode(message.segment), pages.PAGES.encode(message.pages))
        commit = _commit(sender, message.request, Write("segments", (said.job, said.number), row))
        spec = kept.authority.spec
        blobs = [*said.blobs, *([] if spec.code is None or said.number else [spec.code.digest])]
        named = any(steward.key == self.me.public for steward in spec.stewards)
        if not blobs or (named and message.request):
            return [commit]  # the owner sends his blobs by himself to as many of those he named as he wants replicas
        left_s = kept.expires_s - self.wall()
        return [Gather(sender, tuple(blobs), said.job, left_s, (commit,), (commit,))]

    def finished(self, sender: Contact, message: Finish) -> list[Effect]:
        """Keep the owner's close, cancel or pause; the latter two are passed on to the grantor, wherever it is."""
        statement = message.statement
        said = opened(statement, owners_word(statement))
        kept = self._find(said.job)
        if kept is None:
            return [_answer(sender, message.request, AnswerCode.UNKNOWN, "keeps no such job")]
        news = kept.stated(statement)
        passed_on = self._pass_on(kept, sender, statement) if news else []
        return [self._commit_job(kept, sender, message.request), *passed_on]

    def _pass_on(self, kept: Kept, sender: Contact, order: Signed) -> list[Effect]:
        """To whoever grants, wherever it is."""
        grantors = dict.fromkeys(kept.sittings[tenure.lot].grantor for tenure in kept.authority.granted)
        return [Tell(to, Finish(0, order)) for to in grantors if to and to.id not in (sender.id, self.me.id)]

    def taken(self, sender: Contact, message: Take, job: bytes) -> tuple[bool, list[Effect]]:
        """Keep a handover; first of the pair: whether it makes this peer the grantor."""
        kept = self._find(job)
        if kept is None:
            return False, [_answer(sender, message.request, AnswerCode.UNKNOWN, "keeps no such job")]
        kept.stated(message.handover)
        mine = kept.authority.grantor == self.me.public
        return mine, [self._commit_job(kept, sender, message.request)]

    def mandated(self, sender: Contact, key: bytes, message: Mandate) -> list[Effect]:
        """A peer says that it grants a job. Raises :class:`PeerError` where that epoch is not its own."""
        kept = self._find(message.job)
        if kept is None:
            return [] if not message.request else [_answer(sender, message.request, AnswerCode.UNKNOWN, "keeps it not")]
        if message.handover is not None:
            kept.authority.hand_over(message.handover)
        kept.authority.require_near(message.epoch)
        news = kept.authority.take_over(key, message.epoch)
        if not kept.authority.presides(key, message.epoch):
            return self.correct(kept, sender, message.epoch, message.request)
        sitting = kept.sittings[kept.authority.tenure(message.epoch).lot]
        known = sitting.mandate
        news = news or known is None or known.epoch != message.epoch or (known.open > 0) != (message.open > 0)
        sitting.mandate, sitting.grantor = message, sender
        if message.request or news:
            return [self._commit_job(kept, sender, message.request) if message.request else Commit((self.row(kept),))]
        return []

    def correct(self, kept: Kept, sender: Contact, epoch: int, request: int = 0) -> list[Effect]:
        """Who believes that it grants in ``epoch``, an older one, is told of the newest."""
        effects: list[Effect] = [_done(sender, request)] if request else []
        authority, newest = kept.authority, kept.authority.tenure(epoch)
        known, grantor = kept.sittings[newest.lot].mandate, kept.sittings[newest.lot].grantor
        if grantor is None or grantor.id == sender.id:
            return effects
        handover = authority.handover
        by_owner = authority.signed_handover if handover is not None and handover.epoch == newest.epoch else None
        tasks, left = (0, 0) if known is None else (known.tasks, known.open)
        told = Mandate(0, authority.job, newest.epoch, grantor, by_owner, 0, tasks, left)
        return [*effects, Tell(sender, told)]

    # --- settlement logs ---------------------------------------------------------------------------------------------

    def appended(self, sender: Contact, message: Append) -> list[Effect]:
        """Keep a log segment: from an authorised grantor where the job is known, else from the peer that signed it."""
        said = opened(message.header, LogHeader)
        if node_id(message.header.key) != said.grantor:
            raise PeerError("a log segment's grantor is not whom its header names")
        if not self.storing:
            return [_answer(sender, message.request, AnswerCode.REFUSED, "keeps nothing for others")]
        check_body(said, message.body)
        size_bytes = len(message.header.body) + len(message.body) + _ROW
        row = (pages.SIGNED.encode(message.header), message.body)
        write = Write("logs", (said.job, said.grantor, said.epoch, said.number), row)
        kept = self._find(said.job)
        if kept is None:
            return self._append_foreign(sender, message.header.key, message.request, said, write, size_bytes)
        if not kept.authority.grants(message.header.key, said.epoch):
            raise PeerError("a log segment is signed by a peer that was never made a grantor of the job")
        kept.authority.require_own(said.epoch, said.spans)
        if kept.authority.far(said.epoch) or kept.has_many_logs_of(NodeId(said.grantor), said.epoch):
            return [_answer(sender, message.request, AnswerCode.REFUSED, "keeps no more logs of that grantor")]
        if sender.id == said.grantor and kept.authority.presides(message.header.key, said.epoch):
            kept.sittings[kept.authority.tenure(said.epoch).lot].grantor = sender
        log, name = kept.log(said.grantor, said.epoch), digest(message.header.body)
        if log.has(said.number, name):
            if log.forgotten(said.number):
                return [_done(sender, message.request)]
            return _with_blobs(sender, message.request, said, kept.expires_s - self.wall(), write)
        if log.far(said.number):
            return [_answer(sender, message.request, AnswerCode.REFUSED, "lacks the log segments before that one")]
        if not self._fits(kept.authority.owner, size_bytes, kept.guest):
            return [_answer(sender, message.request, AnswerCode.FULL, _NO_DISK)]
        log.write(said, name)
        self._spend(kept, size_bytes)
        ended = self._changed(kept, lambda: kept.states.ended(said.spans))
        return _with_blobs(sender, message.request, said, kept.expires_s - self.wall(), write, *ended)

    def on_disk(self, said: LogHeader) -> None:
        """A log segment that was taken is on disk."""
        kept = self.jobs.get(said.job)
        log = None if kept is None else kept.logs.get((NodeId(said.grantor), said.epoch))
        if log is not None:
            log.written(said.number)

    def _append_foreign(
        self, sender: Contact, key: bytes, request: int, said: LogHeader, write: Write, size_bytes: int
    ) -> list[Effect]:
        """Keep a segment of a log for its grantor, whose disk it counts as; as long as any job is kept by default."""
        grantor = NodeId(said.grantor)
        if sender.id != grantor:
            raise PeerError("a log segment of an unknown job comes from another peer than its grantor")
        guest = None if self.belongs(key) else self._group(sender)
        if not self.foreign.fits(said.job, grantor, size_bytes, guest):
            self._sweep()
        if not self.foreign.fits(said.job, grantor, size_bytes, guest):
            return [_answer(sender, request, AnswerCode.FULL, _NO_DISK)]
        writes, until = [write], self.wall() + limits.RETENTION_S
        if self.foreign.take(said.job, grantor, size_bytes, until, guest):
            # Without a row of its job nothing would ever delete a log; this one has no spec.
            writes.insert(0, Write("jobs", (said.job,), (None, None, until, None, None, None)))
        return _with_blobs(sender, request, said, limits.RETENTION_S, *writes)

    def orphan(self, sender: Contact, message: Results) -> list[Effect]:
        """Results that a worker cannot bring to their grantor: kept for whoever grants next."""
        said = opened(message.receipt, Receipt)
        kept = self._find(said.job)
        if kept is None or node_id(message.receipt.key) != sender.id:
            return []
        write = self._orphan(kept, said, message)
        kept_here = Settled(said.job, [(run_number(said.epoch, said.token), said.part)])
        return [] if write is None else [Commit((write,), (Tell(sender, kept_here),))]

    def orphan_passed_on(self, sender: Contact, message: Orphan) -> list[Effect]:
        """A result that a steward has for whoever grants next, and leaves. It is its worker's all the same."""
        said = opened(message.receipt, Receipt)
        kept = self._find(said.job)
        if kept is None or not any(steward.contact.id == sender.id for steward in kept.authority.spec.stewards):
            return [_answer(sender, message.request, AnswerCode.REFUSED, "keeps results for stewards alone")]
        write = self._orphan(kept, said, message)
        if write is None:
            return [_answer(sender, message.request, AnswerCode.FULL, _NO_DISK)]
        return [_commit(sender, message.request, write)]

    def _orphan(self, kept: Kept, said: Receipt, message: Results | Orphan) -> Write | None:
        """Its row; none where there is no room, or no lease that says that it was given. Raises :class:`PeerError` for
        a page that is not the receipt's, and for another's lease."""
        receipt, page, lease = message.receipt, message.page, message.lease
        if digest(page) != said.page or said.token >> TOKEN_BITS:
            raise PeerError("a page of results is not the one its receipt names, or its token is none")
        if lease is None:
            return None
        require_leased(lease, receipt.key, said)
        name = name_of(node_id(receipt.key), said)
        if name not in kept.orphans:
            size_bytes = orphan_bytes(message)
            full = said.epoch > kept.authority.tenure(said.epoch).epoch or not kept.orphans.room(name, size_bytes)
            if full or not self._fits(kept.authority.owner, size_bytes, kept.guest):
                return None
            kept.orphans.add(name, size_bytes)
            self._spend(kept, size_bytes)
        row = (said.epoch, said.grantor, pages.SIGNED.encode(receipt), page, pages.SIGNED.encode(lease))
        return Write("orphans", (said.job, *name), row)

    def left(self, key: bytes, message: States) -> list[Effect]:
        """States of running tasks: kept where whoever grants in the newest epoch says so."""
        kept = self._find(message.job)
        if kept is None or not kept.authority.presides(key, message.epoch):
            return []
        held_bytes, owner = kept.states.held_bytes, kept.authority.owner
        writes = self._changed(
            kept, lambda: kept.states.take(message, lambda size: self._fits(owner, size - held_bytes, kept.guest))
        )
        return [Commit(tuple(writes))] if writes else []

    def _changed(self, kept: Kept, change: Callable[[], list[Write]]) -> list[Write]:
        """What follows for the disk from a change of its states, which count as their owner's."""
        before = kept.states.held_bytes
        writes = change()
        if kept.states.held_bytes != before:
            self._spend(kept, kept.states.held_bytes - before)
        return writes

    # --- questions ---------------------------------------------------------------------------------------------------

    def asked(self, sender: Contact, message: Ask) -> list[Effect]:
        """What is held of a job."""
        kept = self._find(message.job)
        if kept is None:
            return [_answer(sender, message.request, AnswerCode.UNKNOWN, "keeps no such job")]
        counts = self.granting(message.job)
        settled = max((log.kept[1] for log in kept.logs.values()), default=0)
        waiting, running, done = counts or (max(kept.tasks - settled, 0), 0, settled)
        logs = [(bytes(node), epoch, log.kept[0]) for (node, epoch), log in kept.logs.items()]
        state = JobState(
            message.request, kept.authority.signed_spec, kept.close, kept.cancel,
            len(kept.segments), kept.tasks, logs, waiting, running, done, counts is not None,
            kept.pause, kept.authority.handovers, None if kept.authority.is_split else kept.mandate,
            mandates=kept.mandates if kept.authority.is_split else [],
        )  # fmt: skip
        return [Tell(sender, state)]

    def listed(self, sender: Contact, message: ListJobs) -> list[Effect]:
        """The jobs of an owner that are kept here."""
        self._sweep()
        jobs = [job for job, kept in self.jobs.items() if kept.authority.owner == message.owner]
        return [Tell(sender, Jobs(message.request, jobs))]


_ROW = limits.STEWARD_ROW_BYTES
_REFUSED = "its disk refused"
_NO_DISK = "has no disk left for that owner"


def _bytes(statement: Signed | None) -> bytes | None:
    return None if statement is None else pages.SIGNED.encode(statement)


def _answer(to: Contact, request: int, code: int, text: str) -> Tell:
    return Tell(to, Answer(request, code, text))


def _done(to: Contact, request: int) -> Tell:
    return _answer(to, request, AnswerCode.DONE, "")


def _with_blobs(sender: Contact, request: int, said: LogHeader, retention_s: float, *writes: Write) -> list[Effect]:
    """The writes and their answer, once the blobs that the segment's results name are here."""
    commit = Commit(
        writes, (OnDisk(said), _done(sender, request)),
        (_answer(sender, request, AnswerCode.FAILED, _REFUSED),),
    )  # fmt: skip
    if not said.blobs:
        return [commit]
    missing = _answer(sender, request, AnswerCode.FAILED, "could not have a blob that the segment names")
    retention_s = min(retention_s, limits.RETENTION_S_MAX)
    return [Gather(sender, tuple(said.blobs), said.job, retention_s, (commit,), (missing,))]


def _commit(sender: Contact, request: int, *writes: Write) -> Effect:
    """The writes, and the answer that follows from them, where anybody waits for one."""
    if not request:
        return Commit(writes)
    return Commit(writes, (_done(sender, request),), (_answer(sender, request, AnswerCode.FAILED, _REFUSED),))
