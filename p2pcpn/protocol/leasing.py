"""Leasing: who gets the next batch, what is taken back for those who idle, and when more peers are called for.

A peer gets one batch whenever something changed for it: it brought results, it was taken, or tasks came to wait. So
batches follow what is observed, and at the tail of a job they shrink instead of going to whoever asked first.

When nothing waits any more and a slot idles, it is looked, soon, who holds more than a fair share that he will not run
at once, and that is asked back. The peer itself picks what it has not started, so a recall never runs a task twice.
"""

from __future__ import annotations

import math
from itertools import repeat

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.calling import Calling
from p2pcpn.protocol.checkpoints import Checkpoints
from p2pcpn.protocol.effects import Effect, Spread, Tell
from p2pcpn.protocol.foresight import Foresight
from p2pcpn.protocol.hedging import Hedge, Hedging
from p2pcpn.protocol.ledger import LEASED
from p2pcpn.protocol.participants import NOT_CROWDED, UNSTARTED_S, Participant, least_loaded
from p2pcpn.protocol.placement import Placement
from p2pcpn.protocol.spans import Span
from p2pcpn.protocol.supply import Supply
from p2pcpn.protocol.witness import Witness
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Extend, Further, Grant, Input, Inputs, Recall
from p2pcpn.wire.sealing import JobKeys
from p2pcpn.wire.statements import Lease, Offer, Spec, signed

# So many hear an offer for each that can still take part: of them some are busy, or nearer to another grantor.
HEAR_A_SEAT = 2
# An offer states no more, however much waits.
SLOTS_WANTED_MAX = (1 << 32) - 1
# It is looked this soon who might give tasks back, then after twice that each time: the tail of a job of short tasks is
# over by the first look, that of long ones costs a look a second.
LOOK_S = 0.005
LOOK_S_MAX = 1.0
# And no sooner than this for each participant: of five hundred somebody comes to idle each few milliseconds, and each
# look goes through all of them.
LOOK_PEER_S = 50e-6
# What will wait no longer than this is left where it is: to move it takes as long.
BEHIND_S = 0.01
# A task that a peer did not begin is left for so many times twice as long where it went.
MOVED_MAX = 1
# Who takes part in a job that was taken over brings first what it ran for an earlier grantor, and what it runs just now
# if that is short: without this all of it would be leased, and run, again.
HEAR_S = 0.15
# A peer that was asked for tasks is not asked again for so long, unless it answers sooner.
ANSWER_S = 0.1


class Leasing:
    """See the module. One object a grantor."""

    def __init__(
        self,
        *,
        job: bytes,
        epoch: int,
        me: Keypair,
        contact: Contact,
        owner: bytes,
        spec: Spec,
        keys: JobKeys,
        book: Book,
        supply: Supply,
        checkpoints: Checkpoints,
        witness: Witness | None = None,
    ) -> None:
        self._job = job
        self._epoch = epoch
        self._inherits = not book.lots.is_first(epoch)  # there was another grantor before
        self._me = me
        self._contact = contact
        self._owner = owner
        self._spec = spec
        self._keys = keys
        self._book = book
        self._supply = supply
        self._checkpoints = checkpoints
        self._witness = witness
        self._calling = Calling()
        self._placement = Placement(book.ledger, book.participants, book.speeds)
        self.foresight = Foresight(book, self._placement)
        self.hedging = Hedging(book, self._placement, allowed=spec.hedge)
        self._look_at: float | None = None
        self._look_s = LOOK_S
        self._idle = 0  # slots, when it was last noticed that some do
        self._hearing: list[Participant] = []  # taken not long ago, where there was another grantor before

    def work(self, now: float, spoke: Participant | None = None, *, recalled: int = 0) -> list[Effect]:
        """Take claims, lease what waits to whom it suits, and call for more claims where they are too few.

        ``spoke``: only this peer's needs can have changed. ``recalled``: what came to wait is for those who idle, and
        was given back so often.
        """
        self._book.wake(now)
        ledger, peers = self._book.ledger, self._book.participants
        if not ledger.waiting:
            if not ledger.leased:
                self._placement.over()
            self._all_leased(now)
            return []
        self._look_at, self._look_s, self._idle = None, LOOK_S, 0
        foreseen = self.foresight.take(now)
        if foreseen is not None:
            self._all_leased(now)
            return self._say(*foreseen[:2])
        peers.uncrowd(now)
        stuck = ledger.stuck(peers.taken()) if ledger.barred_waiting else []
        promoted = peers.promote(ledger.waiting, stuck, now)
        effects = self._introduced(promoted, now)
        self._placement.passed(now)
        outlook = self._placement.near_end(now)
        if outlook is not None and peers.slots_idle:
            effects += self._hedged(self.hedging.ahead(outlook), now)
        for peer in peers.hungry() if spoke is None or promoted else [spoke]:
            if not peer.taken or not peer.ready or (recalled and not peers.idles(peer)):
                continue
            if outlook is None or not self._placement.waits(peer, outlook, now):
                effects += self._grant(peer, now, recalled)
                if not ledger.waiting:
                    break
        # Whoever can take nobody calls nobody: a whole swarm would claim in vain. What came back waits for who is here.
        if peers.seats <= 0 or recalled or (peers.wanted(ledger.waiting) <= 0 and not ledger.barred_waiting):
            self._calling.satisfied()
        else:
            effects += self._call(ledger.waiting, now)
        if not ledger.waiting:  # the tasks may be long, and nobody say anything for as long
            self._all_leased(now)
        return effects

    def _introduced(self, promoted: list[Participant], now: float) -> list[Effect]:
        """The job, to those who have just been taken. Where there was another grantor before they are heard first."""
        effects: list[Effect] = []
        for peer in promoted:
            peer.ready = True
            effects += self._supply.introduce(peer)
            if self._inherits:
                peer.hear_until = now + HEAR_S
                self._hearing.append(peer)
        if self._hearing:
            self._hearing = [peer for peer in self._hearing if peer.hear_until > now and peer.slots]
        return effects

    def _all_leased(self, now: float) -> None:
        """Nothing waits: who may idle, or comes to do so, is looked after soon."""
        peers = self._book.participants
        if self._look_at is None:
            self._calling.satisfied()
            if self._book.ledger.leased:
                self._look_at = now + max(self._look_s, self._soon_s)
        if peers.slots_idle > self._idle:
            self.hasten(now)
        self._idle = peers.slots_idle

    def _grant(self, peer: Participant, now: float, moved: int = 0) -> list[Effect]:
        """One batch for ``peer``, or nothing when it has enough."""
        if now < peer.hear_until:
            return []
        count = peer.pace.batch(peer.held, self._book.ledger.waits_for(peer.node), self._book.participants.slots)
        count = min(count, self._book.blame.may_have(peer.node, now))
        idle = not peer.held
        token = self._book.lease(peer, count, now + limits.LEASE_S, now) if count else None
        if token is None:
            return []
        self._book.leases.live[token].moved = moved
        self._book.blame.leased(peer, now)
        if self._book.dependencies.needs:
            self._fit(token)
        if idle:
            peer.pace.heard_at = now
        self.foresight.leased(peer, token, now)
        return self._say(peer, token)

    def _fit(self, token: int) -> None:
        """A lease names no more results than travel at a time: what is beyond waits again."""
        spans = self._book.leases.live[token].open
        left = self._book.dependencies.fitting(spans)
        beyond: list[Span] = []
        for first, count in spans:
            taken = min(count, left)
            left -= taken
            if taken < count:
                beyond.append((first + taken, count - taken))
        self._book.give_back(token, beyond)

    def _inputs(self, peer: Participant, token: int, spans: list[Span]) -> list[Effect]:
        """What the tasks of a lease take, told before it."""
        inputs = self._supply.inputs(self._book.dependencies.named(spans), self._book.participants.peers)
        effects: list[Effect] = []
        some: list[Input] = []
        size_bytes = 0
        for each in inputs:
            size = len(each.value) if isinstance(each.value, bytes) else 0
            if some and (len(some) == limits.INPUTS_AT_ONCE_MAX or size_bytes + size > limits.INPUTS_AT_ONCE_BYTES):
                effects.append(Tell(peer.contact, Inputs(self._job, self._epoch, token, some)))
                some, size_bytes = [], 0
            some.append(each)
            size_bytes += size
        if some:
            effects.append(Tell(peer.contact, Inputs(self._job, self._epoch, token, some)))
        return effects

    def _say(self, peer: Participant, token: int) -> list[Effect]:
        """The lease for what ``token`` still owes, and ahead of it what the peer lacks."""
        held = self._book.leases.live[token]
        spans = held.open
        slices, effects = self._supply.ahead_of(peer, spans)
        extend = None
        if effects and isinstance(last := effects[-1], Tell) and isinstance(last.message, Extend):
            extend, effects = last.message, effects[:-1]
        if held.further:  # the peer has the lease, or says that it has not
            return [*effects, Tell(peer.contact, Further(self._job, self._epoch, token, slices, extend))]
        if self._book.dependencies.needs:
            effects += self._inputs(peer, token, spans)
        first, count = spans[-1]
        given = [*spans[:-1], (first, count + self.foresight.beyond(token))]
        lease = signed(Lease(self._job, self._epoch, token, peer.node, given), self._me)
        key = self._keys.results(self._epoch, self._me.id, token)
        grant = Grant(lease, slices, key, self._keys.digests, self._keys.code, peer.slots, extend)
        resumes = self._checkpoints.ahead_of(token, key, spans)
        return [*effects, *(Tell(peer.contact, resume) for resume in resumes), Tell(peer.contact, grant)]

    def resume(self, peer: Participant) -> list[Effect]:
        """Introduce a peer again, for it may have restarted, and say its leases again: those it knows it ignores."""
        effects = self._supply.introduce(peer)
        self.foresight.other()
        for token in peer.tokens:
            effects += self._say(peer, token)
        return effects

    def _call(self, waiting: int, now: float) -> list[Effect]:
        """An offer of ``waiting`` tasks, here or at others, where it is time for one: to as many as are wanted, and not
        to thousands who would find it full."""
        said, peers = self._spec, self._book.participants
        wanted = max(1, min(peers.wanted(waiting), SLOTS_WANTED_MAX))
        far = min(wanted, HEAR_A_SEAT * peers.seats)
        if not self._calling.wanted(now, far):
            return []
        if self._witness is not None:
            self._witness.offered(self._calling.number)
        offer = Offer(
            self._job, self._owner, self._epoch, self._contact, self._calling.number, said.runtime, said.python,
            list(said.requires), said.memory_bytes, waiting, wanted, self._calling.stands_s, said.priority,
            self._book.lot, min(peers.slots, SLOTS_WANTED_MAX),
        )  # fmt: skip
        return [Spread(offer, self._calling.hops(far))]

    # --- taking back -------------------------------------------------------------------------------------------

    def expire(self, now: float) -> list[Effect]:
        """Look whether somebody holds what others could run; asked-for tasks come back as a :class:`Return`."""
        if self._look_at is None or now < self._look_at:
            return []
        ledger, peers = self._book.ledger, self._book.participants
        self._look_at = None
        peers.uncrowd(now)
        if ledger.waiting or not ledger.leased:
            return []
        self._look_s = min(2 * self._look_s, LOOK_S_MAX)
        self._look_at = now + max(self._look_s, self._soon_s)
        self._placement.passed(now)
        behind, more_at = self._behind(now)
        if more_at < self._look_at:
            self._look_at = max(now + self._soon_s, more_at)
        elif not behind and not peers.unused:  # all run, as far as is known, and nobody could take one
            self._look_at = None
            return []
        if not behind:
            return self._hedge(now) if peers.unused else []
        slots = peers.slots + peers.slots_standing_by(now)
        if not peers.slots_idle and slots == peers.slots:  # somebody else in the swarm might
            return self._call(sum(map(self._unstarted, behind, repeat(now))), now) if peers.seats > 0 else []
        if slots == peers.slots and peers.slots_idle <= self._slots_held_back(now):
            return []
        return self._recall(behind, slots, now)

    def _slots_held_back(self, now: float) -> int:
        """How many slots idle on purpose, and when that is over it is looked again."""
        outlook = self._placement.near_end(now)
        if outlook is None:
            return 0
        idle = [p for p in self._book.participants.ready() if not p.held and p.crowded_until == NOT_CROWDED]
        found = sum(peer.slots for peer in idle if self._placement.waits(peer, outlook, now))
        until = self._placement.deadline()
        if until is not None and self._look_at is not None:
            self._look_at = max(now + self._soon_s, min(self._look_at, until))
        return found

    def _recall(self, behind: list[Participant], slots: int, now: float) -> list[Effect]:
        """Ask those for tasks who hold more than their part, of so many slots."""
        effects: list[Effect] = []
        silent = any(now >= peer.asked_until > peer.pace.heard_at for peer in behind)
        for peer in behind:
            fair = self._book.ledger.leased * peer.slots // max(slots, 1)
            count = min(self._unstarted(peer, now), max(peer.held - fair, 1))
            if count and now >= peer.asked_until:
                peer.asked_until = now + ANSWER_S + peer.pace.rtt_s
                effects.append(Tell(peer.contact, Recall(self._job, min(count, limits.BATCH_TASKS_MAX))))
        return effects + self._hedge(now) if silent else effects  # who was asked and does not answer holds nobody up

    def _hedge(self, now: float) -> list[Effect]:
        """Nothing can be taken back: what will end last runs twice."""
        hedges, again_at = self.hedging.look(now)
        if again_at is not None and self._look_at is not None:
            self._look_at = max(min(self._look_at, again_at), now + self._soon_s)
        if hedges and self._look_at is not None:  # their slots may run others' tasks by now
            self._look_at = min(self._look_at, now + UNSTARTED_S + self._soon_s)
        return self._hedged(hedges, now)

    def _hedged(self, hedges: list[Hedge], now: float) -> list[Effect]:
        """Second leases, said."""
        effects: list[Effect] = []
        for hedge in hedges:
            self.foresight.other()
            if not hedge.peer.held:
                hedge.peer.pace.heard_at = now
            effects += self._say(hedge.peer, self.hedging.lease(hedge, now + limits.LEASE_S, now))
        return effects

    def hasten(self, now: float) -> None:
        """Somebody is there who may idle: the next look is soon."""
        self._look_s = LOOK_S
        if self._look_at is not None:
            self._look_at = min(self._look_at, now + self._soon_s)

    @property
    def _soon_s(self) -> float:
        """After how long it is looked again at the soonest."""
        return max(LOOK_S, LOOK_PEER_S * len(self._book.participants.peers))

    def _behind(self, now: float) -> tuple[list[Participant], float]:
        """Who has tasks that wait there and will do so for a while, the least loaded first; and when more can be taken
        back, or somebody to take it, though nothing is heard until then: tasks will be known to wait at a peer, or its
        slots, crowded now, count again."""
        behind: list[Participant] = []
        more_at = math.inf
        for peer in self._book.participants.peers.values():
            if not peer.taken or not peer.ready or peer.crowded_until == math.inf:
                continue
            if peer.crowded_until > now:
                more_at = min(more_at, peer.crowded_until)
            if not peer.held:
                continue
            if self._unstarted(peer, now):
                behind.append(peer)
            if len(peer.started) < peer.held:
                silent_s, patience_s = peer.pace.silent_s(now), self._patience_s(peer)
                if silent_s < patience_s:
                    soon = peer.held > peer.slots and silent_s <= BEHIND_S
                    more_at = min(more_at, now - silent_s + (BEHIND_S if soon else patience_s))
        return least_loaded(behind), more_at

    def _unstarted(self, peer: Participant, now: float) -> int:
        """How many tasks wait at a peer and will do so for a while."""
        if not peer.held:
            return 0
        over = peer.held - peer.slots
        if over < 0 or peer.pace.behind_s(peer.held, now) <= BEHIND_S:
            over = 0
        if peer.pace.silent_s(now) < self._patience_s(peer):
            return over
        states = self._book.ledger.states
        for index in [index for index in peer.started if states[index] != LEASED]:
            del peer.started[index]
        return max(over, peer.held - len(peer.started))

    def _patience_s(self, peer: Participant) -> float:
        """After how long a task that a peer did not begin is known to wait there. Tasks that others had not begun
        either are left for twice as long each time: where all are busy with other lots nobody would begin them."""
        live = self._book.leases.live
        moved = max([live[token].moved for token in peer.tokens], default=0)
        return UNSTARTED_S * 2.0 ** min(moved, MOVED_MAX) + peer.dialled_s

    def deadline(self) -> float | None:
        """When the next offer is due, or what rested runs again: :meth:`work`. Or the next look: :meth:`expire`."""
        times = [self._book.wakes_at()]
        if self._book.ledger.waiting:
            times += [self._calling.deadline(), self._placement.deadline()]
            times.append(min((peer.hear_until for peer in self._hearing), default=None))
        else:
            times.append(self._look_at)
        return min((time for time in times if time is not None), default=None)
