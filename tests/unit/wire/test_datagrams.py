"""Datagrams: the largest of each fits one datagram, and any bytes are one of them or the peer's mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.datagrams import (
    CODEC,
    CONTACTS_WITH_RECORD_MAX,
    REPLIES,
    Ack,
    ClaimRequest,
    Compound,
    Content,
    Datagram,
    Explanation,
    Gossip,
    Hello,
    Nodes,
    Ping,
    Providers,
    Put,
    PutProviders,
    Retry,
    RumorDigest,
    Unsupported,
    Value,
    Welcome,
)
from p2pcpn.wire.statements import (
    Advert,
    Claim,
    MemberState,
    Offer,
    ProviderRecord,
    Reason,
    Record,
    Signed,
    Statement,
    signed,
)

TYPES = get_args(Datagram)
ALICE = Keypair(bytes([1]) * 32)
LISTS = (Compound, Gossip, Providers, PutProviders)
WITH_STATEMENT: dict[type, tuple[str, tuple[type[Statement], ...]]] = {
    Put: ("record", (Record,)),
    Value: ("record", (Record,)),
    Providers: ("entries", (ProviderRecord,)),
    PutProviders: ("entries", (ProviderRecord,)),
    ClaimRequest: ("claim", (Claim,)),
    Explanation: ("reason", (Reason,)),
    Gossip: ("rumors", (Advert, Offer, MemberState)),
    Compound: ("rumors", (MemberState,)),
}


def instances(largest: Callable[..., Any], cls: type) -> list[Any]:
    """The largest instances of ``cls`` that an honest sender makes, with statements of the kinds that belong there."""
    if cls not in WITH_STATEMENT and cls is not Content:
        return [largest(cls)]
    name, kinds = WITH_STATEMENT.get(cls, ("", ()))
    base = largest(cls, 1)
    found = [] if kinds else [largest(cls)]
    for kind in kinds:
        statement = signed(largest(kind), ALICE)
        found.append(msgspec.structs.replace(base, **{name: [statement] if cls in LISTS else statement}))
    if cls is PutProviders:
        found = [msgspec.structs.replace(found[0], entries=found[0].entries * 4)]
    if cls is Providers:
        entries, contacts = found[0].entries, largest(Nodes).contacts
        found = [
            msgspec.structs.replace(
                found[0], entries=entries * 2, contacts=contacts[: limits.CONTACTS_WITH_PROVIDERS_MAX]
            ),
            msgspec.structs.replace(found[0], entries=entries * 4, contacts=[]),
            msgspec.structs.replace(found[0], entries=[], contacts=contacts),
        ]
    if cls is Content:
        contacts = largest(Nodes).contacts
        found = [
            msgspec.structs.replace(found[0], contacts=contacts[:7]),
            msgspec.structs.replace(found[0], content=None, contacts=contacts),
        ]
    if cls is Value:
        contacts = largest(Nodes).contacts
        found = [
            msgspec.structs.replace(found[0], contacts=contacts[:CONTACTS_WITH_RECORD_MAX]),
            msgspec.structs.replace(found[0], record=None, contacts=contacts),
        ]
    return found


@pytest.mark.parametrize("cls", TYPES)
def test_the_largest_of_every_datagram_fits(largest: Callable[..., Any], cls: type) -> None:
    for value in instances(largest, cls):
        data = CODEC.encode(value)
        assert len(data) <= limits.BODY_BYTES_MAX
        assert CODEC.decode(data) == value


def test_a_statement_of_the_most_bytes_a_rumor_may_have_fits_where_it_travels() -> None:
    full = Signed(65535, bytes(limits.RUMOR_BYTES_MAX), ALICE.public, bytes(64))
    most = (1 << 63) - 1
    for value in (Gossip([full], [255]), ClaimRequest(most, full), Explanation(most, full)):
        assert len(CODEC.encode(value)) <= limits.BODY_BYTES_MAX


def test_several_small_rumors_travel_together(largest: Callable[..., Any]) -> None:
    state = signed(largest(MemberState), ALICE)
    assert len(CODEC.encode(Gossip([state] * 6, [255] * 6))) <= limits.BODY_BYTES_MAX


@pytest.mark.parametrize("cls", TYPES)
def test_any_messagepack_library_reads_every_datagram(
    largest: Callable[..., Any], as_lists: Callable[..., Any], cls: type
) -> None:
    for items_max in (0, 2):
        value = largest(cls, items_max)
        assert msgpack.unpackb(CODEC.encode(value)) == as_lists(value)
        assert CODEC.decode(msgpack.packb(as_lists(value))) == value


def test_tags_count_from_one_and_never_change() -> None:
    tags = [cls.__struct_config__.tag for cls in TYPES]
    assert tags == list(range(1, len(TYPES) + 1))
    assert all(reply in TYPES for reply in REPLIES)


def test_no_reply_to_a_hello_is_larger_than_the_hello(largest: Callable[..., Any]) -> None:
    assert len(CODEC.encode(largest(Hello))) >= limits.HELLO_BODY_BYTES
    for cls in (Retry, Welcome, Unsupported):
        assert len(CODEC.encode(largest(cls))) <= limits.HELLO_BODY_BYTES


@pytest.mark.parametrize(
    "value",
    [
        Ping(-1, 0),
        Ping(1 << 63, 0),
        Nodes(0, [contact(ALICE.id, ("192.0.2.7", 1))] * 21),
        Nodes(0, [Contact(bytes(20), bytes(3), 1)]),
        RumorDigest(bytes(8 * limits.RUMOR_DIGESTS_MAX + 1), False),
        Gossip([], [256]),
        Hello(0, (0, 1), bytes(31), 0, 0, 0, b"", b"", b""),
    ],
)
def test_a_datagram_out_of_bounds_is_the_peers_mistake(value: Any) -> None:
    with pytest.raises(PeerError, match="datagram"):
        CODEC.decode(msgspec.msgpack.encode(value))


@pytest.mark.parametrize("data", [b"", b"\x90", b"\x91\x00", b"\x91\x1c", b"\x91\xa1x", b"\x81\x01\x02", b"\x01"])
def test_an_unknown_tag_is_the_peers_mistake(data: bytes) -> None:
    with pytest.raises(PeerError):
        CODEC.decode(data)


@given(st.integers(0, 31), st.binary(max_size=200), st.sampled_from((b"\x92", b"\x93", b"\x94", b"\x99", b"")))
def test_whatever_the_bytes_there_is_a_datagram_or_a_peer_error(tag: int, rest: bytes, head: bytes) -> None:
    try:
        assert isinstance(CODEC.decode(head + bytes((tag,)) + rest), TYPES)
    except PeerError:
        pass


@given(st.data())
def test_a_compound_holds_a_ping_an_answer_or_a_digest_and_never_anything_else(
    largest: Callable[..., Any], data: st.DataObject
) -> None:
    inner = largest(data.draw(st.sampled_from(TYPES)), 1)
    encoded = msgspec.msgpack.encode([Compound.__struct_config__.tag, inner, [], []])
    if isinstance(inner, Ping | Ack | RumorDigest):
        assert CODEC.decode(encoded) == Compound(inner, [], [])
    else:
        with pytest.raises(PeerError):
            CODEC.decode(encoded)


@given(st.data())
def test_changed_and_cut_datagrams_decode_or_are_refused(largest: Callable[..., Any], data: st.DataObject) -> None:
    encoded = bytearray(CODEC.encode(largest(data.draw(st.sampled_from(TYPES)), 2)))
    for at in data.draw(st.lists(st.integers(0, len(encoded) - 1), max_size=4)):
        encoded[at] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(CODEC.decode(encoded[: data.draw(st.integers(0, len(encoded)))]), TYPES)
    except PeerError:
        pass
