"""Replies of lookups: what no honest peer says is refused whole, odd addresses are left out."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.replies import GLOBAL, LINK, LOOPBACK, PRIVATE, believed, scope
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact, contact

OWN = b"\xff" * 20
TARGET = bytes(20)


def peer(number: int, host: str = "8.8.8.8", port: int = 4000) -> Contact:
    return contact(bytes(18) + number.to_bytes(2, "big"), (host, port))


ASKED = peer(500)


def test_an_honest_reply_is_believed_as_it_is() -> None:
    said = [peer(number) for number in range(limits.CONTACTS_MAX)]
    assert believed(ASKED, TARGET, said, OWN) == said
    assert believed(ASKED, TARGET, [], OWN) == []


@pytest.mark.parametrize(
    "said",
    [
        [peer(number) for number in range(limits.CONTACTS_MAX + 1)],
        [peer(1), peer(1)],
        [peer(1), peer(1, "9.9.9.9")],
        [peer(2), peer(1)],
        [peer(1), contact(OWN, ("8.8.8.8", 4000))],
        [peer(1), ASKED],
    ],
    ids=["too many", "twice", "twice elsewhere", "farthest first", "the asker", "itself"],
)
def test_what_no_honest_peer_says_costs_a_reply_all_belief(said: list[Contact]) -> None:
    with pytest.raises(PeerError):
        believed(ASKED, TARGET, said, OWN)


@pytest.mark.parametrize(
    ("asked", "named", "heard"),
    [
        ("8.8.8.8", "9.9.9.9", True),
        ("8.8.8.8", "10.0.0.1", False),
        ("8.8.8.8", "192.168.1.1", False),
        ("8.8.8.8", "127.0.0.1", False),
        ("8.8.8.8", "169.254.0.9", False),
        ("8.8.8.8", "100.64.0.1", False),
        ("8.8.8.8", "fe80::1", False),
        ("8.8.8.8", "::1", False),
        ("8.8.8.8", "2a00:1450::1", True),
        ("10.0.0.1", "192.168.1.1", True),
        ("10.0.0.1", "127.0.0.1", False),
        ("10.0.0.1", "8.8.8.8", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "8.8.8.8", True),
        ("8.8.8.8", "224.0.0.1", False),
        ("8.8.8.8", "0.0.0.0", False),
    ],
)
def test_nobody_names_addresses_of_a_narrower_scope_than_its_own(asked: str, named: str, heard: bool) -> None:
    assert believed(peer(500, asked), TARGET, [peer(1, named)], OWN) == [peer(1, named)] * heard


def test_port_zero_is_nobodys() -> None:
    assert believed(ASKED, TARGET, [peer(1, port=0), peer(2)], OWN) == [peer(2)]


def test_scopes_are_in_order() -> None:
    hosts = ["::1", "fe80::1", "fd00::1", "2a00:1450::1"]
    assert [scope(ip_address(host).packed) for host in hosts] == [LOOPBACK, LINK, PRIVATE, GLOBAL]


@given(st.lists(st.tuples(st.integers(0, 30), st.ip_addresses(), st.integers(0, 65535)), max_size=25))
def test_whatever_is_said_is_refused_or_ends_nearest_first_and_usable(said: list[tuple[int, object, int]]) -> None:
    named = [peer(number, str(host), port) for number, host, port in said]
    try:
        found = believed(ASKED, TARGET, named, OWN)
    except PeerError:
        return
    gaps = [distance(it.id, TARGET) for it in found]
    assert gaps == sorted(set(gaps)) and all(it.usable for it in found)
