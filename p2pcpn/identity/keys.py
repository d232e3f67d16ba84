"""Keys: who says something. Ed25519 to sign (RFC 8032), X25519 of the same key to agree on secrets (RFC 7748).

A node's key names a peer; an owner's key signs jobs. A :data:`NodeId` is BLAKE2b-160 of the node's public key.
The X25519 key is the birational image of the Ed25519 key (libsodium's ``crypto_sign_ed25519_*_to_curve25519``), so that
one 32-byte key is a peer's whole identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from typing import NewType

from nacl import bindings
from nacl.exceptions import CryptoError

from p2pcpn.errors import PeerError, UsageError

NodeId = NewType("NodeId", bytes)

NODE_ID_BYTES = 20
KEY_BYTES = 32
SIGNATURE_BYTES = 64
# What virtual peers have in common: so many signatures and secrets; and one in so many signatures is checked.
SHARED_MAX = 4096
SAMPLED = 16


@lru_cache(maxsize=4096)
def node_id(public: bytes) -> NodeId:
    """The 20-byte id of the node whose Ed25519 public key is ``public``."""
    return NodeId(blake2b(public, digest_size=NODE_ID_BYTES).digest())


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is ``public``'s over ``message``. Any bytes are answered; nothing is raised."""
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    if _shared is not None and _shared.has_signed(public, message, signature):
        return True
    try:
        bindings.crypto_sign_open(signature + message, public)
    except CryptoError:
        return False
    return True


@lru_cache(maxsize=1 << 14)
def x25519_public(public: bytes) -> bytes:
    """The X25519 key of an Ed25519 public key. Raises :class:`PeerError` where the bytes are no point of the curve."""
    try:
        return bindings.crypto_sign_ed25519_pk_to_curve25519(public)
    except (CryptoError, ValueError, TypeError) as error:
        raise PeerError("that public key is no point of the curve") from error


def exchange(secret: bytes, public: bytes) -> bytes:
    """The X25519 shared secret of our ``secret`` and their ``public`` (both X25519, 32 bytes).

    Raises :class:`PeerError` for points of small order, whose secret everybody knows.
    """
    try:
        return bindings.crypto_scalarmult(secret, public)
    except (CryptoError, ValueError, TypeError) as error:
        raise PeerError("that X25519 key has small order") from error


class SharedWork:
    """What many virtual peers of one process have in common: one of them signed what another checks, and both ends of
    a pair compute one secret. Each is done once; of signatures one in ``SAMPLED`` is checked all the same.

    Of all pairs one in ``exchanging`` exchanges keys; both ends of any other have a digest of their public keys as
    their secret. A real peer has none of this.
    """

    __slots__ = ("_checked", "_exchanging", "_secrets", "_signatures")

    def __init__(self, exchanging: int = 1) -> None:
        self._exchanging = exchanging
        self._signatures: dict[bytes, tuple[bytes, bytes]] = {}  # by signature: key and message
        self._secrets: dict[tuple[bytes, bytes], bytes] = {}  # by both keys, the lesser first
        self._checked = 0

    def signed(self, public: bytes, message: bytes, signature: bytes) -> None:
        """This was signed here."""
        if len(self._signatures) >= SHARED_MAX:
            del self._signatures[next(iter(self._signatures))]
        self._signatures[signature] = public, message

    def has_signed(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Whether this was signed here, and is not one of those that are checked."""
        self._checked += 1
        return self._signatures.get(signature) == (public, message) and self._checked % SAMPLED != 0

    def secret(self, keypair: Keypair, public: bytes) -> bytes:
        """The secret of a pair: computed for its first end, and forgotten when its second has it."""
        ends = (keypair.public, public) if keypair.public < public else (public, keypair.public)
        if self._exchanging > 1:
            spared = blake2b(ends[0] + ends[1], digest_size=KEY_BYTES).digest()
            if int.from_bytes(spared[:8], "little") % self._exchanging:
                return spared
        known = self._secrets.pop(ends, None)
        if known is None:
            known = self._secrets[ends] = exchange(keypair.x25519_secret, x25519_public(public))
            if len(self._secrets) > SHARED_MAX:
                del self._secrets[next(iter(self._secrets))]
        return known


_shared: SharedWork | None = None


@contextmanager
def sharing_work(work: SharedWork) -> Iterator[None]:
    """While it lasts all peers of this process share ``work``."""
    global _shared
    before, _shared = _shared, work
    try:
        yield
    finally:
        _shared = before


def pair_secret(keypair: Keypair, public: bytes) -> bytes:
    """The secret of ``keypair`` and whoever has the Ed25519 key ``public``: one for both.

    Raises :class:`PeerError` for keys that are no point of the curve or of small order.
    """
    if _shared is not None:
        return _shared.secret(keypair, public)
    return exchange(keypair.x25519_secret, x25519_public(public))


def puzzle_bits(public: bytes, nonce: int) -> int:
    """Leading zero bits of BLAKE2b-160(public key, nonce): the work a node put into its identity."""
    digest = blake2b(public + nonce.to_bytes(8, "big"), digest_size=NODE_ID_BYTES, person=b"p2pcpn puzzle").digest()
    return NODE_ID_BYTES * 8 - int.from_bytes(digest, "big").bit_length()


class Keypair:
    """An Ed25519 keypair made from a 32-byte seed; ``id`` is its :data:`NodeId`."""

    __slots__ = ("_secret", "id", "public", "seed", "x25519_secret")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise UsageError(f"a key is made from {KEY_BYTES} bytes, not {len(seed)}")
        self.seed = seed
        self.public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.id = node_id(self.public)
        self.x25519_secret: bytes = bindings.crypto_sign_ed25519_sk_to_curve25519(self._secret)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over ``message``."""
        signature = bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]
        if _shared is not None:
            _shared.signed(self.public, message, signature)
        return signature

    def __repr__(self) -> str:  # the secret never reaches a log
        return f"Keypair({self.id.hex()[:8]})"
