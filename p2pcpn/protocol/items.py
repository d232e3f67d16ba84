"""Items: what the DHT keeps, of three sorts, how long each lasts, and the datagrams that put it.

A record has one owner and is changed by nobody else. Provider records share a key and have an owner each. A content is
nobody's: its key is its hash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NODE_ID_BYTES
from p2pcpn.wire.datagrams import Put, PutContent, PutProviders
from p2pcpn.wire.statements import ProviderRecord, Record, Signed, read

Kept = Record | ProviderRecord
PutRequest = Put | PutProviders | PutContent

# A pair of nonce 9 bytes, tag and list around entries; key, signature and framing around the body of each.
ENTRIES_BYTES = 16
SIGNED_BYTES = 110


def record_key(owner: bytes, salt: bytes) -> bytes:
    """The 20-byte key under which ``owner``'s record with ``salt`` is found."""
    return blake2b(owner + salt, digest_size=NODE_ID_BYTES).digest()


def provider_key(name: bytes) -> bytes:
    """The 20-byte key under which those are found who provide ``name``: a blob's digest, a job's id."""
    return blake2b(b"p2pcpn/1 provider" + name, digest_size=NODE_ID_BYTES).digest()


def content_key(content: bytes) -> bytes:
    """The 20-byte key under which ``content`` is found: its hash, so that whoever reads it can tell."""
    return blake2b(b"p2pcpn/1 content" + content, digest_size=NODE_ID_BYTES).digest()


def expires_s(record: Kept) -> float:
    """The wall-clock second at which ``record`` ends."""
    return record.created_s + record.retention_s


def timely(record: Kept, wall: float) -> None:
    """Raises :class:`PeerError` where ``record`` has expired, comes from the future or wants to be kept too long."""
    longest_s = limits.RECORD_RETENTION_S_MAX if isinstance(record, Record) else limits.PROVIDER_RETENTION_S_MAX
    if record.created_s > wall + limits.CLOCK_TOLERANCE_S:
        raise PeerError("that record comes from the future")
    if record.retention_s > longest_s:
        raise PeerError("that record wants to be kept for too long")
    if expires_s(record) <= wall:
        raise PeerError("that record has expired")


def page(entries: list[Signed], room_bytes: int) -> int:
    """How many of the first ``entries`` one datagram takes in ``room_bytes``."""
    for number, signed in enumerate(entries):
        room_bytes -= SIGNED_BYTES + len(signed.body)
        if room_bytes < 0 or number == limits.PROVIDERS_PER_DATAGRAM_MAX:
            return number
    return len(entries)


@dataclass(frozen=True, slots=True)
class RecordItem:
    """A signed record; ``cas`` is the version that it must replace, or none."""

    signed: Signed
    cas: int | None = None

    @property
    def key(self) -> bytes:
        return record_key(self.signed.key, read(self.signed, Record).salt)

    def ends_s(self) -> float:
        """The wall-clock second at which it is over."""
        return expires_s(read(self.signed, Record))

    def puts(self, wall: float) -> list[Callable[[int], PutRequest]]:
        """The requests that put it, each made with its nonce."""
        return [lambda nonce: Put(nonce, self.signed, self.cas)]


@dataclass(frozen=True, slots=True)
class ProvidersItem:
    """Provider records of one key."""

    key: bytes
    entries: tuple[Signed, ...]

    def ends_s(self) -> float:
        """The wall-clock second at which the last of them is over."""
        return max(expires_s(read(signed, ProviderRecord)) for signed in self.entries)

    def puts(self, wall: float) -> list[Callable[[int], PutRequest]]:
        """The requests that put them, as many in each as a datagram takes."""
        left = list(self.entries)
        requests: list[Callable[[int], PutRequest]] = []
        while left:
            count = page(left, limits.BODY_BYTES_MAX - ENTRIES_BYTES)
            requests.append(partial(_put_providers, left[:count]))
            del left[:count]
        return requests


def _put_providers(entries: list[Signed], nonce: int) -> PutRequest:
    return PutProviders(nonce, entries)


@dataclass(frozen=True, slots=True)
class ContentItem:
    """A content, kept until ``expires_s`` (wall clock)."""

    content: bytes
    expires_s: float

    @property
    def key(self) -> bytes:
        return content_key(self.content)

    def ends_s(self) -> float:
        """The wall-clock second at which it is over."""
        return self.expires_s

    def puts(self, wall: float) -> list[Callable[[int], PutRequest]]:
        """The request that puts it for the rest of its time."""
        left_s = min(max(0.0, self.expires_s - wall), limits.CONTENT_RETENTION_S_MAX)
        return [lambda nonce: PutContent(nonce, self.content, left_s)]


Item = RecordItem | ProvidersItem | ContentItem
