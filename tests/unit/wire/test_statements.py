"""Statements: what is signed stays as it was signed, and nothing else passes for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.wire import statements
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.codec import Codec
from p2pcpn.wire.statements import (
    KINDS,
    Accelerator,
    Advert,
    Cancel,
    Claim,
    Close,
    Handover,
    MemberState,
    Offer,
    Pause,
    ProviderRecord,
    Reason,
    Record,
    Role,
    Segment,
    Signed,
    Statement,
    opened,
    owners_word,
    read,
    signed,
)

ALICE, BOB = Keypair(bytes([1]) * 32), Keypair(bytes([2]) * 32)
CONTACT = contact(ALICE.id, ("192.0.2.7", 4000))
CANCEL = Cancel(bytes(20), 5.0)
ADVERT = Advert(
    CONTACT, 1, 2, 900.0, Role.COMPUTE | Role.STORAGE, 8, 4, 3, 16 << 30, 8 << 30, 0.25, "3.11", "cpython",
    "linux-x86_64", ["function"], ["numpy"], [Accelerator("cuda", 1, 24 << 30)], ["lab"], (52.5, 13.4), 12.5, 7,
)  # fmt: skip
SIGNED: Codec[Signed] = Codec(Signed, limits.MESSAGE_BYTES_MAX, "signed")
BYTES_MAX = {
    Advert: limits.RECORD_VALUE_BYTES_MAX,
    Offer: limits.RUMOR_BYTES_MAX,
    Claim: limits.RUMOR_BYTES_MAX,
    Record: limits.RUMOR_BYTES_MAX,
    Reason: limits.RUMOR_BYTES_MAX,
    MemberState: limits.RUMOR_BYTES_MAX,
    ProviderRecord: limits.RUMOR_BYTES_MAX,
}


@pytest.mark.parametrize("cls", KINDS.values())
@pytest.mark.parametrize("items_max", [0, 3])
def test_every_statement_comes_back_as_it_was_signed(
    largest: Callable[..., Any], cls: type[Statement], items_max: int
) -> None:
    statement = largest(cls, items_max)
    envelope = SIGNED.decode(SIGNED.encode(signed(statement, ALICE)))
    assert opened(envelope, cls) == read(envelope, cls) == statement
    assert envelope.key == ALICE.public and envelope.kind == cls.kind


@pytest.mark.parametrize("cls", KINDS.values())
def test_the_largest_statement_fits_where_it_travels(largest: Callable[..., Any], cls: type[Statement]) -> None:
    envelope = signed(largest(cls), ALICE)
    assert len(envelope.body) <= BYTES_MAX.get(cls, limits.MESSAGE_BYTES_MAX - 1000)


@pytest.mark.parametrize("cls", KINDS.values())
def test_any_messagepack_library_reads_every_statement(
    largest: Callable[..., Any], as_lists: Callable[..., Any], cls: type[Statement]
) -> None:
    statement = largest(cls, 3)
    assert msgpack.unpackb(signed(statement, ALICE).body) == as_lists(statement)


def test_kinds_are_numbered_without_a_gap() -> None:
    assert sorted(KINDS) == list(range(1, len(KINDS) + 1))
    assert all(cls.kind == number for number, cls in KINDS.items())


def test_another_key_kind_body_or_signature_is_refused() -> None:
    envelope = signed(CANCEL, ALICE)
    other = signed(Cancel(bytes(20), 6.0), ALICE)
    for wrong in (
        msgspec.structs.replace(envelope, key=BOB.public),
        msgspec.structs.replace(envelope, signature=other.signature),
        msgspec.structs.replace(envelope, body=other.body),
        msgspec.structs.replace(envelope, signature=bytes(64)),
    ):
        assert read(wrong, Cancel)
        with pytest.raises(PeerError, match="signature under that Cancel is wrong"):
            opened(wrong, Cancel)


def test_a_signature_does_not_pass_for_another_kind() -> None:
    envelope = signed(CANCEL, ALICE)
    with pytest.raises(PeerError, match=r"a Close was due; kind 11 came"):
        opened(envelope, Close)
    with pytest.raises(PeerError):
        opened(msgspec.structs.replace(envelope, kind=Close.kind), Close)


def test_bytes_that_a_later_version_appended_stay_under_the_signature() -> None:
    body = msgpack.packb([*msgpack.unpackb(signed(CANCEL, ALICE).body), "new"])
    envelope = Signed(11, body, ALICE.public, ALICE.sign(statements.DOMAIN + (11).to_bytes(2, "big") + body))
    assert opened(envelope, Cancel) == CANCEL
    assert SIGNED.decode(SIGNED.encode(envelope)).body == body


def by_alice(body: bytes) -> Signed:
    """A body with a right signature, whatever it is."""
    return Signed(Cancel.kind, body, ALICE.public, ALICE.sign(statements.DOMAIN + b"\0\x0b" + body))


def test_a_body_in_another_form_is_refused_though_its_signature_is_right() -> None:
    body = signed(CANCEL, ALICE).body
    assert opened(by_alice(body), Cancel) == CANCEL
    longer = body.replace(b"\xc4\x14", b"\xc5\x00\x14")  # the length of the id in two bytes
    for other in (longer, b"\xdc\x00" + bytes([body[0] & 15]) + body[1:], bytes([body[0] + 1]) + longer[1:] + b"\xc0"):
        assert read(by_alice(other), Cancel) == CANCEL
        with pytest.raises(PeerError, match="that Cancel is not in canonical form"):
            opened(by_alice(other), Cancel)


def test_unknown_fields_behind_the_known_are_judged_by_their_form(monkeypatch: pytest.MonkeyPatch) -> None:
    body = msgpack.packb([*msgpack.unpackb(signed(CANCEL, ALICE).body), [1, {"a": b"b"}]])
    assert opened(by_alice(body), Cancel) == CANCEL
    assert opened(signed(ADVERT, ALICE), Advert) == ADVERT
    # What we would write ourselves needs no judge.
    monkeypatch.setattr(statements, "is_canonical", lambda body: pytest.fail("it is as we would write it"))
    assert opened(signed(CANCEL, ALICE), Cancel) == CANCEL


class Verified:
    """Counts what is verified, and calls nothing right."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(statements, "verify", self.verify)

    def verify(self, key: bytes, message: bytes, signature: bytes) -> bool:
        self.count += 1
        return False


def test_an_envelope_that_was_verified_lately_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    envelope = signed(CANCEL, ALICE)
    opened(envelope, Cancel)
    verified = Verified(monkeypatch)
    assert opened(envelope, Cancel) == CANCEL
    assert verified.count == 0
    with pytest.raises(PeerError, match="signature"):  # one that is equal was never looked at
        opened(msgspec.structs.replace(envelope), Cancel)
    with pytest.raises(PeerError, match="kind 11 came"):
        opened(envelope, Close)


def test_few_envelopes_are_remembered_and_the_oldest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    envelopes = [signed(CANCEL, ALICE) for _ in range(statements._VERIFIED_MAX + 1)]
    for envelope in envelopes:
        statements.vouch(envelope)
    assert len(statements._verified) == statements._VERIFIED_MAX
    verified = Verified(monkeypatch)
    for envelope in envelopes[1:]:
        assert opened(envelope, Cancel) == CANCEL
    assert verified.count == 0
    with pytest.raises(PeerError, match="signature"):
        opened(envelopes[0], Cancel)


def test_a_wrong_signature_is_remembered_as_nothing() -> None:
    envelope = msgspec.structs.replace(signed(CANCEL, ALICE), signature=bytes(64))
    for _ in range(2):
        with pytest.raises(PeerError, match="signature"):
            opened(envelope, Cancel)


def test_what_one_of_many_virtual_peers_found_right_no_other_checks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    envelope = signed(CANCEL, ALICE)
    copies = [msgspec.structs.replace(envelope) for _ in range(3)]
    shared, other = statements.Checks(1), signed(Cancel(bytes(20), 6.0), ALICE)
    with statements.sharing(shared):
        opened(envelope, Cancel)
        verified = Verified(monkeypatch)
        assert opened(copies[0], Cancel) == CANCEL
        assert opened(copies[1], Cancel) is opened(copies[0], Cancel) and statements.shared(copies[0]) is envelope
        assert verified.count == 0
        for wrong in ({"signature": bytes(64)}, {"key": BOB.public}, {"body": other.body}):
            with pytest.raises(PeerError):
                opened(msgspec.structs.replace(envelope, **wrong), Cancel)
        shared.add(other, read(other, Cancel))  # there is room for one
        with pytest.raises(PeerError, match="signature"):
            opened(copies[1], Cancel)
    shared.add(envelope, CANCEL)
    with pytest.raises(PeerError, match="signature"):  # a real peer shares nothing
        opened(copies[2], Cancel)


def test_what_is_vouched_for_is_right_and_only_that() -> None:
    unsigned = msgspec.structs.replace(signed(CANCEL, ALICE), signature=bytes(64))
    statements.vouch(unsigned)
    assert opened(unsigned, Cancel) == CANCEL
    with pytest.raises(PeerError, match="signature"):
        opened(msgspec.structs.replace(unsigned), Cancel)


@pytest.mark.parametrize(
    "change",
    [
        {"load": 1.5},
        {"load": float("nan")},
        {"rtt_ms": float("nan")},
        {"rtt_ms": float("inf")},
        {"rtt_ms": -1.0},
        {"position": (91.0, 0.0)},
        {"position": (0.0, float("nan"))},
        {"python": "3" * 17},
        {"platform": "x" * 33},
        {"platform": "linux\n"},
        {"tags": ["löb"]},
        {"tags": ["a"] * 5},
        {"packages": ["p"] * 9},
        {"cores": -1},
    ],
)
def test_an_advert_out_of_bounds_is_the_peers_mistake(change: dict[str, Any]) -> None:
    assert opened(signed(ADVERT, ALICE), Advert) == ADVERT
    with pytest.raises(PeerError, match="Advert"):
        opened(signed(msgspec.structs.replace(ADVERT, **change), ALICE), Advert)


@given(st.integers(0, 20), st.binary(max_size=300), st.binary(min_size=64, max_size=64))
def test_whatever_is_in_an_envelope_is_a_statement_or_a_peer_error(kind: int, body: bytes, signature: bytes) -> None:
    envelope = Signed(kind, body, ALICE.public, signature)
    for cls in KINDS.values():
        for look in (opened, read):
            try:
                assert isinstance(look(envelope, cls), cls)
            except PeerError:
                pass


@given(st.data())
def test_a_body_with_changed_bytes_is_never_opened(data: st.DataObject) -> None:
    envelope = signed(ADVERT, ALICE)
    at = data.draw(st.integers(0, len(envelope.body) - 1))
    body = bytearray(envelope.body)
    body[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PeerError):
        opened(msgspec.structs.replace(envelope, body=bytes(body)), Advert)


def test_a_segment_counts_its_tasks_and_roles_have_names() -> None:
    segment = Segment(bytes(20), 0, 0, bytes(32), [(3, bytes(32)), (4, bytes(32))], [], [])
    assert segment.count == 7
    assert Role.names(Role.COMPUTE | Role.RELAY) == ["compute", "relay"]
    assert Role.names(0) == []


def test_an_owners_words_on_a_job_are_three() -> None:
    for said in (Close(bytes(20), 1, bytes(32)), Cancel(bytes(20), 1.0), Pause(bytes(20), 1, True)):
        assert owners_word(signed(said, ALICE)) is type(said)
    with pytest.raises(PeerError, match="kind 12 came"):
        owners_word(signed(Handover(bytes(20), 1, bytes(32)), ALICE))


def test_an_envelope_that_is_read_again_holds_the_same_statement_and_is_checked_all_the_same() -> None:
    envelope = signed(ADVERT, ALICE)
    assert read(envelope, Advert) is read(envelope, Advert)
    with pytest.raises(PeerError, match="was due"):
        read(envelope, Segment)
    wrong = msgspec.structs.replace(envelope, signature=bytes(64))
    assert read(wrong, Advert) == ADVERT, "of another envelope, and nobody has checked it"
    with pytest.raises(PeerError, match="signature"):
        opened(wrong, Advert)
