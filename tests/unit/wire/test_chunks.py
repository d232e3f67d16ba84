"""Chunks seal to the same bytes again and open only where they belong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.wire.chunks import NONCE_BYTES, ChunkSeal, blob_id, blob_key, note_key
from p2pcpn.wire.manifests import Manifest
from p2pcpn.wire.sealing import digest

KEY = b"\1" * 32
SEAL = ChunkSeal(KEY, 0, 0)


@given(st.binary(max_size=100), st.integers(0, 1 << 20))
def test_a_chunk_opens_at_its_place_and_nowhere_else(data: bytes, index: int) -> None:
    sealed = SEAL.seal(index, data)
    assert len(sealed) == len(data) + limits.CHUNK_SEAL_BYTES and sealed == SEAL.seal(index, data)
    assert SEAL.open(index, memoryview(sealed)) == data
    others = ((SEAL, index + 1), (ChunkSeal(KEY, 1, 0), index), (ChunkSeal(KEY, 0, 1), index))
    for seal, at in (*others, (ChunkSeal(b"\2" * 32, 0, 0), index)):
        with pytest.raises(PeerError, match="does not open"):
            seal.open(at, sealed)


@given(st.binary(max_size=40))
def test_any_bytes_open_or_are_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        SEAL.open(0, data)


def test_no_nonce_closes_two_texts() -> None:
    nonces = {SEAL.seal(index, text)[:NONCE_BYTES] for index in range(3) for text in (b"", b"a", b"b")}
    assert len(nonces) == 9


def test_plaintext_is_known_as_the_chunk_that_a_manifest_names() -> None:
    manifest = Manifest(0, 0, 3, limits.CHUNK_BYTES, digest(SEAL.seal(0, b"abc")))
    assert SEAL.is_chunk(manifest, 0, b"abc")
    assert not SEAL.is_chunk(manifest, 0, b"abd") and not SEAL.is_chunk(manifest, 0, b"ab")


def test_equal_blobs_are_one_to_an_owner_and_others_to_everybody_else() -> None:
    one, other = Keypair(b"\1" * 32), Keypair(b"\2" * 32)
    key = blob_key(one, bytes(32), 5)
    assert key == blob_key(one, bytes(32), 5)
    assert len({key, blob_key(other, bytes(32), 5), blob_key(one, bytes(32), 6), blob_key(one, b"\1" * 32, 5)}) == 4
    assert len(blob_id(key)) == 20 and key.hex() not in blob_id(key).hex()
    assert note_key(one, b"a") != note_key(one, b"b") != note_key(other, b"a")
