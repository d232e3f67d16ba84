"""The documents say what the code does, and the test vectors of ``docs/protocol.md`` follow from its words alone.

The listings are made from the code and compared. The vectors are computed once more by the recipes of the document with
other libraries than the code's own: ``hashlib``, ``nacl``'s high-level classes, ``msgpack``, ``noise``.
"""

from __future__ import annotations

import importlib.util
import re
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import get_args

import msgpack
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.bindings import crypto_scalarmult
from nacl.signing import SigningKey, VerifyKey
from noise.connection import Keypair as NoiseKeypair
from noise.connection import NoiseConnection

from p2pcpn.wire import datagrams, messages
from p2pcpn.wire.statements import KINDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [path for path in (ROOT / "p2pcpn").iterdir() if path.is_dir()]
TEXT = (ROOT / "docs" / "protocol.md").read_text("utf-8")


def tables() -> ModuleType:
    """The script that writes the listings."""
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(name: str) -> str:
    """What stands between the marks of ``name``."""
    found = re.search(rf"<!-- begin: {name} -->\n(.*?)<!-- end: {name} -->", TEXT, re.DOTALL)
    assert found is not None
    return found[1]


def listed(text: str) -> dict[str, list[str]]:
    """Each entry's head and the names of its fields, in order."""
    found: dict[str, list[str]] = {}
    fields: list[str] = []
    for line in text.splitlines():
        if re.match(r"\w", line):
            fields = found[line] = []
        elif match := re.match(r" {6}(\w+)  ", line):
            fields.append(match[1])
    return found


@pytest.fixture(scope="module")
def vector() -> dict[str, bytes]:
    found: dict[str, str] = {}
    name = ""
    for line in section("vectors").splitlines():
        if match := re.fullmatch(r"(\S*) +([0-9a-f]+)", line):
            name = match[1] or name
            found[name] = found.get(name, "") + match[2]
    return {name: bytes.fromhex(data) for name, data in found.items()}


def test_the_listings_are_those_of_the_code() -> None:
    assert tables().rewritten("protocol.md", TEXT) == TEXT, "run: python docs/tables.py --write"


def test_the_map_of_the_code_names_every_module_and_its_idea() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert tables().rewritten("architecture.md", text) == text, "run: python docs/tables.py --write"


def test_every_module_that_a_document_names_exists() -> None:
    for document in sorted((ROOT / "docs").glob("*.md")):
        for name in re.findall(r"`((?:\w+/)+\w+\.py)`", document.read_text("utf-8")):
            assert any((folder / name).is_file() for folder in (ROOT, ROOT / "p2pcpn", *PACKAGES)), (
                f"{document.name}: {name}"
            )


def test_each_message_and_statement_stands_there_with_its_number_and_its_fields_in_order() -> None:
    for name, kind in (("datagrams", datagrams.Datagram), ("messages", messages.Message)):
        found = listed(section(name))
        for cls in get_args(kind):
            assert found[f"{cls.__struct_config__.tag}  {cls.__name__}"] == list(cls.__struct_fields__)
    found = listed(section("statements"))
    assert found == {f"{number}  {cls.__name__}": list(cls.__struct_fields__) for number, cls in sorted(KINDS.items())}


def test_a_bound_that_changed_is_found() -> None:
    changed = TEXT.replace("| `DATAGRAM_BYTES_MAX` | 1,200 |", "| `DATAGRAM_BYTES_MAX` | 1,201 |")
    assert changed != TEXT
    assert tables().rewritten("protocol.md", changed) == TEXT


def test_a_document_without_the_marks_of_a_listing_is_refused() -> None:
    with pytest.raises(ValueError, match="no marks"):
        tables().rewritten("protocol.md", "nothing")


# --- The vectors, by the document's recipes --------------------------------------------------------------------------


def keyed(key: bytes, person: bytes, data: bytes, size: int = 32) -> bytes:
    return blake2b(data, key=key, person=person, digest_size=size).digest()


def sealed(key: bytes, number: int, data: bytes) -> bytes:
    return AESGCM(key).encrypt(number.to_bytes(12, "big"), data, None)


def test_ids_and_keys_follow_from_the_seeds(vector: dict[str, bytes]) -> None:
    for who in ("alice", "bob"):
        public = SigningKey(vector[f"{who}.seed"]).verify_key
        assert bytes(public) == vector[f"{who}.public"]
        assert blake2b(bytes(public), digest_size=20).digest() == vector[f"{who}.id"]
    assert bytes(VerifyKey(vector["alice.public"]).to_curve25519_public_key()) == vector["alice.x25519"]
    assert keyed(vector["swarm.key"], b"p2pcpn swarm", b"") == vector["swarm.binding"]
    assert keyed(vector["swarm.key"], b"p2pcpn member", vector["alice.public"], 16) == vector["swarm.proof.alice"]


def test_a_pair_has_one_key_whoever_computes_it(vector: dict[str, bytes]) -> None:
    alice, bob = (SigningKey(vector[f"{who}.seed"]).to_curve25519_private_key() for who in ("alice", "bob"))
    ends = sorted((vector["alice.id"] + (3).to_bytes(6, "big"), vector["bob.id"] + (7).to_bytes(6, "big")))
    for secret, public in ((alice, bob.public_key), (bob, alice.public_key)):
        shared = crypto_scalarmult(bytes(secret), bytes(public))
        assert keyed(vector["swarm.key"], b"p2pcpn pair", shared + b"".join(ends)) == vector["pair.key"]


def test_a_datagram_is_laid_out_and_maced_as_drawn(vector: dict[str, bytes]) -> None:
    for name, key, kind in (
        ("hello.datagram", vector["swarm.key"], 0),
        ("welcome.datagram", vector["swarm.key"], 0),
        ("ping.datagram", vector["pair.key"], 1),
    ):
        data = vector[name]
        ends = [vector["alice.id"], vector["bob.id"]]
        assert data[:2] == bytes((1, kind))
        assert [data[2:22], data[22:42]] == (ends[::-1] if name.startswith("welcome") else ends)
        assert keyed(key, b"p2pcpn datagram", data[:-16], 16) == data[-16:]
    assert msgpack.unpackb(vector["ping.datagram"][56:-16]) == [5, 11, 0]
    assert vector["ping.datagram"][42:56] == (3).to_bytes(6, "big") + (6).to_bytes(8, "big")


def test_the_greetings_are_signed_over_their_words(vector: dict[str, bytes]) -> None:
    hello = msgpack.unpackb(vector["hello.datagram"][56:-16])
    tag, nonce, versions, key, puzzle, port, roles, cookie, signature, pad = hello
    words = b"p2pcpn/1 hello" + vector["swarm.binding"] + vector["hello.datagram"][2:56] + nonce.to_bytes(8, "big")
    words += b"".join(version.to_bytes(2, "big") for version in versions) + key + puzzle.to_bytes(8, "big")
    words += port.to_bytes(2, "big") + roles.to_bytes(2, "big") + bytes((len(cookie),)) + cookie
    assert (tag, words) == (1, vector["hello.words"])
    assert len(vector["hello.datagram"]) >= 72 + 224 and not any(pad)
    VerifyKey(vector["alice.public"]).verify(words, signature)
    tag, nonce, version, key, puzzle, roles, (_, host, seen), proof = msgpack.unpackb(
        vector["welcome.datagram"][56:-16]
    )
    words = b"p2pcpn/1 welcome" + vector["swarm.binding"] + vector["welcome.datagram"][2:56] + nonce.to_bytes(8, "big")
    words += version.to_bytes(2, "big") + key + puzzle.to_bytes(8, "big") + roles.to_bytes(2, "big")
    words += bytes((len(host),)) + host + seen.to_bytes(2, "big") + signature
    assert (tag, words) == (3, vector["welcome.words"])
    VerifyKey(vector["bob.public"]).verify(words, proof)


def test_a_statement_is_signed_over_its_kind_and_its_bytes(vector: dict[str, bytes]) -> None:
    kind, body, key, signature = msgpack.unpackb(vector["record.signed"])
    assert (kind, body, key, signature) == (
        7,
        vector["record.body"],
        vector["alice.public"],
        vector["record.signature"],
    )
    assert msgpack.unpackb(body) == [b"advert", 5, 1.7e9, 900.0, b"value"]
    VerifyKey(key).verify(b"p2pcpn/1 statement" + (7).to_bytes(2, "big") + body, signature)
    assert blake2b(key + b"advert", digest_size=20).digest() == vector["record.key"]
    kind, body, key, signature = msgpack.unpackb(vector["member.signed"])
    assert (kind, msgpack.unpackb(body)) == (14, [[vector["bob.id"], bytes((192, 0, 2, 8)), 4001], 7, 2, 1])
    VerifyKey(key).verify(b"p2pcpn/1 statement" + (14).to_bytes(2, "big") + body, signature)
    assert blake2b(vector["member.signed"], digest_size=8).digest() == vector["member.rumor_id"]


def test_all_keys_of_a_job_follow_from_its_key(vector: dict[str, bytes]) -> None:
    job_key = vector["job.key"]
    assert keyed(job_key, b"p2pcpn code", b"") == vector["job.code_key"]
    assert keyed(job_key, b"p2pcpn digests", b"") == vector["job.digest_key"]
    assert keyed(job_key, b"p2pcpn page", bytes(8)) == vector["job.page_key.0"]
    assert keyed(job_key, b"p2pcpn blob", blake3(b"abc").digest()) == vector["job.blob_key.of_abc"]
    gmac = AESGCM(keyed(job_key, b"p2pcpn equal", b"")).encrypt(bytes(12), b"", b"abc")
    assert keyed(job_key, b"p2pcpn blob", gmac) == vector["job.blob_key.of_large_abc"]
    lease = bytes(4) + vector["bob.id"] + (1).to_bytes(8, "big")
    assert keyed(job_key, b"p2pcpn results", lease) == vector["job.result_key.0.bob.1"]
    assert keyed(vector["job.result_key.0.bob.1"], b"p2pcpn output", b"") == vector["job.output_key"]
    named = blake2b(vector["alice.public"] + b"\0", digest_size=20, person=b"p2pcpn job").digest()
    assert named == vector["job.id.of_spec_body_00"]


def test_the_steward_unwraps_what_the_owner_wrapped(vector: dict[str, bytes]) -> None:
    bob = SigningKey(vector["bob.seed"]).to_curve25519_private_key()
    shared = crypto_scalarmult(bytes(bob), vector["alice.x25519"])
    key = blake2b(shared + vector["job.nonce"], digest_size=32, person=b"p2pcpn wrap").digest()
    assert sealed(key, 0, vector["job.key"]) == vector["job.wrapped.alice_to_bob"]


def test_pages_are_sealed_and_named_as_described(vector: dict[str, bytes]) -> None:
    assert msgpack.unpackb(vector["page.plain"]) == [[b"function"], None, [b"arguments 0", b"arguments 1"], [], [], []]
    assert sealed(vector["job.page_key.0"], 0, vector["page.plain"]) == vector["page.sealed"]
    assert blake3(vector["page.sealed"]).digest() == vector["page.digest"]
    assert msgpack.unpackb(vector["results.plain"])[0] == [b"value 0", b"value 1"]
    assert sealed(vector["job.result_key.0.bob.1"], 0, vector["results.plain"]) == vector["results.sealed.part_0"]
    digest = blake2b(b"value 0", key=vector["job.digest_key"], digest_size=16).digest()
    assert digest == vector["results.digest_of_value_0"]


@pytest.mark.filterwarnings("ignore:One of ephemeral keypairs")
def test_another_noise_implementation_speaks_the_handshake(vector: dict[str, bytes]) -> None:
    side = NoiseConnection.from_name(b"Noise_XXpsk0_25519_AESGCM_SHA256")
    side.set_as_responder()
    side.set_psks(vector["swarm.key"])
    side.set_prologue(b"p2pcpn/1")
    static = bytes(SigningKey(vector["bob.seed"]).to_curve25519_private_key())
    side.set_keypair_from_private_bytes(NoiseKeypair.STATIC, static)
    side.set_keypair_from_private_bytes(NoiseKeypair.EPHEMERAL, bytes([2]) * 32)
    side.start_handshake()
    assert msgpack.unpackb(bytes(side.read_message(vector["session.message_1"]))) == [1, 1]
    profile = msgpack.packb([1, 1, vector["bob.public"], 4001, 7, 0, 3])
    assert bytes(side.write_message(profile)) == vector["session.message_2"]
    answer = msgpack.unpackb(bytes(side.read_message(vector["session.message_3"])))
    assert answer == [1, 1, vector["alice.public"], 4000, 3, 0, 3]
    assert side.handshake_finished
    assert side.get_handshake_hash() == vector["session.transcript"]
    # The other library gives no associated data, so it opens none of our frames: its key is compared by one of its own.
    assert side.decrypt(AESGCM(vector["session.alice_to_bob"]).encrypt(bytes(12), b"abc", b"")) == b"abc"


def test_a_frame_is_sealed_under_its_header_and_its_number(vector: dict[str, bytes]) -> None:
    frame = vector["session.frame_0.of_abc"]
    header = (0 << 30 | 3 + 16).to_bytes(4, "big")
    assert frame[:4] == header
    assert AESGCM(vector["session.alice_to_bob"]).decrypt(bytes(12), frame[4:], header) == b"abc"
