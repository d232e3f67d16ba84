"""Chunks: how a blob's bytes are sealed before anybody keeps them, so that equal chunks seal to equal bytes.

::

    nonce (12 bytes):  BLAKE3 of (index, plaintext) under a key of the section
    rest:              AES-256-GCM of the plaintext under that nonce, the index as associated data

The nonce follows from what is sealed (as in RFC 8452, "synthetic"): a file that changes between two readings never
seals two texts under one nonce, and whoever has key and plaintext can tell whether it is the chunk a manifest names.
That is how a put or get that was cut goes on, with nothing noted anywhere. The key of a blob follows from its owner's
key and its content: equal blobs of one owner are one blob, those of two owners never, so nobody can tell by a digest
whether somebody keeps a file that he has himself.
"""

from __future__ import annotations

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.wire.codec import Buffer
from p2pcpn.wire.manifests import Manifest
from p2pcpn.wire.sealing import derive, digest

NONCE_BYTES = 12


def blob_key(owner: Keypair, content: bytes, size_bytes: int) -> bytes:
    """The key of the owner's blob whose plaintext has the BLAKE3 ``content``."""
    return derive(_secret(owner), b"p2pcpn blob key", content + size_bytes.to_bytes(8, "big"))


def blob_id(key: bytes) -> bytes:
    """What all manifests of a blob share, for those who keep them: 20 bytes that tell nothing."""
    return derive(key, b"p2pcpn blob id")[:20]


def note_key(owner: Keypair, context: bytes) -> bytes:
    """Closes what an owner notes for himself beside a blob; each ``context`` once."""
    return derive(_secret(owner), b"p2pcpn note", context)


def _secret(owner: Keypair) -> bytes:
    return derive(owner.seed, b"p2pcpn blobs")


class ChunkSeal:
    """Seals and opens the chunks of one section."""

    __slots__ = ("_cipher", "_nonce_key")

    def __init__(self, key: bytes, level: int, part: int) -> None:
        place = level.to_bytes(1, "big") + part.to_bytes(4, "big")
        self._cipher = AESGCM(derive(key, b"p2pcpn chunk", place))
        self._nonce_key = derive(key, b"p2pcpn nonce", place)

    def seal(self, index: int, data: Buffer) -> bytes:
        """The sealed chunk, 28 bytes longer."""
        at = index.to_bytes(8, "big")
        nonce = blake3(at, key=self._nonce_key).update(data).digest(length=NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, at)

    def open(self, index: int, sealed: Buffer) -> bytes:
        """What :meth:`seal` sealed. Raises :class:`PeerError`."""
        view = memoryview(sealed)
        try:
            return self._cipher.decrypt(bytes(view[:NONCE_BYTES]), view[NONCE_BYTES:], index.to_bytes(8, "big"))
        except (InvalidTag, ValueError) as error:
            raise PeerError("a chunk does not open: the name's key is another's") from error

    def is_chunk(self, manifest: Manifest, index: int, data: Buffer) -> bool:
        """Whether this plaintext is the chunk that the manifest names."""
        return len(data) == manifest.open_range(index)[1] and digest(self.seal(index, data)) == manifest.chunk(index)
