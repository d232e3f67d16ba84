"""The keys of a job and what they close: pages, results and blobs, each sealed with a key of its own.

A job has one random 32-byte key. Every other key is BLAKE2b-256 keyed by it over what it is for, so that whoever holds
the job key (owner and stewards) opens everything, and a worker only what it was leased. Seals are AES-256-GCM
(NIST SP 800-38D). A derived key closes one thing under one nonce, so a counter (or zero) is a safe nonce.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, exchange, x25519_public
from p2pcpn.wire.codec import Buffer

TAG_BYTES = 16
RESULT_DIGEST_BYTES = 16
# What one call of our cipher closes, whose sizes are C's ints: no blob that this implementation makes is larger.
SEALED_BYTES_MAX = (1 << 31) - 1


def digest(data: Buffer) -> bytes:
    """BLAKE3-256: the name of a blob, a page, a log segment."""
    return blake3(data).digest()


class Hasher:
    """The same of what comes in parts."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = blake3()

    def update(self, data: Buffer) -> None:
        """The next part."""
        self._state.update(data)

    def digest(self) -> bytes:
        """Of all parts until now."""
        return self._state.digest()


class Fingerprint:
    """Tells contents apart, for those who have the ``key``: a GMAC (NIST SP 800-38D), not to be shown to others.

    It takes a third of the time of :func:`digest`. From it follow the keys of blobs, never their names: two contents of
    1 MiB have the same one with a probability of 2**-112. Who has the key can make such a pair: of what it knows.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def of(self, data: Buffer) -> bytes:
        """16 bytes. ``data`` has at most ``SEALED_BYTES_MAX``."""
        return self._cipher.encrypt(bytes(12), b"", data)


def job_id(owner: bytes, spec_body: bytes) -> bytes:
    """The 20-byte id of the job whose spec's bytes are ``spec_body``; the nonce is in the body."""
    return blake2b(owner + spec_body, digest_size=20, person=b"p2pcpn job").digest()


def seal(key: bytes, nonce: int, data: Buffer) -> bytes:
    """``data`` closed under ``key``: 16 bytes longer."""
    return AESGCM(key).encrypt(nonce.to_bytes(12, "big"), data, None)


def seal_into(key: bytes, nonce: int, data: Buffer, out: memoryview) -> None:
    """:func:`seal` into ``out``, which is 16 bytes longer than ``data``: memory that was used before costs less."""
    AESGCM(key).encrypt_into(nonce.to_bytes(12, "big"), data, None, out)


def unseal(key: bytes, nonce: int, data: Buffer) -> bytes:
    """What :func:`seal` closed. Raises :class:`PeerError` when a single bit is not as it was."""
    try:
        return AESGCM(key).decrypt(nonce.to_bytes(12, "big"), data, None)
    except (InvalidTag, ValueError) as error:
        raise PeerError("sealed bytes do not open: wrong key, or changed on the way") from error


def unseal_into(key: bytes, nonce: int, data: Buffer, out: memoryview) -> None:
    """:func:`unseal` into ``out``, which is 16 bytes shorter than ``data``: for what is too large to be copied."""
    try:
        AESGCM(key).decrypt_into(nonce.to_bytes(12, "big"), data, None, out)
    except (InvalidTag, ValueError) as error:
        raise PeerError("sealed bytes do not open: wrong key, or changed on the way") from error


def derive(parent: bytes, person: bytes, data: bytes = b"") -> bytes:
    """A 32-byte key for one purpose: BLAKE2b-256 keyed by ``parent``."""
    return blake2b(data, digest_size=32, key=parent, person=person).digest()


class JobKeys:
    """All keys that follow from a job key."""

    __slots__ = ("_lease", "code", "digests", "job_key")

    def __init__(self, job_key: bytes) -> None:
        self.job_key = job_key
        self._lease: tuple[tuple[int, bytes, int], bytes] | None = None  # the last one asked for, and its key
        self.code = derive(job_key, b"p2pcpn code")
        self.digests = derive(job_key, b"p2pcpn digests")

    def page(self, first: int) -> bytes:
        """Opens the page of tasks that starts at index ``first``. An index is sealed once in the life of a job."""
        return derive(self.job_key, b"p2pcpn page", first.to_bytes(8, "big"))

    def results(self, epoch: int, grantor: bytes, token: int) -> bytes:
        """Closes and opens what was run under one lease; the nonce is the receipt's part."""
        lease, known = (epoch, grantor, token), self._lease
        if known is not None and known[0] == lease:
            return known[1]  # receipts of one lease come one after the other
        named = epoch.to_bytes(4, "big") + grantor + token.to_bytes(8, "big")
        key = derive(self.job_key, b"p2pcpn results", named)
        self._lease = lease, key
        return key

    def state(self, index: int, salt: bytes) -> bytes:
        """Closes what task ``index`` leaves while it runs, for the stewards; the nonce is the state's number.

        ``salt`` is of one life of one grantor: the owner may have made two of them grantors of one epoch.
        """
        return derive(self.job_key, b"p2pcpn left", index.to_bytes(8, "big") + salt)

    def fingerprint(self) -> Fingerprint:
        """Tells arguments of the job apart; :meth:`blob` makes keys of what it says."""
        return Fingerprint(derive(self.job_key, b"p2pcpn equal"))

    def blob(self, name: bytes) -> bytes:
        """Closes a blob of arguments whose fingerprint or digest is ``name``: equal plaintexts of one job make equal
        blobs, of two jobs never."""
        return derive(self.job_key, b"p2pcpn blob", name)


def result_digest(key: bytes, value: bytes) -> bytes:
    """The 16-byte keyed digest that votes compare and settlements state."""
    return blake2b(value, digest_size=RESULT_DIGEST_BYTES, key=key).digest()


def output_key(result_key: bytes) -> bytes:
    """Closes what tasks print while they run, apart from the results of the same lease."""
    return derive(result_key, b"p2pcpn output")


def checkpoint_key(result_key: bytes) -> bytes:
    """Closes the states that running tasks leave under a lease; the nonce counts them."""
    return derive(result_key, b"p2pcpn state")


def resume_key(result_key: bytes, index: int) -> bytes:
    """Closes the state that a task begins with under a lease; the nonce counts what its grantor closed."""
    return derive(result_key, b"p2pcpn resume", index.to_bytes(8, "big"))


def wrap(keypair: Keypair, public: bytes, nonce: bytes, job_key: bytes) -> bytes:
    """``job_key`` closed by the owner for the holder of ``public`` (Ed25519): 48 bytes.

    Static-static X25519, keyed by the job's nonce: nothing random is needed, and only the owner can have made it.
    """
    return seal(_wrapping_key(keypair, public, nonce), 0, job_key)


def unwrap(keypair: Keypair, public: bytes, nonce: bytes, wrapped: bytes) -> bytes:
    """The job key that the owner ``public`` wrapped for ``keypair``. Raises :class:`PeerError`."""
    key = unseal(_wrapping_key(keypair, public, nonce), 0, wrapped)
    if len(key) != 32:
        raise PeerError("a wrapped job key has the wrong size")
    return key


def _wrapping_key(keypair: Keypair, public: bytes, nonce: bytes) -> bytes:
    shared = exchange(keypair.x25519_secret, x25519_public(public))
    return blake2b(shared + nonce, digest_size=32, person=b"p2pcpn wrap").digest()


@lru_cache(maxsize=1024)
def swarm_proof(swarm_key: bytes, key: bytes) -> bytes:
    """Shows that whoever holds ``key`` also holds the swarm key: 16 bytes; empty where the swarm is open."""
    if swarm_key == bytes(32):
        return b""
    return blake2b(key, digest_size=16, key=swarm_key, person=b"p2pcpn member").digest()
