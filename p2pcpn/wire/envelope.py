"""The envelope of a datagram: who says it to whom, its place in their sequence, and a 16-byte MAC over all of it.

::

    version u8 | kind u8 | sender 20 | recipient 20 | boot u48 | sequence u64 | body | MAC 16      (big endian)

``kind`` says which key the MAC is under: :data:`GREETING` (hello, retry, welcome, unsupported) the swarm's, where an
open swarm's is 32 zero bytes and the MAC a checksum; :data:`TRAFFIC` the pair's. The MAC is BLAKE2b-128, keyed, with
the personalisation ``b"p2pcpn datagram"`` (RFC 7693), over header and body. This layout and the greetings are the
same in every version of the protocol, so that peers without a version in common can still say so.
"""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from typing import NamedTuple

from p2pcpn import limits
from p2pcpn.errors import PeerError

VERSION = 1  # of the protocol this code speaks, and of every greeting
GREETING = 0
TRAFFIC = 1
NOBODY = bytes(20)  # the recipient of a hello to an address whose id is not known yet
OPEN_SWARM_KEY = bytes(32)
MAC_BYTES = 16
SEQUENCE_MAX = (1 << 63) - 1

_LAYOUT = Struct(">BB20s20s6sQ")
_HEAD = Struct(">BB20s20s6s")
_HEADER_BYTES = _LAYOUT.size
assert _HEADER_BYTES + MAC_BYTES == limits.ENVELOPE_BYTES


class Header(NamedTuple):
    """What stands ahead of the body. ``boot`` grows with every start of the sender, ``sequence`` with every word."""

    version: int
    kind: int
    sender: bytes
    recipient: bytes
    boot: int
    sequence: int


class Mac:
    """Makes and checks MACs under one key; the keyed state is computed once."""

    __slots__ = ("_state",)

    def __init__(self, key: bytes) -> None:
        self._state = blake2b(key=key, digest_size=MAC_BYTES, person=b"p2pcpn datagram")

    def of(self, data: bytes) -> bytes:
        """The MAC of ``data``."""
        state = self._state.copy()
        state.update(data)
        return state.digest()


def seal(header: Header, body: bytes, mac: Mac) -> bytes:
    """One datagram's bytes."""
    return seal_behind(head_of(header), header.sequence, body, mac)


def head_of(header: Header) -> bytes:
    """The header's bytes ahead of its sequence: the same in all that one peer says to another in one boot."""
    version, kind, sender, recipient, boot, _ = header
    return _HEAD.pack(version, kind, sender, recipient, boot.to_bytes(6, "big"))


def seal_behind(head: bytes, sequence: int, body: bytes, mac: Mac) -> bytes:
    """One datagram's bytes, whose header begins with ``head``."""
    assert len(body) <= limits.BODY_BYTES_MAX and sequence <= SEQUENCE_MAX
    data = head + sequence.to_bytes(8, "big") + body
    return data + mac.of(data)


def header_of(data: bytes) -> Header:
    """The header of a datagram, its MAC *not* checked. Raises :class:`PeerError` where there is none."""
    if not limits.ENVELOPE_BYTES < len(data) <= limits.DATAGRAM_BYTES_MAX:
        raise PeerError(f"a datagram of {len(data)} bytes")
    version, kind, sender, recipient, boot, sequence = _LAYOUT.unpack_from(data)
    if kind > TRAFFIC:
        raise PeerError(f"kind {kind} is none of ours")
    if sequence > SEQUENCE_MAX:
        raise PeerError(f"sequence {sequence} is beyond 63 bits")
    return Header(version, kind, sender, recipient, int.from_bytes(boot, "big"), sequence)


def unseal(data: bytes, mac: Mac) -> bytes:
    """The body of a datagram whose header was read. Raises :class:`PeerError` where the MAC is wrong."""
    if not compare_digest(mac.of(data[:-MAC_BYTES]), data[-MAC_BYTES:]):
        raise PeerError("the MAC is wrong")
    return data[_HEADER_BYTES:-MAC_BYTES]
