"""Dice: one stream of chance for each concern, all from one seed.

What a peer throws is its own: one peer more, or a message more on one path, shifts nobody else's luck.
"""

from __future__ import annotations

import random
from hashlib import blake2b


class Dice:
    """Streams by name. The same seed and name always give the same stream."""

    __slots__ = ("seed",)

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def bytes(self, *name: str | int) -> bytes:
        """32 bytes that follow from the seed and ``name``."""
        words = "\x1f".join(map(str, (self.seed, *name)))
        return blake2b(words.encode(), digest_size=32, person=b"p2pcpn sim").digest()

    def stream(self, *name: str | int) -> random.Random:
        """The generator of the concern ``name``."""
        return random.Random(int.from_bytes(self.bytes(*name), "big"))
