"""Sealing: only the right key opens, every purpose has a key of its own, and the vectors of the RFCs hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.wire.sealing import (
    TAG_BYTES,
    Fingerprint,
    Hasher,
    JobKeys,
    derive,
    digest,
    job_id,
    output_key,
    result_digest,
    seal,
    seal_into,
    swarm_proof,
    unseal,
    unseal_into,
    unwrap,
    wrap,
)  # fmt: skip

OWNER, STEWARD, OTHER = (Keypair(bytes([number]) * 32) for number in (1, 2, 3))
NONCE, JOB_KEY = bytes(16), bytes(range(32))


@given(st.binary(max_size=200), st.integers(0, (1 << 32) - 1))
def test_what_was_sealed_opens(data: bytes, nonce: int) -> None:
    sealed = seal(JOB_KEY, nonce, data)
    memory = bytearray(len(sealed))
    seal_into(JOB_KEY, nonce, data, memoryview(memory))
    assert memory == sealed
    assert len(sealed) == len(data) + TAG_BYTES and unseal(JOB_KEY, nonce, sealed) == data


@given(st.binary(max_size=60), st.data())
def test_a_single_bit_makes_it_stay_closed(data: bytes, draw: st.DataObject) -> None:
    sealed = bytearray(seal(JOB_KEY, 1, data))
    at = draw.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(PeerError):
        unseal(JOB_KEY, 1, bytes(sealed))


@pytest.mark.parametrize(
    ("key", "nonce", "data"), [(bytes(32), 1, None), (JOB_KEY, 2, None), (JOB_KEY, 1, b""), (JOB_KEY[:31], 1, None)]
)
def test_another_key_nonce_or_length_does_not_open(key: bytes, nonce: int, data: bytes | None) -> None:
    with pytest.raises(PeerError):
        unseal(key, nonce, seal(JOB_KEY, 1, b"data") if data is None else data)


def test_the_seal_is_that_of_the_specification_of_gcm() -> None:
    # McGrew and Viega, The Galois/Counter Mode of Operation, appendix B, test cases 13 and 15.
    assert seal(bytes(32), 0, b"").hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    nonce = int.from_bytes(bytes.fromhex("cafebabefacedbaddecaf888"), "big")
    plain = bytes.fromhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72")
    assert seal(key, nonce, plain)[:32].hex() == "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"


def test_the_digest_is_blake3() -> None:
    assert digest(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_a_fingerprint_is_a_gmac_and_tells_contents_of_one_job_apart() -> None:
    # McGrew and Viega, The Galois/Counter Mode of Operation, appendix B, test case 13: without any data.
    assert Fingerprint(bytes(32)).of(b"").hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    mine = JobKeys(JOB_KEY).fingerprint()
    found = [mine.of(b"a" * size) for size in range(40)] + [JobKeys(bytes(32)).fingerprint().of(b"a")]
    assert len(set(found)) == 41 and mine.of(memoryview(b"aaa")) == found[3] == JobKeys(JOB_KEY).fingerprint().of(
        b"aaa"
    )


def test_every_purpose_has_a_key_of_its_own() -> None:
    keys = JobKeys(JOB_KEY)
    made = [
        keys.code, keys.digests, keys.page(0), keys.page(1), keys.results(0, OWNER.id, 1), keys.results(1, OWNER.id, 1),
        keys.results(0, STEWARD.id, 1), keys.results(0, OWNER.id, 2), output_key(keys.results(0, OWNER.id, 1)),
        keys.blob(b"a"), keys.blob(b"b"), derive(JOB_KEY, b"other"), JobKeys(bytes(32)).code,
    ]  # fmt: skip
    assert len(set(made)) == len(made) and all(len(key) == 32 for key in made)
    assert keys.blob(b"a") == JobKeys(JOB_KEY).blob(b"a") != JobKeys(bytes(32)).blob(b"a")
    assert keys.results(0, OWNER.id, 2) == JobKeys(JOB_KEY).results(0, OWNER.id, 2), "whichever was asked for before"


def test_a_job_key_is_wrapped_for_one_steward_by_the_owner() -> None:
    wrapped = wrap(OWNER, STEWARD.public, NONCE, JOB_KEY)
    assert len(wrapped) == 48 and unwrap(STEWARD, OWNER.public, NONCE, wrapped) == JOB_KEY
    assert unwrap(OWNER, OWNER.public, NONCE, wrap(OWNER, OWNER.public, NONCE, JOB_KEY)) == JOB_KEY
    for keypair, public, nonce, data in (
        (OTHER, OWNER.public, NONCE, wrapped),
        (STEWARD, OTHER.public, NONCE, wrapped),
        (STEWARD, OWNER.public, bytes(15) + b"x", wrapped),
        (STEWARD, OWNER.public, NONCE, wrapped[:-1]),
        (STEWARD, OWNER.public, NONCE, wrap(OWNER, STEWARD.public, NONCE, b"short")),
        (STEWARD, bytes([255]) * 32, NONCE, wrapped),
    ):
        with pytest.raises(PeerError):
            unwrap(keypair, public, nonce, data)


def test_digests_are_keyed_and_short() -> None:
    assert len(result_digest(JOB_KEY, b"value")) == 16
    assert result_digest(JOB_KEY, b"value") != result_digest(bytes(32), b"value")


def test_a_swarm_proof_shows_the_key_and_is_empty_in_an_open_swarm() -> None:
    assert swarm_proof(bytes(32), OWNER.public) == b""
    assert len({swarm_proof(JOB_KEY, OWNER.public), swarm_proof(JOB_KEY, STEWARD.public), b""}) == 3


def test_a_job_id_follows_from_its_owner_and_spec() -> None:
    assert len({job_id(OWNER.public, b"spec"), job_id(STEWARD.public, b"spec"), job_id(OWNER.public, b"other")}) == 3


def test_what_was_sealed_opens_in_place_too_or_not_at_all() -> None:
    sealed = seal(JOB_KEY, 0, b"data")
    out = bytearray(4)
    unseal_into(JOB_KEY, 0, sealed, memoryview(out))
    assert out == b"data"
    for data, size in ((sealed[:-1] + b"?", 4), (sealed, 5), (sealed, 3), (b"short", 4)):
        with pytest.raises(PeerError):
            unseal_into(JOB_KEY, 0, data, memoryview(bytearray(size)))


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_what_comes_in_parts_has_the_digest_of_the_whole(parts: list[bytes]) -> None:
    hasher = Hasher()
    for part in parts:
        hasher.update(part)
    assert hasher.digest() == digest(b"".join(parts))
