"""Greeting: who becomes a pair, who does not, and what it costs us."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair, puzzle_bits
from p2pcpn.protocol import greeting
from p2pcpn.protocol.greeting import PairFailed, PairMade
from p2pcpn.protocol.hellos import swarm_binding, welcome_words
from p2pcpn.protocol.pairs import Pairs
from p2pcpn.wire.addresses import Address, Contact, contact
from p2pcpn.wire.datagrams import CODEC, Hello, Ping, Retry, Unsupported, Welcome
from p2pcpn.wire.envelope import GREETING, NOBODY, OPEN_SWARM_KEY, Header, Mac, header_of, seal, unseal

OPEN = Mac(OPEN_SWARM_KEY)
SWARM = swarm_binding(OPEN_SWARM_KEY)
EVE = Keypair(bytes([99]) * 32)
ELSEWHERE = ("203.0.113.9", 9)


def body_of(data: bytes) -> Any:
    return CODEC.decode(unseal(data, OPEN))


def resealed(data: bytes, change: dict[str, Any] | None = None, **header: Any) -> bytes:
    """The datagram with fields of its body or header changed, under the swarm's MAC."""
    body = msgspec.structs.replace(body_of(data), **(change or {}))
    if isinstance(body, Hello) and body.pad:  # as large as it was
        pad = bytes(len(body.pad) + len(CODEC.encode(body_of(data))) - len(CODEC.encode(body)))
        body = msgspec.structs.replace(body, pad=pad)
    return seal(header_of(data)._replace(**header), CODEC.encode(body), OPEN)


def test_four_datagrams_make_a_pair_and_what_waited_is_said(wire: Any) -> None:
    a, b = wire.add(1, roles=3), wire.add(2, roles=5)
    wire.say(a, b, Ping(1, 2))
    wire.say(a, b, Ping(3, 4))
    kinds = []
    while len(kinds) < 4:
        kinds.append(type(body_of(wire.flying[0][2])))
        wire.step()
    assert kinds == [Hello, Retry, Hello, Welcome]
    wire.run()
    assert wire.said(a) == [PairMade(1, 5)]
    assert wire.said(b) == [PairMade(1, 3), Ping(1, 2), Ping(3, 4)]
    assert wire.heard[b][0].sender == wire.contact(a)
    assert wire.peers[a].key_of(wire.peers[b].id) == Keypair(bytes([2]) * 32).public


def test_nothing_is_kept_or_verified_for_an_address_without_a_cookie(wire: Any, monkeypatch: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    monkeypatch.setattr(greeting, "verify", lambda *_: pytest.fail("verified"))
    wire.say(a, b, Ping(1, 2))
    hello = wire.flying[0]
    before = wire.peers[b].statistics()
    for _ in range(50):
        wire.deliver(*hello)
    after = wire.peers[b].statistics()
    assert after == {**before, "greeted": 50, "sent_retry": 50}


def test_no_reply_is_larger_than_what_it_answers(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, b, Ping(1, 2))
    sizes = [len(wire.step()[2]) for _ in range(4)]
    assert sizes[0] >= sizes[1] and sizes[2] >= sizes[3]


def test_a_hello_too_small_for_its_answer_gets_none(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, b, Ping(1, 2))
    wire.step()
    wire.step()
    _, _, second = wire.flying.pop()
    assert wire.peers[b].receive(resealed(second, {"pad": b""}), a, wire.now) == []
    assert wire.count(b, "dropped_short") == 1
    bare = seal(header_of(second)._replace(version=9), b"\x91", OPEN)
    assert wire.peers[b].receive(bare, a, wire.now) == []
    assert wire.count(b, "dropped_short") == 2


def test_whoever_listens_at_an_address_becomes_known(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, contact(NOBODY, b), Ping(1, 2))
    wire.run()
    assert wire.said(b, Ping) == [Ping(1, 2)]
    assert wire.heard[a][0].sender == wire.contact(b)
    assert wire.peers[a].established(wire.peers[b].id)


def test_both_may_greet_at_once_and_each_message_comes_once(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, b, Ping(1, 0))
    wire.say(b, a, Ping(2, 0))
    wire.run()
    assert wire.said(b, Ping) == [Ping(1, 0)] and wire.said(a, Ping) == [Ping(2, 0)]
    wire.wait(10.0)
    assert wire.peers[a].statistics()["hellos"] == wire.peers[b].statistics()["hellos"] == 0
    assert not wire.said(a, PairFailed) and not wire.said(b, PairFailed)


def test_a_hello_is_repeated_four_times_and_then_what_waited_comes_back(wire: Any) -> None:
    a = wire.add(1)
    gone = contact(bytes(20), ("192.0.2.99", 4000))
    wire.say(a, gone, Ping(1, 2))
    start, times = wire.now, [wire.now]
    while (due := wire.peers[a].deadline()) is not None:
        wire.now = due
        wire.flying.clear()
        wire.perform(a, wire.peers[a].expire(due))
        times += [due] if wire.flying else []
    assert [time - start for time in times] == [0.0, 0.25, 0.75, 1.75]
    assert wire.now - start == 3.75
    assert wire.said(a) == [PairFailed("nobody answered", (Ping(1, 2),))]
    assert wire.heard[a][0].sender == gone


def test_a_lost_greeting_of_any_kind_is_made_good(wire: Any) -> None:
    for lost in range(4):
        a, b = wire.add(10 + lost), wire.add(20 + lost)
        wire.say(a, b, Ping(1, 2))
        for _ in range(lost):
            wire.step()
        wire.flying.pop()
        wire.wait(3.0)
        assert wire.said(b, Ping) == [Ping(1, 2)], f"greeting {lost} was lost"
        assert wire.count(b, "made") == 1


def test_the_same_signed_hello_gets_the_same_welcome_without_verifying(wire: Any, monkeypatch: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, b, Ping(1, 2))
    wire.step()
    wire.step()
    hello = wire.step()
    welcome = wire.flying[-1][2]
    monkeypatch.setattr(greeting, "verify", lambda *_: pytest.fail("verified"))
    wire.deliver(*hello)
    assert wire.flying.pop()[2] == welcome
    monkeypatch.undo()
    wire.run()
    wire.deliver(*hello)  # once traffic has shown that the welcome arrived, it is a replay
    assert not wire.flying and wire.count(b, "dropped_replayed") == 1


def test_a_hello_of_an_older_boot_is_refused_and_a_newer_replaces(wire: Any) -> None:
    a, b = wire.add(1, boot=5), wire.add(2)
    wire.meet(a, b)
    wire.add(1, boot=4)
    wire.say(a, b, Ping(4, 0))
    wire.wait(5.0)
    assert wire.said(b) == [] and wire.count(b, "dropped_boot") > 0
    wire.add(1, boot=6)
    wire.say(a, b, Ping(6, 0))
    wire.run()
    assert wire.said(b) == [PairMade(6, 0), Ping(6, 0)]
    assert wire.peers[b].table.pairs[wire.peers[a].id].boot == 6


def test_a_welcome_of_an_older_boot_is_refused(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2, boot=5)
    wire.meet(a, b)
    wire.add(2, boot=4)
    wire.say(a, b, Ping(1 << 60, 0))  # answered by a reset: the peer does not know the pair
    wire.wait(6.0)
    assert wire.count(a, "dropped_boot") > 0
    assert wire.peers[a].table.pairs[wire.peers[b].id].boot == 5


CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("another recipient", {}, {"recipient": NOBODY}, "recipient"),
    ("another sender", {}, {"sender": EVE.id}, "cookie"),
    ("another key", {"key": EVE.public}, {}, "identity"),
    ("no signature", {"signature": b""}, {}, "signature"),
    ("a wrong signature", {"signature": bytes(64)}, {}, "signature"),
    ("other roles", {"roles": 7}, {}, "signature"),
    ("another nonce", {"nonce": 7}, {}, "signature"),
    ("another boot", {}, {"boot": 9}, "signature"),
    ("another sequence", {}, {"sequence": 9}, "signature"),
]


@pytest.mark.parametrize(("change", "header", "reason"), [case[1:] for case in CHANGES], ids=[c[0] for c in CHANGES])
def test_a_hello_changed_in_anything_is_refused(
    wire: Any, change: dict[str, Any], header: dict[str, Any], reason: str
) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, b, Ping(1, 2))
    wire.step()
    wire.step()
    _, _, second = wire.flying.pop()
    wire.deliver(a, b, resealed(second, change, **header))
    if reason == "cookie":  # a cookie is for one id: another one is asked to fetch its own
        assert isinstance(body_of(wire.flying[0][2]), Retry)
    else:
        assert not wire.flying and wire.count(b, f"dropped_{reason}") == 1
    assert wire.peers[b].statistics()["pairs"] == 0


def test_a_cookie_serves_no_other_address_and_not_for_ever(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, b, Ping(1, 2))
    wire.step()
    wire.step()
    second = wire.flying.pop()[2]
    wire.deliver(ELSEWHERE, b, second)
    assert isinstance(body_of(wire.flying.pop()[2]), Retry)
    wire.now += 2 * limits.COOKIE_S
    wire.deliver(a, b, second)
    assert isinstance(body_of(wire.flying.pop()[2]), Retry)
    assert wire.peers[b].statistics()["pairs"] == 0


def test_a_forgotten_pairs_hello_cannot_be_replayed(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, b, Ping(1, 2))
    wire.step()
    wire.step()
    second = wire.step()
    wire.run()
    wire.peers[b].forget(wire.peers[a].id)
    wire.deliver(*second)
    assert isinstance(body_of(wire.flying[0][2]), Retry)
    assert not wire.peers[b].established(wire.peers[a].id)


def test_identities_of_too_little_work_are_refused(wire: Any) -> None:
    key = Keypair(bytes([1]) * 32).public
    puzzle = next(nonce for nonce in range(1 << 12) if puzzle_bits(key, nonce) >= 5)
    a, b = wire.add(1, puzzle=puzzle), wire.add(2, difficulty=5)
    wire.say(a, b, Ping(1, 2))
    wire.run()
    assert wire.said(b, Ping) == [Ping(1, 2)]
    lazy = next(nonce for nonce in range(1 << 12) if puzzle_bits(Keypair(bytes([3]) * 32).public, nonce) < 5)
    c = wire.add(3, puzzle=lazy)
    wire.say(c, b, Ping(3, 2))
    wire.wait(5.0)
    assert wire.said(b, Ping) == [Ping(1, 2)] and wire.count(b, "dropped_puzzle") > 0
    wire.say(b, c, Ping(3, 2))
    wire.wait(5.0)
    assert [failed.why for failed in wire.said(b, PairFailed)] == ["nobody answered"]


def test_a_flood_of_fresh_identities_costs_a_bounded_number_of_verifications(wire: Any, monkeypatch: Any) -> None:
    b = wire.add(2)
    checked = []
    monkeypatch.setattr(greeting, "verify", lambda *_: bool(checked.append(1)))
    rate = int(limits.HELLOS_PER_GROUP_PER_S)
    for number in range(rate + 50):
        a = wire.add(1, boot=number, address=("203.0.113.7", 1000 + number))
        wire.say(a, b, Ping(1, 2))
        for _ in range(3):
            wire.step()
    assert len(checked) == rate
    assert wire.count(b, "dropped_allowance") == 50
    assert wire.peers[b].statistics()["pairs"] == 0


def test_versions_without_one_in_common_fail_with_both_spans(wire: Any) -> None:
    a, b = wire.add(1, versions=(2, 3)), wire.add(2, versions=(1, 1))
    wire.say(a, b, Ping(1, 2))
    wire.say(b, contact(NOBODY, a), Ping(3, 4))
    wire.run()
    assert wire.said(a) == [PairFailed("it speaks versions 1 to 1, this peer 2 to 3", (Ping(1, 2),))]
    assert wire.said(b) == [PairFailed("it speaks versions 2 to 3, this peer 1 to 1", (Ping(3, 4),))]


def test_the_highest_common_version_is_spoken(wire: Any) -> None:
    a, b = wire.add(1, versions=(1, 3)), wire.add(2, versions=(1, 2))
    wire.say(a, b, Ping(1, 2))
    wire.run()
    wire.say(b, a, Ping(1, 2))
    assert header_of(wire.flying[0][2]).version == 2
    wire.run()
    assert wire.said(a, Ping) == wire.said(b, Ping) == [Ping(1, 2)]


def test_an_unknown_major_is_told_what_is_spoken_here(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, b, Ping(1, 2))
    data = bytearray(wire.flying.pop()[2])
    data[0] = 9
    data[-16:] = OPEN.of(bytes(data[:-16]))
    wire.deliver(a, b, bytes(data))
    assert body_of(wire.flying[0][2]) == Unsupported(0, (1, 1))


@pytest.mark.parametrize(
    ("message", "header", "reason"),
    [
        (Retry(0, b"c"), {}, "unasked"),
        (Retry(-1, b""), {}, "replayed"),
        (Retry(-1, b"c"), {"sender": EVE.id}, "identity"),
        (Unsupported(0, (2, 3)), {}, "unasked"),
        (Unsupported(-1, (1, 3)), {}, "version"),
        (Unsupported(-1, (2, 3)), {"sender": EVE.id}, "unasked"),
        (Ping(1, 2), {}, "misplaced"),
    ],
)
def test_answers_that_nobody_asked_for_change_nothing(
    wire: Any, message: Any, header: dict[str, Any], reason: str
) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, b, Ping(1, 2))
    nonce = body_of(wire.flying.pop()[2]).nonce
    if getattr(message, "nonce", 0) == -1:
        message = msgspec.structs.replace(message, nonce=nonce)
    head = Header(1, GREETING, wire.peers[b].id, wire.peers[a].id, 1, 0)._replace(**header)
    wire.deliver(b, a, seal(head, CODEC.encode(message), OPEN))
    assert not wire.flying and not wire.heard[a]
    assert wire.count(a, f"dropped_{reason}") == 1


def welcome_under_way(wire: Any, **options: Any) -> tuple[Address, Address, bytes]:
    a, b = wire.add(1, **options), wire.add(2)
    wire.say(a, b, Ping(1, 2))
    for _ in range(3):
        wire.step()
    return a, b, wire.flying.pop()[2]


@pytest.mark.parametrize(
    ("change", "header", "reason"),
    [
        ({"nonce": 5}, {}, "unasked"),
        ({"key": EVE.public}, {}, "identity"),
        ({}, {"sender": EVE.id}, "identity"),
        ({}, {"recipient": NOBODY}, "identity"),
        ({"version": 2}, {}, "version"),
        ({"roles": 7}, {}, "signature"),
        ({"signature": bytes(64)}, {}, "signature"),
        ({}, {"boot": 9}, "signature"),
    ],
)
def test_a_welcome_changed_in_anything_is_refused(
    wire: Any, change: dict[str, Any], header: dict[str, Any], reason: str
) -> None:
    a, b, welcome = welcome_under_way(wire)
    wire.deliver(b, a, resealed(welcome, change, **header))
    assert wire.count(a, f"dropped_{reason}") == 1 and not wire.peers[a].established(wire.peers[b].id)
    wire.deliver(b, a, welcome)
    assert wire.peers[a].established(wire.peers[b].id)


def test_a_welcome_of_too_little_work_is_refused(wire: Any) -> None:
    a, b, welcome = welcome_under_way(wire, difficulty=100)
    wire.deliver(b, a, welcome)
    assert wire.count(a, "dropped_puzzle") == 1


def test_a_welcome_before_the_hello_was_signed_is_refused(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, b, Ping(1, 2))
    nonce = body_of(wire.flying.pop()[2]).nonce
    bob = Keypair(bytes([2]) * 32)
    head = Header(1, GREETING, bob.id, wire.peers[a].id, 1, 0)
    said = Welcome(nonce, 1, bob.public, 0, 0, wire.contact(a), bytes(64))
    said = msgspec.structs.replace(said, signature=bob.sign(welcome_words(SWARM, head, said, b"")))
    wire.deliver(b, a, seal(head, CODEC.encode(said), OPEN))
    assert wire.count(a, "dropped_unasked") == 1


def test_whoever_answers_a_hello_cannot_keep_us_signing(wire: Any) -> None:
    a, b = wire.add(1), wire.add(2)
    wire.say(a, b, Ping(1, 2))
    nonce = body_of(wire.flying.pop()[2]).nonce
    head = Header(1, GREETING, wire.peers[b].id, wire.peers[a].id, 1, 0)
    for number in range(50):
        wire.deliver(b, a, seal(head, CODEC.encode(Retry(nonce, b"cookie %d" % number)), OPEN))
    assert len(wire.flying) == limits.HELLO_SIGNATURES_MAX
    assert wire.count(a, "dropped_allowance") == 50 - limits.HELLO_SIGNATURES_MAX


def test_a_keyed_swarm_hears_nobody_without_its_key(wire: Any) -> None:
    key = bytes([7]) * 32
    a, b, c = wire.add(1), wire.add(2, swarm_key=key), wire.add(3, swarm_key=key)
    wire.say(a, b, Ping(1, 2))
    wire.say(b, a, Ping(1, 2))
    wire.wait(5.0)
    assert not wire.said(b, PairMade) and wire.count(b, "dropped_swarm") > 0
    assert not wire.said(a, PairMade) and wire.count(a, "dropped_swarm") > 0
    wire.say(c, b, Ping(3, 4))
    wire.run()
    assert wire.said(b, Ping) == [Ping(3, 4)]


def test_our_address_is_what_most_peers_see(wire: Any) -> None:
    a = wire.add(1)
    assert wire.peers[a].observed is None
    for number in range(10, 15):
        wire.meet(a, wire.add(number))
    assert wire.peers[a].observed == a
    for number in range(20, 20 + limits.OBSERVERS_MAX):
        b = wire.add(number)
        wire.say(a, b, Ping(1, 2))
        while wire.flying:  # a NAT before us: whatever we send comes from elsewhere
            source, target, data = wire.flying.pop(0)
            wire.deliver(*((ELSEWHERE, target, data) if source == a else (source, a, data)))
    assert wire.peers[a].observed == ELSEWHERE
    assert wire.peers[b].translated(wire.peers[a].id)


def test_hellos_and_what_waits_behind_them_are_bounded(wire: Any) -> None:
    a = wire.add(1)
    for number in range(limits.HELLOS_MAX):
        wire.say(a, contact(NOBODY, ("198.51.100.1", 1 + number)), Ping(number, 0))
    wire.say(a, contact(NOBODY, ("198.51.100.2", 1)), Ping(7, 0))
    assert wire.said(a) == [PairFailed("too many peers are being greeted", (Ping(7, 0),))]
    for number in range(1, limits.PAIR_QUEUE_MAX + 3):
        wire.say(a, contact(NOBODY, ("198.51.100.1", 1)), Ping(number, 1))
    assert wire.count(a, "unsaid") == 3
    wire.flying.clear()
    wire.heard.clear()
    wire.wait(5.0)
    (failed,) = (heard.value for heard in wire.heard[a] if heard.sender.port == 1)
    assert failed.messages == tuple(Ping(n, 1) for n in range(3, limits.PAIR_QUEUE_MAX + 3))
    assert wire.peers[a].statistics()["hellos"] == 0 and wire.peers[a].deadline() is None


def test_nonces_are_never_shared_by_two_hellos(wire: Any) -> None:
    class Repeating(random.Random):
        def getrandbits(self, bits: int) -> int:
            self.given = [*getattr(self, "given", []), 5 if len(getattr(self, "given", [])) < 3 else 6]
            return self.given[-1]

    pairs = Pairs(EVE, 1, Repeating(1))
    nonces = []
    for port in (1, 2):
        (sent,) = pairs.send(Contact(NOBODY, bytes((192, 0, 2, 1)), port), Ping(1, 2), 0.0)
        nonces.append(body_of(sent.data).nonce)  # type: ignore[attr-defined]
    assert nonces[0] != nonces[1]


@given(st.binary(max_size=64), st.integers(0, 25))
def test_whatever_a_greeting_holds_nothing_is_raised_and_nothing_made(new_wire: Any, rest: bytes, tag: int) -> None:
    wire = new_wire()
    a = wire.add(1)
    for head in (b"\x92", b"\x93", b"\x98", b"\x9a"):
        data = seal(Header(1, GREETING, EVE.id, wire.peers[a].id, 1, 0), head + bytes((tag,)) + rest, OPEN)
        wire.deliver(ELSEWHERE, a, data)
    assert not wire.heard[a] and wire.peers[a].statistics()["pairs"] == 0
