"""The neighbourhood: near by round trip, near by id, some by chance, and steady."""

from __future__ import annotations

import random

import pytest

from p2pcpn import limits
from p2pcpn.protocol.neighbourhood import FLAP_S, FLAPS_FORGIVEN, NEEDED, Neighbourhood
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact, contact

OWN = bytes(20)


def peer(number: int, port: int = 4000) -> Contact:
    return contact(random.Random(number).randbytes(20), ("10.0.0.1", port))


def crowd(count: int) -> tuple[Neighbourhood, RoundTrips, list[Contact]]:
    trips = RoundTrips()
    hood = Neighbourhood(OWN, trips, random.Random(1))
    peers = [peer(number) for number in range(count)]
    for it in peers:
        hood.heard(it, 0.0)
    return hood, trips, peers


def test_in_a_small_swarm_everybody_is_a_neighbour_at_once() -> None:
    hood, _, peers = crowd(5)
    assert hood.contacts() == peers
    assert peers[2].id in hood
    assert hood.get(peers[2].id) == peers[2]
    assert len(hood) == 5


def test_we_are_no_neighbour_of_ours_and_nobody_is_at_an_unusable_address() -> None:
    hood, _, _ = crowd(0)
    hood.heard(contact(OWN, ("10.0.0.1", 4000)), 0.0)
    hood.heard(peer(1, port=0), 0.0)
    assert hood.contacts() == []
    assert hood.deadline() is None


def test_the_lowest_round_trips_and_the_nearest_ids_are_chosen_and_some_by_chance() -> None:
    hood, trips, peers = crowd(100)
    for number, it in enumerate(peers[60:]):
        trips.observe(it.id, 0.001 * (number + 1))
    assert hood.deadline() == limits.NEIGHBOURHOOD_S
    assert hood.expire(limits.NEIGHBOURHOOD_S - 1) == []
    hood.expire(limits.NEIGHBOURHOOD_S)
    chosen = hood.contacts()
    assert len(chosen) == limits.NEIGHBOURHOOD_MAX
    swift = peers[60 : 60 + limits.NEIGHBOURS_BY_RTT]
    assert all(it in chosen for it in swift)
    near = sorted((it for it in peers if it not in swift), key=lambda it: distance(it.id, OWN))
    assert all(it in chosen for it in near[: limits.NEIGHBOURS_BY_ID])
    hood.expire(2 * limits.NEIGHBOURHOOD_S)
    assert set(hood.contacts()) == set(chosen)  # who stands by chance stays


def test_it_is_counted_how_often_there_are_others() -> None:
    hood, trips, peers = crowd(40)
    assert hood.changes == limits.NEIGHBOURHOOD_MAX and list(hood.chosen.values()) == hood.contacts()
    hood.heard(peers[0], 1.0)
    hood.heard(contact(peers[0].id, ("10.9.9.9", 4000)), 1.0)  # the same peer from elsewhere
    hood.heard(peers[39], 1.0)  # there is no place left
    hood.gone(peers[39].id)
    assert hood.changes == limits.NEIGHBOURHOOD_MAX
    before, changes = set(hood.chosen), hood.changes
    trips.observe(peers[38].id, 0.001)
    hood.expire(limits.NEIGHBOURHOOD_S)
    assert set(hood.chosen) != before and hood.changes > changes
    changes = hood.changes
    hood.gone(peers[38].id)
    assert hood.changes > changes


def test_the_neighbours_nearest_to_an_id_are_named_without_itself() -> None:
    hood, _, peers = crowd(20)
    others = sorted((it for it in peers if it != peers[3]), key=lambda it: distance(it.id, peers[3].id))
    assert hood.near(peers[3].id, 4) == others[:4]


def test_who_took_a_place_by_hearsay_is_unproved_until_it_is_asked_or_heard() -> None:
    hood = Neighbourhood(OWN, RoundTrips(), random.Random(1))
    one, two, three = (peer(number) for number in range(3))
    for it in (one, two):
        hood.heard(it, 0.0, direct=False)
    hood.heard(three, 0.0)
    hood.heard(two, 1.0)
    assert hood.unproved() == one and hood.unproved() is None
    hood.heard(peer(3), 2.0, direct=False)
    hood.gone(peer(3).id)
    assert hood.unproved() is None


def test_who_is_chosen_anew_long_after_it_was_heard_is_unproved() -> None:
    # Churn, 100 peers, seed 4: dead for minutes, and it was nobody's neighbour when the word of it went round.
    hood, trips, peers = crowd(60)
    outside = [it for it in peers if it.id not in hood]
    assert hood.unproved() is None
    trips.observe(outside[0].id, 0.001)
    hood.expire(limits.NEIGHBOURHOOD_S)
    asked = []
    while (it := hood.unproved()) is not None:
        asked.append(it)
    assert outside[0] in asked and set(asked) == {it for it in outside if it.id in hood}


def test_a_neighbour_keeps_its_place_unless_another_is_clearly_nearer() -> None:
    hood, trips, peers = crowd(60)
    for it in peers[: limits.NEIGHBOURS_BY_RTT]:
        trips.observe(it.id, 0.010)
    hood.expire(30.0)
    last = sorted(peers[: limits.NEIGHBOURS_BY_RTT], key=lambda it: it.id)[-1]
    outside = [it for it in peers if it.id not in hood]
    trips.observe(outside[0].id, 0.009)
    hood.expire(60.0)
    assert outside[0].id not in hood
    trips.observe(outside[1].id, 0.005)
    hood.expire(150.0)  # the last choice changed nobody: the next came later
    assert outside[1].id in hood
    assert last.id not in hood or hood.contacts().index(last) >= limits.NEIGHBOURS_BY_RTT


def test_another_takes_the_place_of_who_is_gone() -> None:
    hood, _, _ = crowd(40)
    before = hood.contacts()
    hood.gone(before[3].id)
    assert before[3].id not in hood
    assert len(hood) == limits.NEIGHBOURHOOD_MAX
    hood.gone(b"nobody".ljust(20))
    few, _, peers = crowd(2)
    few.gone(peers[0].id)
    assert few.contacts() == [peers[1]]
    few.gone(peers[1].id)
    few.expire(30.0)
    assert few.deadline() is None


def test_who_moved_is_known_by_the_address_it_spoke_from() -> None:
    hood, _, peers = crowd(2)
    moved = contact(peers[0].id, ("10.7.7.7", 4000))
    hood.heard(moved, 1.0, direct=False)  # hearsay does not replace what we heard ourselves
    assert hood.get(moved.id) == peers[0]
    hood.heard(moved, 2.0)
    assert hood.get(moved.id) == moved
    hood.heard(moved, 3.0)
    hood.heard(peer(9), 3.0, direct=False)
    assert peer(9).id in hood


def test_the_candidates_are_bounded() -> None:
    hood, _, _ = crowd(limits.NEIGHBOUR_CANDIDATES_MAX + 50)
    assert len(hood._candidates) == limits.NEIGHBOUR_CANDIDATES_MAX
    assert len(hood) == limits.NEIGHBOURHOOD_MAX


def test_a_sample_leaves_out_whom_it_is_told_to() -> None:
    hood, _, peers = crowd(5)
    assert set(hood.sample(9, [peers[0].id])) == set(peers[1:])
    assert len(hood.sample(2)) == 2


def test_who_comes_and_goes_loses_its_place_for_longer_each_time_and_has_it_back_when_it_stays() -> None:
    hood, _, peers = crowd(8)
    node, now, holds = peers[3].id, 0.0, []
    for _ in range(FLAPS_FORGIVEN):
        assert not hood.flapped(node, now) and node in hood
        now += 6.0
    for _ in range(8):
        assert hood.flapped(node, now) and node not in hood
        began = now
        while node not in hood:
            now += 1.0
            hood.heard(peers[3], now)
        holds.append(now - began)
    assert holds == [15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0]
    assert not hood.flapped(node, now + FLAP_S + 1.0), "after a steady time all is forgiven"


def test_where_few_are_left_even_those_are_needed_who_come_and_go() -> None:
    hood, _, peers = crowd(NEEDED)
    assert not any(hood.flapped(peers[0].id, float(now)) for now in range(20))
    assert peers[0].id in hood


def test_what_is_remembered_of_flaps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NEIGHBOUR_CANDIDATES_MAX", 10)
    hood, _, _ = crowd(5)
    for number in range(50):
        hood.flapped(peer(number).id, 0.0)
    assert len(hood._flaps) == 10


def test_of_many_candidates_each_place_by_chance_gets_another() -> None:
    hood, _, _ = crowd(limits.NEIGHBOUR_CANDIDATES_MAX)
    hood.expire(limits.NEIGHBOURHOOD_S)
    ids = [it.id for it in hood.contacts()]
    assert len(set(ids)) == len(ids) == limits.NEIGHBOURHOOD_MAX
    gone = ids[-1]
    hood.gone(gone)
    assert len(hood) == limits.NEIGHBOURHOOD_MAX and gone not in hood


def test_who_was_a_neighbour_is_not_the_first_to_be_forgotten_afterwards() -> None:
    hood, trips, peers = crowd(limits.NEIGHBOUR_CANDIDATES_MAX)
    before = hood.contacts()
    for it in peers[-limits.NEIGHBOURS_BY_RTT :]:
        trips.observe(it.id, 0.001)
    hood.expire(limits.NEIGHBOURHOOD_S)
    lost = [it for it in before if it.id not in hood]
    for number in range(1000, 1100):
        hood.heard(peer(number), 90.0)
    assert lost and all(it.id in hood._candidates for it in lost)
