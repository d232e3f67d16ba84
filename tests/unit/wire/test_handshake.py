"""The handshake: who is at the other end, and which version."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.wire.handshake import OPEN_SWARM_KEY, PROLOGUE, Handshake, Profile, UnsupportedVersion
from p2pcpn.wire.noise import Noise

ALICE, BOB, EVE = (Keypair(bytes([number]) * 32) for number in (1, 2, 3))


def profile(me: Keypair, versions: tuple[int, int] = (1, 1), port: int = 4000) -> Profile:
    return Profile(versions[0], versions[1], me.public, port, 17, 5, 3)


def side(
    me: Keypair,
    *,
    initiator: bool,
    versions: tuple[int, int] = (1, 1),
    psk: bytes = OPEN_SWARM_KEY,
    expected: NodeId | None = None,
) -> Handshake:
    return Handshake(
        initiator=initiator,
        me=me,
        psk=psk,
        profile=profile(me, versions),
        ephemeral_secret=bytes([me.seed[0] + 100]) * 32,
        expected=expected,
    )


def shake(a: Handshake, b: Handshake) -> None:
    """Run both to the end."""
    writer, reader = a, b
    while writer.writes_next:
        reader.read(writer.write())
        writer, reader = reader, writer


def hand_made(payload_1: bytes, payload_3: bytes, static: bytes | None = None) -> Handshake:
    """BOB after a handshake whose initiator, EVE, chose the payloads freely."""
    responder = side(BOB, initiator=False)
    noise = Noise(
        initiator=True,
        static_secret=static or EVE.x25519_secret,
        ephemeral_secret=bytes([9]) * 32,
        psk=OPEN_SWARM_KEY,
        prologue=PROLOGUE,
    )
    responder.read(noise.write(payload_1))
    noise.read(responder.write())
    responder.read(noise.write(payload_3))
    return responder


pack = msgspec.msgpack.encode


def test_both_ends_learn_who_the_other_is_and_share_keys() -> None:
    a, b = side(ALICE, initiator=True), side(BOB, initiator=False)
    shake(a, b)
    assert a.finished and b.finished
    ours, theirs = a.finish(), b.finish()
    assert (ours.send_key, ours.receive_key) == (theirs.receive_key, theirs.send_key)
    assert ours.transcript == theirs.transcript
    assert (ours.id, theirs.id) == (BOB.id, ALICE.id)
    assert ours.profile == profile(BOB) and theirs.profile == profile(ALICE)
    assert ours.version == theirs.version == 1


@given(st.tuples(st.integers(0, 5), st.integers(0, 5)), st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_the_highest_common_version_is_taken_or_both_ends_hear_unsupported(
    one: tuple[int, int], two: tuple[int, int]
) -> None:
    one, two = (min(one), max(one)), (min(two), max(two))
    a, b = side(ALICE, initiator=True, versions=one), side(BOB, initiator=False, versions=two)
    common = set(range(one[0], one[1] + 1)) & set(range(two[0], two[1] + 1))
    b.read(a.write())
    if common:
        a.read(b.write())
        b.read(a.write())
        assert a.finish().version == b.finish().version == max(common)
    else:
        assert b.refusal is not None and b.refusal.versions == one
        with pytest.raises(UnsupportedVersion) as raised:
            a.read(b.write())
        assert raised.value.versions == two


def test_a_dialer_refuses_a_node_other_than_the_expected_before_it_says_who_it_is() -> None:
    a, b = side(ALICE, initiator=True, expected=EVE.id), side(BOB, initiator=False)
    b.read(a.write())
    with pytest.raises(PeerError, match="expected"):
        a.read(b.write())


def test_the_expected_node_is_accepted() -> None:
    a, b = side(ALICE, initiator=True, expected=BOB.id), side(BOB, initiator=False)
    shake(a, b)
    assert a.finish().id == BOB.id


def test_a_node_refuses_a_session_with_itself() -> None:
    a, b = side(ALICE, initiator=True), side(ALICE, initiator=False)
    b.read(a.write())
    with pytest.raises(PeerError, match="itself"):
        a.read(b.write())


def test_another_swarm_key_is_refused() -> None:
    a, b = side(ALICE, initiator=True, psk=bytes([1]) * 32), side(BOB, initiator=False)
    with pytest.raises(PeerError):
        b.read(a.write())


def test_a_stolen_identity_is_refused() -> None:
    """EVE finishes the handshake with her own key and names ALICE."""
    with pytest.raises(PeerError, match="not that of the node"):
        hand_made(pack([1, 1]), pack(profile(ALICE)))


def test_a_key_off_the_curve_is_refused() -> None:
    with pytest.raises(PeerError):
        hand_made(pack([1, 1]), pack([1, 1, bytes([2]) + bytes(31), 1, 1, 1, 1]))


def test_fields_of_later_versions_are_ignored() -> None:
    done = hand_made(pack([1, 1, "later"]), pack([1, 1, EVE.public, 1, 1, 1, 1, {"later": 1}]))
    assert done.finish().id == EVE.id


def test_versions_that_change_between_messages_are_refused() -> None:
    with pytest.raises(PeerError, match="message 1"):
        hand_made(pack([1, 1]), pack([1, 2, EVE.public, 1, 1, 1, 1]))


@given(st.binary(max_size=200))
def test_any_payload_of_message_1_is_taken_or_refused(payload: bytes) -> None:
    try:
        hand_made(payload, pack(profile(EVE)))
    except (PeerError, AssertionError) as error:
        assert isinstance(error, PeerError)


@given(st.one_of(st.binary(max_size=200), st.lists(st.one_of(st.integers(), st.binary(max_size=40)), max_size=9)))
def test_any_payload_of_message_3_is_taken_or_refused(payload: bytes | list[object]) -> None:
    try:
        data = payload if isinstance(payload, bytes) else pack(payload)
    except OverflowError:
        return
    with pytest.raises(PeerError):
        hand_made(pack([1, 1]), data)


def test_the_largest_messages_fit_their_bound_with_room_for_later_fields() -> None:
    me = Profile(0xFFFF, 0xFFFF, ALICE.public, 0xFFFF, (1 << 48) - 1, (1 << 63) - 1, 0xFFFF)
    a = Handshake(initiator=True, me=ALICE, psk=OPEN_SWARM_KEY, profile=me, ephemeral_secret=bytes([1]) * 32)
    mine = msgspec.structs.replace(me, key=BOB.public)
    b = Handshake(initiator=False, me=BOB, psk=OPEN_SWARM_KEY, profile=mine, ephemeral_secret=bytes([2]) * 32)
    messages = [a.write()]
    b.read(messages[0])
    messages.append(b.write())
    a.read(messages[1])
    messages.append(a.write())
    assert max(map(len, messages)) <= limits.HANDSHAKE_BYTES_MAX // 2
