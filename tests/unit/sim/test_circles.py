"""Circles: who knows whom, found from ids alone, is what tables and lookups would have found."""

from __future__ import annotations

import random
from hashlib import blake2b

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.protocol.table import distance
from p2pcpn.sim.circles import ADVERTS_KNOWN, ASKED_A_BUCKET, Circles, Ids


def some_ids(count: int) -> list[bytes]:
    return [blake2b(b"%d" % number, digest_size=20).digest() for number in range(count)]


@given(st.integers(1, 300), st.binary(min_size=20, max_size=20), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_the_nearest_are_those_that_a_search_through_all_finds(count: int, target: bytes, wanted: int) -> None:
    ids = some_ids(count)
    expected = sorted(range(count), key=lambda number: distance(ids[number], target))[:wanted]
    assert Ids(ids).nearest(target, wanted) == expected


def test_some_of_each_far_bucket_are_asked_and_all_of_the_near_ones() -> None:
    ids = some_ids(400)
    own = ids[7]
    asked = Ids(ids).asked(own, random.Random(1))
    assert len(asked) == len(set(asked)) and 7 not in asked
    buckets: dict[int, list[int]] = {}
    for number, node in enumerate(ids):
        if number != 7:
            buckets.setdefault(distance(node, own).bit_length(), []).append(number)
    for members in buckets.values():
        expected = len(members) if len(members) <= limits.BUCKET_PEERS else ASKED_A_BUCKET
        assert len(set(members) & set(asked)) == expected


def test_whoever_is_met_knows_the_other_and_adverts_stay_near() -> None:
    ids = some_ids(700)
    chance = [random.Random(number) for number in range(700)]
    circles = Circles(ids, lambda one, other: abs(one - other), chance)
    assert all(number in circles.met[other] for number, met in enumerate(circles.met) for other in met)
    for number, hears in enumerate(circles.hears):
        assert len(hears) == len(set(hears)) <= ADVERTS_KNOWN and number not in hears
    assert sum(map(len, circles.hears)) > 300 * len(ids)


def test_two_peers_know_each_other() -> None:
    circles = Circles(some_ids(2), lambda one, other: 0.0, [random.Random(1), random.Random(2)])
    assert circles.met == [[1], [0]] and circles.hears == [[1], [0]]
