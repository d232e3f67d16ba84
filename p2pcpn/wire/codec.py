"""Bytes to values and back: MessagePack, validated while it is decoded.

Every value on the wire is a ``msgspec.Struct`` encoded as a MessagePack array (fields in the order of their
declaration, a tag first where a union needs one). Any MessagePack library reads it; msgspec checks types, lengths and
ranges in C while it decodes, so a value that exists is a value that is valid. Trailing array elements that we do not
know are ignored: a later minor version may append fields. Whatever the bytes, :class:`Codec` returns a value or raises
:class:`PeerError`.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import msgpack
import msgspec
from msgspec import Meta

from p2pcpn.errors import PeerError

T = TypeVar("T")

# Types of fields, named after what they hold. All are unsigned and big enough for any version of the protocol.
Id = Annotated[bytes, Meta(min_length=20, max_length=20)]
Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
U16 = Annotated[int, Meta(ge=0, lt=1 << 16)]
U32 = Annotated[int, Meta(ge=0, lt=1 << 32)]
U48 = Annotated[int, Meta(ge=0, lt=1 << 48)]
U63 = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
# Durations and times, seconds. The upper bound keeps sums of them finite, and NaN out (it fails every comparison).
Seconds = Annotated[float, Meta(ge=0.0, le=1e10)]


def is_canonical(data: bytes) -> bool:
    """Whether ``data`` is the one MessagePack encoding of its value: shortest lengths, nothing behind it.

    Whatever is signed is canonical, so that a statement has one set of bytes, one digest and one place in a seen cache,
    whichever library wrote it. ``msgpack`` is the judge: what it reads and writes again must be the same bytes.
    """
    try:
        return bool(msgpack.packb(msgpack.unpackb(data, strict_map_key=False)) == data)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError, msgpack.exceptions.UnpackException):
        return False


# Bytes wherever they lie: what is large is handed on as a view of where it was received.
Buffer = bytes | bytearray | memoryview


class Codec(Generic[T]):
    """Encodes and decodes one type (or tagged union of types) of the wire.

    ``decode`` accepts at most ``bytes_max`` bytes and raises :class:`PeerError` for anything that is not a valid value.
    """

    __slots__ = ("_decoder", "_encoder", "bytes_max", "name")

    def __init__(self, kind: Any, bytes_max: int, name: str) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._encoder = msgspec.msgpack.Encoder()
        self.bytes_max = bytes_max
        self.name = name

    def encode(self, value: T) -> bytes:
        """The bytes of ``value``. A value of ours that is too large is our mistake: it fails an assertion."""
        data = self._encoder.encode(value)
        assert len(data) <= self.bytes_max, f"{self.name}: {len(data)} bytes, at most {self.bytes_max}"
        return data

    def decode(self, data: Buffer) -> T:
        """The value of ``data``, valid; or :class:`PeerError`."""
        if len(data) > self.bytes_max:
            raise PeerError(f"{self.name}: {len(data)} bytes, at most {self.bytes_max} are allowed")
        try:
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError, UnicodeError, MemoryError) as error:
            raise PeerError(f"{self.name}: {error}") from None
