"""A lookup: disjoint paths, hedged queries, limits to what one hand can name, and an end when all paths agree."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.protocol.lookup import ADDRESSES_PER_PATH_MAX, CREDIT, Lookup, State
from p2pcpn.protocol.table import RoutingTable, distance
from p2pcpn.wire.addresses import Contact, contact

OWN = b"\xff" * 20
TARGET = bytes(20)


def peer(number: int, port: int = 4000, host: str = "10.0.0.1") -> Contact:
    """The smaller the number, the nearer to the target."""
    return contact(bytes(18) + number.to_bytes(2, "big"), (host, port))


def peers(*numbers: int) -> list[Contact]:
    return [peer(number) for number in numbers]


def test_each_path_asks_two_at_a_time_nearest_first() -> None:
    lookup = Lookup(OWN, TARGET, peers(5, 1, 4, 2, 3), paths=1)
    assert lookup.queries() == peers(1, 2)
    assert lookup.queries() == []
    lookup.answered(peer(2), peers(0))
    assert lookup.queries() == peers(0)
    assert lookup.states() == {State.HEARD: 3, State.WAITING: 2, State.QUERIED: 1, State.UNREACHABLE: 0}


def test_the_start_is_dealt_out_and_each_path_has_its_turn() -> None:
    lookup = Lookup(OWN, TARGET, peers(*range(1, 10)), paths=3)
    assert lookup.queries() == peers(1, 2, 3, 4, 5, 6)


def test_what_a_peer_names_counts_in_its_own_path_alone() -> None:
    lookup = Lookup(OWN, TARGET, peers(10, 20), paths=2, k=6)
    assert lookup.queries() == peers(10, 20)
    lookup.answered(peer(10), peers(1, 2, 3))
    assert lookup.queries() == peers(1, 2)
    lookup.answered(peer(20), peers(2, 30))
    assert lookup.queries() == peers(30), "the other path has asked number 2, and goes on to the next it knows"


def test_a_lie_on_one_path_hides_nobody_from_the_others() -> None:
    """The first path is told of strangers who all answer and know only each other."""
    honest, hostile = peers(*range(50, 60)), peers(*range(1, 21))
    lookup = Lookup(OWN, TARGET, peers(100, 101), paths=2, k=8)
    for _ in range(100):
        for asked in lookup.queries():
            lies = asked == peer(100) or asked in hostile
            lookup.answered(asked, [it for it in (hostile if lies else honest) if it != asked])
    assert lookup.done
    assert set(honest[:4]) <= set(lookup.nearest(40)), "its share of eight"


def test_no_peer_is_asked_twice() -> None:
    lookup = Lookup(OWN, TARGET, peers(*range(10, 19)), paths=3)
    asked: list[Contact] = []
    for _ in range(50):
        for it in lookup.queries():
            asked.append(it)
            lookup.answered(it, [near for near in peers(*range(10)) if near != it])
    assert lookup.done and len(asked) == len(set(asked)) == 19


def test_a_late_peer_gets_another_asked_beside_it() -> None:
    lookup = Lookup(OWN, TARGET, peers(*range(30)), paths=1)
    assert len(lookup.queries()) == limits.ALPHA
    lookup.late(peer(0))
    assert lookup.queries() == peers(2, 3)  # in its place, and one more
    for _ in range(20):
        lookup.late(peer(1))
    assert len(lookup.queries()) == limits.ALPHA_MAX - 2


def test_a_lookup_ends_when_the_nearest_have_answered_or_failed() -> None:
    lookup = Lookup(OWN, TARGET, peers(1, 2, 3), k=2, paths=1)
    assert not lookup.done
    assert lookup.queries() == peers(1, 2)
    lookup.answered(peer(2), [])
    lookup.failed(peer(1))
    assert not lookup.done  # the third moved up
    assert lookup.queries() == peers(3)
    lookup.answered(peer(3), [])
    assert lookup.done
    assert lookup.nearest(5) == peers(2, 3)


def test_nobody_waits_for_a_peer_that_is_late_twice_or_once_when_a_value_is_known() -> None:
    lookup = Lookup(OWN, TARGET, peers(1, 2), k=1)
    lookup.queries()
    lookup.answered(peer(2), peers(1))
    lookup.late(peer(1))
    assert not lookup.done
    lookup.impatient = True
    assert lookup.done
    lookup.impatient = False
    lookup.late(peer(1))
    assert lookup.done
    lookup.answered(peer(1), [])
    assert lookup.nearest(2) == peers(1, 2)


def test_nobody_waits_for_a_late_peer_that_one_peer_alone_named() -> None:
    lookup = Lookup(OWN, TARGET, peers(1, 2), k=1)
    lookup.queries()
    lookup.answered(peer(2), [])
    lookup.late(peer(1))
    assert lookup.done


def test_without_patience_nobody_waits_for_anyone_late() -> None:
    lookup = Lookup(OWN, TARGET, peers(1, 2), k=1, patience=1)
    lookup.queries()
    lookup.answered(peer(2), peers(1))
    lookup.late(peer(1))
    assert lookup.done


def test_while_few_answer_being_late_once_is_not_enough() -> None:
    lookup = Lookup(OWN, TARGET, peers(*range(8)), k=8, patience=1)
    for number in range(8):
        lookup.queries()
        lookup.late(peer(number))
    assert not lookup.done, "it may be we who are slow"
    for number in range(limits.READ_PEERS):
        assert not lookup.done
        lookup.answered(peer(number), [])
    assert lookup.done


def test_all_holders_of_a_known_value_are_asked_at_once_and_the_late_are_made_up_for() -> None:
    lookup = Lookup(OWN, TARGET, peers(*range(30)), paths=1)
    assert lookup.queries() == peers(0, 1)
    lookup.impatient = True
    assert lookup.queries() == peers(*range(2, limits.READ_PEERS))
    for number in range(1, limits.READ_PEERS):
        lookup.answered(peer(number), [])
    lookup.late(peer(0))
    assert not lookup.done, "six have to answer, for the nearest could be one that is named to hide the others"
    assert lookup.queries() == peers(limits.READ_PEERS, limits.READ_PEERS + 1), "in its place, and one more"
    lookup.answered(peer(limits.READ_PEERS), [])
    assert lookup.done


def test_we_are_never_asked_nor_is_who_has_no_usable_address() -> None:
    lookup = Lookup(
        OWN, TARGET, [contact(OWN, ("10.0.0.9", 4000)), Contact(b"n" * 20, b"\x0a\x00\x00\x01", 0), peer(1)]
    )
    assert lookup.queries() == peers(1)
    assert len(lookup) == 1


def test_who_was_silent_lately_is_asked_and_never_waited_for() -> None:
    lookup = Lookup(OWN, TARGET, peers(1, 2, 3), paths=1, is_silent=lambda it: it == peer(1))
    assert lookup.queries() == peers(1, 2, 3)
    lookup.answered(peer(2), [])
    lookup.answered(peer(3), [])
    assert lookup.done
    lookup.answered(peer(1), [])
    assert lookup.nearest(1) == peers(1)


def test_the_dead_are_asked_only_where_nobody_else_answers() -> None:
    dead = peers(1, 2)
    lookup = Lookup(OWN, TARGET, peers(1, 2, 3), paths=1, is_dead=lambda it: it in dead)
    assert lookup.queries() == peers(3)
    lookup.failed(peer(3))
    assert not lookup.done
    assert lookup.queries() == dead
    lookup.answered(peer(2), [])
    lookup.failed(peer(1))
    assert lookup.done and lookup.queries() == []

    lookup = Lookup(OWN, TARGET, peers(1, 2, 3), paths=1, is_dead=lambda it: it in dead)
    lookup.queries()
    lookup.answered(peer(3), dead)
    assert lookup.done and lookup.queries() == [], "what others name as living stays dead"


def test_of_one_network_group_few_are_asked_while_there_are_others() -> None:
    crowd = [peer(number, host="10.6.6.6") for number in range(1, 10)]
    others = [peer(number, host=f"10.0.{number}.1") for number in range(10, 14)]
    lookup = Lookup(OWN, TARGET, crowd + others, paths=1, k=4, group=lambda it: it.host)
    asked: list[Contact] = []
    while found := lookup.queries():
        asked += found
        for it in found:
            lookup.answered(it, [])
    assert lookup.done
    assert asked == crowd[: limits.GROUP_PEERS_IN_LOOKUP_MAX] + others[:2]
    assert lookup.nearest(4) == asked


def test_a_group_that_is_alone_is_asked_in_full() -> None:
    crowd = [peer(number, host="10.6.6.6") for number in range(1, 10)]
    lookup = Lookup(OWN, TARGET, crowd, k=8, group=lambda it: it.host)
    for _ in range(20):
        for it in lookup.queries():
            lookup.answered(it, [])
    assert lookup.done
    assert lookup.nearest(8) == crowd[:8]


def test_addresses_of_a_group_that_do_not_answer_leave_room_for_those_that_do() -> None:
    crowd = [peer(number, host="10.6.6.6") for number in range(1, 6)]
    lookup = Lookup(OWN, TARGET, crowd, paths=1, k=2, group=lambda it: it.host)
    assert lookup.queries() == crowd[:2]
    lookup.failed(crowd[0])
    lookup.failed(crowd[1])
    assert lookup.queries() == crowd[2:4]


def test_who_names_only_silent_peers_loses_its_credit() -> None:
    lookup = Lookup(OWN, TARGET, peers(300, 301), paths=1, k=20)
    assert lookup.queries() == peers(300, 301)
    invented = peers(*range(1, 21))
    lookup.answered(peer(300), invented)
    tried = 0
    while found := [it for it in lookup.queries() if it in invented]:
        tried += len(found)
        for it in found:
            lookup.late(it)
            lookup.late(it)
    assert tried < 20 and tried <= CREDIT + limits.ALPHA_MAX + 1
    lookup.answered(peer(301), [invented[19]])
    assert lookup.queries() == [invented[19]], "somebody else names it, too"


def test_who_names_peers_that_answer_has_credit_for_some_that_do_not() -> None:
    lookup = Lookup(OWN, TARGET, peers(300), paths=1, k=20)
    lookup.queries()
    lookup.answered(peer(300), peers(*range(1, 21)))
    asked: list[Contact] = []
    for _ in range(40):
        for it in lookup.queries():
            asked.append(it)
            if int.from_bytes(it.id, "big") % 2:
                lookup.late(it)
                lookup.failed(it)
            else:
                lookup.answered(it, [])
    assert lookup.done and len(asked) == 20


def test_who_lies_is_no_result_and_names_nobody() -> None:
    lookup = Lookup(OWN, TARGET, peers(1, 2, 3), paths=1, k=3)
    lookup.queries()
    lookup.answered(peer(1), peers(9, 8))
    lookup.answered(peer(2), [contact(OWN, ("10.0.0.9", 4000))])
    lookup.queries()
    lookup.answered(peer(3), peers(*range(4, 5 + limits.CONTACTS_MAX)))
    assert lookup.done
    assert lookup.liars == peers(1, 2, 3)
    assert len(lookup) == 3 and lookup.nearest(3) == []


def test_who_was_not_asked_says_nothing_and_who_answered_says_nothing_more() -> None:
    lookup = Lookup(OWN, TARGET, peers(1))
    lookup.answered(peer(1), peers(2))
    lookup.queries()
    lookup.answered(peer(1), peers(3))
    lookup.answered(peer(1), peers(4))
    lookup.answered(peer(900), peers(5))
    assert len(lookup) == 2


def test_the_farthest_are_forgotten_beyond_the_bound() -> None:
    lookup = Lookup(OWN, TARGET, peers(*range(1000)))
    assert len(lookup) <= limits.LOOKUP_PEERS_MAX
    assert lookup.queries()[:3] == peers(0, 1, 2)


@pytest.mark.parametrize("tell", [Lookup.late, Lookup.failed])
def test_a_wrong_address_does_not_hide_a_peer(tell: Callable[[Lookup, Contact], None]) -> None:
    lookup = Lookup(OWN, TARGET, [peer(1, port=1), peer(2)], paths=1)
    assert lookup.queries() == [peer(1, port=1), peer(2)]
    lookup.answered(peer(2), [peer(1, port=2)])
    tell(lookup, peer(1, port=1))
    assert lookup.queries() == [peer(1, port=2)]
    tell(lookup, peer(1, port=1))  # stale news
    lookup.failed(peer(1, port=2))
    assert lookup.done
    assert lookup.states()[State.UNREACHABLE] == 1


def test_an_address_that_comes_after_the_first_failed_is_tried_as_well() -> None:
    lookup = Lookup(OWN, TARGET, [peer(1, port=1), peer(2)], paths=1)
    lookup.queries()
    lookup.failed(peer(1, port=1))
    lookup.answered(peer(2), [peer(1, port=2)])
    assert lookup.queries() == [peer(1, port=2)]


def test_an_unreachable_peer_is_tried_at_a_bounded_number_of_addresses() -> None:
    lookup = Lookup(OWN, TARGET, [peer(1, port=1), *peers(*range(10, 20))], paths=1)
    tried = 0
    for _ in range(40):
        for asked in lookup.queries():
            if asked.id == peer(1).id:
                tried += 1
                lookup.failed(asked)
            else:
                lookup.answered(asked, [peer(1, port=int.from_bytes(asked.id, "big"))])
    assert tried == ADDRESSES_PER_PATH_MAX


def swarm_of(seed: int, count: int) -> tuple[random.Random, dict[bytes, RoutingTable], dict[bytes, Contact]]:
    """Peers that have all heard each other, each in an order of its own."""
    rng = random.Random(seed)
    contacts = {
        node: contact(node, ("10.0.0.1", 1 + at)) for at, node in enumerate(rng.randbytes(20) for _ in range(count))
    }
    tables = {}
    for node in contacts:
        table = tables[node] = RoutingTable(node, lambda address: address, rng, 0.0)
        for other in rng.sample(list(contacts.values()), count):
            table.heard(other, 0.0)
    return rng, tables, contacts


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 120), st.integers(1, 4), st.integers(1, 20))
def test_the_outcome_is_what_brute_force_finds(seed: int, count: int, paths: int, k: int) -> None:
    """Over real routing tables, whatever the target and whoever asks."""
    rng, tables, contacts = swarm_of(seed, count)
    for _ in range(3):
        own, target = rng.choice(list(contacts)), rng.randbytes(20)
        lookup = Lookup(own, target, tables[own].nearest(target, 20), paths=paths)
        while found := lookup.queries():
            rng.shuffle(found)
            for asked in found:
                lookup.answered(asked, tables[asked.id].nearest(target, 20, (own,)))
        assert lookup.done
        others = sorted((it for it in contacts.values() if it.id != own), key=lambda it: distance(it.id, target))
        assert lookup.nearest(k) == others[:k]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 60), st.floats(0.0, 0.5), st.booleans())
def test_whatever_is_silent_a_lookup_ends_and_finds_who_was_named_and_lives(
    seed: int, count: int, dead_share: float, impatient: bool
) -> None:
    rng, tables, contacts = swarm_of(seed, count)
    ids = list(contacts)
    own, target = ids[0], rng.randbytes(20)
    dead = set(rng.sample(ids[1:], int(dead_share * (count - 1))))
    lookup = Lookup(own, target, tables[own].nearest(target, 20), k=8)
    lookup.impatient = impatient
    for _ in range(10_000):
        found = lookup.queries()
        for asked in found:
            if asked.id in dead:
                lookup.late(asked)
                lookup.failed(asked) if rng.random() < 0.5 else lookup.late(asked)
            else:
                lookup.answered(asked, tables[asked.id].nearest(target, 20, (own,)))
        if lookup.done:
            break
        assert found, "it is not done, asks nobody and waits for nobody"
    assert lookup.done
    living = {node for node in ids[1:] if node not in dead}
    assert {it.id for it in lookup.nearest(20)} <= living
    wanted = limits.READ_PEERS if impatient else 8
    assert len(lookup.nearest(wanted)) >= min(wanted, len(living)) or count > 20
