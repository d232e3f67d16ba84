"""The book of a grantor: ledger, leases, participants and stock, kept in step.

What one of them learns the others must: a task that ends leaves the ledger's line, the lease that owes it, the count
of the peer that holds it and the page it came from. Every such change is one method here, so that no two of them ever
disagree.

A task may be *doubled*: owed under two live leases, to two peers. It is leased once in the ledger and held by both
peers. Whichever lease ends first without a result takes nothing away; the first receipt settles, and who lost the race
is told at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from p2pcpn.protocol.backoff import BASE_S, CAP_S, Backoff
from p2pcpn.protocol.blame import Blame
from p2pcpn.protocol.breakers import Breakers
from p2pcpn.protocol.dependencies import Dependencies, Known, Needs
from p2pcpn.protocol.leases import LeaseHeld, Leases
from p2pcpn.protocol.ledger import FAILED, SETTLED, WAITING, Ledger
from p2pcpn.protocol.lots import Lots
from p2pcpn.protocol.participants import Participant, Participants
from p2pcpn.protocol.retry_budget import RetryBudget
from p2pcpn.protocol.spans import Span, covers, joined, overlap, total, without
from p2pcpn.protocol.speeds import Speeds
from p2pcpn.protocol.stock import Stock
from p2pcpn.protocol.witness import Witness
from p2pcpn.protocol.work import tokens_from


@dataclass(frozen=True, slots=True)
class Outrun:
    """Tasks that another lease settled while ``peer`` had them, running since then at most."""

    peer: Participant
    spans: list[Span]
    since: float


class Book:
    """See the module. ``retries``: how often a task may lose its peer and wait again. It is the book of one ``lot`` of
    ``lots``: tasks of the others stand in it, and are leased to nobody.

    The ``witness``, where there is one, notes every lease and its end.
    """

    __slots__ = (
        "dependencies", "ledger", "leases", "lot", "lots", "participants", "stock", "speeds", "doubled", "hedges_won",
        "backoff", "blame", "budget", "_retries", "_witness",
    )  # fmt: skip

    def __init__(
        self,
        retries: int,
        slots_max: int,
        *,
        runtime: str,
        breakers: Breakers,
        rng: random.Random,
        now: float,
        witness: Witness | None = None,
        lots: Lots | None = None,
        epoch: int = 0,
    ) -> None:
        self.lots = lots or Lots(b"")
        self.lot = self.lots.of_epoch(epoch)
        self.ledger = Ledger()
        # Of a lot the tokens of each are those that leave its number over.
        step = self.lots.count
        self.leases = Leases(self.lot + (tokens_from(rng) // step * step if epoch else 0), step)
        self.participants = Participants(slots_max, ranked=self.lots.is_stem(self.lot))
        self.blame = Blame(runtime, breakers, self.ledger, self.participants)
        self.stock = Stock()
        self.speeds = Speeds()
        self.doubled: dict[int, tuple[int, int]] = {}  # index -> the tokens of its two live leases, the older first
        self.hedges_won = 0  # tasks that the younger of two leases settled
        self.dependencies = Dependencies()
        self.backoff = Backoff(rng)
        self.budget = RetryBudget(now)
        self._retries = retries
        self._witness = witness

    # --- leases --------------------------------------------------------------------------------------------------

    def lease(self, peer: Participant, count: int, until: float, since: float = 0.0) -> int | None:
        """Lease at most ``count`` waiting tasks to ``peer``; the token, or none where nothing waits for it."""
        spans = self.ledger.take(count, peer.node)
        return self._granted(peer, spans, until, since) if spans else None

    def foresee(self, token: int, spans: list[Span]) -> None:
        """A lease gives its peer tasks, too, that do not exist yet."""
        if self._witness is not None:
            self._witness.foresaw(token, spans)

    def further(self, token: int, peer: Participant, first: int, until: float, since: float) -> list[Span]:
        """The one task that waits is owed under ``token``, a lease from ``first`` on that owes nothing else now."""
        assert self.ledger.waiting == 1
        fresh = self.ledger.take(1, peer.node)
        self.leases.further(token, peer.node, [(first, fresh[0][0] + 1 - first)], fresh, until, since)
        peer.tokens[token] = None
        self.participants.hold(peer, 1)
        if self._witness is not None:
            self._witness.furthered(token, fresh, until)
        return fresh

    def hedge(self, token: int, index: int, peer: Participant, until: float, since: float) -> int:
        """A second lease, to ``peer``, of a task that is owed under the live lease ``token`` alone; its token."""
        assert index not in self.doubled and self.leases.live[token].peer != peer.node
        second = self._granted(peer, [(index, 1)], until, since, hedge=True)
        self.doubled[index] = token, second
        return second

    def _granted(self, peer: Participant, spans: list[Span], until: float, since: float, *, hedge: bool = False) -> int:
        token = self.leases.grant(peer.node, spans, until, since, hedge=hedge)
        peer.tokens[token] = None
        self.participants.hold(peer, total(spans))
        if self._witness is not None:
            self._witness.leased(token, peer.node, spans, until, copy=hedge)
        return token

    def renew(self, token: int, until: float) -> None:
        """A peer spoke of its live lease."""
        self.leases.renew(self.leases.live[token], until)
        if self._witness is not None:
            self._witness.renewed(token, until)

    def _owes_no_more(self, token: int, spans: list[Span], why: str) -> None:
        """``spans``, owed under the live lease ``token``, have ended or wait again."""
        if self._witness is not None:
            self._witness.ended(token, spans, why)
        lease = self.leases.live[token]
        peer = self.participants.peers[lease.peer]
        owed = lease.remaining
        self.leases.fulfil(token, spans)
        self.participants.hold(peer, lease.remaining - owed)  # by what it really owes less: the two never disagree
        if token not in self.leases.live:
            del peer.tokens[token]
        self._forget(peer, spans)
        if not peer.held:
            self.blame.undecided(peer)

    def _forget(self, peer: Participant, spans: list[Span]) -> None:
        """``peer`` holds ``spans``, joined, no more."""
        if self.doubled:
            for index in _within(self.doubled, spans):
                del self.doubled[index]
        if peer.started:
            for index in _within(peer.started, spans):
                del peer.started[index]

    def give_back(self, token: int, spans: Sequence[Span]) -> None:
        """What of ``spans`` a lease still owes waits again, uncharged; not what another lease owes, too."""
        owed = self._owed(token, spans)
        if owed:
            self.ledger.give_back(self._alone(owed))
            self._owes_no_more(token, owed, "returned")

    def _owed(self, token: int, spans: Sequence[Span]) -> list[Span]:
        lease = self.leases.live.get(token)
        return [] if lease is None else joined(overlap(spans, lease.open))

    def _alone(self, spans: list[Span]) -> list[Span]:
        """``spans``, joined, less those that are doubled."""
        twice = _within(self.doubled, spans) if self.doubled else []
        return without(spans, [(index, 1) for index in twice]) if twice else spans

    def _end_lease(self, token: int, why: str) -> list[Span]:
        """A live lease ends unfulfilled; returned is what it alone owed, of which the ledger is to hear."""
        lease = self.leases.end(token)
        if self._witness is not None:
            self._witness.ended(token, lease.open, why)
        peer = self.participants.peers[lease.peer]
        self.participants.hold(peer, -lease.remaining)
        del peer.tokens[token]
        alone = self._alone(lease.open)
        self._forget(peer, lease.open)
        if not peer.held:
            self.blame.undecided(peer)
        return alone

    def lose_lease(self, token: int, now: float) -> list[int]:
        """A live lease is lost and charged to its tasks, which rest before they run again; those whose budget is spent
        have failed and are returned."""
        lost = self._end_lease(token, "lost")
        over = self.ledger.lose(lost, self._retries)
        self.ledger.rest(lost)
        self.fail([(index, 1) for index in over])
        for losses, spans in self.ledger.losses_of(without(lost, [(index, 1) for index in over])).items():
            self.backoff.wait(spans, losses, now)
        return over

    def retry(
        self, token: int, spans: Sequence[Span], failures: int, now: float, *, base_s: float = BASE_S,
        cap_s: float = CAP_S,
    ) -> None:  # fmt: skip
        """What of ``spans`` a lease still owes failed so often and rests; not what another owes, too."""
        owed = self._owed(token, spans)
        if owed:
            alone = self._alone(owed)
            self.ledger.rest(alone)
            self.backoff.wait(alone, failures, now, base_s=base_s, cap_s=cap_s)
            self._owes_no_more(token, owed, "returned")

    def wake(self, now: float) -> None:
        """What has rested long enough waits again, as far as the job's budget allows."""
        at = self.backoff.deadline()
        if at is not None and at <= now:
            self.budget.spend(self.ledger.wake(self.backoff.due(now, self.budget.left(now))))

    def wakes_at(self) -> float | None:
        """When :meth:`wake` has something to do."""
        at = self.backoff.deadline()
        return None if at is None else max(at, self.budget.again_at())

    def relieve(self, peer: Participant) -> None:
        """What a peer holds waits again, uncharged."""
        for token in list(peer.tokens):
            self.ledger.give_back(self._end_lease(token, "relieved"))

    def cede(self, first: int, count: int) -> None:
        """Of ``count`` tasks that have just come, others grant those that are not in our lot."""
        others = self.lots.others(self.lot, first, count)
        self.ledger.cede(others)
        self.stock.ended(others)

    def divide(self) -> None:
        """The job was divided: what lies behind its stem and is not leased others grant."""
        behind = self.lots.first
        if behind is None or not self.lots.is_stem(self.lot):
            return
        ceded = self.ledger.unbegun_of([(behind, self.ledger.total - behind)])
        self.ledger.cede(ceded)
        self.stock.ended(ceded)
        self.dependencies.ended(ceded)

    def reconcile(self) -> None:
        """The ledger learned what an earlier epoch settled: the stock forgets its pages."""
        self.stock.keep_only(self.ledger.states, SETTLED)
        states = self.ledger.states
        self.dependencies.ended([(index, 1) for index in self.dependencies.needs if states[index] >= SETTLED])

    # --- tasks that take results ---------------------------------------------------------------------------------

    def need(self, needs: Needs) -> None:
        """Tasks that have just come take results: they are held back until these are there."""
        if self.ledger.ceded:
            needs = [each for each in needs if self.ledger.states[each[0]] == WAITING]
        self.ledger.hold(self.dependencies.add(needs))

    def count(self, result: Callable[[int], Known | None]) -> None:
        """See :meth:`Dependencies.count`."""
        self.ledger.release(self.dependencies.count(result))

    def look_up(self, indices: Sequence[int] | None = None) -> list[int]:
        """Results that are wanted (of ``indices``, or all) and whose tasks have ended; returns those that the log has
        to be read for."""
        ready, lacking = self.dependencies.look_up(self.ledger.states, indices)
        self.ledger.release(ready)
        return lacking

    # --- ends ----------------------------------------------------------------------------------------------------

    def settle(self, lease: LeaseHeld, token: int, spans: list[Span]) -> tuple[list[Span], list[Outrun]]:
        """Settle ``spans`` where ``lease`` owes them or where they wait: what was settled by it, and who lost a race.

        Who held one of those tasks under another lease owes it no more.
        """
        settled = self.ledger.settle(spans)
        self.stock.ended(settled)
        outrun = self._outrun(token, settled) if self.doubled else []
        self.dependencies.ended(settled)
        if token in self.leases.live:
            owed = settled if settled == lease.open else joined(overlap(settled, lease.open))
            if owed:
                self._owes_no_more(token, owed, "settled")
        return settled, outrun

    def _outrun(self, winner: int, settled: list[Span]) -> list[Outrun]:
        """Other leases owe no more what the lease ``winner`` settled."""
        lost: dict[int, list[Span]] = {}
        for index in _within(self.doubled, joined(settled)):
            self.hedges_won += winner == self.doubled[index][1]
            for token in self.doubled[index]:
                if token != winner:
                    lost.setdefault(token, []).append((index, 1))
        found: list[Outrun] = []
        for token, spans in lost.items():
            lease = self.leases.live[token]
            peer = self.participants.peers[lease.peer]
            found.append(Outrun(peer, joined(spans), max(lease.since, peer.pace.heard_at)))
            self._owes_no_more(token, found[-1].spans, "beaten")
        return found

    def fail(self, spans: list[Span], why: str = "lost its peers too often") -> None:
        """Waiting tasks end without a result; those that take their results hear ``why``."""
        failed = self.ledger.fail(spans)
        self.stock.ended(failed)
        self.dependencies.ended(failed)
        self.ledger.release(self.dependencies.failed(failed, why))

    def cancel(self, spans: Sequence[Span]) -> list[tuple[Participant, list[Span]]]:
        """Cancel what is open of ``spans``; returns who held what of it."""
        cancelled = self.ledger.cancel(spans)
        self.ledger.release(self.dependencies.failed(cancelled, "was cancelled"))
        if self._witness is not None and cancelled:
            self._witness.dropped(cancelled)
        return self._withdrawn(cancelled)

    def settled_elsewhere(self, spans: Sequence[Span]) -> list[tuple[Participant, list[Span]]]:
        """Another grantor of the job settled ``spans``; returns who held what of them here."""
        self.ledger.note_elsewhere(spans)
        return self._withdrawn(self.ledger.settle(spans))

    def failed_elsewhere(self, spans: Sequence[Span], why: str) -> list[Span]:
        """Whoever grants ``spans`` gave them up; returns those that are news, where nothing of it is leased."""
        failed = self.ledger.fail(spans)
        self.stock.ended(failed)
        self.dependencies.ended(failed)
        noted = self.ledger.note_elsewhere(spans, FAILED)
        self.ledger.release(self.dependencies.failed(spans, why))
        return failed + noted

    def settled_there(self, spans: Sequence[Span]) -> list[Span]:
        """Whoever grants ``spans`` settled them, which are leased to nobody here; returns those that are news."""
        return self.settle_waiting(spans) + self.ledger.note_elsewhere(spans)

    def settle_waiting(self, spans: Sequence[Span]) -> list[Span]:
        """Settle what waits of ``spans``, under no lease of ours; returns what was settled by it."""
        settled = self.ledger.settle(self.ledger.unleased_of(spans))
        self.stock.ended(settled)
        self.dependencies.ended(settled)
        return settled

    def reopen(self, witness: Witness | None) -> None:
        """Another epoch begins with this book, in which nothing is leased."""
        self._witness = witness

    def _withdrawn(self, ended: list[Span]) -> list[tuple[Participant, list[Span]]]:
        """These have ended, whoever held them."""
        self.stock.ended(ended)
        self.dependencies.ended(ended)
        if not self.leases.live:
            return []
        ended = joined(ended)
        held: list[tuple[Participant, list[Span]]] = []
        for token, lease in list(self.leases.live.items()):
            hit = joined(overlap(ended, lease.open))
            if hit:
                held.append((self.participants.peers[lease.peer], hit))
                self._owes_no_more(token, hit, "cancelled")
        return held


def _within(indices: Iterable[int], spans: Sequence[Span]) -> list[int]:
    """Those of a few ``indices`` that lie within the joined ``spans``, sorted."""
    return sorted(index for index in indices if covers(spans, [(index, 1)]))
