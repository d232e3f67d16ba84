"""Offers heard: wait a moment that grows with load and round trip, then claim. The nearest idle peers speak first.

There is one :class:`Interest` for a job (or a lot of it) and a grantor: nobody can push another's offer of a job aside.
Lots of one job are claimed one after the other, and none by who is kept busy by another, unless its grantor goes on
calling. Whoever claimed all at once would be sent more than its part by each of their grantors, while others come too
late for all of them, and would hold a session with each, of which a grantor has a bounded number. Who is not answered
soon claims the next one: a grantor that a whole swarm claims at answers hellos at a bounded pace.
Who does not claim says nothing on the wire, but remembers why, for ``explain``.

::

    heard ──admission──> declined
      └──> waiting ──timer──> claiming ──reply──> taken / standby / unwanted
             ^── busy: look again ──┘   ├─ no reply: ask again, then unwanted
             ^── another lot, meanwhile ┘
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol.admission import Rules, reason_against
from p2pcpn.protocol.demand import Demand
from p2pcpn.protocol.effects import Effect, Send
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import ClaimReply, ClaimRequest
from p2pcpn.wire.statements import Claim, Offer, signed

# A peer at full load waits this long; an idle one its round trip. Long enough that on a wide network the idle speak
# first, short enough that a busy swarm still starts a job within half a second.
LOAD_WAIT_S = 0.4
# How often it is looked whether that is over; of a job in lots each is looked at in turn.
BUSY_WAIT_S = 0.25
# A greeting may come first, whose hellos are said again by themselves.
REPLY_WAIT_S = 0.5
# How often it is looked whether a claim was refused while another lot of the job waits for that, beside a round trip.
REFUSED_S = 0.05
# From a claim to its verdict a greeting and the claim go there and back, from the verdict to the first lease a session
# is dialled and the job introduced: so many round trips, and a moment, for most grantors are strangers whose round trip
# is not known. Who has a lease by then is busy, and who has none, or no verdict, claims the next lot.
SOON_ROUNDTRIPS, SOON_S = 5.0, 0.25
# A grantor that still calls so long after it was heard first has seats that nobody takes.
LACKING_S = 1.0
# And so many times as many tasks must wait there for each slot that it fills: lots differ by less from the beginning,
# and each seat at another costs a greeting, a claim, a session, and leases that wait behind those of others.
LACKING_TIMES = 2.0
TRIES_MAX = 4
# A decline that the spec or a segment showed stands for so long: further offers of the job would show the same.
DECLINED_S = 60.0
OFFER_TTL_S_MAX = 60.0
# In which order states of several grantors of one job are told: what is nearest to taking part first.
TELLING = ("taken", "standby", "claiming", "waiting", "declined", "unwanted")
VERDICTS = (
    ("taken", "takes part"), ("standby", "stands by"), ("unwanted", "is not needed"), ("unwanted", "the job is over"),
)  # fmt: skip

Key = tuple[bytes, bytes, int]  # job, grantor, lot


@dataclass(frozen=True, slots=True)
class Capacity:
    """What this peer has to give now. ``queued`` counts tasks that wait for a slot here."""

    slots: int
    running: int
    queued: int
    load: float


@dataclass(slots=True, eq=False)
class Interest:
    """What this peer makes of one grantor's job."""

    offer: Offer
    state: str  # one of TELLING
    text: str
    until: float  # when the offer lapses, or a decline is looked at again
    at: float | None = None
    tries: int = 0
    nonce: int | None = None
    heard_at: float = 0.0
    lacking: bool = False  # its grantor goes on calling
    said_at: float = 0.0  # when it was claimed, and then when its grantor's verdict came


class Offers:
    """See the module. ``capacity()`` and ``rtt_s(node)`` tell this peer's load and its distance to a grantor.

    ``sated(owner, priority)``: whether more work of that owner would get nothing more of a busy peer. Who is not is not
    kept waiting until others have no work left.
    """

    def __init__(
        self,
        *,
        me: Keypair,
        contact: Callable[[], Contact],
        boot: int,
        rules: Rules,
        capacity: Callable[[], Capacity],
        rtt_s: Callable[[bytes], float],
        rng: random.Random,
        sated: Callable[[bytes, int], bool] = lambda owner, priority: True,
    ) -> None:
        self.me = me
        self.contact = contact
        self.boot = boot
        self.rules = rules
        self.capacity = capacity
        self.rtt_s = rtt_s
        self.rng = rng
        self.sated = sated
        self.interests: OrderedDict[Key, Interest] = OrderedDict()
        self._lots: Counter[bytes] = Counter()  # by job, of how many lots offers were not declined
        self._nonces: dict[int, Key] = {}
        self._claimed: dict[bytes, Interest] = {}  # by job, what was claimed last of it
        self._timers: list[tuple[float, int, Interest]] = []
        self._timer = 0
        self._now = 0.0
        self.leaving = False
        self.demand = Demand()

    def heard(self, offer: Offer, now: float) -> list[Effect]:
        """An offer whose signature is its grantor's. Nothing is due at once: the timer speaks later."""
        self._now = now
        if self.leaving or offer.lot > limits.STEWARDS_MAX:  # no job has so many
            return []
        key = (offer.job, offer.grantor.id, offer.lot)
        known = self.interests.get(key)
        if known is not None:
            if (offer.epoch, offer.number) <= (known.offer.epoch, known.offer.number):
                return []
            engaged = known.state in ("taken", "claiming", "waiting") and offer.epoch == known.offer.epoch
            if engaged or (known.state == "declined" and now < known.until):
                known.offer = offer
                if not known.lacking and now >= known.heard_at + LACKING_S:
                    known.lacking = True
                    if known.state == "waiting":
                        self._arm(known, now + self._wait_s(offer))
                self._sooner(known, now)
                if known.state != "declined":
                    known.until = now + _ttl_s(offer)
                    self.demand.heard(offer, now)
                return []
        why = reason_against(
            self.rules, owner=offer.owner, proof=None, runtime=offer.runtime, python=offer.python,
            requires=tuple(offer.requires), memory=offer.memory_bytes,
        )  # fmt: skip
        self._forget(key)
        if why is None:
            interest = Interest(offer, "waiting", "is about to claim", now + _ttl_s(offer), heard_at=now)
            self._arm(interest, now + self._wait_s(offer))
            self.demand.heard(offer, now)
        else:
            interest = Interest(offer, "declined", why, now)
        self.interests[key] = interest
        if why is None:
            self._lots[offer.job] += 1
        if len(self.interests) > limits.OFFERS_MAX:
            # Whom we work for is forgotten last: a flood of offers of others must not end that. Nor is what was just
            # heard: who has worked for so many jobs, which all say so still, would never claim another.
            idle = (each for each, known in self.interests.items() if known.state not in ("taken", "claiming"))
            first = next(idle)
            self._forget(next(iter(self.interests)) if first == key else first)
        return []

    def _forget(self, key: Key) -> None:
        gone = self.interests.pop(key, None)
        if gone is not None:
            self._count_no_more(gone)
            if self._claimed.get(gone.offer.job) is gone:
                del self._claimed[gone.offer.job]
            gone.at = None
            self._ask_no_more(gone)

    def _count_no_more(self, interest: Interest) -> None:
        if interest.state != "declined":
            self._lots[interest.offer.job] -= 1
            if not self._lots[interest.offer.job]:
                del self._lots[interest.offer.job]

    def _sooner(self, known: Interest, now: float) -> None:
        """What waits for another lot to leave this peer idle waits no more where it has, and the grantor calls."""
        capacity = self.capacity()
        if known.state == "waiting" and known.at is not None and capacity.running < capacity.slots:
            at = now + self._wait_s(known.offer)
            if at < known.at:
                self._arm(known, at)

    def _ask_no_more(self, interest: Interest) -> None:
        if interest.nonce is not None:
            del self._nonces[interest.nonce]
            interest.nonce = None

    def _arm(self, interest: Interest, at: float) -> None:
        interest.at = at
        self._timer += 1
        heappush(self._timers, (at, self._timer, interest))

    def _wait_s(self, offer: Offer) -> float:
        capacity = self.capacity()
        running = min(1.0, capacity.running / max(capacity.slots, 1))
        busy = running * 0.5 + min(1.0, capacity.load) * 0.5
        return (self.rtt_s(offer.grantor.id) + LOAD_WAIT_S * busy) * self.rng.uniform(0.75, 1.25)

    def decline(self, job: bytes, text: str) -> None:
        """What the spec or a segment showed later than the offer: remembered for ``explain``, and for a while."""
        for (of, _, _), known in self.interests.items():
            if of == job:
                self._ask_no_more(known)
                self._count_no_more(known)
                known.state, known.text, known.at, known.until = "declined", text, None, self._now + DECLINED_S

    def replied(self, sender: Contact, reply: ClaimReply, now: float) -> list[Effect]:
        """The grantor's verdict."""
        self._now = now
        key = self._nonces.get(reply.nonce)
        if key is None or key[1] != sender.id:
            return []
        known = self.interests[key]
        self._ask_no_more(known)
        known.at = None
        known.state, known.text = VERDICTS[reply.verdict]
        known.said_at = now
        return []

    def claims_at(self, grantor: bytes) -> bool:
        """Whether an offer of that grantor was heard and not turned down."""
        return any(by == grantor and known.state != "declined" for (_, by, _), known in self.interests.items())

    def session_closed(self, peer: NodeId) -> None:
        """Without a session a claim is void: the next offer is answered afresh."""
        for (_, grantor, _), known in self.interests.items():
            if grantor == peer and known.state in ("taken", "standby"):
                known.state, known.text = "unwanted", "lost its session with the grantor"

    def stay(self) -> None:
        """We do not leave after all: who took us was told that we do, so the next offers are answered afresh."""
        self.leaving = False
        for known in self.interests.values():
            if known.state in ("taken", "standby"):
                known.state, known.text = "unwanted", "was about to leave"

    def explain(self, job: bytes) -> tuple[str, str]:
        """(code, words): what this peer makes of ``job``; of several grantors, of the one it is nearest to work for."""
        found = [interest for (of, _, _), interest in self.interests.items() if of == job]
        if not found:
            return "unseen", "has heard no offer of this job"
        known = min(found, key=lambda interest: TELLING.index(interest.state))
        codes = {"declined": "declined", "taken": "claimed", "standby": "claimed", "claiming": "claimed"}
        return codes.get(known.state, "busy" if known.text.startswith("is busy") else "waiting"), known.text

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        while self._timers and self._timers[0][2].at != self._timers[0][0]:
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def expire(self, now: float) -> list[Effect]:
        """Claim what is due."""
        self._now = now
        effects: list[Effect] = []
        while (at := self.deadline()) is not None and at <= now:
            known = heappop(self._timers)[2]
            known.at = None
            effects += self._due(known, now)
        return effects

    def _due(self, known: Interest, now: float) -> list[Effect]:
        capacity = self.capacity()
        if self.leaving or capacity.slots < 1:
            self._end(known, "is leaving the swarm" if self.leaving else "gives no slots now")
            return []
        busy = capacity.running >= capacity.slots and capacity.queued >= capacity.slots
        if known.state == "waiting" and busy and self.sated(known.offer.owner, known.offer.priority):
            if now > known.until:
                self._end(known, "was busy until the offer lapsed")
            else:
                known.text = f"is busy: {capacity.running} tasks run and {capacity.queued} wait here"
                self._arm(known, now + BUSY_WAIT_S)
            return []
        if known.state == "claiming" and self._claimed.get(known.offer.job) is not known:
            known.state = "waiting"  # its turn comes again, should the other lot that was claimed be no better
        again_at = None if known.state != "waiting" else self._after_another(known, capacity, now)
        if again_at is not None:
            if now > known.until:
                self._end(known, "ran another lot of it until the offer lapsed")
            else:
                known.text = "has claimed another lot of it"
                self._arm(known, again_at)
            return []
        if known.tries >= TRIES_MAX:
            self._end(known, "the grantor does not answer")
            return []
        return self._claim(known, capacity, now)

    def _after_another(self, known: Interest, capacity: Capacity, now: float) -> float | None:
        """When it is looked again whether another lot of the job, which was claimed before, keeps this peer busy; none
        where that is known by now."""
        before = self._claimed.get(known.offer.job)
        if before is None or before.offer.lot == known.offer.lot or before.state not in ("claiming", "taken"):
            return None  # who grants the same lot took it over
        rtt_s = self.rtt_s(before.offer.grantor.id)
        until = before.said_at + SOON_ROUNDTRIPS * rtt_s + SOON_S
        if before.state == "claiming":
            until = min(until, now + rtt_s + REFUSED_S)
        elif until <= now and capacity.running >= capacity.slots and not _lacks_more(known, before, now):
            # One seat is enough for who is kept busy from it, as long as there may be others who have none.
            # Anybody may offer lots of any job: it waits no longer than where there are as many as there may be.
            lots = min(self._lots[known.offer.job], limits.STEWARDS_MAX + 1)
            until = now + BUSY_WAIT_S * lots * self.rng.uniform(0.5, 1.5)
        return until if until > now else None

    def _end(self, known: Interest, text: str) -> None:
        self._ask_no_more(known)
        known.state, known.text = "unwanted", text

    def _claim(self, known: Interest, capacity: Capacity, now: float) -> list[Effect]:
        known.tries += 1
        if known.state != "claiming":
            known.state, known.text, known.said_at = "claiming", "has claimed", now
        self._claimed[known.offer.job] = known
        self._arm(known, now + REPLY_WAIT_S * known.tries)
        offer = known.offer
        if known.nonce is None:  # one for all tries: a reply that took long is one still
            known.nonce = self.rng.getrandbits(62)
            self._nonces[known.nonce] = (offer.job, offer.grantor.id, offer.lot)
        claim = Claim(
            offer.job, offer.epoch, offer.grantor.id, offer.number, self.contact(), self.boot, capacity.slots,
            min(1.0, max(0.0, capacity.load)), self.rtt_s(offer.grantor.id) * 1e3,
        )  # fmt: skip
        return [Send(offer.grantor, ClaimRequest(known.nonce, signed(claim, self.me)))]


def _ttl_s(offer: Offer) -> float:
    return min(offer.ttl_s, OFFER_TTL_S_MAX)


def _lacks_more(known: Interest, mine: Interest, now: float) -> bool:
    """Whether a lot is so much worse off than the one that keeps us busy that we had better work for both."""
    if not known.lacking:
        return False
    return now > mine.until or _tasks_a_slot(known.offer) >= LACKING_TIMES * _tasks_a_slot(mine.offer)


def _tasks_a_slot(offer: Offer) -> float:
    return offer.waiting / max(offer.slots_filled, 1)
