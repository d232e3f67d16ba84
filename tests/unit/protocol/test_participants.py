"""Participants: who is taken, with how many slots, and who makes room for whom."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import participants as module
from p2pcpn.protocol.participants import DIAL_ROUNDTRIPS, UNSTARTED_S, Participant, Participants
from tests.unit.protocol.granting import at, keypair


def peer(number: int, slots: int = 2, rank: float | None = None) -> Participant:
    """A peer that claimed, nearer the smaller its number."""
    key = keypair(number)
    return Participant(at(key, number), key.public, 1, slots, (float(number) if rank is None else rank, b""))


def table(*peers: Participant, slots_max: int = 0) -> Participants:
    """Participants that all stand by."""
    found = Participants(slots_max)
    for each in peers:
        found.add(each)
    return found


def test_the_nearest_are_taken_until_slots_are_enough() -> None:
    far, near, middle = peer(30), peer(10), peer(20)
    found = table(far, near, middle)
    assert found.promote(3, [], 0.0) == [near, middle]
    assert (found.slots, found.slots_idle) == (4, 4)
    assert found.promote(4, [], 0.0) == []
    assert found.promote(5, [], 0.0) == [far]
    assert found.taken() == [far.node, near.node, middle.node]


def test_slots_of_peers_that_hold_something_are_not_idle() -> None:
    one = peer(10)
    found = table(one)
    found.promote(1, [], 0.0)
    found.hold(one, 3)
    assert (found.slots_idle, found.wanted(2)) == (0, 2)
    found.hold(one, -3)
    assert (found.slots_idle, found.wanted(2)) == (2, 0)


def test_who_holds_more_than_its_slots_has_none_idle() -> None:
    one, two = peer(10), peer(20, 4)
    found = table(one, two)
    found.promote(6, [], 0.0)
    found.hold(one, 1)
    found.hold(two, 9)
    assert found.slots_idle == 1
    found.hold(two, -6)
    assert found.slots_idle == 2


def test_who_holds_enough_or_is_crowded_does_not_idle() -> None:
    one = peer(10)
    found = table(one)
    found.promote(1, [], 0.0)
    assert found.idles(one)
    found.crowd(one, 5.0)
    assert not found.idles(one)
    found.crowd(one)
    found.hold(one, 2)
    assert not found.idles(one)


def test_slots_of_a_crowded_peer_are_not_counted_on_for_a_while() -> None:
    one, two = peer(10), peer(20)
    found = table(one, two)
    found.promote(4, [], 0.0)
    one.ready = two.ready = True
    found.crowd(one, 5.0)
    assert (found.slots_idle, found.ready()) == (2, [two, one])
    found.hold(one, 1)
    found.uncrowd(4.9)
    assert found.slots_idle == 2
    found.uncrowd(5.0)
    assert (found.slots_idle, found.crowded) == (3, {})
    found.hold(two, 1)
    found.crowd(two, float("inf"))
    found.uncrowd(1e9)
    assert (found.slots_idle, found.ready()) == (1, [one])
    found.crowd(two)
    assert found.ready() == [one, two]
    found.hold(two, -1)
    found.crowd(two, float("inf"))
    found.uncrowd(1e9)
    assert not two.taken and two.rest_until == float("inf") and found.crowded == {}
    two.rest_until = 0.0
    found.promote(9, [], 0.0)
    found.crowd(two, 9.0)
    found.remove(two.node)
    assert found.crowded == {}


def test_how_long_it_took_to_dial_a_peer_tells_how_far_it_is_at_most() -> None:
    one = peer(10)
    found = table(one)
    found.promote(2, [], 0.0)
    one.pace.rtt_s, one.pace.heard_at = 0.2, 0.0
    found.hold(one, 1)
    one.reached(0.1)
    assert (one.pace.rtt_s, one.pace.heard_at) == (0.1 / DIAL_ROUNDTRIPS, 0.1), "what it was leased is on its way now"
    one.spoke()
    one.reached(0.3)
    assert (one.pace.rtt_s, one.pace.heard_at) == (0.1 / DIAL_ROUNDTRIPS, 0.1), "a later session is another"


def test_slots_are_ours_unless_what_was_leased_there_is_known_to_wait() -> None:
    one = peer(10)
    found = table(one)
    found.promote(2, [], 0.0)
    assert (one.unstarted(0.0), one.slots_ours(0.0)) == (0, 2)
    one.pace.heard_at = 0.0
    found.hold(one, 3)
    one.pace.rtt_s = 0.2
    soon, late = UNSTARTED_S / 2, 2 * UNSTARTED_S + one.pace.rtt_s
    assert (one.unstarted(late), one.slots_ours(late)) == (0, 2), "it had to be dialled"
    one.spoke()
    assert (one.unstarted(soon), one.slots_ours(soon)) == (0, 2)
    assert (one.unstarted(late), one.slots_ours(late)) == (3, 0)
    one.started = {0: 0.1}
    assert (one.unstarted(late), one.slots_ours(late)) == (2, 1)
    one.started = {0: 0.1, 1: 0.1}
    assert (one.unstarted(late), one.slots_ours(late)) == (1, 2)
    found.crowd(one, late + 1.0)
    assert (one.slots_ours(late), one.slots_ours(late + 1.0)) == (0, 2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 8)), max_size=40))
def test_whoever_is_not_hungry_would_be_leased_nothing(steps: list[tuple[int, int, int]]) -> None:
    found = table(*(peer(10 + number, 1 + number % 3) for number in range(4)), slots_max=5)
    for kind, number, count in steps:
        one = found.peers.get(peer(10 + number).node)
        if one is None:
            found.add(peer(10 + number, 1 + number % 3))
        elif kind == 0:
            for each in found.promote(count, [], 0.0):
                each.ready = True
        elif kind == 1:
            found.hold(one, count if one.taken else -one.held)
        elif kind == 2:
            found.hold(one, -min(count, one.held))
        elif kind == 3:
            found.ran(one, count, 0.01 * count, 0.0)
        elif kind == 4:
            found.crowd(one, float(count))
        elif not one.held:
            found.remove(one.node)
        hungry = found.hungry()
        assert hungry == [each for each in found.ready() if each in hungry]
        assert not [p for p in found.ready() if p not in hungry and p.pace.batch(p.held, 100, found.slots)]
        assert not [p for p in hungry if p.pace.sated(p.held)]


def test_slots_that_stand_by_are_counted_within_the_bound() -> None:
    one, two = peer(10), peer(20, 4)
    found = table(one, two, slots_max=4)
    found.promote(1, [], 0.0)
    assert found.slots_standing_by(0.0) == 2
    found.rest(one, 5.0)
    assert (found.slots_standing_by(0.0), found.slots_standing_by(5.0)) == (4, 4)
    assert table(one, two).slots_standing_by(5.0) == 6


def test_slots_are_bounded_and_a_cut_peer_grows_when_there_is_room() -> None:
    near, far = peer(10, 2), peer(20, 4)
    found = table(near, far, slots_max=3)
    found.promote(100, [], 0.0)
    assert (near.slots, far.slots, found.slots) == (2, 1, 3)
    found.hold(far, 1)
    assert found.remove(near.node) is near
    assert found.promote(100, [], 0.0) == []
    assert (far.slots, far.pace.slots, found.slots) == (3, 3, 3)


def test_a_forgotten_peer_takes_its_slots_along() -> None:
    one = peer(10)
    found = table(one)
    found.promote(1, [], 0.0)
    assert found.remove(one.node) is one
    assert found.remove(one.node) is None
    assert (found.slots, found.slots_idle, found.peers) == (0, 0, {})


def test_for_tasks_that_the_taken_must_not_have_another_is_taken() -> None:
    one, two = peer(10), peer(20)
    found = table(one, two)
    found.promote(1, [], 0.0)
    found.hold(one, 1)
    barred = frozenset({one.node})
    assert found.promote(0, [barred], 0.0) == [two]
    assert found.promote(0, [barred | {two.node}], 0.0) == []


def test_where_no_slot_is_free_an_idle_barred_peer_makes_room() -> None:
    one, two, three = peer(10, 1), peer(20, 1), peer(30, 1)
    found = table(one, two, three, slots_max=2)
    found.promote(9, [], 0.0)
    assert found.taken() == [one.node, two.node]
    barred = frozenset({one.node, two.node})
    found.hold(one, 1)
    found.hold(two, 1)
    assert found.promote(1, [barred], 0.0) == []
    found.hold(two, -1)
    assert found.promote(1, [barred], 0.0) == [three]
    assert not two.taken
    assert (two.slots, found.slots) == (0, 2)


def test_one_peer_is_enough_for_all_that_is_stuck() -> None:
    one, two, three = peer(10), peer(20), peer(30)
    found = table(one, two, three)
    found.promote(1, [], 0.0)
    found.hold(one, 1)
    assert found.promote(0, [frozenset({one.node}), frozenset({one.node, NodeId(b"x" * 20)})], 0.0) == [two]


def test_who_holds_least_is_leased_to_first() -> None:
    one, two, three = peer(10, 2), peer(20, 4), peer(30, 4)
    found = table(one, two, three)
    found.promote(10, [], 0.0)
    for each, held in ((one, 2), (two, 2), (three, 2)):
        found.hold(each, held)
        each.ready = True
    assert found.ready() == [two, three, one]
    two.ready = False
    assert found.ready() == [three, one]


def test_a_blob_is_lacked_once_a_session() -> None:
    one = peer(10)
    assert one.lacks_blob(b"blob")
    assert not one.lacks_blob(b"blob")
    one.session_lost()
    assert one.lacks_blob(b"blob")


def test_the_blobs_a_peer_was_sent_are_remembered_within_a_bound() -> None:
    one = peer(10)
    for number in range(module.BLOBS_REMEMBERED + 10):
        one.lacks_blob(number.to_bytes(4, "big"))
    assert len(one.blobs) == module.BLOBS_REMEMBERED
    assert one.lacks_blob((0).to_bytes(4, "big"))


def test_a_peer_that_spoke_is_in_doubt_no_more() -> None:
    one = peer(10)
    before = one.session
    one.session_lost()
    one.in_doubt = one.redialled = True
    assert one.session is not before
    one.spoke()
    assert (one.ready, one.heard, one.in_doubt, one.redialled) == (True, True, False, False)


def test_a_peer_that_rests_gives_its_slots_back_and_is_passed_over() -> None:
    one, two = peer(10), peer(20)
    found = table(one, two)
    found.promote(1, [], 0.0)
    found.rest(one, 5.0)
    assert (one.taken, one.ready, found.slots) == (False, False, 0)
    assert found.promote(9, [], 4.0) == [two]
    assert found.promote(9, [frozenset({two.node})], 4.0) == []
    assert found.promote(9, [], 5.0) == [one]
    found.rest(one, float("inf"))
    assert found.promote(9, [], 1e9) == []
    one.spoke()
    assert found.promote(9, [], 1e9) == [one]


def test_where_claims_are_not_ranked_who_came_first_is_taken_first() -> None:
    far, near, middle = peer(30), peer(10), peer(20)
    found = Participants(5, ranked=False)
    for each in (far, near, middle):
        found.add(each)
    assert found.promote(9, [], 0.0) == [far, near, middle]
    assert [each.slots for each in (far, near, middle)] == [2, 2, 1]


def test_so_many_seats_are_left_as_a_node_has_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.limits.SESSIONS_MAX", 2)
    found = table(peer(10))
    assert found.seats == 1
    found.add(peer(11))
    assert found.seats == 0
