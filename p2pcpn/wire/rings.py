"""Rings: what two peers on one machine say to hand over memory for the bytes of blobs (:mod:`p2pcpn.net.beside`)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from p2pcpn import limits
from p2pcpn.wire.codec import U32


class OfferRing(msgspec.Struct, array_like=True, frozen=True, tag=38):
    """We seem to be on one machine: where can I hand you memory for the bytes of blobs? (:mod:`p2pcpn.net.beside`)"""


class RingPlace(msgspec.Struct, array_like=True, frozen=True, tag=39):
    """The answer to :class:`OfferRing`: the name of an abstract Unix socket, and what to say there."""

    name: Annotated[bytes, Meta(min_length=1, max_length=limits.RING_NAME_BYTES_MAX)]
    token: Annotated[bytes, Meta(min_length=limits.RING_TOKEN_BYTES, max_length=limits.RING_TOKEN_BYTES)]


class RingHanded(msgspec.Struct, array_like=True, frozen=True, tag=40):
    """The ring is at its place. Who finds it there says :class:`RingTaken` with no parts; who does not says nothing."""


class RingTaken(msgspec.Struct, array_like=True, frozen=True, tag=41):
    """So many more parts were taken from the ring: their room may be used again."""

    parts: U32


class RingGone(msgspec.Struct, array_like=True, frozen=True, tag=42):
    """The ring was not used for a while: let go of it. It may be offered anew."""
