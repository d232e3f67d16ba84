"""Addresses: what a socket gives, what the wire carries, what a person writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.errors import UsageError
from p2pcpn.wire.addresses import Contact, contact, pack_host, parse_address, unpack_host
from p2pcpn.wire.codec import Codec

NODE = bytes(range(20))


@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_survives_the_wire(host: object, port: int) -> None:
    codec: Codec[Contact] = Codec(Contact, 64, "contact")
    there = codec.decode(codec.encode(contact(NODE, (str(host), port))))
    assert pack_host(there.address[0]) == there.host and there.address[1] == port


def test_ipv4_in_ipv6_clothes_is_ipv4() -> None:
    assert pack_host("::ffff:192.0.2.7") == pack_host("192.0.2.7") == bytes((192, 0, 2, 7))
    assert pack_host("fe80::1%eth0") == pack_host("fe80::1")
    assert unpack_host(pack_host("2001:db8::1")) == "2001:db8::1"
    with pytest.raises(ValueError):
        pack_host("example.org")


@pytest.mark.parametrize(
    ("host", "port", "usable"),
    [
        ("192.0.2.7", 1, True),
        ("2001:db8::1", 65535, True),
        ("192.0.2.7", 0, False),
        ("224.0.0.1", 5, False),
        ("ff02::1", 5, False),
    ],
)
def test_a_contact_knows_whether_it_can_be_sent_to(host: str, port: int, usable: bool) -> None:
    assert contact(NODE, (host, port)).usable is usable


@pytest.mark.parametrize("size", [5, 15])
def test_a_host_of_a_strange_length_cannot_be_sent_to(size: int) -> None:
    assert not Contact(NODE, bytes(size), 5).usable


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7:4000", ("192.0.2.7", 4000)),
        ("[2001:db8::1]:4000", ("2001:db8::1", 4000)),
        ("example.org:0", ("example.org", 0)),
    ],
)
def test_what_a_person_writes_is_an_address(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", ":5", "host", "host:", "host:65536", "host:²", "host:" + "1" * 5000, "host:x", "host:-1", "[]:5"]
)
def test_what_is_no_address_is_answered_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"write HOST:PORT, for example 192\.0\.2\.7:4000"):
        parse_address(text)


def test_a_port_may_be_left_out_where_there_is_a_default() -> None:
    assert parse_address("example.org", port_default=4000) == ("example.org", 4000)
    assert parse_address("example.org:1", port_default=4000) == ("example.org", 1)
