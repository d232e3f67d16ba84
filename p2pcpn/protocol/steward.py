"""A steward's side: keep spec, segments, settlement logs and the owner's statements of jobs; show them to whoever asks.

Everything kept is signed by its author, so a steward can withhold but not forge; everything acknowledged is on disk first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId, node_id
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.effects import Commit, Effect, Tell, Write
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import (
    Answer, AnswerCode, Append, Ask, Extend, Finish, Introduce, Jobs, JobState, ListJobs, Results, Settled, Take,
)  # fmt: skip
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Cancel, Close, LogHeader, Receipt, Segment, Signed, opened, read


@dataclass(slots=True)
class Log:
    """How far a grantor's log is held here: segments come in order."""

    count: int = 0
    last: bytes = NOTHING
    settled: int = 0


@dataclass(slots=True)
class Kept:
    """One job kept here. Pages and log bodies are on disk only."""

    authority: Authority
    expires_s: float
    close: Signed | None = None
    cancel: Signed | None = None
    segments: list[Signed] = field(default_factory=list)
    tasks: int = 0
    last: bytes = NOTHING
    logs: dict[tuple[NodeId, int], Log] = field(default_factory=dict)
    # Log segments that came before their predecessor: their headers, by number.
    ahead: dict[tuple[NodeId, int, int], Signed] = field(default_factory=dict)

    @property
    def total(self) -> int | None:
        return None if self.close is None else read(self.close, Close).total


class Steward:
    """See the module. ``wall()`` is the wall clock, for expiry alone; ``granting(job)`` gives the counts of a live grantor."""

    def __init__(
        self,
        *,
        me: Keypair,
        storing: bool,
        wall: Callable[[], float],
        granting: Callable[[bytes], tuple[int, int, int] | None],
    ) -> None:
        self.me = me
        self.storing = storing
        self.wall = wall
        self.granting = granting
        self.jobs: OrderedDict[bytes, Kept] = OrderedDict()

    def restore(self, kept: Kept) -> None:
        """A job read from disk at start."""
        self.jobs[kept.authority.job] = kept

    # --- the owner's words -----------------------------------------------------------------------------------------

    def introduced(self, sender: Contact, message: Introduce) -> list[Effect]:
        """Keep a job. Answered when it is on disk."""
        authority = Authority(message.spec)
        known = self.jobs.get(authority.job)
        if known is not None:
            return [_done(sender, message.request)]
        if not self.storing:
            return [_answer(sender, message.request, AnswerCode.REFUSED, "keeps nothing for others")]
        if not any(steward.key == self.me.public for steward in authority.spec.stewards):
            return [_answer(sender, message.request, AnswerCode.REFUSED, "is no steward of that job")]
        if not self._room():
            return [_answer(sender, message.request, AnswerCode.FULL, "keeps as many jobs as it can")]
        kept = Kept(authority, self.wall() + min(authority.spec.retention_s, limits.RETENTION_S_MAX))
        self.jobs[authority.job] = kept
        return [self._commit_job(kept, sender, message.request)]

    def _room(self) -> bool:
        now = self.wall()
        for job in [job for job, kept in self.jobs.items() if kept.expires_s < now]:
            del self.jobs[job]
        return len(self.jobs) < limits.JOBS_PER_PEER_MAX

    def _commit_job(self, kept: Kept, sender: Contact, request: int) -> Effect:
        authority = kept.authority
        handover = authority.signed_handover
        row = (
            authority.owner, pages.SIGNED.encode(authority.signed_spec), kept.expires_s,
            _bytes(kept.close), _bytes(kept.cancel), _bytes(handover),
        )  # fmt: skip
        return self._commit(sender, request, Write("jobs", (authority.job,), row))

    @staticmethod
    def _commit(sender: Contact, request: int, *writes: Write) -> Effect:
        return Commit(
            writes,
            (_done(sender, request),),
            (_answer(sender, request, AnswerCode.FAILED, "its disk refused"),),
        )

    def extended(self, sender: Contact, message: Extend) -> list[Effect]:
        """Keep a segment with all its pages: the next in the chain, or one that is held already."""
        said = opened(message.segment, Segment)
        kept = self.jobs.get(said.job)
        if kept is None:
            return [_answer(sender, message.request, AnswerCode.UNKNOWN, "keeps no such job")]
        kept.authority.require_owner(message.segment)
        if said.number < len(kept.segments):
            return [_done(sender, message.request)]
        if said.number != len(kept.segments) or said.previous != kept.last or said.first != kept.tasks:
            return [_answer(sender, message.request, AnswerCode.REFUSED, "lacks the segment before that one")]
        if len(message.pages) != len(said.pages) or said.count > limits.SEGMENT_TASKS_MAX:
            raise PeerError("a segment came without its pages, or holds too many tasks")
        for (_, name), sealed in zip(said.pages, message.pages, strict=True):
            if digest(sealed) != name:
                raise PeerError("a page is not the one its segment signs for")
        kept.segments.append(message.segment)
        kept.tasks += said.count
        kept.last = digest(message.segment.body)
        row = (said.first, said.count, pages.SIGNED.encode(message.segment), pages.PAGES.encode(message.pages))
        return [self._commit(sender, message.request, Write("segments", (said.job, said.number), row))]

    def finished(self, sender: Contact, message: Finish) -> list[Effect]:
        """Keep the owner's close or cancel."""
        statement = message.statement
        said = opened(statement, Close if statement.kind == Close.kind else Cancel)
        kept = self.jobs.get(said.job)
        if kept is None:
            return [_answer(sender, message.request, AnswerCode.UNKNOWN, "keeps no such job")]
        kept.authority.require_owner(statement)
        if isinstance(said, Close):
            kept.close = statement
        else:
            kept.cancel = statement
        return [self._commit_job(kept, sender, message.request)]

    def taken(self, sender: Contact, message: Take, job: bytes) -> tuple[bool, list[Effect]]:
        """Keep a handover; first of the pair: whether it makes this peer the grantor."""
        kept = self.jobs.get(job)
        if kept is None:
            return False, [_answer(sender, message.request, AnswerCode.UNKNOWN, "keeps no such job")]
        kept.authority.hand_over(message.handover)
        handover = kept.authority.handover
        mine = handover is not None and handover.grantor == self.me.public
        return mine, [self._commit_job(kept, sender, message.request)]

    # --- settlement logs ---------------------------------------------------------------------------------------------

    def appended(self, sender: Contact, message: Append) -> list[Effect]:
        """Keep a log segment: from an authorised grantor where the job is known, else from the peer that signed it."""
        said = opened(message.header, LogHeader)
        if node_id(message.header.key) != said.grantor or digest(message.body) != said.body:
            raise PeerError("a log segment's body or grantor is not what its header names")
        if not self.storing:
            return [_answer(sender, message.request, AnswerCode.REFUSED, "keeps nothing for others")]
        kept = self.jobs.get(said.job)
        if kept is not None and not kept.authority.grants(message.header.key, said.epoch):
            raise PeerError("a log segment is signed by a peer that was never made a grantor of the job")
        if kept is None and sender.id != said.grantor:
            raise PeerError("a log segment of an unknown job comes from another peer than its grantor")
        if kept is not None:
            self._advance(kept, said, message.header)
        row = (pages.SIGNED.encode(message.header), message.body)
        return [
            self._commit(
                sender, message.request, Write("logs", (said.job, said.grantor, said.epoch, said.number), row)
            )
        ]

    @staticmethod
    def _advance(kept: Kept, said: LogHeader, header: Signed) -> None:
        node = NodeId(said.grantor)
        log = kept.logs.setdefault((node, said.epoch), Log())
        if len(kept.ahead) < limits.SESSIONS_MAX:
            kept.ahead[node, said.epoch, said.number] = header
        while (following := kept.ahead.pop((node, said.epoch, log.count), None)) is not None:
            heading = read(following, LogHeader)
            if heading.previous != log.last:
                break
            log.count, log.last, log.settled = log.count + 1, digest(following.body), heading.settled

    def orphan(self, sender: Contact, message: Results) -> list[Effect]:
        """Results that a worker cannot bring to their grantor: kept for whoever grants next."""
        said = opened(message.receipt, Receipt)
        kept = self.jobs.get(said.job)
        if kept is None or node_id(message.receipt.key) != sender.id or digest(message.page) != said.page:
            return []
        row = (said.epoch, said.grantor, pages.SIGNED.encode(message.receipt), message.page)
        write = Write("journal", (said.job, said.token, said.part), row)
        return [Commit((write,), (Tell(sender, Settled(said.job, [(said.token, said.part)])),))]

    # --- questions ---------------------------------------------------------------------------------------------------

    def asked(self, sender: Contact, message: Ask) -> list[Effect]:
        """What is held of a job."""
        kept = self.jobs.get(message.job)
        if kept is None:
            return [_answer(sender, message.request, AnswerCode.UNKNOWN, "keeps no such job")]
        counts = self.granting(message.job)
        settled = max((log.settled for log in kept.logs.values()), default=0)
        waiting, running, done = counts or (max(kept.tasks - settled, 0), 0, settled)
        state = JobState(
            message.request, kept.authority.signed_spec, kept.close, kept.cancel, kept.authority.signed_handover,
            len(kept.segments), kept.tasks, [(node, epoch, log.count) for (node, epoch), log in kept.logs.items()],
            waiting, running, done, counts is not None,
        )  # fmt: skip
        return [Tell(sender, state)]

    def listed(self, sender: Contact, message: ListJobs) -> list[Effect]:
        """The jobs of an owner that are kept here."""
        jobs = [job for job, kept in self.jobs.items() if kept.authority.owner == message.owner]
        return [Tell(sender, Jobs(message.request, jobs))]


def _bytes(statement: Signed | None) -> bytes | None:
    return None if statement is None else pages.SIGNED.encode(statement)


def _answer(to: Contact, request: int, code: int, text: str) -> Tell:
    return Tell(to, Answer(request, code, text))


def _done(to: Contact, request: int) -> Tell:
    return _answer(to, request, AnswerCode.DONE, "")
