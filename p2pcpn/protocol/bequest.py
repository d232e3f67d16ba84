"""The bequest: what a peer that leaves keeps of jobs is brought to peers that stay, to as many as are short of it.

Each job by itself, some at a time::

    ask those near it ──> enough have all of it ───────────────────> blobs go ──> results that wait ──> next job
                   └──> bring it to who lacks least ──> the next best ──┘  to them     go to a steward

Segments of tasks go while somebody may run or add to them, and with them the blobs that they name; logs always; so do
*orphans*, results that wait here for whoever grants next. What is taken is on the other's disk. Nobody says which blobs
it has: they are sent to whoever was not brought the job by us, and who has one leaves it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import events
from p2pcpn.protocol.effects import Commit, Effect, Notify, Tell, TellBlob, TellOrphans
from p2pcpn.protocol.legacies import Legacy, LogName, heirs, shown, told_of
from p2pcpn.protocol.passing import TAKE_WAIT_S, Passing, covers
from p2pcpn.protocol.steward import Steward
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Answer, AnswerCode, Ask, JobKept, JobState

# Storage peers that are asked what they have of a job: twice as many as keep one with the usual replicas and stewards.
ASKED_MAX = 16
ASK_WAIT_S = 3.0
AT_ONCE = 4


@dataclass(slots=True)
class _Handing:
    """One job on its way. ``asked`` owe an answer, by request; ``answers`` are in the order of nearness.

    ``whole`` have all of it, ``logged`` its logs at least. ``gifts`` are blobs to go yet, to whom; ``untaken`` those
    that nobody has said that it took. ``orphans`` are to go yet to the first of ``takers``. ``request`` is the question
    to ``taker`` on one of these.
    """

    legacy: Legacy
    until_s: float
    asked: dict[int, Contact] = field(default_factory=dict)
    answers: dict[NodeId, tuple[Contact, JobState | None]] = field(default_factory=dict)
    heirs: deque[tuple[Contact, JobKept | None]] = field(default_factory=deque)
    passing: Passing | None = None
    whole: list[Contact] = field(default_factory=list)
    logged: set[bytes] = field(default_factory=set)
    brought: set[bytes] = field(default_factory=set)
    takers: deque[Contact] = field(default_factory=deque)
    gifts: deque[tuple[Contact, bytes]] = field(default_factory=deque)
    untaken: dict[bytes, None] = field(default_factory=dict)
    request: int = 0
    taker: Contact | None = None
    orphans: int = 0

    @property
    def short(self) -> bool:
        """Whether others have fewer copies than are wanted. Tasks count where nobody has them: a job that is granted
        has a grantor that looks after them."""
        logs = self.legacy.parcel.logs
        return self.alone or (bool(logs) and len(self.logged) < self.legacy.replicas)

    @property
    def alone(self) -> bool:
        """Whether nobody else has it, or what its tasks name."""
        return not self.whole or bool(self.untaken)

    def awaits(self, node: bytes, request: int | None = None) -> bool:
        """Whether that peer is to say that it took a blob or results."""
        asked = self.request if request is None else request
        return bool(self.request) and self.taker is not None and (asked, node) == (self.request, self.taker.id)


class Bequest:
    """See the module; ``Notify(Bequeathed)`` says that it is over. ``near(job, now)`` lists storage peers that live,
    the nearest first; ``request()`` numbers what is asked.

    ``left`` counts jobs that are still to be looked after, ``short`` those of which others have fewer copies than are
    wanted, ``alone`` those of which nobody else has any, and ``orphans`` results that nobody took; ``given`` is how
    often a job was brought to somebody.
    """

    def __init__(
        self, *, steward: Steward, near: Callable[[bytes, float], list[Contact]], request: Callable[[], int]
    ) -> None:
        self._steward = steward
        self._near = near
        self._request = request
        self._waiting: deque[Legacy] = deque()
        self._handings: dict[bytes, _Handing] = {}
        self._under_way = False
        self.short = self.alone = self.orphans = self.given = 0

    @property
    def left(self) -> int:
        return len(self._waiting) + len(self._handings)

    def begin(
        self,
        logs: Callable[[bytes], Mapping[LogName, int]],
        now: float,
        blobs: Callable[[bytes], Sequence[bytes]] = lambda job: (),
    ) -> list[Effect]:
        """Bring everything to others. ``logs(job)``: how many segments lie on our disk of each log, without a gap;
        ``blobs(job)``: the blobs there that no log names."""
        self.stop()
        self.short = self.alone = self.orphans = 0
        found = [legacy.with_disk(logs(legacy.job), blobs(legacy.job)) for legacy in self._steward.legacies()]
        self._waiting += [legacy for legacy in found if not legacy.empty]
        self._under_way = True
        return self._go_on(now)

    def stop(self) -> None:
        """Whatever is not with others stays here: we stay, or nobody waits for us any longer."""
        self.short += len(self._waiting) + sum(handing.short for handing in self._handings.values())
        self.alone += len(self._waiting) + sum(handing.alone for handing in self._handings.values())
        self.orphans += sum(legacy.orphans for legacy in self._waiting)
        self.orphans += sum(handing.orphans for handing in self._handings.values())
        self._waiting.clear()
        self._handings.clear()
        self._under_way = False

    def _go_on(self, now: float) -> list[Effect]:
        """Begin with the next jobs, as long as there is room for them."""
        effects: list[Effect] = []
        while self._waiting and len(self._handings) < AT_ONCE:
            legacy = self._waiting.popleft()
            handing = self._handings[legacy.job] = _Handing(legacy, now + ASK_WAIT_S, orphans=legacy.orphans)
            for contact in self._near(legacy.job, now)[:ASKED_MAX]:
                request = self._request()
                handing.asked[request] = contact
                handing.answers[NodeId(contact.id)] = (contact, None)
                effects.append(Tell(contact, Ask(request, legacy.job)))
            if not handing.asked:
                effects += self._judge(handing, now)
        if self._under_way and not self.left:
            self._under_way = False
            effects.append(Notify(events.Bequeathed()))
        return effects

    # --- what is heard -----------------------------------------------------------------------------------------------

    def told(self, sender: Contact, state: JobState, now: float) -> list[Effect]:
        """A peer says what it has of a job."""
        handing = self._asked(sender, state.request)
        return [] if handing is None else self._heard(handing, sender, state, now) + self._go_on(now)

    def answered(self, sender: Contact, message: Answer, now: float) -> list[Effect]:
        """A peer has nothing of a job, has taken what it was brought, or refused it."""
        effects: list[Effect] = []
        right = message.code == AnswerCode.DONE
        for request in (message.request, *message.also) if self._handings else ():
            if (asked := self._asked(sender, request)) is not None:
                effects += self._heard(asked, sender, None, now)
                continue
            for handing in list(self._handings.values()):
                passing = handing.passing
                if passing is not None and (passing.request, passing.heir.id) == (request, sender.id):
                    effects += self._passed(handing, passing, now, right=right)
                elif handing.awaits(sender.id, request):
                    effects += self._taken(handing, now, right=right)
        return effects + self._go_on(now)

    def session_closed(self, node: NodeId, now: float) -> list[Effect]:
        """The session with a peer ended, or could not be made: it answers nothing any more."""
        effects: list[Effect] = []
        for handing in list(self._handings.values()):
            passing = handing.passing
            silent = [request for request, contact in handing.asked.items() if contact.id == node]
            if silent:
                contact = handing.asked.pop(silent[0])
                effects += self._heard(handing, contact, None, now)
            elif passing is not None and passing.heir.id == node:
                effects += self._passed(handing, passing, now, right=False)
            elif handing.awaits(node):
                effects += self._taken(handing, now, right=False)
        return effects + self._go_on(now)

    def _asked(self, sender: Contact, request: int) -> _Handing | None:
        """The job of which that peer was asked so."""
        for handing in self._handings.values():
            contact = handing.asked.get(request)
            if contact is not None and contact.id == sender.id:
                del handing.asked[request]
                return handing
        return None

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        return min((self._due_s(handing) for handing in self._handings.values()), default=None)

    @staticmethod
    def _due_s(handing: _Handing) -> float:
        return handing.until_s if handing.passing is None else handing.passing.until_s

    def expire(self, now: float) -> list[Effect]:
        """Give up on those that are silent."""
        effects: list[Effect] = []
        for handing in list(self._handings.values()):
            if self._due_s(handing) > now:
                continue
            if handing.asked:
                handing.asked.clear()
                effects += self._judge(handing, now)
            elif handing.passing is not None:
                effects += self._passed(handing, handing.passing, now, right=False)
            else:
                effects += self._taken(handing, now, right=False)
        return effects + self._go_on(now)

    # --- what follows ------------------------------------------------------------------------------------------------

    def _heard(self, handing: _Handing, sender: Contact, state: JobState | None, now: float) -> list[Effect]:
        handing.answers[NodeId(sender.id)] = (sender, state)
        return [] if handing.asked else self._judge(handing, now)

    def _judge(self, handing: _Handing, now: float) -> list[Effect]:
        """All have said what they have, or will not."""
        legacy = handing.legacy
        states = [(contact, state) for contact, state in handing.answers.values() if state is not None]
        known = {NodeId(contact.id): shown(legacy.job, state) for contact, state in states}
        if legacy.parcel.entrust is None:  # a log of a job that is not known here
            knows = next((state for contact, state in states if known[NodeId(contact.id)] is not None), None)
            if knows is None:
                return self._over(handing)  # nobody who answers knows what job it is: nobody could read its log
            handing.legacy = legacy = replace(legacy, parcel=replace(legacy.parcel, entrust=told_of(knows)))
        answers = [(contact, known.get(node)) for node, (contact, _) in handing.answers.items()]
        handing.whole, found = heirs(legacy.parcel, legacy.replicas, answers)
        mine = legacy.parcel.kept
        handing.logged = {contact.id for contact, theirs in answers if covers(theirs, mine, segments=False)}
        handing.heirs.extend(found)
        handing.takers.extend(contact for contact, theirs in answers if theirs is not None)
        return self._next(handing, now)

    def _next(self, handing: _Handing, now: float) -> list[Effect]:
        """Bring it to one more, until enough have it; then what waits for a grantor."""
        if len(handing.whole) < handing.legacy.replicas and handing.heirs:
            heir, theirs = handing.heirs.popleft()
            handing.passing = Passing(heir, handing.legacy.parcel, theirs)
            return self._pass(handing, handing.passing, now)
        for contact in handing.whole:
            handing.gifts.extend((contact, name) for name in handing.legacy.blobs if contact.id not in handing.brought)
        if handing.gifts:
            handing.untaken = {name: None for name in handing.legacy.blobs if not handing.brought}
        handing.takers.extend(contact for contact in handing.whole if contact not in handing.takers)
        handing.takers = deque(sorted(handing.takers, key=lambda each: each.id not in handing.legacy.stewards))
        return self._give(handing, now)

    def _pass(self, handing: _Handing, passing: Passing, now: float) -> list[Effect]:
        effects = passing.next(self._request(), self._steward.wall(), now)
        if effects:
            return effects
        self.given += 1
        handing.whole.append(passing.heir)
        handing.logged.add(passing.heir.id)
        if passing.heir.id not in handing.legacy.stewards:
            handing.brought.add(passing.heir.id)  # it had the blobs of each segment from us
        handing.passing = None
        return self._next(handing, now)

    def _passed(self, handing: _Handing, passing: Passing, now: float, *, right: bool) -> list[Effect]:
        """Something that was brought is on the other's disk, or will not be."""
        if right:
            return self._pass(handing, passing, now)
        handing.passing = None
        return self._next(handing, now)

    def _give(self, handing: _Handing, now: float) -> list[Effect]:
        """The next blob to the next that may lack it; then all orphans to one, who may have some already."""
        legacy = handing.legacy
        if not handing.gifts and (not handing.orphans or not handing.takers):
            return self._over(handing)
        handing.request, handing.until_s = self._request(), now + TAKE_WAIT_S
        if handing.gifts:
            handing.taker, name = handing.gifts[0]
            left_s = max(0.0, legacy.expires_s - self._steward.wall())
            return [TellBlob(handing.taker, handing.request, name, legacy.job, left_s)]
        handing.taker, handing.orphans = handing.takers[0], legacy.orphans
        return [Commit((), (TellOrphans(handing.taker, legacy.job, handing.request),))]

    def _taken(self, handing: _Handing, now: float, *, right: bool) -> list[Effect]:
        """A blob or an orphan is on the other's disk; or it takes no more."""
        if handing.gifts:
            taker, name = handing.gifts.popleft()
            if right:
                handing.untaken.pop(name, None)
            else:
                handing.gifts = deque(each for each in handing.gifts if each[0].id != taker.id)
        else:
            handing.orphans -= right
            if right and handing.orphans:
                return []
            if not right:
                handing.takers.popleft()
        handing.request = 0
        return self._give(handing, now)

    def _over(self, handing: _Handing) -> list[Effect]:
        del self._handings[handing.legacy.job]
        self.short += handing.short
        self.alone += handing.alone
        self.orphans += handing.orphans
        return []
