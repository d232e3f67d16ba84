"""Custody of a job: what its stewards and storage peers hold, and how many of them have it on disk.

Stewards (named in the spec) are sent the spec, every segment and every statement of the owner. Holders (the stewards, and
storage peers near the job's id where those are too few) are sent the settlement log. Whatever is sent carries a request
number; the :class:`Answer` to it means *durable on disk*. Nothing is called done before enough of them came.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import events
from p2pcpn.protocol.effects import Commit, Effect, Notify, Probe, Publish, Tell, TellBlob, TellLog, Write
from p2pcpn.protocol.settlement import LogSegment, LogWriter
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.codec import Codec
from p2pcpn.wire.messages import Answer, AnswerCode, Append, Extend, Finish, Introduce, Message, Settled, Take
from p2pcpn.wire.pages import LogHead
from p2pcpn.wire.statements import LogHeader, Segment, Signed, Spec, read

if TYPE_CHECKING:
    from p2pcpn.protocol.grantor import Grantor

CONTACT: Codec[Contact] = Codec(Contact, 64, "contact")
HEADS_HOLDERS = 8


@dataclass(slots=True)
class Steward:
    """What one steward was sent. ``unanswered`` empty and ``introduced`` set: it holds everything, durably."""

    contact: Contact
    introduced: bool = False
    lost: bool = False
    unanswered: dict[int, Effect] = field(default_factory=dict)  # what to say again on a new session
    segments: set[int] = field(default_factory=set)
    blobs: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Kept:
    """One log segment: who has it on disk, whom it was sent to, and which journal entries it settles."""

    number: int
    settled: int
    sent: dict[NodeId, int] = field(default_factory=dict)
    held: dict[NodeId, None] = field(default_factory=dict)
    parts: dict[NodeId, tuple[Contact, list[tuple[int, int]]]] = field(default_factory=dict)
    enough: bool = False


class Custody:
    """See the module. ``candidates()`` lists storage peers, best first; ``storing``: this node itself keeps the log."""

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
    ) -> None:
        self.job = job
        self.signed_spec = spec
        self.spec = read(spec, Spec)
        self.me = me
        self.epoch = epoch
        self.storing = storing
        self.candidates = candidates
        self.request = request
        self.stewards = {
            NodeId(s.contact.id): Steward(s.contact) for s in self.spec.stewards if s.contact.id != me
        }
        self.logs: dict[int, Kept] = {}
        self.pending_logs: dict[int, tuple[NodeId, int]] = {}
        self.handover: Take | None = None
        self.extra: dict[NodeId, Contact] = {}
        self.tasks = 0
        self.replicated = 0  # settled indices that lie on enough holders
        self._parts: dict[NodeId, tuple[Contact, list[tuple[int, int]]]] = {}
        self._head_at: float | None = None
        self._head_said: tuple[int, int, bool] = (-1, -1, False)
        self._told: tuple[int, ...] = ()
        self._told_kept: tuple[int, ...] = ()

    # --- the owner's words, to the stewards ---------------------------------------------------------------------

    def open(self) -> list[Effect]:
        """Introduce the job to its stewards."""
        effects: list[Effect] = []
        for steward in self.stewards.values():
            effects += self._tell(steward, lambda r: Introduce(r, self.signed_spec, True))
            steward.introduced = True
        if self.spec.code is not None:
            effects += self._blobs([self.spec.code.digest])
        return effects

    def extend(self, segment: Signed, sealed: list[bytes]) -> list[Effect]:
        """A segment and its pages; first the blobs that its tasks name."""
        said = read(segment, Segment)
        self.tasks = said.first + said.count
        effects = self._blobs(list(said.blobs))
        for steward in self.stewards.values():
            if steward.lost:
                continue
            steward.segments.add(said.number)
            effects += self._tell(steward, lambda r: Extend(r, segment, sealed, True))
        return effects

    def finish(self, statement: Signed) -> list[Effect]:
        """A close or a cancel."""
        effects: list[Effect] = []
        for steward in self.stewards.values():
            effects += self._tell(steward, lambda r: Finish(r, statement))
        return effects

    def hand_over(self, take: Signed) -> list[Effect]:
        """The owner's handover to every steward; the one it names begins to grant."""
        self.handover = Take(0, take)
        effects: list[Effect] = []
        for steward in self.stewards.values():
            effects += self._tell(steward, lambda r: Take(r, take))
        return effects

    def adopt(self, take: Signed, segments: list[int]) -> None:
        """This node took the job over: the other stewards have everything that it has."""
        self.handover = Take(0, take)
        for steward in self.stewards.values():
            steward.introduced = True
            steward.segments.update(segments)

    def _blobs(self, digests: list[bytes]) -> list[Effect]:
        """Task blobs lie on ``replicas`` stewards: enough to survive, without sending bulk to all."""
        effects: list[Effect] = []
        live = [s for s in self.stewards.values() if not s.lost]
        for steward in live[: self.spec.replicas]:
            for digest in digests:
                if digest in steward.blobs:
                    continue
                steward.blobs.add(digest)
                request = self.request()
                tell = TellBlob(steward.contact, request, digest, self.job, self.spec.retention_s)
                steward.unanswered[request] = tell
                effects.append(tell)
        return effects

    def _tell(self, steward: Steward, make: Callable[[int], Message]) -> list[Effect]:
        if steward.lost:
            return []
        request = self.request()
        tell = Tell(steward.contact, make(request))
        steward.unanswered[request] = tell
        return [tell]

    @property
    def stewards_open(self) -> set[NodeId]:
        """Stewards that are sent everything: as workers they need no pages again."""
        return {node for node, steward in self.stewards.items() if not steward.lost}

    def sent_to(self, peer: NodeId) -> set[int] | None:
        """The segments a steward was sent; none for other peers."""
        steward = self.stewards.get(peer)
        return None if steward is None or steward.lost else set(steward.segments)

    def has_blob(self, peer: NodeId, digest: bytes) -> bool:
        """Whether a steward was sent that blob."""
        steward = self.stewards.get(peer)
        return steward is not None and not steward.lost and digest in steward.blobs

    def whole(self) -> int:
        """How many stewards hold the spec and every segment, durably."""
        return sum(1 for s in self.stewards.values() if s.introduced and not s.lost and not s.unanswered)

    # --- the settlement log, to the holders ----------------------------------------------------------------------

    def journalled(self, worker: Contact, token: int, part: int) -> None:
        """The segment being written settles this receipt: its worker is told once enough holders have it."""
        self._parts.setdefault(NodeId(worker.id), (worker, []))[1].append((token, part))

    def append(self, segment: LogSegment, now: float) -> list[Effect]:
        """Keep a closed segment: on our own disk, on the stewards, on storage peers where those are too few."""
        kept = Kept(segment.number, read_settled(segment.header), parts=self._parts)
        self._parts = {}
        self.logs[segment.number] = kept
        key = (self.job, self.me, self.epoch, segment.number)
        write = Write("logs", key, (pages.SIGNED.encode(segment.header), segment.body))
        effects: list[Effect] = [Commit((write,))]
        if self.storing:
            kept.held[self.me] = None
        for contact in self.holders():
            effects += self._append_to(kept, contact, Append(0, segment.header, segment.body))
        if self._head_at is None:
            self._head_at = now
        return effects + self._enough(kept)

    def _append_to(self, kept: Kept, contact: Contact, message: Append) -> list[Effect]:
        request = self.request()
        kept.sent[NodeId(contact.id)] = request
        self.pending_logs[request] = (NodeId(contact.id), kept.number)
        return [Tell(contact, Append(request, message.header, message.body))]

    def holders(self) -> list[Contact]:
        """Who is sent the log: all live stewards, and storage peers until there are ``replicas``."""
        found = {node: s.contact for node, s in self.stewards.items() if not s.lost}
        missing = self.spec.replicas - len(found) - (1 if self.storing else 0)
        for node, contact in self.extra.items():
            if node not in found:
                found[node] = contact
                missing -= 1
        if missing > 0:
            for contact in self.candidates():
                node = NodeId(contact.id)
                if missing > 0 and node not in found and node != self.me and node not in self.stewards:
                    self.extra[node] = found[node] = contact
                    missing -= 1
        return list(found.values())

    def wanted(self) -> int:
        """How many copies can be had: the job's ``replicas``, or all peers there are."""
        return max(1, min(self.spec.replicas, len(self.holders()) + (1 if self.storing else 0)))

    def _enough(self, kept: Kept) -> list[Effect]:
        """Once a segment lies on enough holders, the workers may drop their journals of it."""
        if kept.enough or len(kept.held) < self.wanted():
            return []
        kept.enough = True
        effects: list[Effect] = []
        for contact, parts in kept.parts.values():
            for at in range(0, len(parts), limits.BATCH_TASKS_MAX):
                effects.append(Tell(contact, Settled(self.job, parts[at : at + limits.BATCH_TASKS_MAX])))
        kept.parts = {}
        return effects

    def answer(self, peer: NodeId, message: Answer, now: float) -> list[Effect]:
        """A steward or holder answered: what we sent is on its disk, or it refused."""
        done = message.code == AnswerCode.DONE
        steward = self.stewards.get(peer)
        if steward is not None and message.request in steward.unanswered:
            if done:
                del steward.unanswered[message.request]
            else:
                steward.lost = True
            return self._report_kept()
        awaited = self.pending_logs.get(message.request)
        if awaited is None or awaited[0] != peer:
            return []
        del self.pending_logs[message.request]
        kept = self.logs[awaited[1]]
        kept.sent.pop(peer, None)
        if not done:
            return self.peer_dead(peer, now)
        kept.held[peer] = None
        self._head_at = self._head_at or now
        return self._enough(kept)

    # --- peers come and go -------------------------------------------------------------------------------------

    def peer_alive(self, peer: NodeId) -> list[Effect]:
        """Only the session was lost: say again what was not answered. Requests are idempotent."""
        steward = self.stewards.get(peer)
        effects = list(steward.unanswered.values()) if steward is not None and not steward.lost else []
        contact = steward.contact if steward is not None else self.extra.get(peer)
        if contact is not None:
            for request, (node, number) in self.pending_logs.items():
                if node == peer:
                    effects.append(TellLog(contact, request, self.job, self.epoch, number))
        return effects

    def session_closed(self, peer: NodeId) -> list[Effect]:
        """What this peer had not answered may be lost: find out whether it lives."""
        steward = self.stewards.get(peer)
        contact = steward.contact if steward is not None and not steward.lost else self.extra.get(peer)
        return [] if contact is None else [Probe(contact)]

    def peer_dead(self, peer: NodeId, now: float) -> list[Effect]:
        """A holder is gone: its copies no longer count, and another storage peer is sent the log."""
        steward = self.stewards.get(peer)
        known = (steward is not None and not steward.lost) or peer in self.extra
        if not known:
            return []
        if steward is not None:
            steward.lost = True
            steward.unanswered.clear()
        self.extra.pop(peer, None)
        for request, (node, _) in list(self.pending_logs.items()):
            if node == peer:
                del self.pending_logs[request]
        effects: list[Effect] = []
        holders = self.holders()
        for kept in self.logs.values():
            kept.held.pop(peer, None)
            kept.sent.pop(peer, None)
            for contact in holders:
                node = NodeId(contact.id)
                if len(kept.held) + len(kept.sent) >= self.spec.replicas:
                    break
                if node not in kept.held and node not in kept.sent:
                    request = self.request()
                    kept.sent[node] = request
                    self.pending_logs[request] = (node, kept.number)
                    effects.append(TellLog(contact, request, self.job, self.epoch, kept.number))
            effects += self._enough(kept)
        return effects + self._report_kept()

    # --- time and reports ----------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        return self._head_at

    def expire(self, now: float, log: LogWriter) -> list[Effect]:
        """Publish the log's head when it changed, at most once a second."""
        if self._head_at is None or now < self._head_at:
            return []
        self._head_at = None
        said = (log.number, self.replicated, self._done)
        if said == self._head_said or log.number == 0:
            return []
        self._head_said = said
        self._head_at = now + limits.LOG_HEAD_WAIT_S
        holders = [CONTACT.encode(contact) for contact in self.holders()[:HEADS_HOLDERS]]
        head = LogHead(self.epoch, log.number, log.last, log.settled, self._total, self._done, holders)
        return [Publish(self.job, pages.LOG_HEAD.encode(head), self.spec.retention_s)]

    _done = False
    _total: int | None = None

    def report(self, grantor: Grantor, now: float) -> list[Effect]:
        """Tell the program above how much lies on how many holders, when that changed."""
        copies = min((len(kept.held) for kept in self.logs.values()), default=0)
        replicated = 0
        for kept in self.logs.values():
            if not kept.enough:
                break
            replicated = kept.settled
        self.replicated = replicated
        self._total = grantor.total
        settled = grantor.log.settled
        done = grantor.finished and grantor.log.empty and all(kept.enough for kept in self.logs.values())
        if done != self._done:
            self._done, self._head_at = done, now
        told = (settled, replicated, copies, done)
        if told == self._told:
            return []
        self._told = told
        return [Notify(events.Replicated(self.job, settled, replicated, copies, self.spec.replicas, done))]

    def _report_kept(self) -> list[Effect]:
        told = (self.tasks, self.whole(), sum(1 for s in self.stewards.values() if not s.lost))
        if told == self._told_kept:
            return []
        self._told_kept = told
        return [Notify(events.Kept(self.job, *told))]


def read_settled(header: Signed) -> int:
    """How many indices a log settles up to this header."""
    return read(header, LogHeader).settled
