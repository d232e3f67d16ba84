"""Pairs: what is said comes once, from who said it, whatever the network and strangers do."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.effects import Heard, SendAside, SendBytes
from p2pcpn.protocol.pair_table import FORGOTTEN_EACH_S
from p2pcpn.protocol.pairs import PairFailed, PairMade, Pairs
from p2pcpn.wire.addresses import Address, Contact, contact
from p2pcpn.wire.datagrams import CODEC, Knock, Nodes, Ping, Retry
from p2pcpn.wire.envelope import GREETING, NOBODY, OPEN_SWARM_KEY, TRAFFIC, Header, Mac, header_of, seal, unseal
from p2pcpn.wire.statements import Role

BIG = 1 << 60  # nonces of real requests have 63 random bits
ELSEWHERE = ("203.0.113.9", 9)


def test_a_pair_speaks_at_once_and_is_heard_with_its_contact(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    (effect,) = wire.peers[a].send(wire.contact(b), Ping(1, 2), wire.now)
    assert isinstance(effect, SendBytes) and effect.address == b
    assert wire.peers[b].receive(effect.data, a, wire.now) == [Heard(Ping(1, 2), wire.contact(a))]


def test_what_is_known_of_a_pair_can_be_asked(wire: Any) -> None:
    a, b = wire.add(1, roles=1), wire.add(2, boot=9, roles=6)
    wire.meet(a, b)
    pairs, peer = wire.peers[a], wire.peers[b].id
    assert pairs.established(peer) and pairs.table.pairs[peer].boot == 9 and pairs.roles_of(peer) == 6
    assert pairs.table.pairs[peer].contact == wire.contact(b) and pairs.key_of(peer) == Keypair(bytes([2]) * 32).public
    assert not pairs.translated(peer)
    pairs.forget(peer)
    assert not pairs.established(peer) and not pairs.translated(peer)
    assert pairs.key_of(peer) is pairs.roles_of(peer) is None


def test_a_peer_presents_new_roles_in_its_next_greeting(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    wire.peers[a].present(3, 4711)
    wire.peers[b].forget(wire.peers[a].id)
    wire.say(b, a, Ping(1, 2))
    wire.peers[a].forget(wire.peers[b].id)
    wire.say(a, b, Ping(1, 2))
    wire.run()
    assert wire.peers[b].roles_of(wire.peers[a].id) == 3
    assert wire.peers[b].translated(wire.peers[a].id)


def test_who_is_hidden_or_has_no_role_is_not_routable_and_may_say_so_later(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2, boot=9, roles=3)
    wire.meet(a, b)
    pairs, peer = wire.peers[a], wire.peers[b].id
    assert pairs.routable(peer)
    pairs.restated(peer, 8, 1 | Role.HIDDEN)
    assert pairs.routable(peer), "that was said in another life"
    pairs.restated(peer, 9, 1 | Role.HIDDEN)
    assert not pairs.routable(peer) and pairs.roles_of(peer) == 1 | Role.HIDDEN
    pairs.restated(peer, 9, 0)
    assert not pairs.routable(peer)
    pairs.restated(IDS[3], 9, 3)
    assert not pairs.routable(IDS[3]), "nobody we know"


def test_what_is_said_aside_is_heard_from_wherever_it_comes_and_moves_nobody(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    (effect,) = wire.peers[a].aside(wire.contact(b), Knock(7))
    assert isinstance(effect, SendAside) and effect.address == b
    assert wire.peers[b].receive(effect.data, ELSEWHERE, wire.now) == [Heard(Knock(7), wire.contact(a))]
    assert wire.peers[b].table.pairs[wire.peers[a].id].contact == wire.contact(a)
    assert wire.peers[a].aside(contact(IDS[3], b), Knock(7)) == [], "to a pair alone"


def test_a_datagram_that_comes_twice_is_heard_once(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    wire.say(a, b, Ping(1, 2))
    sent = wire.step()
    for _ in range(3):
        wire.deliver(*sent)
    assert wire.said(b) == [Ping(1, 2)] and wire.count(b, "dropped_replayed") == 3


def test_datagrams_in_any_order_are_all_heard(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    for number in range(100):
        wire.say(a, b, Ping(number, 0))
    random.Random(1).shuffle(wire.flying)
    wire.run()
    assert sorted(ping.nonce for ping in wire.said(b)) == list(range(100))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"version": 2}, "version"),
        ({"boot": 0}, "boot"),
        ({"recipient": NOBODY}, "recipient"),
        ({"recipient": bytes([5]) * 20}, "recipient"),
        ({"sequence": 77}, "mac"),
        ({"kind": GREETING}, "swarm"),
        ({"kind": GREETING, "recipient": bytes([5]) * 20}, "recipient"),
        ({"boot": 2}, "unknown"),
        ({"sender": bytes([5]) * 20}, "unknown"),
    ],
)
def test_traffic_with_a_changed_header_is_dropped_and_counted(wire: Any, header: dict[str, Any], reason: str) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    wire.say(a, b, Ping(1, 2))
    data = wire.flying.pop()[2]
    forged = seal(header_of(data)._replace(**header), data[56:-16], Mac(b"guessed key"))
    wire.deliver(a, b, forged)
    assert wire.said(b) == [] and wire.count(b, f"dropped_{reason}") == 1


def members_datagram(wire: Any, a: Address, b: Address, body: bytes) -> bytes:
    """A datagram with any body that ``a`` really sealed for ``b``."""
    pair = wire.peers[a]._pairs[wire.peers[b].id]
    header = Header(1, TRAFFIC, wire.peers[a].id, wire.peers[b].id, wire.peers[a].boot, pair.sequence)
    pair.sequence += 1
    return seal(header, body, pair.mac)


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"\xff", "malformed"), (b"\x91\x63", "malformed"), (CODEC.encode(Retry(1, b"")), "misplaced")],
)
def test_a_member_that_sends_nonsense_is_counted(wire: Any, body: bytes, reason: str) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    wire.deliver(a, b, members_datagram(wire, a, b, body))
    assert wire.said(b) == [] and wire.count(b, f"dropped_{reason}") == 1


def test_a_peer_does_not_speak_with_itself(wire: Any) -> None:
    a = wire.add(1)
    wire.say(a, a, Ping(1, 2))
    assert wire.said(a) == [PairFailed("that is this peer itself", (Ping(1, 2),))]
    wire.say(a, contact(NOBODY, a), Ping(3, 4))
    wire.wait(5.0)
    assert wire.said(a)[1] == PairFailed("nobody answered", (Ping(3, 4),))
    assert wire.count(a, "dropped_ours") > 0


@pytest.mark.parametrize(
    ("host", "port"), [(b"\0" * 5, 4000), (bytes((192, 0, 2, 1)), 0), (bytes((224, 0, 0, 1)), 4000)]
)
def test_a_contact_that_cannot_be_sent_to_is_refused_at_once(wire: Any, host: bytes, port: int) -> None:
    a = wire.add(1)
    wire.say(a, Contact(bytes(20), host, port), Ping(1, 2))
    assert wire.said(a) == [PairFailed("nobody can be sent to there", (Ping(1, 2),))]
    assert not wire.flying and wire.count(a, "refused") == 1


def test_a_restarted_peer_is_found_again_by_a_reset(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    wire.add(2, boot=2)
    wire.say(a, b, Ping(BIG, 0))
    wire.run()
    assert wire.said(a) == [PairMade(2, 0)] and wire.count(a, "heard_resets") == 1
    wire.say(a, b, Ping(BIG, 1))
    wire.run()
    assert wire.said(b, Ping) == [Ping(BIG, 1)]


def test_a_forgotten_pair_is_made_anew_and_its_former_words_stay_void(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    former = []
    for number in range(5):
        wire.say(a, b, Ping(BIG, number))
        former.append(wire.step())
    wire.heard.clear()
    wire.peers[b].forget(wire.peers[a].id)
    wire.say(a, b, Ping(BIG, 9))
    wire.run()
    assert wire.peers[b].established(wire.peers[a].id)
    for sent in former:
        wire.deliver(*sent)
    assert wire.said(b, Ping) == [] and wire.count(b, "dropped_replayed") == 5
    wire.say(a, b, Ping(BIG, 10))
    wire.say(b, a, Ping(BIG, 11))
    wire.run()
    assert wire.said(b, Ping) == [Ping(BIG, 10)] and wire.said(a, Ping) == [Ping(BIG, 11)]


def test_a_forged_reset_ends_nothing_and_costs_one_hello_at_most(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    for _ in range(3):
        wire.say(a, b, Ping(BIG, 0))
    wire.flying.clear()
    head = Header(1, GREETING, wire.peers[b].id, wire.peers[a].id, 1, 0)
    for nonce in range(200):
        wire.deliver(ELSEWHERE, a, seal(head, CODEC.encode(Retry(nonce, b"")), Mac(OPEN_SWARM_KEY)))
    assert [target for _, target, _ in wire.flying] == [b]
    assert wire.peers[a].established(wire.peers[b].id)
    wire.say(a, b, Ping(BIG, 5))
    wire.run()
    assert wire.said(b, Ping) == [Ping(BIG, 5)]


def test_resets_are_never_larger_than_what_came_and_bounded_in_rate(wire: Any) -> None:
    a = wire.add(1)
    key = Mac(b"a key of nobody")
    head = Header(1, TRAFFIC, bytes([5]) * 20, wire.peers[a].id, 1, (1 << 63) - 1)
    wire.deliver(ELSEWHERE, a, seal(head, b"\x91", key))
    assert not wire.flying and wire.count(a, "dropped_unknown") == 1
    for _ in range(int(limits.RESETS_PER_S) + 50):
        wire.deliver(ELSEWHERE, a, seal(head, bytes(100), key))
    assert len(wire.flying) == limits.RESETS_PER_S - 1
    assert all(len(data) < 172 and target == ELSEWHERE for _, target, data in wire.flying)
    assert wire.count(a, "dropped_unknown") == limits.RESETS_PER_S + 51


def moved(wire: Any, a: Address, b: Address) -> None:
    """``b`` says something from elsewhere, as after a NAT has forgotten it."""
    wire.say(b, a, Ping(BIG, 7))
    _, _, data = wire.flying.pop()
    wire.deliver(ELSEWHERE, a, data)


def test_a_peer_that_moved_is_believed_once_it_answers_there(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    wire.now += limits.ADDRESS_PROVEN_S
    moved(wire, a, b)
    assert wire.said(a) == [Ping(BIG, 7)]
    assert wire.heard[a][0].sender.address == b, "not proven yet"
    assert [target for _, target, _ in wire.flying] == [ELSEWHERE]
    wire.peers[ELSEWHERE] = wire.peers.pop(b)
    wire.run()
    assert wire.peers[a].table.pairs[wire.peers[ELSEWHERE].id].contact.address == ELSEWHERE
    assert wire.said(a)[1] == PairMade(1, 0)


def test_a_datagram_sent_again_from_elsewhere_moves_nobody(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    moved(wire, a, b)
    assert not wire.flying, "its address was heard from a moment ago"
    wire.now += limits.ADDRESS_PROVEN_S
    moved(wire, a, b)
    moved(wire, a, b)
    assert len(wire.flying) == 1
    wire.wait(30.0)
    assert wire.peers[a].table.pairs[wire.peers[b].id].contact.address == b
    assert not wire.said(a, PairFailed)


def test_a_caller_who_names_another_address_has_it_asked(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    peer = wire.peers[b].id
    wire.now += limits.ADDRESS_PROVEN_S
    wire.peers[ELSEWHERE] = wire.peers.pop(b)
    for _ in range(3):
        wire.say(a, contact(peer, ELSEWHERE), Ping(BIG, 1))
    assert Counter(target for _, target, _ in wire.flying) == {b: 3, ELSEWHERE: 1}
    wire.run()
    assert wire.peers[a].table.pairs[peer].contact.address == ELSEWHERE
    wire.say(a, Contact(peer, b"\0" * 7, 1), Ping(BIG, 2))
    assert [target for _, target, _ in wire.flying] == [ELSEWHERE]


def test_silent_pairs_are_forgotten(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    wire.wait(limits.PAIR_SILENT_S + FORGOTTEN_EACH_S + 1)
    assert wire.peers[a].statistics()["pairs"] == wire.peers[b].statistics()["pairs"] == 0
    assert wire.peers[a].deadline() is None
    wire.say(a, b, Ping(1, 2))
    wire.run()
    assert wire.said(b, Ping) == [Ping(1, 2)]


def test_the_largest_message_passes_a_pair(wire: Any, largest_nodes: Nodes) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    wire.say(a, b, largest_nodes)
    assert len(wire.flying[0][2]) <= limits.DATAGRAM_BYTES_MAX
    wire.run()
    assert wire.said(b) == [largest_nodes]


@pytest.fixture
def largest_nodes() -> Nodes:
    return Nodes((1 << 63) - 1, [contact(b"\xff" * 20, ("2001:db8::ffff", 65535))] * limits.CONTACTS_MAX)


def test_the_same_dice_make_the_same_bytes(new_wire: Any) -> None:
    def talk() -> list[tuple[Address, Address, bytes]]:
        wire = new_wire()
        a, b = wire.add(1), wire.add(2)
        wire.say(a, b, Ping(1, 2))
        wire.say(b, a, Ping(1, 2))
        said = []
        while wire.flying:
            said.append(wire.step())
        return said

    assert talk() == talk()


def test_no_bytes_of_a_stranger_are_a_message_of_the_swarm(wire: Any) -> None:
    a, b = wire.add(1, swarm_key=bytes([7]) * 32), wire.add(2, swarm_key=bytes([7]) * 32)
    wire.meet(a, b)
    wire.say(a, b, Ping(1, 2))
    data = wire.flying.pop()[2]
    for at in range(len(data)):
        wire.deliver(a, b, data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
        wire.deliver(a, b, data[:at])
    assert wire.said(b) == [] and wire.peers[b].established(wire.peers[a].id)
    wire.deliver(a, b, data)
    assert wire.said(b) == [Ping(1, 2)]


IDS = [Keypair(bytes([1]) * 32).id, Keypair(bytes([2]) * 32).id, bytes([5]) * 20, NOBODY]
HEADERS = st.builds(
    Header,
    st.sampled_from((0, 1, 2, 255)),
    st.sampled_from((GREETING, TRAFFIC)),
    st.sampled_from(IDS),
    st.sampled_from(IDS),
    st.integers(0, 3),
    st.one_of(st.integers(0, 9), st.just((1 << 63) - 1)),
)
HOSTS = st.ip_addresses().map(str)


def counted(pairs: Pairs) -> int:
    """Datagrams that were heard, greeted or dropped."""
    counts = pairs.statistics()
    return sum(count for name, count in counts.items() if name in ("heard", "greeted") or name.startswith("dropped_"))


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=1300),
            st.builds(
                lambda header, tag, body, key: seal(header, b"\x93" + bytes((tag,)) + body, Mac(key)),
                HEADERS,
                st.integers(0, 22),
                st.binary(max_size=100),
                st.sampled_from((OPEN_SWARM_KEY, b"other")),
            ),
        ),
        max_size=5,
    ),
    HOSTS,
    st.integers(0, 65535),
    st.floats(0, 2e4),
)
def test_whatever_comes_effects_are_returned_and_nothing_is_raised(
    new_wire: Any, datagrams: list[bytes], host: str, port: int, later: float
) -> None:
    wire = new_wire()
    a, b = wire.add(1), wire.add(2)
    wire.meet(a, b)
    wire.say(a, contact(NOBODY, ("198.51.100.1", 1)), Ping(1, 2))
    pairs = wire.peers[a]
    before = counted(pairs)
    for data in datagrams:
        for effect in pairs.receive(data, (host, port), wire.now):
            assert isinstance(effect, SendBytes) and len(effect.data) <= max(len(data), 296)
    assert counted(pairs) == before + len(datagrams), "each datagram is counted once"
    assert all(isinstance(effect, (SendBytes, Heard)) for effect in pairs.expire(wire.now + later))
    assert sum(pairs.statistics().values()) >= 0


FATES = st.sampled_from(("deliver", "lose", "repeat", "swap", "wait"))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=12),
    st.lists(FATES, max_size=60),
    st.integers(0, 1 << 16),
)
def test_over_any_network_each_message_comes_at_most_once_and_after_healing_all_do(
    new_wire: Any, sayings: list[tuple[bool, int]], fates: list[str], seed: int
) -> None:
    wire, dice = new_wire(), random.Random(seed)
    a, b = wire.add(1), wire.add(2)
    talk, script = [(x, 1000 + i) for i, (x, _) in enumerate(sayings)], list(fates)
    while script or talk:
        fate = script.pop() if script else "deliver"
        if talk and dice.random() < 0.4:
            from_a, number = talk.pop()
            wire.say(*((a, b) if from_a else (b, a)), Ping(BIG + number, 0))
        elif wire.flying and fate == "lose":
            wire.flying.pop(dice.randrange(len(wire.flying)))
        elif wire.flying and fate == "repeat":
            wire.flying.append(dice.choice(wire.flying))
        elif fate == "wait":
            wire.now += 0.3
            for where in (a, b):
                wire.perform(where, wire.peers[where].expire(wire.now))
        elif wire.flying:
            wire.step(dice.randrange(len(wire.flying)) if fate == "swap" else 0)
    for where in (a, b):
        heard = Counter(ping.nonce for ping in wire.said(where, Ping))
        assert not heard or max(heard.values()) == 1
    wire.wait(10.0)  # healed: what was under way arrives, hellos are repeated
    wire.heard.clear()
    wire.say(a, b, Ping(BIG + 1, 1))
    wire.say(b, a, Ping(BIG + 2, 1))
    wire.wait(10.0)
    wire.say(a, b, Ping(BIG + 3, 1))
    wire.say(b, a, Ping(BIG + 4, 1))
    wire.run()
    assert wire.said(b, Ping)[-1] == Ping(BIG + 3, 1) and wire.said(a, Ping)[-1] == Ping(BIG + 4, 1)
    assert wire.peers[a].established(wire.peers[b].id) and wire.peers[b].established(wire.peers[a].id)


def test_a_bad_body_under_the_swarms_key_is_counted_as_malformed(wire: Any) -> None:
    a = wire.add(1)
    head = Header(1, GREETING, IDS[2], wire.peers[a].id, 1, 0)
    data = seal(head, b"\xc1", Mac(OPEN_SWARM_KEY))
    assert unseal(data, Mac(OPEN_SWARM_KEY)) == b"\xc1"
    assert wire.peers[a].receive(data, ELSEWHERE, wire.now) == []
    assert wire.peers[a].receive(b"", ELSEWHERE, wire.now) == []
    assert wire.count(a, "dropped_malformed") == 2


def test_dice_that_were_seen_through_do_not_bake_cookies() -> None:
    one, other = (Pairs(Keypair(bytes([seed]) * 32), 1, random.Random(5)) for seed in (1, 2))
    assert one._greeter._cookies._secret != other._greeter._cookies._secret
