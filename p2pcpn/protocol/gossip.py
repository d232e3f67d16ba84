"""Gossip: signed rumors to a few neighbours for a few rounds, and push-pull of digests behind them.

A rumor is a signed advert, offer or member state. Its id is the first 8 bytes of BLAKE2b of its packed signed bytes.
A new one is verified, delivered once, and sent to three neighbours by chance in each of four rounds of 100 ms; the
first round is at once when none was lately. Who hears it again from somebody else meanwhile says it in a round less:
it is told about here without us (Demers 1987, feedback and counters). Every ten seconds one neighbour is told which
rumors are held here, and each side pulls what it lacks, so that what loss or an empty neighbourhood hid is found after
all. While that finds nothing it is done more rarely, down to a quarter as often (as Trickle does, RFC 6206); and where
many are known a period longer for each doubling (as memberlist does). There always is something then that just one of
two knows, the adverts of strangers, who repeat them: adverts are left out there. A rumor is held for twice as long as
the longest pause.

An advert that says nothing new is in no hurry: it rides along with what is sent anyway (:mod:`p2pcpn.protocol.riding`).

Of one origin's adverts, offers of a job and words about a member only the newest is held and sent. ``hops`` counts
down: a rumor that comes with 0 goes no farther, nor is it offered to be pulled.

Whoever compares is offered our own advert before anything else: a newcomer lacks more than one answer can bring, and
whose neighbour it is it must know. What the dead said of themselves is offered to nobody.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import node_id
from p2pcpn.protocol.effects import Effect, Heard, Send
from p2pcpn.protocol.neighbourhood import Neighbourhood
from p2pcpn.protocol.rates import Allowance, Bucket
from p2pcpn.protocol.riding import RIDER_S, Riding
from p2pcpn.protocol.timetable import Timetable
from p2pcpn.wire import datagrams
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.pages import SIGNED
from p2pcpn.wire.statements import Advert, MemberState, Offer, Signed, opened, read, shared

RUMOR_ID_BYTES = 8
# A body less the framing of a Gossip and its two lists.
GOSSIP_BYTES = limits.BODY_BYTES_MAX - 8
# Other rumors are to reach everybody; an offer is said again while it stands for something.
OFFER_ROUNDS = 2
# What one grantor may offer comes to that for so many owners: 80 a second are those of 400 jobs that lack peers.
OWNERS_PER_SIGNER = 16
# How often rumors that nobody could be told are tried again.
LONELY_S = 1.0
# Comparisons that find nothing are done more rarely, down to this share of as often.
COMPARE_RARER_MAX = 4.0
# Where so many are known or fewer each pause is a period; with each doubling it is one longer.
COMPARE_PEERS = 32
COMPARE_S_MAX = limits.RUMOR_S / 2
# Where more are known than this a comparison always finds adverts: they reach neighbours of neighbours, who differ.
# Who knows so many misses none of them, and compares all other rumors.
COMPARE_ADVERTS = 128

Gossiped = Advert | Offer | MemberState
_TYPES: dict[int, type[Gossiped]] = {cls.kind: cls for cls in (Advert, Offer, MemberState)}
HOPS = {Advert.kind: limits.ADVERT_HOPS, Offer.kind: limits.RUMOR_HOPS_MAX, MemberState.kind: limits.MEMBER_HOPS}


@dataclass(frozen=True, slots=True)
class Rumor:
    """A rumor that is new here; signature and origin are right."""

    statement: Gossiped
    signed: Signed


@dataclass(slots=True)
class Held:
    """A rumor that is held here. ``size_bytes`` is what it takes of a datagram."""

    id: bytes
    signed: Signed
    size_bytes: int
    hops: int
    rounds: int
    expires_s: float
    tellers: list[bytes] = field(default_factory=list)  # they know it: it is not sent back to them
    hurried: bool = True
    rode: bool = False  # it is in no hurry for no other reason than that it came riding


def rumor_id(packed: bytes) -> bytes:
    """The 8-byte id of a rumor's packed signed bytes."""
    return blake2b(packed, digest_size=RUMOR_ID_BYTES).digest()


def _slot(signed: Signed, statement: Gossiped) -> tuple[tuple[bytes | int, ...], tuple[int, ...]]:
    """What the rumor is about, in its signer's words, and its place among the versions of that."""
    if isinstance(statement, Advert):
        return (signed.kind, signed.key), (statement.boot, statement.version)
    if isinstance(statement, Offer):
        return (signed.kind, signed.key, statement.job, statement.lot), (statement.epoch, statement.number)
    return (signed.kind, signed.key, statement.member.id), (statement.boot, statement.incarnation, statement.state)


def _rounds(signed: Signed) -> int:
    return OFFER_ROUNDS if signed.kind == Offer.kind else limits.RUMOR_ROUNDS


def _is_authorised(signed: Signed, statement: Gossiped) -> bool:
    """Adverts are said by the peer itself, offers by the grantor; that a member lives only it can say."""
    signer = node_id(signed.key)
    if isinstance(statement, Advert):
        return signer == statement.contact.id
    if isinstance(statement, Offer):
        return signer == statement.grantor.id
    return statement.state != 0 or signer == statement.member.id


class Gossip:
    """The rumors of one peer. New ones come as ``Heard(Rumor, sender)``, each once.

    ``repeats(advert)`` tells whether the same was known of its peer before; ``None`` where nothing was.
    """

    def __init__(
        self,
        neighbourhood: Neighbourhood,
        rng: random.Random,
        now: float,
        compare_s: float = limits.PUSH_PULL_S,
        repeats: Callable[[Advert], bool | None] = lambda advert: None,
    ) -> None:
        self.riding = Riding(neighbourhood)
        self._repeats = repeats
        self._neighbourhood = neighbourhood
        self._rng = rng
        self._held: OrderedDict[bytes, Held] = OrderedDict()
        self._active: dict[bytes, Held] = {}
        self._going: dict[bytes, Held] = {}  # of those held the ones that may go farther: most came their whole way
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self._slots: OrderedDict[tuple[bytes | int, ...], tuple[tuple[int, ...], bytes]] = OrderedDict()
        self._verifies = Allowance(limits.RUMOR_VERIFIES_PER_S, limits.RUMOR_VERIFIES_PER_SENDER_PER_S)
        self._offers: OrderedDict[tuple[bytes, bytes], Bucket] = OrderedDict()
        self._signers: OrderedDict[tuple[bytes, bytes], Bucket] = OrderedDict()
        self._round_due_s = now
        self._lonely = False  # the last round found nobody to tell: the next needs not wait
        self._compare_s = self._pause_s = compare_s
        self._pulled: set[bytes] = set()  # what the last comparison lacked
        self._own = b""  # our own newest advert
        self._push_pull_due_s = now
        self._lapses = Timetable()  # of those held
        self._refused = 0
        self._delivered = 0

    # --- verbs -------------------------------------------------------------------------------------------------

    def spread(
        self,
        signed: Signed,
        now: float,
        hops: int | None = None,
        to: Sequence[Contact] = (),
        rounds_less: int = 0,
        hurried: bool = True,
    ) -> list[Effect]:
        """Tell ``signed``, our own word, to peers at most ``hops`` away (default: what its kind is for).

        The neighbours ``to`` are told first, where some are named; ``rounds_less`` by chance follow. What is not
        ``hurried`` rides along with what they are sent anyway.
        """
        hops = HOPS[signed.kind] if hops is None else min(hops, limits.RUMOR_HOPS_MAX)
        statement = read(signed, _TYPES[signed.kind])
        packed = SIGNED.encode(signed)
        if rumor_id(packed) in self._held or not self._is_news(signed, statement):
            return []
        held = self._hold(rumor_id(packed), signed, statement, len(packed), hops, now, hurried)
        if isinstance(statement, Advert):
            self._own, held.expires_s = held.id, now + min(RIDER_S, statement.ttl_s)  # until there is a newer one
            self._lapses.set(held.id, held.expires_s)
        if not hurried:
            return []
        held.rounds = max(1, held.rounds - rounds_less)
        if to:  # who else needs it is told by others: a comparison would bring it to any neighbour
            held.tellers += [peer.id for peer in to]
            self._going.pop(held.id, None)
        return self._tell_at_once(held, to, now)

    def _tell_at_once(self, held: Held, to: Sequence[Contact], now: float) -> list[Effect]:
        """Our own word does not wait for the next round: who offers work waits for claims."""
        peers = to or self._neighbourhood.sample(limits.FANOUT)
        if held.id not in self._active or not peers:
            return self._round(now)
        if len(self._active) == 1:
            self._round_due_s = now + limits.RUMOR_ROUND_S
        held.rounds -= 1
        if not held.rounds:
            del self._active[held.id]
        return [effect for peer in peers for effect in self._tell(peer, [held])]

    def pull(self, peer: Contact, now: float) -> list[Effect]:
        """Compare rumors with ``peer`` at once, for example because it is new."""
        adverts = self._neighbourhood.known <= COMPARE_ADVERTS
        return [Send(peer, datagrams.RumorDigest(b"".join(self._offered(peer, now, adverts)), True, adverts))]

    def receive(self, sender: Contact, message: datagrams.Datagram, now: float) -> list[Effect]:
        """Take a :class:`Gossip`, :class:`RumorDigest` or :class:`RumorPull`, or what rides in a :class:`Compound`;
        :class:`PeerError` for one that lies."""
        if isinstance(message, datagrams.Gossip | datagrams.Compound):
            if len(message.rumors) != len(message.hops):
                raise PeerError("rumors and hops differ in number")
            effects: list[Effect] = []
            rode = isinstance(message, datagrams.Compound)
            for signed, hops in zip(message.rumors, message.hops, strict=True):
                effects += self._take(sender, signed, min(hops, limits.RUMOR_HOPS_MAX), now, rode)
            return effects + self._round(now)
        if isinstance(message, datagrams.RumorDigest):
            return self._compare(sender, message, now)
        if isinstance(message, datagrams.RumorPull):
            wanted = [held for rumor in _ids(message.ids) if (held := self._held.get(rumor)) is not None]
            self._found(any([held.signed.kind != Advert.kind for held in wanted]))  # noqa: C419 (as fast as a loop)
            return self._tell(sender, [held for held in wanted if held.hops > 0])
        return []

    def deadline(self) -> float:
        """When the next round is due, or the next push-pull."""
        return min(self._round_due_s, self._push_pull_due_s) if self._active else self._push_pull_due_s

    def expire(self, now: float) -> list[Effect]:
        """Send a round, compare digests with a neighbour, forget what is old; what is due of these."""
        effects = self._round(now)
        if now < self._push_pull_due_s:
            return effects
        self._push_pull_due_s = now + self._pause_s * self._rng.uniform(0.8, 1.2)
        self._pause_s = min(
            max(self._compare_s, min(COMPARE_RARER_MAX * self._usual_s, COMPARE_S_MAX)), 2 * self._pause_s
        )
        for peer, late in self.riding.overdue(now):
            effects += self._tell(peer, late)
        while (lapsed := self._lapses.take(now)) is not None:
            self._drop(lapsed)
        while self._seen and next(iter(self._seen.values())) + limits.RUMOR_SEEN_S <= now:
            self._seen.popitem(last=False)
        for peer in self._neighbourhood.sample(1):
            effects += self.pull(peer, now)
        return effects

    @property
    def _usual_s(self) -> float:
        """The pause after a comparison that found something."""
        doublings = math.log2(max(1.0, self._neighbourhood.known / COMPARE_PEERS))
        return min((1.0 + doublings) * self._compare_s, max(self._compare_s, COMPARE_S_MAX))

    def _found(self, news: bool) -> None:
        """A comparison found something that one of us lacks, ``news`` or adverts alone."""
        if news or self._neighbourhood.known <= COMPARE_ADVERTS:
            self._pause_s = self._usual_s

    def gone(self, key: bytes) -> None:
        """The peer with that key is dead or has left: its advert is held still, and told to nobody."""
        if (held := self._advert(key)) is not None:
            self._active.pop(held.id, None)
            self._going.pop(held.id, None)
            self.riding.drop(held.id)

    def back(self, key: bytes) -> Signed | None:
        """The peer with that key lives: its newest advert, if it is held still. Whoever lacks it may have it again."""
        held = self._advert(key)
        if held is not None and held.hops > 0:
            self._going[held.id] = held
        return None if held is None else held.signed

    def _advert(self, key: bytes) -> Held | None:
        return self._held.get(self._slots.get((Advert.kind, key), ((), b""))[1])

    def statistics(self) -> dict[str, int]:
        """How many rumors are held, being sent, remembered, delivered and refused."""
        return {
            "held": len(self._held),
            "active": len(self._active),
            "riding": len(self.riding),
            "seen": len(self._seen),
            "delivered": self._delivered,
            "refused": self._refused,
        }

    # --- taking ------------------------------------------------------------------------------------------------

    def _take(self, sender: Contact, signed: Signed, hops: int, now: float, rode: bool) -> list[Effect]:
        packed = SIGNED.encode(signed)
        rumor = rumor_id(packed)
        held = self._held.get(rumor)
        if held is not None:
            self._hear_again(held, sender, hops, rode)
            return []
        if rumor in self._seen:
            return []
        try:
            statement = self._verified(sender, signed, now)
        except PeerError:
            self._refused += 1
            return []
        if statement is None:
            return []
        signed = shared(signed)
        repeats = self._repeats(statement) if isinstance(statement, Advert) else False
        # An advert that rode was in no hurry where it came from: that nothing is known here of its peer makes it news
        # to nobody else. Where something else is known of it others may have missed what changed, as we did.
        hurried = not rode if repeats is None else not repeats
        held = self._hold(rumor, signed, statement, len(packed), hops, now, hurried)
        held.rode = rode and repeats is None
        held.tellers.append(sender.id)
        self._delivered += 1
        if rumor in self._pulled and signed.kind != Advert.kind:
            self._found(True)
        return [Heard(Rumor(statement, signed), sender)]

    def _hear_again(self, held: Held, sender: Contact, hops: int, rode: bool) -> None:
        if sender.id not in held.tellers and len(held.tellers) < limits.NEIGHBOURHOOD_MAX:
            held.tellers.append(sender.id)
            if hops + 1 >= held.hops:  # the sender tells it as far as we do
                self.riding.heard_again(held.id, sender)
                if held.id in self._active:
                    held.rounds -= 1
                    if not held.rounds:
                        del self._active[held.id]
        started, news = held.hops > 0, held.rode and not rode and hops > 0
        if news:  # told at once, and in a hurry after all: who hastens to let it ride keeps nobody from hearing of it
            held.hurried, held.rode, started = True, False, False
            self.riding.drop(held.id)
        if hops > held.hops or news:  # it came a shorter way as well: it may go farther than we thought
            held.hops = max(held.hops, hops)
            if not started:
                held.rounds = _rounds(held.signed)
                self._tell_on(held)
            self._going[held.id] = held

    def _verified(self, sender: Contact, signed: Signed, now: float) -> Gossiped | None:
        """The statement, or ``None`` where it is old news or may cost no more now; it may come again then."""
        cls = _TYPES.get(signed.kind)
        if cls is None:
            raise PeerError(f"statements of kind {signed.kind} are not gossiped")
        statement = read(signed, cls)
        # What is cheap comes first: a signature costs a hundred times as much as all of the rest.
        if not self._is_news(signed, statement) or not self._verifies.take(sender.id, now):
            return None
        if not _is_authorised(signed, statement):
            raise PeerError(f"that {cls.__name__} is not its signer's to say")
        opened(signed, cls)
        if isinstance(statement, Offer) and not self._may_offer((statement.owner, signed.key), now):
            return None
        return statement

    def _may_offer(self, who: tuple[bytes, bytes], now: float) -> bool:
        # Owner and grantor together: an offer names its owner, but the grantor signs it. Under the owner's name alone
        # any stranger could use up the budget of an owner it dislikes.
        # But the grantor may name any owner, so it has a budget of its own as well.
        return _takes(self._signers, (b"", who[1]), OWNERS_PER_SIGNER, now) and _takes(self._offers, who, 1, now)

    def _is_news(self, signed: Signed, statement: Gossiped) -> bool:
        slot, version = _slot(signed, statement)
        known = self._slots.get(slot)
        return known is None or version > known[0]

    # --- holding -----------------------------------------------------------------------------------------------

    def _hold(
        self,
        rumor: bytes,
        signed: Signed,
        statement: Gossiped,
        size_bytes: int,
        hops: int,
        now: float,
        hurried: bool = True,
    ) -> Held:
        slot, version = _slot(signed, statement)
        before = self._slots.pop(slot, None)
        if before is not None:
            self._drop(before[1])
        self._slots[slot] = (version, rumor)
        if len(self._slots) > limits.RUMORS_SEEN_MAX:
            self._slots.popitem(last=False)
        held_s = limits.RUMOR_S if hurried else RIDER_S
        lives_s = held_s if isinstance(statement, MemberState) else min(held_s, statement.ttl_s)
        held = Held(rumor, signed, size_bytes + 2, hops, _rounds(signed), now + lives_s, [], hurried)
        self._held[rumor] = held
        self._lapses.set(rumor, held.expires_s)
        self._seen[rumor] = now
        if hops > 0:
            self._going[rumor] = held
            self._tell_on(held)
        if len(self._held) > limits.RUMORS_MAX:
            self._drop(next(iter(self._held)))
        if len(self._seen) > limits.RUMORS_SEEN_MAX:
            self._seen.popitem(last=False)
        return held

    def _tell_on(self, held: Held) -> None:
        if held.hurried:
            self._active[held.id] = held
        else:
            self.riding.add(held)

    def _drop(self, rumor: bytes) -> None:
        self._held.pop(rumor, None)
        self._lapses.drop(rumor)
        self._active.pop(rumor, None)
        self._going.pop(rumor, None)
        self.riding.drop(rumor)

    # --- telling -----------------------------------------------------------------------------------------------

    def _round(self, now: float) -> list[Effect]:
        """One round to a few neighbours, if there is news and the last was long enough ago."""
        if not self._active or (now < self._round_due_s and not (self._lonely and len(self._neighbourhood))):
            return []
        peers = self._neighbourhood.sample(limits.FANOUT)
        self._lonely = not peers
        self._round_due_s = now + (limits.RUMOR_ROUND_S if peers else LONELY_S)
        if not peers:
            return []
        batch: list[Held] = []
        room = limits.RUMOR_DATAGRAMS_PER_ROUND * GOSSIP_BYTES // 2  # half-full datagrams, at worst
        for held in sorted(self._active.values(), key=lambda held: -held.rounds):  # the least told first
            if held.size_bytes > room:
                break
            room -= held.size_bytes
            batch.append(held)
        effects: list[Effect] = []
        for peer in peers:
            effects += self._tell(peer, [held for held in batch if peer.id not in held.tellers])
        for held in batch:
            held.rounds -= 1
            if not held.rounds:
                del self._active[held.id]
        return effects

    @staticmethod
    def _tell(peer: Contact, rumors: Iterable[Held]) -> list[Effect]:
        """``rumors`` in as few datagrams as they fit, at most a round's worth."""
        groups: list[list[Held]] = []
        room = 0
        for held in rumors:
            if held.size_bytes > room or len(groups[-1]) == limits.RUMORS_PER_DATAGRAM_MAX:
                if len(groups) == limits.RUMOR_DATAGRAMS_PER_ROUND:
                    break
                groups.append([])
                room = GOSSIP_BYTES
            groups[-1].append(held)
            room -= held.size_bytes
        return [
            Send(peer, datagrams.Gossip([held.signed for held in group], [held.hops - 1 for held in group]))
            for group in groups
        ]

    def _offered(self, to: Contact, now: float, adverts: bool) -> list[bytes]:
        """The ids of rumors that may go farther, our own advert and the newest first; of those that ride all neighbours
        are still being told."""
        ids: list[bytes] = []
        own = self._going.get(self._own)
        if own is not None and adverts and (own.id not in self.riding or to.id not in self._neighbourhood):
            ids.append(own.id)
        for held in reversed(self._going.values()):
            if held is own or held.expires_s <= now or not (adverts or held.signed.kind != Advert.kind):
                continue
            if held.id not in self.riding:
                ids.append(held.id)
                if len(ids) == limits.RUMOR_DIGESTS_MAX:
                    break
        return ids

    def _compare(self, sender: Contact, message: datagrams.RumorDigest, now: float) -> list[Effect]:
        theirs = _ids(message.ids)
        lacking = [rumor for rumor in theirs if rumor not in self._held and rumor not in self._seen]
        effects: list[Effect] = []
        if lacking:
            self._pulled = set(lacking)
            self._found(not message.adverts)
            effects.append(Send(sender, datagrams.RumorPull(b"".join(lacking))))
        if message.reply:
            ours = self._offered(sender, now, message.adverts)
            if not set(ours) <= set(theirs):
                effects.append(Send(sender, datagrams.RumorDigest(b"".join(ours), False, message.adverts)))
        return effects


def _takes(
    budgets: OrderedDict[tuple[bytes, bytes], Bucket], who: tuple[bytes, bytes], owners: int, now: float
) -> bool:
    """Whether that budget of offers, one for so many owners, has one left; it is one less then."""
    bucket = budgets.get(who)
    if bucket is None:
        rate, burst = limits.OFFERS_PER_OWNER_PER_S * owners, limits.OFFERS_PER_OWNER_BURST * owners
        bucket = budgets[who] = Bucket(rate, burst)
        if len(budgets) > limits.BUDGETS_MAX:
            budgets.popitem(last=False)
    budgets.move_to_end(who)
    return bucket.take(now)


def _ids(packed: bytes) -> list[bytes]:
    if len(packed) % RUMOR_ID_BYTES:
        raise PeerError("rumor ids have 8 bytes each")
    return [packed[at : at + RUMOR_ID_BYTES] for at in range(0, len(packed), RUMOR_ID_BYTES)]
