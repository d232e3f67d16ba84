"""The routing table: exact about who is near, slow to drop whom it knows, and not to be filled from one network."""

from __future__ import annotations

import random
from collections.abc import Hashable

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.protocol.table import FRESH_S, OUTAGE_S, RoutingTable, distance
from p2pcpn.wire.addresses import Address, Contact, contact

OWN = bytes(20)
IDS = st.binary(min_size=20, max_size=20)


def by_port(address: Address) -> Hashable:
    return address


def by_network(address: Address) -> Hashable:
    return address[0].rsplit(".", 1)[0]


def peer(number: int, far: bool = True, host: str = "10.0.0.1") -> Contact:
    """A contact in the farthest bucket (``far``), or near us."""
    return contact(bytes([0x80 if far else 0]) + bytes(15) + number.to_bytes(4, "big"), (host, 1000 + number))


def table(group: object = by_port, k: int = 20, own: bytes = OWN) -> RoutingTable:
    return RoutingTable(own, group, random.Random(1), 0.0, k)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=20, max_size=20), st.lists(IDS, max_size=80), IDS, st.integers(0, 30), st.data())
def test_the_nearest_are_those_that_brute_force_finds(
    own: bytes, ids: list[bytes], target: bytes, count: int, data: st.DataObject
) -> None:
    known = table(k=4, own=own)
    for number, node in enumerate(ids):
        known.heard(contact(node, ("10.0.0.1", 1 + number)), float(number))
    for node in data.draw(st.lists(st.sampled_from(ids), max_size=5)) if ids else []:
        known.remove(node)
    exclude = tuple(data.draw(st.lists(st.sampled_from(ids), max_size=3)) if ids else [])
    expected = sorted((it for it in known.contacts() if it.id not in exclude), key=lambda it: distance(it.id, target))
    assert known.nearest(target, count, exclude) == expected[:count]
    assert known.nearer(target) == sum(distance(it.id, own) < distance(target, own) for it in known.contacts())
    assert own not in known
    assert len(known) == len(known.contacts()) == known.statistics()["peers"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("hhhfr"), IDS, st.integers(0, 6)), max_size=120))
def test_no_network_group_ever_owns_more_than_its_share(steps: list[tuple[str, bytes, int]]) -> None:
    known = table(by_network, k=3)
    for now, (what, node, network) in enumerate(steps):
        it = contact(node, (f"10.0.{network}.1", 4000))
        if what == "h":
            known.heard(it, float(now))
        elif what == "f":
            known.failed(it, float(now))
        else:
            known.remove(node)
        groups = [by_network(other.address) for other in known.contacts()]
        assert all(groups.count(group) <= limits.GROUP_PEERS_IN_TABLE_MAX for group in groups)
        known.nearest(node, 5)
    assert known.statistics()["replacements"] <= 3 * known.statistics()["buckets"]


def test_own_id_and_unusable_addresses_never_enter() -> None:
    known = table()
    known.heard(contact(OWN, ("10.0.0.1", 4000)), 0.0)
    known.heard(Contact(b"x" * 20, b"\xe0\x00\x00\x01", 4000), 0.0)
    known.heard(Contact(b"x" * 20, b"\x0a\x00\x00\x01", 0), 0.0)
    assert len(known) == 0


def test_who_speaks_again_at_once_changes_nothing_unless_it_was_doubted_or_moved() -> None:
    known = table()
    it = peer(1)
    assert not known.heard_lately(it, 0.0)
    known.heard(it, 10.0)
    assert known.heard_lately(it, 10.9) and not known.heard_lately(it, 11.0)
    assert not known.heard_lately(peer(1, host="10.0.0.2"), 10.5)
    known.dead.late(it, 10.5)
    assert not known.heard_lately(it, 10.6)
    known.heard(it, 10.6)
    assert known.heard_lately(it, 10.7) and not known.dead.is_silent(it, 10.7)
    known.failed(peer(2), 10.7 + OUTAGE_S - 0.1)  # we are not cut off: somebody was heard a moment ago
    assert known.dead.is_dead(peer(2), 30.0)


def test_a_full_bucket_keeps_whom_it_knows_and_pings_the_longest_silent() -> None:
    known = table(k=2)
    known.heard(peer(1), 0.0)
    known.heard(peer(2), 1.0)
    known.heard(peer(1), 2.0)
    assert known.heard(peer(3), 10.0) is None  # everybody was heard within the minute
    assert known.heard(peer(4), 10.0 + FRESH_S) == peer(2)
    assert known.heard(peer(5), 11.0 + FRESH_S) is None  # that one is being pinged already
    assert peer(3).id not in known
    known.failed(peer(2), 12.0 + FRESH_S)
    assert peer(2).id not in known
    assert peer(5).id in known  # the most recently heard replacement
    assert known.dead.is_dead(peer(2), 12.0 + FRESH_S)


def test_a_peer_that_answers_the_ping_stays() -> None:
    known = table(k=1)
    known.heard(peer(1), 0.0)
    assert known.heard(peer(2), 100.0) == peer(1)
    known.heard(peer(1), 101.0)
    assert known.contacts() == [peer(1)]
    assert known.heard(peer(2), 200.0) == peer(1)


def test_the_bucket_around_our_own_id_is_split_and_others_are_not() -> None:
    known = table(k=2)
    for number in range(8):
        known.heard(peer(number), 0.0)
        known.heard(peer(1 << number, far=False), 0.0)
    far = [it for it in known.contacts() if it.id[0] & 0x80]
    assert len(far) == 2
    assert len(known) == 2 + 8  # each power of two lies in a subtree of its own around us
    assert known.statistics()["buckets"] > 100


def test_replacements_move_along_when_a_bucket_is_split() -> None:
    known = table(k=2)
    known.heard(peer(1), 0.0)
    known.heard(peer(2), 0.0)
    known.heard(peer(3), 0.0)  # the split leaves the far bucket full: a replacement
    assert known.statistics()["replacements"] == 1
    known.heard(peer(4, far=False), 0.0)
    known.remove(peer(1).id)
    assert {it.id for it in known.contacts()} == {peer(2).id, peer(3).id, peer(4, far=False).id}


def test_a_peer_that_moved_is_known_by_its_new_address_alone() -> None:
    known = table()
    known.heard(peer(1), 0.0)
    moved = contact(peer(1).id, ("10.9.9.9", 4000))
    known.heard(moved, 1.0)
    assert known.contacts() == [moved]


def test_it_says_whether_anybody_in_it_listens_at_an_address() -> None:
    known = table(by_network)
    known.heard(peer(1), 0.0)
    stranger = contact(bytes(19) + b"\x01", ("10.0.0.1", 1001))
    assert known.listens_at(stranger)  # whatever its id
    assert not known.listens_at(contact(peer(1).id, ("10.0.0.1", 1002)))
    assert not known.listens_at(contact(peer(1).id, ("10.9.9.9", 1001)))
    known.remove(peer(1).id)
    assert not known.listens_at(stranger)


def test_the_dead_are_not_asked_again_until_they_are_heard_or_time_has_passed() -> None:
    known = table()
    known.heard(peer(1), 0.0)
    known.failed(peer(2), 0.0)
    assert known.dead.is_dead(peer(2), limits.DEAD_S - 1)
    assert not known.dead.is_dead(peer(2), limits.DEAD_S)
    known.heard(peer(1), 40.0)
    known.failed(peer(2), 40.0)
    assert known.dead.is_dead(peer(2), 40.0 + 2 * limits.DEAD_S - 1)
    known.heard(peer(2), 41.0)
    assert not known.dead.is_dead(peer(2), 41.0)


def test_nobody_is_dropped_while_it_is_we_who_are_cut_off() -> None:
    known = table()
    known.heard(peer(1), 0.0)
    known.failed(peer(1), 60.0)
    assert known.contacts() == [peer(1)]
    assert known.dead.is_dead(peer(1), 60.0)


def test_stale_buckets_near_to_us_and_thin_ones_are_refreshed_by_ids_within_them() -> None:
    known = table(k=1)
    known.heard(peer(1), 0.0)
    known.heard(peer(2, far=False), 0.0)
    assert known.statistics()["buckets"] == 2
    assert known.deadline() == limits.REFRESH_S
    assert known.refresh(limits.REFRESH_S - 1) == ([], [])
    known.looked_up(b"\xff" * 20, 100.0)
    [near], asked = known.refresh(limits.REFRESH_S)
    assert near[0] < 0x80 and not asked
    assert known.deadline() == 100.0 + limits.REFRESH_S
    assert len(known.refresh(limits.REFRESH_S, thinner_than=2)[0]) == 2
    assert known.refresh(limits.REFRESH_S, thinner_than=1) == ([], [])
    targets, asked = known.refresh(2 * limits.REFRESH_S, near=1)
    assert len(targets) == 2 and not asked, "the far one is thin"


def test_of_a_far_bucket_those_are_asked_that_were_silent_for_longest() -> None:
    known = table(k=5)
    for number in range(1, 6):
        known.heard(peer(number), number)
        known.heard(peer(number + 5, far=False), number)
    known.looked_up(peer(6, far=False).id, 3000.0)
    known.heard(peer(2), 3000.0)
    targets, asked = known.refresh(limits.REFRESH_S + 3.0, near=1)
    assert not targets and all(target[0] >= 0x80 for _, target in asked)
    assert [contact for contact, _ in asked] == [peer(1), peer(3)]  # it is full, and the next was heard in this hour
    assert known.refresh(limits.REFRESH_S + 5.0, near=1) == ([], [])
    known.remove(peer(1).id)
    [near], asked = known.refresh(2 * limits.REFRESH_S + 2.0 + 3.0, near=1)
    assert near[0] < 0x80
    assert [contact for contact, _ in asked] == [peer(3), peer(4), peer(5)]


def test_there_is_room_for_a_stranger_where_its_bucket_is_not_full() -> None:
    known = table(k=2)
    for number in (1, 2):
        known.heard(peer(number), 0.0)
        known.heard(peer(number + 2, far=False), 0.0)
    assert not known.has_room(peer(5)) and not known.has_room(peer(1))
    known.remove(peer(1).id)
    assert known.has_room(peer(5)) and not known.has_room(peer(2))
