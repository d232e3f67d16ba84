"""Manifests: which sealed chunks make a blob, named by their digests, and the name that opens it.

::

    name        digest of the root manifest, the blob's key, and a checksum for those who type it
    root        level 0: the manifest of all chunks, where they fit one
                level 1: the manifest of a list of sections, each a manifest of level 0
    manifest    its section's number, sizes, and the BLAKE3 of each chunk as it is kept (sealed)

A manifest names at most ``MANIFEST_CHUNKS_MAX`` chunks, so it is small, and what it names is what one peer keeps as a
whole. A larger blob is a list of such sections, and the list is kept like any section. A manifest tells sizes and
digests of ciphertexts to whoever keeps it, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from p2pcpn import limits
from p2pcpn.errors import PeerError, UsageError
from p2pcpn.wire.codec import U32, U63, Buffer, Codec
from p2pcpn.wire.sealing import digest

DIGEST_BYTES: Final = 32
CONTENT, LIST = 0, 1
PREFIX: Final = "blob"
# Of 2^32 wrong names one passes; a blob that nobody has is looked for in vain for a quarter of a minute.
_CHECK_BYTES: Final = 4
_NAME_CHARS: Final = -(-8 * (2 * DIGEST_BYTES + _CHECK_BYTES) // 5)
# A section in the list: its digest, and how many bytes of the blob are in it.
_ENTRY_BYTES: Final = DIGEST_BYTES + 8


class Manifest(msgspec.Struct, array_like=True, frozen=True):
    """The chunks of one section. ``size_bytes`` are those of the blob in it, all chunks but the last are full."""

    level: Annotated[int, Meta(ge=CONTENT, le=LIST)]
    part: U32
    size_bytes: U63
    chunk_bytes: Annotated[int, Meta(ge=limits.CHUNK_BYTES_MIN, le=limits.CHUNK_BYTES)]
    chunks: Annotated[bytes, Meta(max_length=DIGEST_BYTES * limits.MANIFEST_CHUNKS_MAX)]

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return len(self.chunks) // DIGEST_BYTES

    @property
    def sealed_bytes(self) -> int:
        """What its chunks take on a disk."""
        return self.size_bytes + self.count * limits.CHUNK_SEAL_BYTES

    def chunk(self, index: int) -> bytes:
        """The digest of a sealed chunk."""
        return self.chunks[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]

    def open_range(self, index: int) -> tuple[int, int]:
        """Where a chunk stands in the section, and how many bytes it has."""
        start = index * self.chunk_bytes
        return start, min(self.chunk_bytes, self.size_bytes - start)

    def sealed_range(self, index: int) -> tuple[int, int]:
        """Where a sealed chunk stands among the sealed ones, and how many bytes it has."""
        start, size = self.open_range(index)
        return start + index * limits.CHUNK_SEAL_BYTES, size + limits.CHUNK_SEAL_BYTES


CODEC: Codec[Manifest] = Codec(Manifest, limits.MANIFEST_BYTES_MAX, "manifest")


def chunk_count(size_bytes: int, chunk_bytes: int) -> int:
    """Into how many chunks so many bytes are cut."""
    return -(-size_bytes // chunk_bytes)


def read_manifest(name: bytes, data: Buffer) -> Manifest:
    """The manifest whose digest is ``name``. Raises :class:`PeerError` for other bytes, or sizes that do not fit."""
    if len(data) > limits.MANIFEST_BYTES_MAX or digest(data) != name:
        raise PeerError("the bytes of a manifest are not its name's")
    manifest = CODEC.decode(data)
    if len(manifest.chunks) != DIGEST_BYTES * chunk_count(manifest.size_bytes, manifest.chunk_bytes):
        raise PeerError("a manifest names more or fewer chunks than its size has")
    return manifest


def pack_list(sections: Sequence[tuple[bytes, int]]) -> bytes:
    """The list of a blob's sections: (digest of the manifest, bytes of the blob in it)."""
    return b"".join(name + size_bytes.to_bytes(8, "big") for name, size_bytes in sections)


def unpack_list(data: bytes) -> list[tuple[bytes, int]]:
    """What :func:`pack_list` packed. Raises :class:`PeerError`."""
    count, rest = divmod(len(data), _ENTRY_BYTES)
    if rest or not 0 < count <= limits.BLOB_SECTIONS_MAX:
        raise PeerError(f"a list of sections has {len(data)} bytes, which is no list")
    entries = [data[at : at + _ENTRY_BYTES] for at in range(0, len(data), _ENTRY_BYTES)]
    return [(entry[:DIGEST_BYTES], int.from_bytes(entry[DIGEST_BYTES:], "big")) for entry in entries]


@dataclass(frozen=True, slots=True)
class BlobName:
    """What finds a blob and opens it. Whoever has the text can read the blob: it is a secret like the blob itself."""

    digest: bytes
    key: bytes

    def __str__(self) -> str:
        packed = self.digest + self.key
        return PREFIX + base64.b32encode(packed + _check(packed)).decode().rstrip("=").lower()

    def __repr__(self) -> str:  # the key never reaches a log
        return f"BlobName({self.digest.hex()[:8]})"


def parse_name(text: str) -> BlobName:
    """The name that ``text`` spells. Raises :class:`UsageError`, for a wrong character, too."""
    body = text.strip().lower()
    if not body.startswith(PREFIX) or len(body) != len(PREFIX) + _NAME_CHARS:
        raise UsageError(
            f"{text[:24]!r} is no name of a blob; p2pcpn blob put prints it: {PREFIX} and {_NAME_CHARS} more"
        )
    packed = body.removeprefix(PREFIX).upper()
    try:
        data = base64.b32decode(packed + "=" * (-len(packed) % 8))
    except binascii.Error:
        data = b""
    name = BlobName(data[:DIGEST_BYTES], data[DIGEST_BYTES : 2 * DIGEST_BYTES])
    if str(name) != body:  # the checksum, and the bits that no byte needs
        raise UsageError(f"the name {text.strip()[:24]}… has a wrong character; copy it again, all {len(body)} of them")
    return name


def _check(packed: bytes) -> bytes:
    return digest(PREFIX.encode() + packed)[:_CHECK_BYTES]
