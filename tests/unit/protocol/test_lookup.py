"""A lookup: four states, hedged queries, and an end when the nearest that live have answered."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.protocol.lookup import ADDRESSES_MAX, Lookup, State
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact, contact

OWN = b"\xff" * 20
TARGET = bytes(20)


def peer(number: int, port: int = 4000) -> Contact:
    """The smaller the number, the nearer to the target."""
    return contact(bytes(18) + number.to_bytes(2, "big"), ("10.0.0.1", port))


def test_three_are_asked_at_a_time_nearest_first() -> None:
    lookup = Lookup(OWN, TARGET, [peer(number) for number in (5, 1, 4, 2, 3)])
    assert lookup.queries() == [peer(1), peer(2), peer(3)]
    assert lookup.queries() == []
    lookup.answered(peer(2), [peer(0)])
    assert lookup.queries() == [peer(0)]
    assert lookup.states() == {State.HEARD: 2, State.WAITING: 3, State.QUERIED: 1, State.UNREACHABLE: 0}


def test_a_late_peer_gets_another_asked_beside_it() -> None:
    lookup = Lookup(OWN, TARGET, [peer(number) for number in range(30)])
    assert len(lookup.queries()) == limits.ALPHA
    lookup.late(peer(0))
    assert lookup.queries() == [peer(3), peer(4)]  # in its place, and one more
    for _ in range(20):
        lookup.late(peer(1))
    assert len(lookup.queries()) == limits.ALPHA_MAX - 3


def test_a_lookup_ends_when_the_nearest_have_answered_or_failed() -> None:
    lookup = Lookup(OWN, TARGET, [peer(1), peer(2), peer(3)], k=2)
    assert not lookup.done
    assert lookup.queries() == [peer(1), peer(2)]
    lookup.answered(peer(2), [])
    lookup.failed(peer(1))
    assert not lookup.done  # the third moved up
    assert lookup.queries() == [peer(3)]
    lookup.answered(peer(3), [])
    assert lookup.done
    assert lookup.nearest(5) == [peer(2), peer(3)]


def test_nobody_waits_for_a_peer_that_is_late_twice_or_once_when_a_value_is_known() -> None:
    lookup = Lookup(OWN, TARGET, [peer(1), peer(2)])
    lookup.queries()
    lookup.answered(peer(2), [])
    lookup.late(peer(1))
    assert not lookup.done
    lookup.impatient = True
    assert lookup.done
    lookup.impatient = False
    lookup.late(peer(1))
    assert lookup.done
    lookup.answered(peer(1), [])
    assert lookup.nearest(2) == [peer(1), peer(2)]


def test_we_are_never_asked_nor_are_the_dead_and_the_unusable() -> None:
    dead = peer(7)
    lookup = Lookup(OWN, TARGET, [peer(1)], is_dead=lambda it: it == dead)
    lookup.queries()
    nowhere = Contact(b"n" * 20, b"\x0a\x00\x00\x01", 0)
    lookup.answered(peer(1), [contact(OWN, ("10.0.0.9", 4000)), nowhere, dead])
    assert lookup.done
    assert len(lookup) == 1


def test_one_reply_adds_no_more_than_it_may_hold() -> None:
    lookup = Lookup(OWN, TARGET, [peer(1)])
    lookup.queries()
    lookup.answered(peer(1), [peer(number) for number in range(2, 100)])
    assert len(lookup) == 1 + limits.CONTACTS_MAX
    lookup.answered(peer(1), [peer(500)])  # it has had its say
    assert len(lookup) == 1 + limits.CONTACTS_MAX
    lookup.answered(peer(900), [peer(500)])  # and this one was never asked
    assert len(lookup) == 1 + limits.CONTACTS_MAX


def test_the_farthest_are_forgotten_beyond_the_bound() -> None:
    lookup = Lookup(OWN, TARGET, [peer(number) for number in range(1000)])
    assert len(lookup) == limits.LOOKUP_PEERS_MAX
    assert lookup.queries() == [peer(0), peer(1), peer(2)]


def test_a_wrong_address_does_not_hide_a_peer() -> None:
    lookup = Lookup(OWN, TARGET, [peer(1, port=1), peer(2)])
    assert lookup.queries() == [peer(1, port=1), peer(2)]
    lookup.answered(peer(2), [peer(1, port=2)])
    lookup.failed(peer(1, port=1))
    assert lookup.queries() == [peer(1, port=2)]
    lookup.failed(peer(1, port=1))  # stale news
    lookup.failed(peer(1, port=2))
    assert lookup.done
    assert lookup.states()[State.UNREACHABLE] == 1


def test_an_unreachable_peer_is_tried_at_a_bounded_number_of_addresses() -> None:
    lookup = Lookup(OWN, TARGET, [peer(1, port=1), *(peer(number) for number in range(10, 20))])
    tried = 0
    for number in range(10, 20):
        for asked in lookup.queries():
            if asked.id == peer(1).id:
                tried += 1
                lookup.failed(asked)
        lookup.answered(peer(number), [peer(1, port=number)])
    assert tried == ADDRESSES_MAX


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 60), st.floats(0.0, 0.5))
def test_a_lookup_finds_the_nearest_that_live(seed: int, count: int, dead_share: float) -> None:
    """Against peers that know twenty near themselves and twenty at random, as Kademlia's do."""
    rng = random.Random(seed)
    ids = sorted({rng.randbytes(20) for _ in range(count)})
    contacts = {node: contact(node, ("10.0.0.1", 1 + at)) for at, node in enumerate(ids)}
    dead = set(rng.sample(ids[1:], int(dead_share * (len(ids) - 1))))
    target = rng.randbytes(20)
    lookup = Lookup(OWN, target, [contacts[ids[0]]], k=8)
    for _ in range(10_000):
        for asked in lookup.queries():
            if asked.id in dead:
                lookup.late(asked)
                lookup.failed(asked)
            else:
                near = sorted(ids, key=lambda node: distance(node, target))[:20]
                lookup.answered(asked, [contacts[node] for node in near])
        if lookup.done:
            break
    assert lookup.done
    living = sorted((node for node in ids if node not in dead), key=lambda node: distance(node, target))
    found = [it.id for it in lookup.nearest(8)]
    # The dead among the twenty named may hide who is behind them; whoever was named and lives is found.
    named = [node for node in living if node in sorted(ids, key=lambda node: distance(node, target))[:20]]
    assert found[: len(named)] == named[:8]
