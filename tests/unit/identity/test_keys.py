"""Keys: signatures, ids and shared secrets, against the vectors of their RFCs."""

from __future__ import annotations

import json
import pickle
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.errors import PeerError, UsageError
from p2pcpn.identity import keys
from p2pcpn.identity.keys import Keypair, exchange, node_id, pair_secret, puzzle_bits, verify, x25519_public

ALICE, BOB = Keypair(bytes([1]) * 32), Keypair(bytes([2]) * 32)
# RFC 8032, section 7.1, test 2.
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_a_signature_is_the_one_of_rfc_8032() -> None:
    pair = Keypair(SEED)
    assert pair.public == PUBLIC
    assert pair.sign(b"\x72") == SIGNATURE
    assert verify(PUBLIC, b"\x72", SIGNATURE)


VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "bep44.json").read_text())
WYCHEPROOF = json.loads((Path(__file__).parents[2] / "vectors" / "wycheproof_ed25519.json").read_text())


@pytest.mark.parametrize("item", VECTORS["items"])
def test_the_mutable_items_of_bep_44_verify_over_the_buffer_that_it_names(item: dict[str, str | int]) -> None:
    salt = f"4:salt{len(str(item['salt']))}:{item['salt']}" if item["salt"] else ""
    buffer = f"{salt}3:seqi{item['seq']}e1:v{item['value']}".encode()
    public, signature = bytes.fromhex(VECTORS["public"]), bytes.fromhex(str(item["signature"]))
    assert verify(public, buffer, signature)
    assert not verify(public, buffer.replace(b"seqi1e", b"seqi2e"), signature)
    assert not verify(public, buffer.replace(b"foobar", b"foobaz") + b"x", signature)


# The order of the group (RFC 8032, 5.1), and the encodings of its points of small order.
ORDER = 2**252 + 27742317777372353535851937790883648493
FIELD = 2**255 - 19
SMALL = [0, 1, FIELD - 1, FIELD, FIELD + 1, 2**255 - 1]


@pytest.mark.parametrize("times", [1, 2, 8])
def test_a_signature_has_one_form(times: int) -> None:
    """Malleability: an S that is greater by the group's order says the same and is refused."""
    s = int.from_bytes(SIGNATURE[32:], "little") + times * ORDER
    assert s < 2**256
    assert not verify(PUBLIC, b"\x72", SIGNATURE[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize("r", SMALL)
@pytest.mark.parametrize("s", [0, 1, ORDER - 1, ORDER, ORDER + 1, 2**252, 2**255 - 1, 2**256 - 1])
def test_special_values_are_no_signature_of_anything(r: int, s: int) -> None:
    signature = r.to_bytes(32, "little") + s.to_bytes(32, "little")
    for public in (PUBLIC, *(small.to_bytes(32, "little") for small in SMALL)):
        assert not verify(public, b"\x72", signature)


@pytest.mark.parametrize(
    "signature",
    [b"", SIGNATURE[:32], SIGNATURE[:63], SIGNATURE + b"\x00", b"\x00" + SIGNATURE, SIGNATURE[32:] + SIGNATURE[:32],
     SIGNATURE[:31] + SIGNATURE[32:], SIGNATURE * 2, bytes([SIGNATURE[0] ^ 1]) + SIGNATURE[1:],
     SIGNATURE[:31] + bytes([SIGNATURE[31] ^ 0x80]) + SIGNATURE[32:]],
)  # fmt: skip
def test_a_signature_that_was_cut_joined_or_changed_does_not_verify(signature: bytes) -> None:
    assert not verify(PUBLIC, b"\x72", signature)


def test_another_message_key_or_signature_does_not_verify() -> None:
    signature = ALICE.sign(b"words")
    assert verify(ALICE.public, b"words", signature)
    assert not verify(ALICE.public, b"other words", signature)
    assert not verify(BOB.public, b"words", signature)
    assert not verify(ALICE.public, b"words", bytes(64))


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_are_answered_and_nothing_is_raised(public: bytes, message: bytes, signature: bytes) -> None:
    assert verify(public, message, signature) is False
    assert verify(public[:32].ljust(32), message, signature[:64].ljust(64)) is False


def test_an_id_is_the_blake2b_160_of_the_key() -> None:
    assert ALICE.id == node_id(ALICE.public) == blake2b(ALICE.public, digest_size=20).digest()


def test_both_ends_agree_on_the_same_secret() -> None:
    one = exchange(ALICE.x25519_secret, x25519_public(BOB.public))
    assert one == exchange(BOB.x25519_secret, x25519_public(ALICE.public))
    assert one != exchange(ALICE.x25519_secret, x25519_public(ALICE.public))


@pytest.mark.parametrize("public", [bytes(32), bytes([1]) + bytes(31), b"\xff" * 32, b"short"])
def test_bytes_that_are_no_key_are_the_peers_mistake(public: bytes) -> None:
    with pytest.raises(PeerError):
        exchange(ALICE.x25519_secret, x25519_public(public))


def test_a_point_of_small_order_gives_no_secret() -> None:
    with pytest.raises(PeerError, match="small order"):
        exchange(ALICE.x25519_secret, bytes(32))


def test_a_puzzle_is_solved_by_trying() -> None:
    nonce = next(nonce for nonce in range(1 << 12) if puzzle_bits(ALICE.public, nonce) >= 6)
    assert puzzle_bits(ALICE.public, nonce) >= 6
    assert puzzle_bits(ALICE.public, 0) < 160
    assert max(puzzle_bits(BOB.public, nonce) for nonce in range(256)) >= 4


def test_a_seed_of_the_wrong_length_is_the_callers_mistake() -> None:
    with pytest.raises(UsageError, match="32 bytes, not 5"):
        Keypair(b"short")


def test_a_keypair_shows_its_id_and_hides_its_secret() -> None:
    assert repr(ALICE) == f"Keypair({ALICE.id.hex()[:8]})"
    assert ALICE.seed.hex() not in repr(ALICE)
    with pytest.raises(AttributeError):
        ALICE.name = "alice"  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(ALICE.id)) == ALICE.id


@pytest.mark.parametrize("result", ["valid", "invalid"])
def test_signatures_are_judged_as_wycheproof_does(result: str) -> None:
    tests = [(group["public_key"], test) for group in WYCHEPROOF["groups"] for test in group["tests"]]
    chosen = [(bytes.fromhex(key), test) for key, test in tests if test[4] == result]
    assert len(chosen) > 50
    wrong = [
        (number, comment)
        for key, (number, comment, message, signature, _) in chosen
        if verify(key, bytes.fromhex(message), bytes.fromhex(signature)) != (result == "valid")
    ]
    assert wrong == []


def test_signatures_that_wycheproof_leaves_open_are_answered_all_the_same() -> None:
    for group in WYCHEPROOF["groups"]:
        for _, _, message, signature, result in group["tests"]:
            if result == "acceptable":
                answer = verify(bytes.fromhex(group["public_key"]), bytes.fromhex(message), bytes.fromhex(signature))
                assert isinstance(answer, bool)


def test_virtual_peers_compute_the_secret_of_a_pair_once_and_forget_it(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = pair_secret(ALICE, BOB.public)
    computed: list[bytes] = []
    real = keys.exchange
    monkeypatch.setattr(keys, "exchange", lambda secret, public: computed.append(public) or real(secret, public))
    with keys.sharing_work(keys.SharedWork()):
        assert pair_secret(ALICE, BOB.public) == pair_secret(BOB, ALICE.public) == alone
        assert len(computed) == 1
        assert pair_secret(ALICE, BOB.public) == alone and len(computed) == 2
    assert pair_secret(BOB, ALICE.public) == alone and len(computed) == 3  # a real peer computes its own


def test_where_most_exchanges_are_spared_both_ends_of_every_pair_still_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[bytes] = []
    real = keys.exchange
    monkeypatch.setattr(keys, "exchange", lambda secret, public: computed.append(public) or real(secret, public))
    many = [Keypair(bytes([7, number]) * 16) for number in range(64)]
    with keys.sharing_work(keys.SharedWork(exchanging=16)):
        secrets = {pair_secret(one, ALICE.public) for one in many}
        assert secrets == {pair_secret(ALICE, one.public) for one in many} and len(secrets) == 64
    assert 0 < len(computed) < 16
    assert pair_secret(many[0], ALICE.public) == real(many[0].x25519_secret, keys.x25519_public(ALICE.public))


@pytest.mark.parametrize("exchanging", [3, 16, 200, 1000])
def test_of_many_pairs_one_in_so_many_exchanges_keys_whatever_the_number(
    exchanging: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[bytes] = []
    monkeypatch.setattr(keys, "x25519_public", lambda public: public)
    monkeypatch.setattr(keys, "exchange", lambda secret, public: computed.append(public) or public)
    work, pairs = keys.SharedWork(exchanging), 100 * exchanging
    for number in range(pairs):
        work.secret(ALICE, number.to_bytes(32, "big"))
    assert 65 <= len(computed) <= 135  # of 100 expected: 3.5 standard deviations


def test_virtual_peers_check_few_signatures_of_each_other_and_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bytes] = []
    real = keys.bindings.crypto_sign_open
    monkeypatch.setattr(keys.bindings, "crypto_sign_open", lambda s, k: checked.append(s) or real(s, k))
    with keys.sharing_work(keys.SharedWork()):
        signature = ALICE.sign(b"a word")
        assert all(verify(ALICE.public, b"a word", signature) for _ in range(2 * keys.SAMPLED))
        assert len(checked) == 2
        for public, message, said in (
            (ALICE.public, b"another", signature),
            (BOB.public, b"a word", signature),
            (ALICE.public, b"a word", bytes(64)),
        ):
            assert not verify(public, message, said)
    assert verify(ALICE.public, b"a word", signature) and len(checked) == 6


def test_what_virtual_peers_have_in_common_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "SHARED_MAX", 2)
    common = keys.SharedWork()
    with keys.sharing_work(common):
        said = [ALICE.sign(bytes([number])) for number in range(4)]
        for number in range(4):
            pair_secret(Keypair(bytes([9, number]) * 16), BOB.public)
    assert [common.has_signed(ALICE.public, bytes([n]), said[n]) for n in range(4)] == [False, False, True, True]
    assert len(common._secrets) == 2
