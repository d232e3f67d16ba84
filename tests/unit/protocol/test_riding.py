"""Riding: rumors in no hurry go with what is sent anyway, to nobody twice, and for themselves when that takes long."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from p2pcpn import limits
from p2pcpn.protocol.gossip import Held
from p2pcpn.protocol.neighbourhood import Neighbourhood
from p2pcpn.protocol.riding import RIDER_S, TELLINGS, Riding
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.datagrams import CODEC, Ack, Compound, Find, Ping, RumorDigest
from p2pcpn.wire.pages import SIGNED
from p2pcpn.wire.statements import Advert, Signed

MOST = (1 << 63) - 1
PEERS = [contact(number.to_bytes(20, "big"), ("10.0.1.1", number)) for number in range(1, 100)]
NEAR, FAR = PEERS[: limits.NEIGHBOURHOOD_MAX], PEERS[limits.NEIGHBOURHOOD_MAX :]


def riding(neighbours: list[Contact]) -> Riding:
    hood = Neighbourhood(b"own".ljust(20), RoundTrips(), random.Random(1))
    for it in neighbours:
        hood.heard(it, 0.0)
    return Riding(hood)


UNTIL_S = RIDER_S / 2


def held(number: int = 1, body_bytes: int = 200, told_by: Contact | None = None) -> Held:
    rumor = Signed(Advert.kind, bytes(body_bytes), bytes(32), number.to_bytes(64, "big"))
    tellers = [told_by.id] if told_by else []
    return Held(rumor.signature[-8:], rumor, len(SIGNED.encode(rumor)) + 2, 2, 4, RIDER_S, tellers, hurried=False)


def add(it: Riding, *rumors: Held) -> None:
    for rumor in rumors:
        it.add(rumor)


def test_a_rumor_goes_with_a_ping_an_answer_or_a_digest_and_with_nothing_else() -> None:
    it, rumor = riding(NEAR), held()
    add(it, rumor)
    carriers: list[Ping | Ack | RumorDigest] = [Ping(1, 2), Ack(1, 2), RumorDigest(bytes(16), True)]
    for peer, carrier in zip(NEAR, carriers, strict=False):
        assert it.load(peer, carrier) == Compound(carrier, [rumor.signed], [1])
    find = Find(1, bytes(20))
    assert it.load(NEAR[3], find) is find


def test_nobody_is_told_twice_nor_who_told_it() -> None:
    it, ping = riding(NEAR), Ping(1, 2)
    add(it, held(told_by=NEAR[0]))
    assert it.load(NEAR[0], ping) is ping
    assert it.load(NEAR[1], ping) is not ping
    assert it.load(NEAR[1], ping) is ping


def test_it_rides_until_so_many_neighbours_were_told_and_others_do_not_count() -> None:
    it, ping = riding(NEAR), Ping(1, 2)
    add(it, held())
    told = [peer for peer in FAR if it.load(peer, ping) is not ping]
    assert len(told) == limits.NEIGHBOURHOOD_MAX, "whoever makes itself many cannot make us remember more"
    assert len([peer for peer in NEAR if it.load(peer, ping) is not ping]) == TELLINGS
    assert len(it) == 0


def test_a_neighbour_that_tells_it_as_well_saves_some_and_a_stranger_none() -> None:
    it, rumor, ping = riding(NEAR), held(), Ping(1, 2)
    add(it, rumor)
    for peer in FAR:
        it.heard_again(rumor.id, peer)
    it.heard_again(rumor.id, NEAR[0])
    assert len([peer for peer in NEAR if it.load(peer, ping) is not ping]) == TELLINGS - 1
    add(it, rumor)
    for peer in NEAR:
        it.heard_again(rumor.id, peer)
    assert rumor.id not in it


@given(
    some.lists(some.integers(0, limits.RUMOR_BYTES_MAX), max_size=40),
    some.sampled_from([Ping(MOST, MOST), Ack(MOST, MOST), *(RumorDigest(bytes(8 * n), True) for n in (0, 1, 50, 100))]),
)
def test_whatever_rides_a_compound_fits_one_datagram_and_says_what_is_within(
    sizes: list[int], carrier: Ping | Ack | RumorDigest
) -> None:
    it = riding(NEAR)
    rumors = [held(number, size) for number, size in enumerate(sizes)]
    add(it, *rumors)
    said = it.load(NEAR[0], carrier)
    data = CODEC.encode(said)
    assert len(data) <= limits.BODY_BYTES_MAX
    assert CODEC.decode(data) == said
    if isinstance(said, Compound):
        assert said.message == carrier
        told = [rumor.signed for rumor in rumors if NEAR[0].id in rumor.tellers]
        assert said.rumors == told and len(said.hops) == len(told) <= limits.RUMORS_PER_DATAGRAM_MAX
    else:
        assert said is carrier


def test_what_found_nothing_to_ride_with_is_told_for_itself_many_together() -> None:
    it = riding(NEAR)
    rumors = [held(1), held(2), held(3, told_by=NEAR[5])]
    add(it, *rumors)
    assert it.overdue(UNTIL_S - 0.1) == []
    assert it.load(NEAR[0], Ping(1, 2)) != Ping(1, 2)
    told = it.overdue(UNTIL_S)
    assert len(it) == 0
    for rumor in rumors:
        peers = [peer for peer, some_of in told if rumor in some_of]
        assert TELLINGS - 3 <= len(set(peers)) == len(peers) <= TELLINGS - 1
        assert all(peer.id not in rumor.tellers for peer in peers)
    assert len(told) <= TELLINGS, "the same neighbours are told of all"


def test_who_has_no_neighbours_tells_nobody() -> None:
    it = riding([])
    add(it, held())
    assert it.overdue(UNTIL_S) == []


def test_no_more_ride_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RIDERS_MAX", 2)
    it, rumors = riding(NEAR), [held(1), held(2), held(3)]
    add(it, *rumors)
    assert [rumor.id in it for rumor in rumors] == [False, True, True]
    it.drop(rumors[1].id)
    it.drop(rumors[1].id)
    assert len(it) == 1
