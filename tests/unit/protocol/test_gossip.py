"""Gossip: everybody hears each rumor once, only the newest of each origin, and liars cost little."""

from __future__ import annotations

import heapq
import random
from collections import Counter

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.effects import Effect, Heard, Send
from p2pcpn.protocol.gossip import COMPARE_ADVERTS, OFFER_ROUNDS, OWNERS_PER_SIGNER, Gossip, Rumor, rumor_id
from p2pcpn.protocol.neighbourhood import Neighbourhood
from p2pcpn.protocol.riding import RIDER_S
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.wire import datagrams
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.datagrams import Ack, RumorDigest, RumorPull
from p2pcpn.wire.pages import SIGNED
from p2pcpn.wire.statements import Advert, Close, MemberState, Offer, Signed, Statement, signed

KEYS = [Keypair(number.to_bytes(32, "big")) for number in range(1, 8)]


def at(keypair: Keypair, port: int = 4000) -> Contact:
    return contact(keypair.id, ("10.0.0.1", port))


def advert(version: int = 1, keypair: Keypair = KEYS[0], boot: int = 1, ttl_s: float = 900.0, pad: int = 0) -> Signed:
    return signed(
        Advert(
            contact=at(keypair), boot=boot, version=version, ttl_s=ttl_s, roles=1, cores=2, slots=2, slots_free=2,
            memory_bytes=1, memory_free_bytes=1, load=0.0, python="3.11", implementation="cpython", platform="linux",
            runtimes=["function"], packages=["x" * 24] * (pad // 25), accelerators=[], tags=[], position=None,
            rtt_ms=0.0, machine=1,
        ),
        keypair,
    )  # fmt: skip


def offer(
    number: int = 1,
    epoch: int = 0,
    job: bytes = b"j" * 20,
    keypair: Keypair = KEYS[0],
    pad: int = 0,
    lot: int = 0,
    owner: bytes = KEYS[6].public,
) -> Signed:
    grantor, pads = at(keypair), ["y" * 24] * pad
    return signed(Offer(job, owner, epoch, grantor, number, "function", "3.11", pads, 0, 10, 2, 60.0, lot=lot), keypair)


def member(state: int, incarnation: int = 0, of: Keypair = KEYS[0], by: Keypair = KEYS[1]) -> Signed:
    return signed(MemberState(at(of), 1, incarnation, state), by)


def gossip(neighbours: list[Contact], seed: int = 1) -> Gossip:
    hood = Neighbourhood(b"own".ljust(20), RoundTrips(), random.Random(seed))
    for it in neighbours:
        hood.heard(it, 0.0)
    return Gossip(hood, random.Random(seed), 0.0)


PEERS = [contact(bytes([number]) * 20, ("10.0.1.1", number)) for number in range(1, 7)]
SENDER = PEERS[0]


def tell(it: Gossip, rumor: Signed, now: float = 0.0, hops: int = 5, sender: Contact = SENDER) -> list[object]:
    """What is delivered when ``sender`` tells ``rumor``."""
    effects = it.receive(sender, datagrams.Gossip([rumor], [hops]), now)
    return [effect.value for effect in effects if isinstance(effect, Heard)]


def sent(effects: list[Effect]) -> list[tuple[Contact, datagrams.Gossip]]:
    return [
        (effect.to, effect.message)
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, datagrams.Gossip)
    ]


def statement(rumor: object) -> Statement:
    assert isinstance(rumor, Rumor)
    return rumor.statement


@pytest.mark.parametrize("seed", [1, 2])
def test_at_five_percent_loss_all_of_two_hundred_hear_a_rumor_once_and_most_of_them_an_offer(seed: int) -> None:
    rng = random.Random(seed)
    count = 200
    contacts = [contact(rng.randbytes(20), ("10.0.0.1", 1 + number)) for number in range(count)]
    ports = {it.port: number for number, it in enumerate(contacts)}
    peers: list[Gossip] = []
    for own in contacts:
        hood = Neighbourhood(own.id, RoundTrips(), random.Random(rng.random()))
        for it in rng.sample(contacts, 12):
            hood.heard(it, 0.0)
        peers.append(Gossip(hood, random.Random(rng.random()), 0.0))
    heard: Counter[tuple[int, bytes]] = Counter()
    queue: list[tuple[float, int, int, int, bytes]] = []
    number = 0

    def perform(who: int, effects: list[Effect], now: float) -> None:
        nonlocal number
        for effect in effects:
            if isinstance(effect, Heard):
                assert isinstance(effect.value, Rumor)
                heard[who, effect.value.signed.body] += 1
            elif isinstance(effect, Send) and rng.random() >= 0.05:
                number += 1
                body = datagrams.CODEC.encode(effect.message)
                heapq.heappush(queue, (now + rng.uniform(0.001, 0.05), number, who, ports[effect.to.port], body))

    rumors = [offer(), advert(pad=200)]

    def of(rumor: int) -> int:
        return sum(body == rumors[rumor].body for _, body in heard)

    for origin, rumor in enumerate(rumors):
        perform(origin, peers[origin].spread(rumor, 0.0, hops=12), 0.0)
    now = 0.0
    while now < 30.0 and of(1) < count - 1:
        timers = ((it.deadline(), who) for who, it in enumerate(peers))
        due_s, who = min(timers)
        if queue and queue[0][0] <= due_s:
            now, _, sender, to, body = heapq.heappop(queue)
            perform(to, peers[to].receive(contacts[sender], datagrams.CODEC.decode(body), now), now)
        else:
            now = max(now, due_s)
            perform(who, peers[who].expire(now), now)
    assert of(1) == count - 1 and of(0) > 0.9 * count, "offers are said again"
    assert set(heard.values()) == {1}
    assert now < 5.0


def test_a_rumor_is_sent_to_three_neighbours_for_some_rounds() -> None:
    it = gossip(PEERS)
    it.expire(0.0)
    rounds = [sent(it.spread(offer(), 0.0, hops=4))]
    assert it.deadline() == limits.RUMOR_ROUND_S
    now = 0.0
    while it.statistics()["active"]:
        now += limits.RUMOR_ROUND_S
        rounds.append(sent(it.expire(now)))
    assert [len(sends) for sends in rounds] == [limits.FANOUT] * OFFER_ROUNDS
    assert rounds[0][0][1] == datagrams.Gossip([offer()], [3])
    assert it.deadline() > now


def test_a_rumor_with_no_hops_left_is_delivered_and_goes_no_farther() -> None:
    it = gossip(PEERS)
    assert [statement(rumor) for rumor in tell(it, offer(), hops=0)]
    assert sent(it.expire(1.0)) == []
    assert it.receive(SENDER, RumorPull(rumor_id(SIGNED.encode(offer()))), 1.0) == []
    assert tell(it, offer(), 2.0, hops=3) == []  # it came a shorter way too
    assert sent(it.expire(2.1))


def test_a_rumor_is_not_sent_back_to_who_told_it() -> None:
    it = gossip(PEERS[:2])
    effects = it.receive(PEERS[0], datagrams.Gossip([offer()], [3]), 0.0)
    assert [to for to, _ in sent(effects)] == [PEERS[1]]
    tell(it, offer(), 0.0, sender=PEERS[1])
    assert sent(it.expire(0.1)) == []


def test_a_newer_version_replaces_the_older_one_and_never_the_other_way_round() -> None:
    it = gossip(PEERS)
    assert tell(it, advert(2))
    assert not tell(it, advert(1))
    assert not tell(it, advert(2))
    assert tell(it, advert(3))
    assert tell(it, advert(1, boot=2))
    assert tell(it, offer(1))
    assert tell(it, offer(2))
    assert not tell(it, offer(1))
    assert tell(it, offer(1, epoch=1))
    assert tell(it, offer(1, job=b"k" * 20))
    assert tell(it, member(1))
    assert not tell(it, member(1, incarnation=0, by=KEYS[1]))
    assert tell(it, member(2))
    assert tell(it, member(1, by=KEYS[2]))  # another's word stands beside it
    assert it.statistics()["held"] == 5


@pytest.mark.parametrize(
    "rumor",
    [
        Signed(Advert.kind, advert().body, KEYS[0].public, bytes(64)),
        signed(Close(b"j" * 20, 1, b"d" * 32), KEYS[0]),
        Signed(Advert.kind, b"\xff", KEYS[0].public, bytes(64)),
        signed(MemberState(at(KEYS[0]), 1, 0, 0), KEYS[1]),
        msgspec.structs.replace(offer(), key=KEYS[1].public),
        msgspec.structs.replace(advert(), key=KEYS[1].public),
    ],
)
def test_what_is_not_its_signers_to_say_is_refused(rumor: Signed) -> None:
    it = gossip(PEERS)
    assert tell(it, rumor) == []
    assert it.statistics() == {"held": 0, "active": 0, "riding": 0, "seen": 0, "delivered": 0, "refused": 1}


def test_rumors_and_hops_that_differ_in_number_are_the_senders_mistake() -> None:
    it = gossip(PEERS)
    with pytest.raises(PeerError):
        it.receive(SENDER, datagrams.Gossip([offer()], []), 0.0)
    with pytest.raises(PeerError):
        it.receive(SENDER, RumorDigest(b"123", True), 0.0)
    assert it.receive(SENDER, Ack(1, 0), 0.0) == []


def test_one_sender_may_make_us_verify_so_much_a_second_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RUMOR_VERIFIES_PER_SENDER_PER_S", 3.0)
    it = gossip(PEERS)
    heard = [bool(tell(it, advert(version))) for version in range(1, 6)]
    assert heard == [True, True, True, False, False]
    assert tell(it, advert(6), sender=PEERS[1])
    assert tell(it, advert(7), now=1.0)  # what was left out then may come again


def test_offers_of_two_lots_of_one_grantor_do_not_replace_each_other() -> None:
    it = gossip(PEERS)
    assert tell(it, offer(1, epoch=9, lot=2)) and tell(it, offer(1, epoch=1, lot=0)), (
        "a lot of few epochs is heard, too"
    )
    assert not tell(it, offer(1, epoch=0, lot=0)), "an older one of the same"


def test_a_grantor_has_a_budget_of_offers_for_each_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUDGETS_MAX", 2)
    it = gossip(PEERS)
    heard = [bool(tell(it, offer(number))) for number in range(1, 25)]
    assert heard.count(True) == limits.OFFERS_PER_OWNER_BURST
    for keypair in KEYS[1:5]:
        assert tell(it, offer(keypair=keypair))
    assert len(it._offers) == 2


def test_a_grantor_has_one_budget_of_offers_for_all_owners_that_it_names() -> None:
    it = gossip(PEERS)
    heard = [
        bool(tell(it, offer(1, lot=number, owner=number.to_bytes(32, "big")), now=number / 1000))
        for number in range(1, 450)
    ]
    most = OWNERS_PER_SIGNER * (limits.OFFERS_PER_OWNER_BURST + limits.OFFERS_PER_OWNER_PER_S * 0.45)
    assert OWNERS_PER_SIGNER * limits.OFFERS_PER_OWNER_BURST <= heard.count(True) <= most < 449
    assert tell(it, offer(1, keypair=KEYS[3], owner=bytes(32)), now=0.45), "another's offers are another's"


def test_every_datagram_fits_whatever_the_rumors_are() -> None:
    it = gossip(PEERS)
    for number in range(40):
        it.spread(offer(job=bytes([number]) * 20, pad=number % 25), 0.0)
    for number, keypair in enumerate(KEYS):
        it.spread(advert(keypair=keypair, pad=30 * number), 0.0)
    told: set[bytes] = set()
    now = 0.0
    while it.statistics()["active"]:
        now += 0.1
        for _, message in sent(it.expire(now)):
            assert len(datagrams.CODEC.encode(message)) <= limits.BODY_BYTES_MAX
            assert len(message.rumors) == len(message.hops) <= limits.RUMORS_PER_DATAGRAM_MAX
            told.update(rumor.body for rumor in message.rumors)
    assert len(told) == 47
    [digest] = it.pull(SENDER, now)
    assert isinstance(digest, Send)
    assert isinstance(digest.message, RumorDigest)
    pulled = it.receive(SENDER, RumorPull(digest.message.ids), now)
    assert sum(len(message.rumors) for _, message in sent(pulled)) >= limits.RUMOR_DATAGRAMS_PER_ROUND
    assert len(pulled) <= limits.RUMOR_DATAGRAMS_PER_ROUND


def test_the_smallest_rumors_are_sixteen_to_a_datagram() -> None:
    it = gossip(PEERS)
    small = [Signed(14, b"", KEYS[0].public, bytes(64))] * 20
    held = [it._hold(bytes([n]) * 8, item, MemberState(at(KEYS[n % 7]), n, 0, 1), 10, 3, 0.0) for n, item in
            enumerate(small)]  # fmt: skip
    assert [len(message.rumors) for _, message in sent(it._tell(SENDER, held))] == [16, 4]


def test_push_pull_brings_each_side_what_it_lacks() -> None:
    one, other = gossip([]), gossip([], seed=2)
    me, you = PEERS[0], PEERS[1]
    one.spread(offer(), 0.0)
    other.spread(advert(), 0.0)
    heard: list[tuple[Contact, object]] = []
    todo = [(me, effect) for effect in one.pull(you, 0.0)]
    while todo:
        sender, effect = todo.pop(0)
        if isinstance(effect, Heard):
            heard.append((sender, effect.value))
        elif isinstance(effect, Send):
            receiver = other if effect.to == you else one
            todo += [(effect.to, follow) for follow in receiver.receive(sender, effect.message, 0.0)]
    assert [(who, type(statement(rumor))) for who, rumor in heard] == [(you, Offer), (me, Advert)]
    assert one.receive(you, RumorDigest(rumor_id(SIGNED.encode(offer())) + rumor_id(SIGNED.encode(advert())), True),
                       0.0) == []  # fmt: skip


def test_a_neighbour_is_compared_with_about_every_ten_seconds() -> None:
    it = gossip(PEERS)
    [first] = it.expire(0.0)
    assert isinstance(first, Send)
    assert first.message == RumorDigest(b"", True)
    assert 8.0 <= it.deadline() <= 12.0


def test_without_neighbours_a_rumor_waits() -> None:
    it = gossip([])
    assert it.spread(offer(), 0.0) == []
    assert it.statistics()["active"] == 1
    it.expire(0.0)
    assert it.deadline() == 1.0
    it._neighbourhood.heard(PEERS[0], 0.5)
    assert len(sent(it.expire(1.0))) == 1


def test_old_rumors_are_forgotten_and_their_ids_later(monkeypatch: pytest.MonkeyPatch) -> None:
    it = gossip(PEERS)
    tell(it, advert(ttl_s=30.0))
    tell(it, offer())
    it.expire(31.0)
    assert it.statistics()["held"] == 1
    assert tell(it, advert(ttl_s=30.0), now=32.0) == []
    it.expire(limits.RUMOR_SEEN_S + 1)
    assert it.statistics()["seen"] == 0
    monkeypatch.setattr(limits, "RUMORS_MAX", 2)
    monkeypatch.setattr(limits, "RUMORS_SEEN_MAX", 3)
    for keypair in KEYS:
        tell(it, advert(keypair=keypair), now=1000.0)
    assert (it.statistics()["held"], it.statistics()["seen"], len(it._slots)) == (2, 3, 3)


def test_what_is_dropped_before_it_lapses_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RUMORS_MAX", 3)
    it = gossip([])
    for version in range(1, 9):
        tell(it, advert(version, ttl_s=20.0), float(version))
        tell(it, offer(version), float(version))
    assert it._lapses.deadline() == 28.0, "of each the newest"
    for keypair in KEYS[1:4]:
        tell(it, advert(keypair=keypair, ttl_s=100.0), 9.0)
    assert it._lapses.deadline() == 109.0, "and of all the newest three"


def test_a_digest_names_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RUMOR_DIGESTS_MAX", 3)
    it = gossip(PEERS)
    for keypair in KEYS:
        it.spread(advert(keypair=keypair), 0.0)
    [digest] = it.pull(SENDER, 0.0)
    assert isinstance(digest, Send)
    assert isinstance(digest.message, RumorDigest)
    assert len(digest.message.ids) == 24


def test_our_own_word_is_spread_and_not_delivered_to_us() -> None:
    it = gossip(PEERS)
    effects = it.spread(member(0, by=KEYS[0]), 0.0)
    assert {message.hops[0] for _, message in sent(effects)} == {limits.MEMBER_HOPS - 1}
    assert not [effect for effect in effects if isinstance(effect, Heard)]
    assert tell(it, member(0, by=KEYS[0])) == []
    assert it.spread(member(0, by=KEYS[0]), 0.01) == []


def test_a_word_for_named_neighbours_goes_to_them_first_to_fewer_by_chance_and_is_not_compared() -> None:
    it = gossip(PEERS)
    to = tuple(PEERS[:4])
    said = sent(it.spread(member(0, by=KEYS[0]), 0.0, hops=1, to=to, rounds_less=2))
    assert [peer for peer, _ in said] == list(to) and {message.hops[0] for _, message in said} == {0}
    later = [peer for at in (1.0, 2.0, 3.0) for peer, _ in sent(it._round(at))]
    assert len(later) <= limits.FANOUT and not set(later) & set(to)
    (digest,) = [effect.message for effect in it.pull(PEERS[5], 4.0) if isinstance(effect, Send)]
    assert isinstance(digest, RumorDigest) and digest.ids == b""


def test_the_newest_advert_of_a_peer_can_be_had_while_it_is_held() -> None:
    it = gossip([SENDER])
    assert it.back(KEYS[0].public) is None
    for version in (1, 2):
        tell(it, advert(version))
    assert it.back(KEYS[0].public) == advert(2)
    assert it.back(KEYS[1].public) is None


def offered(it: Gossip, to: Contact, now: float = 0.0) -> list[bytes]:
    """Whose adverts ``to`` is offered that holds nothing, and brought, in their order."""
    [digest] = [effect.message for effect in it.receive(to, RumorDigest(b"", True), now) if isinstance(effect, Send)]
    assert isinstance(digest, RumorDigest)
    effects = it.receive(to, RumorPull(digest.ids), now)
    return [rumor.key for _, message in sent(effects) for rumor in message.rumors if rumor.kind == Advert.kind]


def test_a_newcomer_is_brought_our_own_advert_first_however_much_it_lacks() -> None:
    it, newcomer = gossip(PEERS), contact(b"new".ljust(20), ("10.0.2.1", 1))
    it.spread(advert(keypair=KEYS[0], ttl_s=7200.0), 0.0)
    for number in range(90):
        tell(it, offer(job=number.to_bytes(20, "big"), pad=20), 0.1 * number)
    assert offered(it, newcomer, 9.0) == [KEYS[0].public]
    it.expire(limits.RUMOR_S + 60.0)
    assert offered(it, newcomer, limits.RUMOR_S + 60.0) == [KEYS[0].public], "it is said again each five minutes"


def test_our_own_advert_is_offered_while_it_rides_where_it_may_not_come_by() -> None:
    it, newcomer = gossip(PEERS), contact(b"new".ljust(20), ("10.0.2.1", 1))
    tell(it, advert(keypair=KEYS[1]))
    it.spread(advert(keypair=KEYS[0]), 0.0, hurried=False)
    assert offered(it, newcomer) == [KEYS[0].public, KEYS[1].public]
    assert offered(it, PEERS[2]) == [KEYS[1].public]


def test_what_the_dead_said_of_themselves_is_told_to_nobody_until_they_are_back() -> None:
    it, rides = gossip(PEERS), repeating()
    for keypair in KEYS[:2]:
        tell(it, advert(keypair=keypair))
        tell(rides, advert(keypair=keypair))
    it.gone(KEYS[1].public)
    it.gone(KEYS[2].public)
    rides.gone(KEYS[1].public)
    told = [rumor.key for _, message in sent(it.expire(limits.RUMOR_ROUND_S)) for rumor in message.rumors]
    assert set(told) == {KEYS[0].public}
    assert offered(it, PEERS[2]) == [KEYS[0].public] and rides.statistics()["riding"] == 1
    assert tell(it, advert(keypair=KEYS[1]), sender=PEERS[3]) == [], "it is no news"
    assert it.back(KEYS[1].public) == advert(keypair=KEYS[1])
    assert offered(it, PEERS[2]) == [KEYS[1].public, KEYS[0].public]


def test_who_hears_a_rumor_again_tells_it_fewer_times() -> None:
    it = gossip(PEERS)
    tell(it, offer(), 0.0)  # one round is sent at once
    for sender in PEERS[1:4]:
        assert tell(it, offer(), 0.01, sender=sender) == []
    assert it.statistics()["active"] == 0
    other = gossip(PEERS)
    tell(other, offer(), 0.0)
    for _ in range(3):  # the same one again says nothing of how far the rumor came, nor one who tells it less far
        tell(other, offer(), 0.01)
        tell(other, offer(), 0.01, hops=3, sender=PEERS[2])
    assert other.statistics()["active"] == 1


def test_comparisons_that_find_nothing_are_made_more_rarely_until_one_finds_something() -> None:
    it = gossip(PEERS)
    waits_s, now = [], 0.0
    for _ in range(6):
        it.expire(now)
        waits_s.append(it.deadline() - now)
        now = it.deadline()
    assert waits_s[0] <= 12.0 and 0.8 * 40.0 <= waits_s[-1] <= 1.2 * 40.0
    it.receive(SENDER, RumorDigest(bytes(8), False), now)
    it.expire(now)
    assert it.deadline() - now <= 12.0


def among(known: int) -> Gossip:
    return gossip([contact(number.to_bytes(20, "big"), ("10.0.1.1", 1 + number)) for number in range(known)])


def waits_s(it: Gossip, now: float, count: int, rumors: list[Signed]) -> list[float]:
    """The waits before so many comparisons, each of which finds ``rumors``."""
    found_s = []
    for turn in range(count):
        if rumors:
            rumor = rumors[turn % len(rumors)]
            it.receive(SENDER, RumorDigest(rumor_id(SIGNED.encode(rumor)), False), now)
            tell(it, rumor, now, hops=0)
        it.expire(now)
        found_s.append(it.deadline() - now)
        now = it.deadline()
    return found_s


@pytest.mark.parametrize(("known", "usual_s", "most_s"), [(32, 10.0, 40.0), (64, 20.0, 80.0), (512, 50.0, 120.0)])
def test_the_more_are_known_the_more_rarely_rumors_are_compared(known: int, usual_s: float, most_s: float) -> None:
    it = among(known)
    found_s = waits_s(it, 0.0, 8, [member(1, incarnation) for incarnation in range(8)])
    assert all(0.8 * usual_s <= wait_s <= 1.2 * usual_s for wait_s in found_s[1:])
    last_s = waits_s(it, sum(found_s), 4, [])[-1]
    assert 0.8 * most_s <= last_s <= 1.2 * most_s <= limits.RUMOR_S, "a rumor is held for longer than any pause"


@pytest.mark.parametrize(("known", "last_s"), [(COMPARE_ADVERTS, 30.0), (2 * COMPARE_ADVERTS, 120.0)])
def test_among_many_to_find_adverts_alone_is_to_find_nothing(known: int, last_s: float) -> None:
    it = among(known)
    found_s = waits_s(it, 0.0, 8, [advert(version) for version in range(1, 9)])
    assert 0.8 * last_s <= found_s[-1] <= 1.2 * last_s
    now = sum(found_s)
    it.receive(SENDER, RumorPull(rumor_id(SIGNED.encode(advert(8)))), now)
    assert 0.8 * last_s <= waits_s(it, now, 1, [])[0] <= 1.2 * last_s
    tell(it, offer(), now)
    it.receive(SENDER, RumorPull(rumor_id(SIGNED.encode(offer()))), now)
    assert waits_s(it, now, 1, [])[0] <= 1.2 * 50.0, "somebody lacked an offer"


def repeating(neighbours: list[Contact] = PEERS, *, known: bool | None = True) -> Gossip:
    """Whoever advertises was ``known`` to be so before."""
    hood = Neighbourhood(b"own".ljust(20), RoundTrips(), random.Random(1))
    for it in neighbours:
        hood.heard(it, 0.0)
    return Gossip(hood, random.Random(1), 0.0, repeats=lambda advert: known)


def test_what_only_repeats_wakes_nobody_and_rides_on_with_what_is_sent_anyway() -> None:
    it = repeating()
    it.expire(0.0)
    due_s = it.deadline()
    effects = it.receive(SENDER, datagrams.Compound(Ack(1, 0), [advert()], [1]), 0.1)
    assert [effect for effect in effects if isinstance(effect, Send)] == [] and len(effects) == 1
    assert it.deadline() == due_s
    assert it.statistics()["riding"] == 1
    assert it.riding.load(PEERS[1], Ack(2, 0)) == datagrams.Compound(Ack(2, 0), [advert()], [0])
    assert it.riding.load(SENDER, Ack(2, 0)) == Ack(2, 0)
    assert len(tell(it, offer())) == 1 and it.statistics()["active"] == 1, "an offer is in a hurry"


def test_an_advert_that_rode_rides_on_where_nothing_was_known_of_its_peer() -> None:
    it = gossip(PEERS)
    it.expire(0.0)
    due_s = it.deadline()
    ridden = it.receive(SENDER, datagrams.Compound(Ack(1, 0), [advert()], [1]), 0.1)
    assert [type(effect) for effect in ridden] == [Heard], "it is news here"
    assert it.deadline() == due_s and it.statistics()["riding"] == 1
    assert it.statistics()["active"] == 0
    it.receive(SENDER, datagrams.Compound(Ack(1, 0), [offer()], [1]), 0.1)
    assert (it.statistics()["riding"], it.statistics()["active"]) == (1, 1), "an offer is in a hurry wherever it came"
    tell(it, advert(keypair=KEYS[1]), 0.1)
    assert (it.statistics()["riding"], it.statistics()["active"]) == (1, 2), "and so is an advert that was told at once"


@pytest.mark.parametrize(("known", "hurried"), [(None, 0), (True, 0), (False, 1)])
def test_an_advert_that_rode_is_in_a_hurry_where_something_else_was_known_of_its_peer(
    known: bool | None, hurried: int
) -> None:
    it = repeating(known=known)
    it.receive(SENDER, datagrams.Compound(Ack(1, 0), [advert()], [1]), 0.0)
    assert (it.statistics()["active"], it.statistics()["riding"]) == (hurried, 1 - hurried)


@pytest.mark.parametrize("hops", [0, 1, 16])
def test_who_hastens_to_let_news_ride_keeps_nobody_from_telling_it_at_once(hops: int) -> None:
    it = gossip(PEERS)
    it.receive(SENDER, datagrams.Compound(Ack(1, 0), [advert()], [hops]), 0.0)
    assert it.statistics()["active"] == 0
    told = sent(it.receive(PEERS[1], datagrams.Gossip([advert()], [1]), 0.1))
    assert told and not {SENDER, PEERS[1]} & {to for to, _ in told}
    assert (it.statistics()["active"], it.statistics()["riding"]) == (1, 0)
    while it.statistics()["active"]:
        it.expire(it.deadline())
    assert sent(it.receive(PEERS[2], datagrams.Gossip([advert()], [1]), 1.0)) == [], "once"


def test_news_that_rode_is_told_for_itself_no_farther_than_it_may_go() -> None:
    it = gossip(PEERS)
    it.receive(SENDER, datagrams.Compound(Ack(1, 0), [advert()], [1]), 0.0)
    tell(it, advert(), 0.1, hops=0, sender=PEERS[1])  # as each of those who tell it on says
    it.receive(PEERS[2], datagrams.Compound(Ack(1, 0), [advert()], [1]), 0.1)
    assert (it.statistics()["active"], it.statistics()["riding"]) == (0, 1)


def test_a_repetition_that_rode_is_in_no_hurry_when_it_is_told_for_itself() -> None:
    it = repeating()
    it.receive(SENDER, datagrams.Compound(Ack(1, 0), [advert()], [1]), 0.0)
    tell(it, advert(), 0.1, hops=1, sender=PEERS[1])
    assert (it.statistics()["active"], it.statistics()["riding"]) == (0, 1)


def test_our_own_repetition_rides_from_the_first() -> None:
    it = gossip(PEERS)
    assert it.spread(advert(), 0.0, hurried=False) == []
    assert it.riding.load(PEERS[0], Ack(2, 0)) == datagrams.Compound(Ack(2, 0), [advert()], [1])
    assert it.spread(advert(2), 0.0, hurried=False) == []
    assert it.riding.load(PEERS[0], Ack(2, 0)) == datagrams.Compound(Ack(2, 0), [advert(2)], [1])
    assert it.statistics()["riding"] == 1, "only the newest rides"


def test_what_rides_for_minutes_is_told_for_itself_at_a_comparison() -> None:
    it = repeating()
    tell(it, advert(ttl_s=7200.0), 0.0)
    now, told = 0.0, []
    while not told:
        effects = it.expire(now)
        told = sent(effects)
        assert any(isinstance(effect, Send) and isinstance(effect.message, RumorDigest) for effect in effects)
        now, before = it.deadline(), now
    now = before
    assert len(told) == len(PEERS) - 1
    assert (it.statistics()["riding"], it.statistics()["held"]) == (0, 1)
    assert RIDER_S / 2 <= now <= RIDER_S / 2 + 60.0


def test_a_rumor_that_rides_is_compared_once_it_does_no_more() -> None:
    it = repeating()
    tell(it, advert())
    [pull] = it.pull(PEERS[1], 0.0)
    assert isinstance(pull, Send) and pull.message == RumorDigest(b"", True)
    for peer in PEERS:
        it.riding.load(peer, Ack(1, 0))
    it.riding.drop(rumor_id(SIGNED.encode(advert())))
    [pull] = it.pull(PEERS[1], 0.0)
    assert isinstance(pull, Send) and pull.message == RumorDigest(rumor_id(SIGNED.encode(advert())), True)


def test_a_repetition_that_comes_a_shorter_way_as_well_rides_then() -> None:
    it = repeating()
    tell(it, advert(), hops=0)
    assert it.statistics()["riding"] == 0
    tell(it, advert(), hops=1, sender=PEERS[1])
    assert it.statistics()["riding"] == 1 and it.statistics()["active"] == 0


def test_what_rides_in_costs_as_little_as_other_rumors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RUMOR_VERIFIES_PER_SENDER_PER_S", 2.0)
    it = gossip(PEERS)
    rumors = [advert(keypair=keypair) for keypair in KEYS[:4]]
    effects = it.receive(SENDER, datagrams.Compound(Ack(1, 0), rumors, [0] * 4), 0.0)
    assert len([effect for effect in effects if isinstance(effect, Heard)]) == 2
    with pytest.raises(PeerError, match="number"):
        it.receive(SENDER, datagrams.Compound(Ack(1, 0), rumors, [0]), 0.0)


@pytest.mark.parametrize(("known", "both"), [(COMPARE_ADVERTS, True), (2 * COMPARE_ADVERTS, False)])
def test_among_many_adverts_are_not_compared_with_a_new_neighbour_either(known: int, both: bool) -> None:
    it = among(known)
    tell(it, advert(), 0.0)
    tell(it, offer(), 0.0)
    ids = {kind: rumor_id(SIGNED.encode(rumor)) for kind, rumor in (("advert", advert()), ("offer", offer()))}
    while it.statistics()["active"]:
        it.expire(at_s := it.deadline())
    [effect] = it.expire(at_s := it.deadline())
    assert isinstance(effect, Send)
    digest = effect.message
    assert isinstance(digest, RumorDigest) and digest.adverts is both
    assert digest.ids == ids["offer"] + (ids["advert"] if both else b"")
    [answer] = it.receive(SENDER, RumorDigest(b"", True, False), at_s)
    assert isinstance(answer, Send) and answer.message == RumorDigest(ids["offer"], False, False)
    [greeting] = it.pull(SENDER, at_s)
    assert isinstance(greeting, Send) and greeting.message == RumorDigest(digest.ids, True, both)
