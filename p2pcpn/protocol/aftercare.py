"""Aftercare: those who keep a job's results watch each other, and restore a copy that is lost. Nobody leads.

While a job is granted its grantor replaces lost copies (``custody``); afterwards those who keep it do, for as long as
its retention lasts. Each keeper asks the others now and then what they have of the jobs they share, all in one message,
and soon when it hears that one died::

    look ──> enough keep it all, and have shown it ──> next look
      │        └─ and this peer is not named in the spec, and enough that come before it: drop it
      └──> too few ──wait, by our place among those left──> look again, the peers nearest to the job too
                                                              └──> bring it to the first that lacks it

Keepers come in an order that all of them know: those whom the owner named, then the nearest to the job's id. The first
one left acts first, and each next one so much later, when it has looked whether somebody did: so one acts and not all.
Those that come first never drop what they keep on account of those behind them, so all that is needed stays.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.bequest import Bequest
from p2pcpn.protocol.effects import Effect, Provide, Tell, Withdraw
from p2pcpn.protocol.keepers import Keepers
from p2pcpn.protocol.passing import Passing, held, parcel
from p2pcpn.protocol.settlement import check_body
from p2pcpn.protocol.setup import Pulse
from p2pcpn.protocol.steward import Steward
from p2pcpn.protocol.timetable import Timetable
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Answer, AnswerCode, JobKept, LogData, ReadLog, Recount, Recounted
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import LogHeader, read

# A session is dialled first, and the other may be busy.
ASK_WAIT_S = 10.0
# Who died is looked after when everybody has had the time to hear of it.
DEATH_S = 1.0
# Storage peers that are asked where a copy is missing: those that keep one by other ways, and as many that may.
NEAREST_ASKED = 12
QUEUE_S = 0.05


@dataclass(frozen=True, slots=True)
class _Asked:
    """What somebody is asked: ``jobs``, or to show the segment ``number`` of a log of the one job."""

    node: NodeId
    jobs: tuple[bytes, ...]
    until_s: float
    log: tuple[NodeId, int] | None = None
    number: int = 0


class Aftercare:
    """See the module. ``near(job, now)`` lists storage peers that live, the nearest first; ``group(contact)`` is the
    network a peer is in; ``request()`` numbers what is asked. ``bequest`` is for when this peer leaves."""

    def __init__(
        self,
        *,
        contact: Callable[[], Contact],
        steward: Steward,
        near: Callable[[bytes, float], list[Contact]],
        group: Callable[[Contact], Hashable],
        request: Callable[[], int],
        pulse: Pulse,
        rng: random.Random,
        now: float,
    ) -> None:
        self.bequest = Bequest(steward=steward, near=near, request=request)
        self._contact = contact
        self._steward = steward
        self._near = near
        self._group = group
        self._request = request
        self._pulse = pulse
        self._rng = rng
        self._cares: dict[bytes, Keepers] = {}
        self._looks = Timetable()
        self._asked: dict[int, _Asked] = {}  # by request, in the order of their ends
        self._passings: dict[bytes, Passing] = {}
        self._queue: dict[bytes, None] = {}  # jobs to be brought to others when it is their turn
        # Each at its own time, and not all jobs of a peer that just started before it knows who lives.
        self._tick_s = now + pulse.replace_s * (0.5 + self._me[0] / 256)
        self.restored = self.released = self.segments = 0

    def __len__(self) -> int:
        """How many jobs are looked after."""
        return len(self._cares)

    @property
    def _me(self) -> bytes:
        return self._contact().id

    # --- what is heard -----------------------------------------------------------------------------------------------

    def recounted_to(self, sender: Contact, message: Recount) -> list[Effect]:
        """Another asks what we have of jobs that it keeps."""
        kept: list[JobKept | None] = []
        wall = self._steward.wall()
        for job in message.jobs:
            here = self._steward.jobs.get(job)
            kept.append(held(here) if here is not None and here.expires_s >= wall else None)
            care = self._cares.get(job)
            if care is not None:
                care.know(sender)
        return [Tell(sender, Recounted(message.request, kept))]

    def recounted(self, sender: Contact, message: Recounted, now: float) -> list[Effect]:
        """Another says what it has. Raises :class:`PeerError` for an answer to something else."""
        node = NodeId(sender.id)
        asked = self._pop(node, message.request)
        if asked is None or asked.log is not None:
            return []
        if len(message.kept) != len(asked.jobs):
            raise PeerError("a peer tells of other jobs than it was asked for")
        effects: list[Effect] = []
        for job, kept in zip(asked.jobs, message.kept, strict=True):
            care = self._cares.get(job)
            if care is not None and node in care.awaited:
                care.answers[node] = (sender, kept)
                effects += self._heard(job, care, node, now)
        return effects

    def shown(self, sender: Contact, message: LogData, now: float) -> list[Effect]:
        """Another shows a segment of a log, which proves that it has what it said."""
        asked = self._pop(NodeId(sender.id), message.request)
        return [] if asked is None or asked.log is None else self._proved(asked, self._is(asked, message), now)

    def _is(self, asked: _Asked, message: LogData) -> bool:
        care = self._cares.get(asked.jobs[0])
        if care is None or asked.log is None:
            return False
        log = care.kept.logs[asked.log]
        known = asked.number - (log.count - len(log.recent))
        if not 0 <= known < len(log.recent) or digest(message.header.body) != log.recent[known]:
            return False
        try:
            check_body(read(message.header, LogHeader), message.body)
        except PeerError:
            return False
        return True

    def answered(self, sender: Contact, message: Answer, now: float) -> list[Effect]:
        """What we brought is on another's disk, or it refused; or it cannot show what we asked for."""
        effects = self.bequest.answered(sender, message, now)
        if not self._asked and not self._passings:
            return effects
        for request in (message.request, *message.also):
            asked = self._pop(NodeId(sender.id), request)
            if asked is not None:
                effects += self._unanswered(asked, now)
            for job, passing in list(self._passings.items()):
                if passing.request == request and passing.heir.id == sender.id:
                    effects += self._passed(job, passing, now, right=message.code == AnswerCode.DONE)
        return effects

    def _pop(self, node: NodeId, request: int) -> _Asked | None:
        asked = self._asked.get(request)
        return self._asked.pop(request) if asked is not None and asked.node == node else None

    def session_closed(self, node: NodeId, now: float) -> list[Effect]:
        """The session with a peer ended, or could not be made: it answers nothing any more."""
        effects = self.bequest.session_closed(node, now)
        for request in [request for request, asked in self._asked.items() if asked.node == node]:
            effects += self._unanswered(self._asked.pop(request), now)
        for job, passing in list(self._passings.items()):
            if passing.heir.id == node:
                effects += self._passed(job, passing, now, right=False)
        return effects

    def dead(self, node: NodeId, now: float) -> None:
        """A peer is dead or has left: the jobs that it kept are looked at soon."""
        for job, care in self._cares.items():
            if node in care.others or care.names(node):
                care.others.pop(node, None)
                self._look_at(job, now + DEATH_S)

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        if not self._steward.jobs and not self._cares:
            return self.bequest.deadline()
        times = [self._tick_s, self._looks.deadline(), self.bequest.deadline()]
        times += [asked.until_s for asked in [next(iter(self._asked.values()), None)] if asked is not None]
        times += [passing.until_s for passing in self._passings.values()]
        return min(due_s for due_s in times if due_s is not None)

    def expire(self, now: float) -> list[Effect]:
        """Look at what is due, and give up on those that are silent."""
        effects = self.bequest.expire(now)
        effects += self._tick(now) if now >= self._tick_s else []
        while self._asked and (first := next(iter(self._asked.items())))[1].until_s <= now:
            del self._asked[first[0]]
            effects += self._unanswered(first[1], now)
        for job, passing in list(self._passings.items()):
            if passing.until_s <= now:
                effects += self._passed(job, passing, now, right=False)
        return effects + self._look(now)

    def _tick(self, now: float) -> list[Effect]:
        """All jobs that are kept are looked at, those that came since the last time at the next one."""
        self._tick_s = now + self._pulse.keepers_s * (0.9 + self._me[0] / 1280)
        effects: list[Effect] = []
        for job in [job for job in self._cares if self._steward.jobs.get(job) is not self._cares[job].kept]:
            self._forget(job)
        for job, care in self._cares.items():
            care.relent(now)
            self._look_at(job, now)
        for job, kept in self._steward.jobs.items():
            if job not in self._cares:
                care = self._cares[job] = Keepers(kept, held(kept), now)
                if not care.names(self._me):  # over a restart nothing but this says that it is found here
                    effects.append(Provide(job, max(0.0, kept.expires_s - self._steward.wall())))
        return effects

    def _look_at(self, job: bytes, when_s: float) -> None:
        """Look at a job then, unless that is under way."""
        if job not in self._passings and not self._cares[job].awaited:
            self._looks.set(job, when_s)

    def _forget(self, job: bytes) -> None:
        del self._cares[job]
        self._looks.drop(job)
        self._passings.pop(job, None)
        self._queue.pop(job, None)

    # --- looking -----------------------------------------------------------------------------------------------------

    def _look(self, now: float) -> list[Effect]:
        """Ask whoever may keep the jobs that are due, each peer for all of them at once."""
        asks: dict[NodeId, tuple[Contact, list[bytes]]] = {}
        effects: list[Effect] = []
        for _ in range(limits.LOOKED_AT_ONCE):
            job = self._looks.take(now)
            if job is None:
                break
            care = self._cares[job]
            if self._steward.jobs.get(job) is not care.kept or care.kept.expires_s < self._steward.wall():
                continue  # its retention is over
            if self._steward.granting(job) is not None:
                continue  # its grantor is here, and looks after the copies
            asked = self._whom(job, care, now)
            care.answers = {}
            care.awaited = dict.fromkeys(asked)
            if not asked:  # it is here alone
                effects += self._judge(job, care, now)
            for node, contact in asked.items():
                asks.setdefault(node, (contact, []))[1].append(job)
        while (due_s := self._looks.deadline()) is not None and due_s <= now and (job := self._looks.take(now)):
            self._looks.set(job, now + QUEUE_S)
        for node, (contact, jobs) in asks.items():
            for at in range(0, len(jobs), limits.RECOUNTED_MAX):
                request, some = self._request(), jobs[at : at + limits.RECOUNTED_MAX]
                self._asked[request] = _Asked(node, tuple(some), now + ASK_WAIT_S)
                effects.append(Tell(contact, Recount(request, some)))
        return effects

    def _whom(self, job: bytes, care: Keepers, now: float) -> dict[NodeId, Contact]:
        """Who may keep a job: those of whom it is known, and where too few do those near it, who may take it.

        Heirs ask them always: they do not know of each other otherwise, and one may be too many.
        """
        found = [steward.contact for steward in care.kept.authority.spec.stewards]
        found += [keeper.contact for keeper in care.others.values()]
        if care.short_since is not None or not care.names(self._me):
            found += self._near(job, now)[:NEAREST_ASKED]
        me = self._me
        return {NodeId(contact.id): contact for contact in found if contact.id != me}

    def _unanswered(self, asked: _Asked, now: float) -> list[Effect]:
        if asked.log is not None:
            return self._proved(asked, False, now)
        effects: list[Effect] = []
        for job in asked.jobs:
            care = self._cares.get(job)
            if care is not None and asked.node in care.awaited:
                effects += self._heard(job, care, asked.node, now)
        return effects

    def _heard(self, job: bytes, care: Keepers, node: NodeId, now: float) -> list[Effect]:
        """One that was awaited has answered, or will not."""
        del care.awaited[node]
        return [] if care.awaited else self._judge(job, care, now)

    # --- judging -----------------------------------------------------------------------------------------------------

    def _judge(self, job: bytes, care: Keepers, now: float) -> list[Effect]:
        """What follows from who has what."""
        if care.changed(now):
            return []
        whole, claimed = care.whole(now)
        if claimed:
            return self._prove(job, care, claimed, now)
        before = care.before(self._me, whole)
        if len(whole) < care.copies - 1:
            care.surplus_since = None
            return self._short(job, care, whole, len(before), now)
        care.short_since = None
        if care.names(self._me) or len(before) < care.copies:
            care.surplus_since = None
            return []
        return self._surplus(job, care, before[: care.copies], now)

    def _short(self, job: bytes, care: Keepers, whole: Sequence[Contact], rank: int, now: float) -> list[Effect]:
        """Too few keep it: wait for our turn, look again, and bring it to one more."""
        since = care.short_since = now if care.short_since is None else care.short_since
        turn_s = max(since, care.changed_s) + self._pulse.replace_s * (1 + rank)
        if now < turn_s:
            self._looks.set(job, turn_s)
            return []
        heir = care.heir(self._contact(), whole, self._group, now)
        if heir is None:
            return []  # nobody is there that would take it: the next tick looks again
        if len(self._passings) >= limits.PASSED_AT_ONCE:
            self._queue[job] = None
            return []
        theirs = None if NodeId(heir.id) in care.failed else care.answers[NodeId(heir.id)][1]
        passing = self._passings[job] = Passing(heir, parcel(care.kept), theirs)
        return self._pass(job, passing, now)

    def _surplus(self, job: bytes, care: Keepers, before: Sequence[Contact], now: float) -> list[Effect]:
        """Enough that come before us keep it: when that has been so for a while, and they show it, it goes."""
        since = care.surplus_since = now if care.surplus_since is None else care.surplus_since
        if now < since + self._pulse.replace_s:
            self._looks.set(job, since + self._pulse.replace_s)
            return []
        unshown = care.unshown(before, since)
        if unshown and care.shows:
            return self._prove(job, care, unshown, now)
        self._forget(job)
        self.released += 1
        return [self._steward.drop(job), Withdraw(job)]

    # --- proofs ------------------------------------------------------------------------------------------------------

    def _prove(self, job: bytes, care: Keepers, claimed: Sequence[Contact], now: float) -> list[Effect]:
        """Have others show a segment of a log, chosen by chance among those whose digests are known here."""
        logs = [(name, log) for name, log in sorted(care.kept.logs.items()) if log.recent]
        effects: list[Effect] = []
        for contact in claimed:
            name, log = self._rng.choice(logs)
            number = log.count - 1 - self._rng.randrange(len(log.recent))
            node, request = NodeId(contact.id), self._request()
            self._asked[request] = _Asked(node, (job,), now + ASK_WAIT_S, name, number)
            care.awaited[node] = None
            effects.append(Tell(contact, ReadLog(request, job, name[0], name[1], number)))
        return effects

    def _proved(self, asked: _Asked, right: bool, now: float) -> list[Effect]:
        (job,) = asked.jobs
        care = self._cares.get(job)
        if care is None or asked.node not in care.awaited:
            return []
        keeper = care.others.get(asked.node)
        if right and keeper is not None:
            keeper.shown_s = now
        else:
            care.doubted(asked.node, now + self._pulse.keepers_s)
        return self._heard(job, care, asked.node, now)

    # --- bringing ----------------------------------------------------------------------------------------------------

    def _pass(self, job: bytes, passing: Passing, now: float) -> list[Effect]:
        effects = passing.next(self._request(), self._steward.wall(), now)
        return effects or self._passed_on(job, passing, now)

    def _passed(self, job: bytes, passing: Passing, now: float, *, right: bool) -> list[Effect]:
        """Something that was brought is on the other's disk, or will not be."""
        if right:
            passing.brought += 1
            self.segments += 1
            return self._pass(job, passing, now)
        care = self._cares[job]
        care.refused(NodeId(passing.heir.id), now + self._pulse.keepers_s)
        return self._ended(job, now)

    def _passed_on(self, job: bytes, passing: Passing, now: float) -> list[Effect]:
        """All of it is there: look whether that is enough."""
        care = self._cares[job]
        care.failed.pop(NodeId(passing.heir.id), None)
        keeper = care.know(passing.heir)
        if keeper is not None:
            keeper.shown_s = now
        self.restored += 1
        return self._ended(job, now)

    def _ended(self, job: bytes, now: float) -> list[Effect]:
        """A turn is free for the next job; this one is looked at, too."""
        del self._passings[job]
        for ready in [job, *list(self._queue)[:1]]:
            self._queue.pop(ready, None)
            self._look_at(ready, now)
        return []
