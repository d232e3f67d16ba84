"""Scratch memory: what is opened to be copied on at once is opened where the last such thing was, in warm pages.

A megabyte that is opened into memory of its own costs twice as much as one that is opened over the last: pages that
were given back are fetched anew, and none of them is in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from p2pcpn.errors import PeerError
from p2pcpn.wire.codec import Buffer
from p2pcpn.wire.sealing import TAG_BYTES, unseal_into

# What is larger gets memory of its own: it would stay.
SCRATCH_BYTES: Final = 4 << 20


# For as many threads as open something at a time. A list's ends are safe from several threads.
_SPARE_MAX: Final = 2
_spare: list[bytearray] = []


@contextmanager
def opened(key: bytes, sealed: Buffer) -> Iterator[memoryview]:
    """What ``sealed`` closes under ``key``, for the block alone: copy what is to stay.

    Raises :class:`PeerError` when a single bit is not as it was.
    """
    size_bytes = len(sealed) - TAG_BYTES
    if size_bytes < 0:
        raise PeerError("sealed bytes are shorter than any seal")
    try:
        memory = _spare.pop() if size_bytes <= SCRATCH_BYTES else bytearray(size_bytes)
    except IndexError:
        memory = bytearray(SCRATCH_BYTES)
    with memoryview(memory) as whole, whole[:size_bytes] as out:
        unseal_into(key, 0, sealed, out)
        yield out
    if len(memory) == SCRATCH_BYTES and len(_spare) < _SPARE_MAX and _unseen(memory):
        _spare.append(memory)


def _unseen(memory: bytearray) -> bool:
    """Whether nobody looks at it any more: what is looked at cannot change its size."""
    try:
        memory.append(memory.pop())
    except BufferError:
        return False
    return True
