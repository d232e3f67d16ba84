"""What greetings sign, the key they lead to, and cookies."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.hellos import Cookies, common_version, hello_words, pair_key, swarm_binding, welcome_words
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.datagrams import Hello, Welcome
from p2pcpn.wire.envelope import GREETING, Header

ALICE, BOB = Keypair(bytes([1]) * 32), Keypair(bytes([2]) * 32)
SWARM = swarm_binding(bytes(32))
HEADER = Header(1, GREETING, ALICE.id, BOB.id, 7, 8)
HELLO = Hello(9, (1, 2), ALICE.public, 10, 4000, 3, b"cookie", b"", b"")
WELCOME = Welcome(9, 1, BOB.public, 10, 3, contact(ALICE.id, ("192.0.2.7", 4000)), bytes(64))
HERE = ("192.0.2.7", 4000)


def test_the_words_of_a_hello_are_those_of_the_specification() -> None:
    words = hello_words(SWARM, HEADER, HELLO)
    assert words == (
        b"p2pcpn/1 hello"
        + SWARM
        + ALICE.id
        + BOB.id
        + bytes((0, 0, 0, 0, 0, 7))
        + bytes(7)
        + b"\x08"
        + bytes(7)
        + b"\x09"
        b"\0\x01\0\x02" + ALICE.public + bytes(7) + b"\x0a" + b"\x0f\xa0" + b"\0\x03" + b"\x06cookie"
    )


def test_the_words_of_a_welcome_are_those_of_the_specification() -> None:
    words = welcome_words(SWARM, HEADER, WELCOME, b"s" * 64)
    assert words == (
        b"p2pcpn/1 welcome" + SWARM + ALICE.id + BOB.id + bytes((0, 0, 0, 0, 0, 7)) + bytes(7) + b"\x08" + bytes(7)
        + b"\x09\0\x01" + BOB.public + bytes(7) + b"\x0a\0\x03\x04\xc0\x00\x02\x07\x0f\xa0" + b"s" * 64
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": 1},
        {"versions": (1, 3)},
        {"key": BOB.public},
        {"puzzle": 1},
        {"port": 1},
        {"roles": 1},
        {"cookie": b"other"},
    ],
)
def test_every_field_of_a_hello_is_signed(change: dict[str, Any]) -> None:
    assert hello_words(SWARM, HEADER, msgspec.structs.replace(HELLO, **change)) != hello_words(SWARM, HEADER, HELLO)


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": 1},
        {"version": 2},
        {"key": ALICE.public},
        {"puzzle": 1},
        {"roles": 1},
        {"observed": contact(ALICE.id, ("192.0.2.7", 4001))},
        {"observed": contact(ALICE.id, ("::7", 4000))},
    ],
)
def test_every_field_of_a_welcome_is_signed(change: dict[str, Any]) -> None:
    other = msgspec.structs.replace(WELCOME, **change)
    assert welcome_words(SWARM, HEADER, other, b"") != welcome_words(SWARM, HEADER, WELCOME, b"")


@pytest.mark.parametrize("field", ["sender", "recipient", "boot", "sequence"])
def test_the_envelope_is_signed_with_both(field: str) -> None:
    other = HEADER._replace(**{field: bytes(20) if field in ("sender", "recipient") else 99})
    assert hello_words(SWARM, other, HELLO) != hello_words(SWARM, HEADER, HELLO)
    assert welcome_words(SWARM, other, WELCOME, b"") != welcome_words(SWARM, HEADER, WELCOME, b"")


def test_both_ends_have_one_key_and_each_swarm_and_boot_another() -> None:
    key = pair_key(ALICE, 1, BOB.public, BOB.id, 2, bytes(32))
    assert key == pair_key(BOB, 2, ALICE.public, ALICE.id, 1, bytes(32))
    others = {
        pair_key(ALICE, 1, BOB.public, BOB.id, 2, bytes([1]) * 32),
        pair_key(ALICE, 2, BOB.public, BOB.id, 2, bytes(32)),
        pair_key(ALICE, 1, BOB.public, BOB.id, 3, bytes(32)),
        pair_key(ALICE, 2, BOB.public, BOB.id, 1, bytes(32)),
    }
    assert len(others) == 4 and key not in others
    with pytest.raises(PeerError):
        pair_key(ALICE, 1, bytes(32), BOB.id, 2, bytes(32))


@pytest.mark.parametrize(
    ("ours", "theirs", "common"),
    [
        ((1, 1), (1, 1), 1),
        ((1, 3), (2, 5), 3),
        ((2, 5), (1, 3), 3),
        ((1, 1), (2, 3), None),
        ((4, 4), (1, 3), None),
        ((1, 3), (3, 1), None),
    ],
)
def test_the_highest_common_version_is_taken(
    ours: tuple[int, int], theirs: tuple[int, int], common: int | None
) -> None:
    assert common_version(ours, theirs) == common


@given(st.floats(0, 1e6), st.floats(0, 200))
def test_a_cookie_is_good_for_one_to_two_minutes(now: float, age: float) -> None:
    cookies = Cookies(b"secret")
    valid = cookies.valid(cookies.make(HERE, ALICE.id, now), HERE, ALICE.id, now + age)
    if age < limits.COOKIE_S - 0.01:
        assert valid
    if age > 2 * limits.COOKIE_S:
        assert not valid


def test_a_cookie_is_good_for_its_own_address_and_id_alone() -> None:
    cookies = Cookies(b"secret")
    cookie = cookies.make(HERE, ALICE.id, 0.0)
    assert cookies.valid(cookie, HERE, ALICE.id, 0.0)
    assert not cookies.valid(cookie, ("192.0.2.7", 4001), ALICE.id, 0.0)
    assert not cookies.valid(cookie, ("192.0.2.8", 4000), ALICE.id, 0.0)
    assert not cookies.valid(cookie, HERE, BOB.id, 0.0)
    assert not cookies.valid(b"", HERE, ALICE.id, 0.0)
    assert not Cookies(b"other").valid(cookie, HERE, ALICE.id, 0.0)


def test_a_voided_cookie_is_good_for_nothing() -> None:
    cookies = Cookies(b"secret")
    cookie, other = cookies.make(HERE, ALICE.id, 0.0), cookies.make(HERE, BOB.id, 0.0)
    cookies.void(ALICE.id)
    assert not cookies.valid(cookie, HERE, ALICE.id, 0.0)
    assert cookies.valid(other, HERE, BOB.id, 0.0)
    assert cookies.valid(cookies.make(HERE, ALICE.id, 0.0), HERE, ALICE.id, 0.0)
