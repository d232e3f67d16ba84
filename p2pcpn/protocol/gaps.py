"""Gaps: segments of a job that some of its stewards have and others lack go from those who have them to the others.

A submitter brings each segment to every steward. Where it dies on the way, or gave one of them up, only some have it.
Whoever grants says how many tasks it knows of, and whoever begins to grant asks the others what they have; who knows of
less asks for the next segment, one after the other, of those stewards that say they have more. What comes is signed by
the owner and follows on what is here: a liar can have us ask in vain, and nothing else. A steward that was never told
of the job is told by whoever finds that out.

::

    another knows of more ──1 s, in which no segment came by itself──> ask for the next ──> kept, granted ──> ask on
                                                                        └ has it not, silent, false ──> ask the next one
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.effects import Effect, Gather, Tell
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.steward import Steward
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Answer, Extend, Finish, Introduce, Message, ReadSegment, Recount, Recounted, Take
from p2pcpn.wire.statements import Segment, read

# A submitter that lives brings a segment to all its stewards within this, or the next one.
WAIT_S = 1.0
# A session is dialled first, and 4 MiB come from a disk.
ASK_WAIT_S = 10.0
QUEUE_S = 0.1
# What could not be kept is not asked for again before.
REFUSED_S = 60.0


@dataclass(frozen=True, slots=True)
class _Known:
    """What a steward says that it has."""

    contact: Contact
    tasks: int
    segments: int

    def beyond(self, kept: Kept) -> bool:
        """Whether that is more than is kept here."""
        return self.tasks > kept.tasks or self.segments > len(kept.segments)


@dataclass(slots=True)
class _Gap:
    """A job of which others have more than the ``tasks`` that were here when it was looked at last."""

    tasks: int
    due_s: float
    known: dict[NodeId, _Known] = field(default_factory=dict)
    asked: tuple[NodeId, int] | None = None  # who was asked for the next segment, and in which request


class Gaps:
    """See the module. ``keep`` is what is done with a segment that came; ``request()`` numbers what is asked."""

    def __init__(
        self, steward: Steward, request: Callable[[], int], keep: Callable[[Contact, Extend, float], list[Effect]]
    ) -> None:
        self._steward = steward
        self._request = request
        self._keep = keep
        self._gaps: dict[bytes, _Gap] = {}  # of jobs that are kept here
        self._begun: dict[bytes, float] = {}  # jobs that are granted here from the beginning, and when others are asked
        self._counted: dict[tuple[NodeId, int], bytes] = {}  # who was asked what it has of which job
        self.closed = 0  # segments that came in this way

    def __len__(self) -> int:
        """Of how many jobs something is lacking."""
        return len(self._gaps)

    # --- what is heard -----------------------------------------------------------------------------------------------

    def knows(self, job: bytes, contact: Contact, now: float, *, tasks: int = 0, segments: int = 0) -> None:
        """A peer says how much it has of a job."""
        kept, known = self._steward.jobs.get(job), _Known(contact, tasks, segments)
        if kept is None or kept.cancel is not None or not known.beyond(kept):
            return
        if any(steward.contact.id == contact.id for steward in kept.authority.spec.stewards):
            self._gaps.setdefault(job, _Gap(kept.tasks, now + WAIT_S)).known[NodeId(contact.id)] = known

    def begun(self, job: bytes, now: float) -> None:
        """This node grants some of a job from the beginning: it asks the others when all should know of it."""
        self._begun.setdefault(job, now + WAIT_S)

    def ask_all(self, kept: Kept) -> list[Effect]:
        """What do the other stewards have of a job?"""
        job, effects = kept.authority.job, list[Effect]()
        for steward in kept.authority.spec.stewards:
            if steward.key != self._steward.me.public:
                request = self._request()
                self._counted[NodeId(steward.contact.id), request] = job
                effects.append(Tell(steward.contact, Recount(request, [job])))
        while len(self._counted) > limits.RECOUNTED_MAX:
            del self._counted[next(iter(self._counted))]
        return effects

    def recounted(self, sender: Contact, message: Recounted, now: float) -> list[Effect]:
        """Another says what it has of the job it was asked about."""
        job = self._counted.pop((NodeId(sender.id), message.request), None)
        kept = None if job is None else self._steward.jobs.get(job)
        if job is None or kept is None or len(message.kept) != 1:
            return []
        if message.kept[0] is None:
            return self._introduce(sender, kept)
        self.knows(job, sender, now, segments=message.kept[0].segments)
        return []

    def _introduce(self, to: Contact, kept: Kept) -> list[Effect]:
        """A steward does not know of the job: its owner may be gone."""
        authority = kept.authority
        said: list[Message] = [
            Introduce(self._request(), authority.signed_spec, True, self._steward.age_s(authority.job)),
            *(Take(0, handover) for handover in authority.handovers),
            *(Finish(0, word) for word in (kept.close, kept.cancel, kept.pause) if word is not None),
        ]
        return [Tell(to, message) for message in said]

    def extended(self, sender: Contact, message: Extend, now: float) -> list[Effect]:
        """A segment that was asked for, perhaps. Raises :class:`PeerError` for one that is not the owner's."""
        said = read(message.segment, Segment)
        job, kept = said.job, self._steward.jobs.get(said.job)
        gap = self._gaps.get(job)
        if gap is None or kept is None or gap.asked != (NodeId(sender.id), message.request):
            return []
        before, gap.asked = len(kept.segments), None
        if said.number < before:  # it came by itself, too
            return self._ask(job, gap, kept, now)
        try:
            effects = self._keep(sender, msgspec.structs.replace(message, request=0, keep=True), now)
        except PeerError:
            gap.known.pop(NodeId(sender.id), None)
            gap.due_s = now
            raise
        if len(kept.segments) == before:  # there is no room for it, or it does not follow
            gap.known.clear()
            gap.due_s = now + REFUSED_S
            return []
        self.closed += 1
        return effects + self._gather(kept) + self._ask(job, gap, kept, now)

    def _gather(self, kept: Kept) -> list[Effect]:
        """The project's code, where it is not here, from whichever steward has it: each was to be brought it."""
        spec, effects = kept.authority.spec, tuple[Effect, ...]()
        for steward in spec.stewards:
            if spec.code is not None and steward.key != self._steward.me.public:
                names = (spec.code.digest,)
                effects = (Gather(steward.contact, names, kept.authority.job, spec.retention_s, (), effects),)
        return list(effects)

    def answered(self, sender: Contact, message: Answer, now: float) -> list[Effect]:
        """Whoever was asked for a segment does not have it."""
        effects: list[Effect] = []
        for job, gap in list(self._gaps.items()):
            if gap.asked is None or gap.asked[0] != sender.id:
                continue
            if gap.asked[1] == message.request or gap.asked[1] in message.also:
                effects += self._look(job, gap, now)
        return effects

    def session_closed(self, node: NodeId) -> None:
        """The session with a peer ended: it answers nothing any more."""
        for gap in self._gaps.values():
            if gap.asked is not None and gap.asked[0] == node:
                gap.due_s = 0.0

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        if not self._begun and not self._gaps:  # as nearly always, and it is asked whenever anything is said of tasks
            return None
        return min([*self._begun.values(), *[gap.due_s for gap in self._gaps.values()]])

    def expire(self, now: float) -> list[Effect]:
        """Ask for what is lacking still, and others where somebody was silent."""
        effects: list[Effect] = []
        for job in [job for job, due_s in self._begun.items() if due_s <= now]:
            del self._begun[job]
            kept = self._steward.jobs.get(job)
            if kept is not None and kept.is_open:
                effects += self.ask_all(kept) + self._gather(kept)
        due = [(job, gap) for job, gap in self._gaps.items() if gap.due_s <= now]
        return effects + [effect for job, gap in due for effect in self._look(job, gap, now)]

    def _look(self, job: bytes, gap: _Gap, now: float) -> list[Effect]:
        kept = self._steward.jobs.get(job)
        if kept is None or kept.cancel is not None:
            del self._gaps[job]
            return []
        if gap.asked is not None:
            gap.known.pop(gap.asked[0], None)
            gap.asked = None
        elif kept.tasks > gap.tasks:  # they come by themselves
            gap.tasks, gap.due_s = kept.tasks, now + WAIT_S
            return []
        return self._ask(job, gap, kept, now)

    def _ask(self, job: bytes, gap: _Gap, kept: Kept, now: float) -> list[Effect]:
        """The next segment, of somebody who has more than is kept here; none where nobody says so any more."""
        gap.tasks = kept.tasks
        found = next((known for known in gap.known.values() if known.beyond(kept)), None)
        if found is None:
            del self._gaps[job]
            return []
        if sum(other.asked is not None for other in self._gaps.values()) >= limits.PASSED_AT_ONCE:
            gap.due_s = now + QUEUE_S
            return []
        request = self._request()
        gap.asked, gap.due_s = (NodeId(found.contact.id), request), now + ASK_WAIT_S
        return [Tell(found.contact, ReadSegment(request, job, len(kept.segments)))]
