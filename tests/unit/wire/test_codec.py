"""The codec: a value that exists is valid, and whatever the bytes, a value or ``PeerError``."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from p2pcpn.errors import PeerError
from p2pcpn.wire.codec import U16, U48, U63, Codec, Id, Seconds, Share


class Inner(msgspec.Struct, array_like=True, frozen=True):
    wait_s: Seconds


class Outer(msgspec.Struct, array_like=True, frozen=True, tag=1):
    id: Id
    port: U16
    boot: U48
    seq: U63
    share: Share
    inner: list[Inner]
    words: Annotated[list[str], Meta(max_length=2)]


CODEC: Codec[Outer] = Codec(Outer, 400, "outer")
VALUE = Outer(bytes(20), 1, 2, 3, 0.5, [Inner(1.0)], ["a"])


def test_what_was_encoded_is_decoded() -> None:
    assert CODEC.decode(CODEC.encode(VALUE)) == VALUE
    assert CODEC.decode(memoryview(bytearray(CODEC.encode(VALUE)))) == VALUE


def test_any_messagepack_library_reads_it() -> None:
    assert msgpack.unpackb(CODEC.encode(VALUE)) == [1, bytes(20), 1, 2, 3, 0.5, [[1.0]], ["a"]]


def test_elements_that_a_later_version_appends_are_ignored() -> None:
    later = [*msgpack.unpackb(CODEC.encode(VALUE)), {"new": 1}]
    assert CODEC.decode(msgpack.packb(later)) == VALUE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (0, 2),
        (1, bytes(19)),
        (1, "x" * 20),
        (2, -1),
        (2, 1 << 16),
        (3, 1 << 48),
        (4, 1 << 63),
        (4, (1 << 64) - 1),
        (5, 1.1),
        (5, math.nan),
        (5, True),
        (6, [[math.inf]]),
        (6, [[-1.0]]),
        (6, [[]]),
        (6, 5),
        (7, ["a", "b", "c"]),
        (7, [b"a"]),
        (7, None),
    ],
)
def test_a_value_out_of_bounds_is_the_peers_mistake(field: int, value: object) -> None:
    wrong = msgpack.unpackb(CODEC.encode(VALUE))
    wrong[field] = value
    with pytest.raises(PeerError, match="outer"):
        CODEC.decode(msgpack.packb(wrong))


def test_bytes_above_the_bound_are_not_looked_at() -> None:
    with pytest.raises(PeerError, match="401 bytes, at most 400"):
        CODEC.decode(bytes(401))
    with pytest.raises(AssertionError, match="at most 400"):
        CODEC.encode(msgspec.structs.replace(VALUE, words=["x" * 400]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",  # an array that claims four thousand million elements
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\x91" * 390,  # deep nesting
        b"\x97\x01\xc4\x14" + b"\x91" * 300,
        b"\x98\x01" + b"\xd9\x02\xff\xfe" * 7,  # no UTF-8
    ],
)
def test_lying_and_nested_bytes_are_the_peers_mistake(data: bytes) -> None:
    with pytest.raises(PeerError):
        CODEC.decode(data)


TREES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(st.binary() | TREES.map(msgpack.packb) | st.lists(TREES, max_size=8).map(lambda tree: msgpack.packb([1, *tree])))
def test_whatever_the_bytes_there_is_a_value_or_a_peer_error(data: bytes) -> None:
    try:
        assert isinstance(CODEC.decode(data), Outer)
    except PeerError:
        pass
