"""Noise, against another implementation and a published vector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings
from noise.connection import Keypair as NoiseKeypair
from noise.connection import NoiseConnection

from p2pcpn.errors import PeerError
from p2pcpn.wire.noise import XX_PSK0, Noise, Pattern, cipher_nonce

VECTORS = Path(__file__).parents[2] / "vectors"
XX_PSK3 = Pattern(b"Noise_XXpsk3_25519_AESGCM_SHA256", (("e",), ("e", "ee", "s", "es"), ("s", "se", "psk")))
PSK = bytes(range(32))


def side(initiator: bool, psk: bytes = PSK, prologue: bytes = b"test") -> Noise:
    number = 1 if initiator else 3
    return Noise(
        initiator=initiator,
        static_secret=bytes([number]) * 32,
        ephemeral_secret=bytes([number + 1]) * 32,
        psk=psk,
        prologue=prologue,
    )


def reference(initiator: bool) -> NoiseConnection:
    other = NoiseConnection.from_name(XX_PSK0.name)
    other.set_psks(psk=PSK)
    other.set_prologue(b"test")
    if initiator:
        other.set_as_initiator()
    else:
        other.set_as_responder()
    other.set_keypair_from_private_bytes(NoiseKeypair.STATIC, bytes([7]) * 32)
    other.start_handshake()
    return other


def test_two_sides_agree_on_keys_and_hash_and_learn_each_others_static_key() -> None:
    a, b = side(True), side(False)
    assert a.writes_next and not b.writes_next
    assert b.read(a.write(b"one")) == b"one"
    assert a.read(b.write(b"two")) == b"two"
    assert b.read(a.write(b"three")) == b"three"
    assert a.finished and b.finished and not a.writes_next and not b.writes_next
    send, receive, transcript = a.split()
    assert b.split() == (receive, send, transcript)
    assert send != receive
    assert a.rs == bindings.crypto_scalarmult_base(bytes([3]) * 32)
    assert b.rs == bindings.crypto_scalarmult_base(bytes([1]) * 32)


@pytest.mark.parametrize("initiator", [True, False])
def test_another_implementation_agrees_in_both_roles(initiator: bool) -> None:
    ours, theirs = side(initiator), reference(not initiator)
    for number in range(3):
        payload = bytes([number]) * (number * 10)
        if ours.writes_next:
            assert theirs.read_message(ours.write(payload)) == payload
        else:
            assert ours.read(bytes(theirs.write_message(payload))) == payload
    send, receive, transcript = ours.split()
    protocol = theirs.noise_protocol
    assert protocol.cipher_state_decrypt.k == send
    assert protocol.cipher_state_encrypt.k == receive
    assert theirs.get_handshake_hash() == transcript


def test_the_published_vector_of_the_sister_pattern_is_met_byte_for_byte() -> None:
    vector = json.loads((VECTORS / "noise_xxpsk3.json").read_text())
    sides = [
        Noise(
            initiator=name == "init",
            static_secret=bytes.fromhex(vector[f"{name}_static"]),
            ephemeral_secret=bytes.fromhex(vector[f"{name}_ephemeral"]),
            psk=bytes.fromhex(vector[f"{name}_psks"][0]),
            prologue=bytes.fromhex(vector[f"{name}_prologue"]),
            pattern=XX_PSK3,
        )
        for name in ("init", "resp")
    ]
    for number, entry in enumerate(vector["messages"][:3]):
        payload, expected = bytes.fromhex(entry["payload"]), bytes.fromhex(entry["ciphertext"])
        message = sides[number % 2].write(payload)
        assert message == expected
        assert sides[1 - number % 2].read(message) == payload
    assert sides[0].split()[2] == bytes.fromhex(vector["handshake_hash"])


def test_another_pre_shared_key_fails_at_the_first_message() -> None:
    with pytest.raises(PeerError, match="swarm key"):
        side(False, psk=bytes(32)).read(side(True).write(b""))


def test_another_prologue_fails_at_the_first_message() -> None:
    with pytest.raises(PeerError):
        side(False, prologue=b"other").read(side(True).write(b""))


@pytest.mark.parametrize("length", [0, 1, 31, 32, 47])
def test_a_short_message_is_refused(length: int) -> None:
    with pytest.raises(PeerError):
        side(False).read(side(True).write(b"")[:length])


def test_an_ephemeral_key_of_small_order_is_refused() -> None:
    """The initiator here knows the swarm key and everything else, and offers a point whose secret is all zeros."""
    a, b = side(True), side(False)
    a._e_public = bytes(32)
    b.read(a.write(b""))
    with pytest.raises(PeerError, match="small order"):
        b.write(b"")


def test_each_altered_bit_of_each_message_is_noticed() -> None:
    for turn, position in [(0, 0), (0, 40), (1, 3), (1, 33), (1, 90), (2, 5), (2, 60)]:
        a, b = side(True), side(False)
        with pytest.raises(PeerError):
            for number in range(3):
                writer, reader = (a, b) if number % 2 == 0 else (b, a)
                message = bytearray(writer.write(b"payload"))
                if number == turn:
                    message[position] ^= 1
                reader.read(bytes(message))
            raise AssertionError(f"message {turn}, byte {position}: nobody noticed")


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_refused_with_peer_error(garbage: bytes, initiator: bool) -> None:
    noise = side(initiator)
    if initiator:
        noise.write(b"")
    with pytest.raises(PeerError):
        noise.read(garbage)


def test_calling_out_of_turn_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        side(False).write(b"")
    with pytest.raises(AssertionError):
        side(True).read(b"")
    with pytest.raises(AssertionError):
        side(True).split()


def test_the_nonce_is_big_endian_behind_four_zero_bytes() -> None:
    assert cipher_nonce(258) == bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2])
