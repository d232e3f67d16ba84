"""The envelope: header, body and MAC to bytes and back, and nothing else passes."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.wire.envelope import (
    GREETING,
    NOBODY,
    OPEN_SWARM_KEY,
    TRAFFIC,
    VERSION,
    Header,
    Mac,
    head_of,
    header_of,
    seal,
    seal_behind,
    unseal,
)

MAC = Mac(bytes(range(32)))
HEADERS = st.builds(
    Header,
    st.integers(0, 255),
    st.sampled_from((GREETING, TRAFFIC)),
    st.binary(min_size=20, max_size=20),
    st.binary(min_size=20, max_size=20),
    st.integers(0, (1 << 48) - 1),
    st.integers(0, (1 << 63) - 1),
)


@given(HEADERS, st.binary(min_size=1, max_size=limits.BODY_BYTES_MAX))
def test_what_was_sealed_is_unsealed(header: Header, body: bytes) -> None:
    data = seal(header, body, MAC)
    assert len(data) == limits.ENVELOPE_BYTES + len(body)
    assert header_of(data) == header
    assert unseal(data, MAC) == body


def test_a_head_serves_for_all_that_is_said_to_one_peer() -> None:
    for sequence in (0, 7, (1 << 63) - 1):
        header = Header(1, TRAFFIC, NOBODY, b"\1" * 20, 5, sequence)
        assert seal_behind(head_of(header), sequence, b"body", MAC) == seal(header, b"body", MAC)


def test_the_bytes_are_those_of_the_specification() -> None:
    sender, recipient = b"s" * 20, b"r" * 20
    data = seal(Header(VERSION, TRAFFIC, sender, recipient, 258, 772), b"body", Mac(OPEN_SWARM_KEY))
    head = b"\x01\x01" + sender + recipient + b"\0\0\0\0\x01\x02" + b"\0\0\0\0\0\0\x03\x04" + b"body"
    assert data == head + blake2b(head, key=bytes(32), digest_size=16, person=b"p2pcpn datagram").digest()


@given(HEADERS, st.binary(min_size=1, max_size=100), st.data())
def test_a_datagram_with_a_changed_byte_does_not_open(header: Header, body: bytes, draw: st.DataObject) -> None:
    data = bytearray(seal(header, body, MAC))
    data[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(PeerError, match="MAC"):
        unseal(bytes(data), MAC)


def test_another_key_opens_nothing() -> None:
    data = seal(Header(1, TRAFFIC, NOBODY, NOBODY, 0, 0), b"body", MAC)
    with pytest.raises(PeerError):
        unseal(data, Mac(OPEN_SWARM_KEY))


@pytest.mark.parametrize("size", [0, 1, 56, limits.ENVELOPE_BYTES, limits.DATAGRAM_BYTES_MAX + 1, 65_507])
def test_a_datagram_too_short_or_too_long_has_no_header(size: int) -> None:
    with pytest.raises(PeerError, match=f"{size} bytes"):
        header_of(bytes(size))


def test_a_kind_or_sequence_of_nobodys_is_refused() -> None:
    data = seal(Header(1, GREETING, NOBODY, NOBODY, 0, 0), b"body", MAC)
    with pytest.raises(PeerError, match="kind 2"):
        header_of(data[:1] + b"\x02" + data[2:])
    with pytest.raises(PeerError, match="beyond 63 bits"):
        header_of(data[:48] + b"\x80" + data[49:])
    assert header_of(b"\xff" + data[1:]).version == 255  # so that it can be answered


def test_a_body_of_ours_that_is_too_large_fails_an_assertion() -> None:
    with pytest.raises(AssertionError):
        seal(Header(1, TRAFFIC, NOBODY, NOBODY, 0, 0), bytes(limits.BODY_BYTES_MAX + 1), MAC)


@given(st.binary(max_size=1300))
def test_any_bytes_have_a_header_or_raise_a_peer_error(data: bytes) -> None:
    try:
        assert isinstance(header_of(data), Header)
        unseal(data, MAC)
    except PeerError:
        pass
