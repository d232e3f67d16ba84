"""Dice: the system's randomness, read a block at a time.

A request takes a nonce, and each item that is held a random turn: a system call for each of them was a thirtieth of
what a peer under load does. A fork throws away what was read ahead, so that no two processes draw the same.
"""

from __future__ import annotations

import os
import random
import weakref
from typing import Final

BLOCK_BYTES: Final = 1024
_all: weakref.WeakSet[Dice] = weakref.WeakSet()


class Dice(random.SystemRandom):
    """``random.SystemRandom`` in every respect but its speed. For one thread, like the machines it is given to."""

    def __init__(self) -> None:
        super().__init__()
        self._block = b""
        self._at = 0
        _all.add(self)

    def _take(self, count: int) -> bytes:
        begin = self._at
        end = self._at = begin + count
        if end > len(self._block):
            if count > BLOCK_BYTES:
                self._at = begin
                return os.urandom(count)
            self._block = os.urandom(BLOCK_BYTES)
            begin, self._at = 0, count
        return self._block[begin : begin + count]

    def random(self) -> float:
        """A number in [0, 1), of 53 bits."""
        return (int.from_bytes(self._take(7), "big") >> 3) * 2.0**-53

    def getrandbits(self, k: int) -> int:
        """An integer of ``k`` random bits."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        count = (k + 7) // 8
        return int.from_bytes(self._take(count), "big") >> (count * 8 - k)

    def randbytes(self, n: int) -> bytes:
        """``n`` random bytes."""
        return self._take(n)

    def forget(self) -> None:
        """Read anew before the next throw."""
        self._block, self._at = b"", 0


def _forget_all() -> None:
    for dice in list(_all):
        dice.forget()


os.register_at_fork(after_in_child=_forget_all)
