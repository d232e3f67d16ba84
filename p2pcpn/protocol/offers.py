"""Offers heard: wait a moment that grows with load and round trip, then claim. The nearest lowest-load peers speak first.

Per job there is one :class:`Interest`. Who does not claim says nothing on the wire, but remembers why, for ``explain``.

::

    heard ──admission──> declined
      └──> waiting ──timer──> claiming ──reply──> taken / standby / unwanted
                ^── busy: look again ──┘   └─ no reply: ask again, then unwanted
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol.admission import Rules, reason_against
from p2pcpn.protocol.effects import Effect, Send
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import ClaimReply, ClaimRequest
from p2pcpn.wire.statements import Claim, Offer, signed

# A peer at full load waits this long; an idle one its round trip. Long enough that on a wide network the idle speak first,
# short enough that a busy swarm still starts a job within half a second.
LOAD_WAIT_S = 0.4
BUSY_WAIT_S = 0.25
REPLY_WAIT_S = 0.3
TRIES_MAX = 4
CREDITS = 4096


@dataclass(frozen=True, slots=True)
class Capacity:
    """What this peer has to give now. ``queued`` counts tasks that wait for a slot here."""

    slots: int
    running: int
    queued: int
    load: float


@dataclass(slots=True)
class Interest:
    """What this peer makes of one job."""

    offer: Offer
    state: str  # declined, waiting, claiming, taken, standby, unwanted
    text: str
    at: float | None
    tries: int = 0
    nonce: int = 0


class Offers:
    """See the module. ``capacity()`` and ``rtt_s(node)`` tell this peer's load and its distance to a grantor."""

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
    ) -> None:
        self.me = me
        self.contact = contact
        self.boot = boot
        self.rules = rules
        self.capacity = capacity
        self.rtt_s = rtt_s
        self.rng = rng
        self.interests: OrderedDict[bytes, Interest] = OrderedDict()
        self._nonces: dict[int, bytes] = {}
        self.leaving = False

    def heard(self, offer: Offer, now: float) -> list[Effect]:
        """An offer whose signature is right. Returns what is due at once (usually nothing: the timer speaks later)."""
        if offer.grantor.id == self.me.id or self.leaving:
            return []
        known = self.interests.get(offer.job)
        if known is not None:
            if (offer.epoch, offer.number) <= (known.offer.epoch, known.offer.number):
                return []
            if known.state in ("taken", "claiming") and offer.epoch == known.offer.epoch:
                known.offer = offer
                return []
        why = reason_against(
            self.rules, owner=offer.owner, proof=None, runtime=offer.runtime, python=offer.python,
            requires=tuple(offer.requires), memory=offer.memory_bytes,
        )  # fmt: skip
        self.interests.pop(offer.job, None)
        if why is not None:
            self.interests[offer.job] = Interest(offer, "declined", why, None)
        else:
            wait_s = self._wait_s(offer)
            self.interests[offer.job] = Interest(offer, "waiting", "is about to claim", now + wait_s)
        while len(self.interests) > limits.OFFERS_MAX:
            self.interests.popitem(last=False)
        return []

    def _wait_s(self, offer: Offer) -> float:
        capacity = self.capacity()
        busy = min(1.0, capacity.running / max(capacity.slots, 1)) * 0.5 + capacity.load * 0.5
        return (self.rtt_s(offer.grantor.id) + LOAD_WAIT_S * busy) * self.rng.uniform(0.75, 1.25)

    def decline(self, job: bytes, text: str) -> None:
        """What the spec or a segment showed later than the offer: remembered for ``explain``."""
        known = self.interests.get(job)
        if known is not None:
            known.state, known.text, known.at = "declined", text, None

    def replied(self, sender: Contact, reply: ClaimReply, now: float) -> list[Effect]:
        """The grantor's verdict."""
        job = self._nonces.pop(reply.nonce, None)
        known = self.interests.get(job) if job is not None else None
        if known is None or known.offer.grantor.id != sender.id or known.state != "claiming":
            return []
        known.at = None
        known.state = ("taken", "standby", "unwanted", "unwanted")[reply.verdict]
        known.text = ("takes part", "stands by", "is not needed", "the job is over")[reply.verdict]
        return []

    def session_closed(self, peer: NodeId) -> None:
        """Without a session a claim is void: the next offer is answered afresh."""
        for known in self.interests.values():
            if known.offer.grantor.id == peer and known.state in ("taken", "standby"):
                known.state, known.text = "unwanted", "lost its session with the grantor"

    def explain(self, job: bytes) -> tuple[str, str]:
        """(code, words): what this peer makes of ``job``."""
        known = self.interests.get(job)
        if known is None:
            return "unseen", "has heard no offer of this job"
        codes = {"declined": "declined", "taken": "claimed", "standby": "claimed", "claiming": "claimed"}
        return codes.get(known.state, "busy" if "busy" in known.text else "waiting"), known.text

    def deadline(self) -> float | None:
        return min((i.at for i in self.interests.values() if i.at is not None), default=None)

    def expire(self, now: float) -> list[Effect]:
        """Claim what is due."""
        effects: list[Effect] = []
        for job, known in list(self.interests.items()):
            if known.at is not None and known.at <= now:
                effects += self._due(job, known, now)
        return effects

    def _due(self, job: bytes, known: Interest, now: float) -> list[Effect]:
        capacity = self.capacity()
        if known.state == "waiting" and capacity.running >= capacity.slots and capacity.queued >= capacity.slots:
            known.text = f"is busy: {capacity.running} tasks run and {capacity.queued} wait here"
            known.at = now + BUSY_WAIT_S
            return []
        if known.tries >= TRIES_MAX:
            known.state, known.text, known.at = "unwanted", "the grantor does not answer", None
            return []
        known.tries += 1
        known.state, known.text = "claiming", "has claimed"
        known.at = now + REPLY_WAIT_S * known.tries
        known.nonce = self.rng.getrandbits(62)
        if len(self._nonces) >= limits.OFFERS_MAX:
            self._nonces.pop(next(iter(self._nonces)))
        self._nonces[known.nonce] = job
        offer = known.offer
        claim = Claim(
            job, offer.epoch, offer.grantor.id, offer.number, self.contact(), self.boot, capacity.slots, CREDITS,
            min(1.0, capacity.load), self.rtt_s(offer.grantor.id) * 1e3,
        )  # fmt: skip
        return [Send(offer.grantor, ClaimRequest(known.nonce, signed(claim, self.me)))]
