"""Relaying: what becomes of a job that stewards grant in lots is told, at once, to the node that submitted it.

They tell it what they settle, with the receipts that prove it, what they give up, what runs, and how much lies
on enough holders. Of the words of a steward that no receipt proves only those count that are about its own lots. What
is lost on the way stands in the logs, where the program looks when it hears nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.coalescing import Coalescing
from p2pcpn.protocol.granted import Granted
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.lots import RANGE_TASKS
from p2pcpn.protocol.spans import Span, clipped
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.pages import cut, spans_of
from p2pcpn.wire.statements import Receipt, read


class Relaying:
    """See the module: both sides of it. ``granted`` is what this node grants, lots of jobs among it."""

    def __init__(self, granted: Granted) -> None:
        self._granted = granted
        self._coalescing = Coalescing()
        self._said: dict[tuple[bytes, int], m.Standing] = {}  # of lots granted here, by job and epoch
        self._standings: dict[bytes, dict[int, m.Standing]] = {}  # of jobs submitted here, by lot, stems among them

    # --- a grantor says ----------------------------------------------------------------------------------------------

    def relayed(
        self, effects: Iterable[fx.Effect], kept: dict[bytes, Kept], own: dict[bytes, Authority], now: float
    ) -> list[fx.Effect]:
        """What follows from what grantors report: of lots it is told to whoever submitted the job, and what was given
        up of a stem that is granted where the job was submitted, to the grantors of its lots."""
        found: list[fx.Effect] = []
        for effect in effects:
            if isinstance(effect, fx.Notify):
                job = getattr(effect.event, "job", None)
                of = kept.get(job) if isinstance(job, bytes) else None
                if of is not None and of.authority.is_split:
                    found += self._told(effect.event, of, now)
                elif isinstance(effect.event, events.GaveUp) and (mine := own.get(effect.event.job)) is not None:
                    stem = mine.lots.split and mine.lots.is_stem(mine.lots.of(effect.event.indices[0]))
                    found += _gave_up(effect.event, mine, None) if stem else []
        return found

    def _told(self, event: object, kept: Kept, now: float) -> list[fx.Effect]:
        to, job = kept.owner_at, kept.authority.job
        if isinstance(event, events.GaveUp):
            return self._coalescing.of(job, now) + _gave_up(event, kept.authority, to)
        if to is None:
            return []
        if isinstance(event, events.Delivered) and event.entry is not None:
            entry = event.entry
            said = read(entry.receipt, Receipt)
            grantor = self._granted.in_epoch(job, said.epoch)
            if grantor is None:
                return []
            settled = m.Settlement(entry.receipt, entry.page, entry.spans)
            spans = said.spans if entry.spans is None else entry.spans
            return self._coalescing.settled(to, (job, grantor.epoch), settled, spans, now)
        if isinstance(event, events.Started) and event.indices:
            grantor = self._granted.at(job, kept.authority.lots.of(event.indices[0]), kept.authority.lots)
            if grantor is None:
                return []
            running = self._coalescing.started(to, (job, grantor.epoch), event.indices, now)
            return self._taken_over(to, grantor, kept.authority) + running
        if isinstance(event, events.Replicated):
            # It sums up what was settled, and counts once all of that was told.
            standing = self._stand(to, job)
            return self._coalescing.of(job, now) + standing if standing else []
        if isinstance(event, events.Cancelled) and kept.cancel is not None:
            return [*self._coalescing.of(job, now), fx.Tell(to, m.Finish(0, kept.cancel))]
        return []

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        return self._coalescing.deadline()

    def expire(self, now: float) -> list[fx.Effect]:
        """Tell what has waited to be told together."""
        return self._coalescing.expire(now)

    def _stand(self, to: Contact, job: bytes) -> list[fx.Effect]:
        """How safe each lot is, where that is another word than the last: not after each segment that is on its way."""
        effects: list[fx.Effect] = []
        for grantor in self._granted.of(job):
            said = _standing(grantor)
            if said.replicated < said.settled or self._said.get((job, said.epoch)) == said or not grantor.granting:
                continue
            effects += self._say(to, grantor, said)
        return effects

    def _taken_over(self, to: Contact, grantor: Grantor, authority: Authority) -> list[fx.Effect]:
        """That a lot was taken over, ahead of the first word on it: of what runs only its grantor is believed."""
        if authority.is_first(grantor.epoch) or (grantor.job, grantor.epoch) in self._said:
            return []
        return self._say(to, grantor, _standing(grantor))

    def _say(self, to: Contact, grantor: Grantor, said: m.Standing) -> list[fx.Effect]:
        self._said[grantor.job, said.epoch] = said
        if len(self._said) > limits.FORMER_GRANTORS_MAX:
            del self._said[next(iter(self._said))]
        return [fx.Tell(to, said)]

    # --- whoever submitted hears -------------------------------------------------------------------------------------

    def delivered(
        self, own: Authority | None, key: bytes, message: m.Delivery, now: float
    ) -> tuple[list[fx.Effect], PeerError | None]:
        """A grantor settled tasks of a job that was submitted here; and what is wrong with a receipt, where one is not
        right. Raises :class:`PeerError` where they are not its to settle, and none of them counts."""
        grantor = self._submitted(own, key, message.job, message.epoch)
        if grantor is None or own is None:
            return [], None
        named = 0
        for each in message.settled:
            said = read(each.receipt, Receipt)
            spans = said.spans if each.spans is None else each.spans
            named += len(spans)
            if named > limits.BATCH_TASKS_MAX:
                raise PeerError("a grantor settles more runs of tasks than one message may")
            own.require_own(message.epoch, spans, limits.BATCH_TASKS_MAX)
            if own.lots.of_epoch(said.epoch) != own.lots.of_epoch(message.epoch) or said.epoch > message.epoch:
                raise PeerError("a grantor settles tasks by a receipt of an epoch that it cannot have inherited")
        effects: list[fx.Effect] = []
        wrong: PeerError | None = None
        for each in message.settled:
            stated = read(each.receipt, Receipt).spans if each.spans is None else each.spans
            its_own = own.lots.granted_in(message.epoch, stated)
            if its_own != stated:  # who grants the stem hears late, perhaps, that the others are not its to settle
                each = m.Settlement(each.receipt, each.page, its_own)
            try:
                effects += grantor.hear(each, now) if its_own else []
            except PeerError as error:  # those beside it are proved by their own receipts
                wrong = error
        return effects, wrong

    def gave_up(self, own: Authority | None, key: bytes, message: m.GivenUp, now: float) -> list[fx.Effect]:
        """A grantor gave tasks up. Raises :class:`PeerError` where they are not its to give up."""
        effects: list[fx.Effect] = []
        if own is None or not own.is_split or not own.grants(key, message.epoch):
            raise PeerError("tasks are given up by a peer that does not grant them")
        own.require_near(message.epoch)
        own.require_own(message.epoch, message.spans, limits.BATCH_TASKS_MAX)
        if own.is_past(message.epoch):
            return []
        lot, spans = own.lots.of_epoch(message.epoch), own.lots.granted_in(message.epoch, message.spans)
        for grantor in self._granted.of(message.job):
            if not grantor.granting or grantor.book.lot != lot:  # what is granted here is nobody else's to give up
                effects += _not_to_be(grantor, message, spans, now)
        return effects

    def started(self, own: Authority | None, key: bytes, message: m.Progress) -> list[fx.Effect]:
        """Tasks of a job that was submitted here run now. Of others than there are, or than ``key`` grants, nothing is
        heard."""
        grantor = None if own is None else self._granted.whole.get(own.job)
        if own is None or not own.is_split or grantor is None:
            return []
        held = {tenure.lot for tenure in own.held_by(key)}
        there = [index for index in message.started if index < grantor.ledger.total] if held else []
        ranges = {number: own.lots.of_range(number) in held for number in {index // RANGE_TASKS for index in there}}
        started = [index for index in there if ranges[index // RANGE_TASKS]]
        return [fx.Notify(events.Started(message.job, started))] if started else []

    def stands(self, own: Authority | None, key: bytes, message: m.Standing) -> list[fx.Effect]:
        """How safe a lot is; what is said of all of them is what the program hears."""
        grantor = self._submitted(own, key, message.job, message.epoch)
        if grantor is None or own is None:
            return []
        lot = own.lots.of_epoch(message.epoch)
        known = self._standings.setdefault(message.job, {})
        if lot in known and known[lot].epoch > message.epoch:
            return []
        known[lot] = message
        said = known.values()
        done = len(known) == own.lots.count and all(each.done for each in said) and grantor.finished
        copies = min((each.copies for each in said if each.settled), default=0)
        settled, replicated = sum(each.settled for each in said), sum(each.replicated for each in said)
        wanted = own.spec.replicas
        return [fx.Notify(events.Replicated(message.job, settled, replicated, copies, wanted, done))]

    def forget(self, job: bytes) -> None:
        """The program needs the job no more."""
        self._standings.pop(job, None)

    def _submitted(self, own: Authority | None, key: bytes, job: bytes, epoch: int) -> Grantor | None:
        """Who stands here for a job that others grant. Raises :class:`PeerError` unless ``key`` grants in ``epoch``."""
        if own is None or not own.is_split:
            return None
        own.require_near(epoch)
        own.take_over(key, epoch)
        return self._granted.whole.get(job)


def _gave_up(event: events.GaveUp, authority: Authority, owner: Contact | None) -> list[fx.Effect]:
    """Also to those who grant tasks that take these results."""
    tenure = authority.tenures[authority.lots.of(event.indices[0])]
    others = [s.contact for s in authority.spec.stewards if s.key != tenure.grantor]
    effects: list[fx.Effect] = []
    for at in range(0, len(event.indices), limits.BATCH_TASKS_MAX):
        spans = spans_of(event.indices[at : at + limits.BATCH_TASKS_MAX])
        text = event.text[: limits.REASON_CHARS_MAX]
        said = m.GivenUp(authority.job, tenure.epoch, spans, text, event.died, event.signal, event.exit_code)
        effects += [fx.Tell(to, said) for to in [owner, *others] if to is not None]
    return effects


def _not_to_be(grantor: Grantor, message: m.GivenUp, spans: list[Span], now: float) -> list[fx.Effect]:
    """Tasks that others grant have no results: for the program, and for tasks that would take them."""
    spans = clipped(spans, grantor.ledger.total)
    failed = cut(grantor.book.failed_elsewhere(spans, "was given up"))
    said = events.GaveUp(message.job, failed, message.text, message.died, message.signal, message.exit_code)
    submitted = not grantor.granting or grantor.custody.together is not None
    told: list[fx.Effect] = [fx.Notify(said)] if failed and submitted else []
    return told + grantor.settled_elsewhere([], now)  # who waited for them may run


def _standing(grantor: Grantor) -> m.Standing:
    """How much of what is settled here lies on enough holders."""
    custody = grantor.custody
    copies = min(custody.copies.whole, (1 << 32) - 1)
    return m.Standing(grantor.job, grantor.epoch, grantor.log.settled, custody.replicated, copies, custody.done)
