"""Rings: the messages that hand over memory are messages like any other, and a place is named within bounds."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.wire import rings
from p2pcpn.wire.messages import CODEC

TOKEN = bytes(limits.RING_TOKEN_BYTES)


@pytest.mark.parametrize(
    "said",
    [
        rings.OfferRing(),
        rings.RingPlace(b"place", TOKEN),
        rings.RingHanded(),
        rings.RingTaken(7),
        rings.RingGone(),
    ],
)
def test_what_is_said_of_a_ring_comes_back_as_it_was_said(said: object) -> None:
    assert CODEC.decode(CODEC.encode(said)) == said


@pytest.mark.parametrize(
    "said",
    [
        rings.RingPlace(b"", TOKEN),
        rings.RingPlace(b"x" * (limits.RING_NAME_BYTES_MAX + 1), TOKEN),
        rings.RingPlace(b"place", TOKEN[:-1]),
        rings.RingTaken(-1),
    ],
)
def test_a_place_or_a_number_out_of_bounds_is_the_peers_mistake(said: object) -> None:
    with pytest.raises(PeerError, match="message"):
        CODEC.decode(CODEC.encode(said))
