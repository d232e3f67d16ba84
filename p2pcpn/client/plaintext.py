"""Plaintext that stands for its blob: immutable arguments are not copied, but closed whenever they are sent.

A megabyte that is sealed into fresh memory costs 500 us, 400 of them for its pages; sealed again into memory that was
used before it costs 70. So the submitting program seals such an argument once to learn its name, in memory of the
last one, and once for each peer it is sent to. Sealing is deterministic here: a blob's key closes nothing else.
"""

from __future__ import annotations

from typing import Final

from p2pcpn.wire.sealing import TAG_BYTES, digest, seal, seal_into

# Sealing so much takes a third of a millisecond, which the event loop may spend; what is larger is sealed once.
BYTES_MAX: Final = 4 << 20
# Memory that was used before, for as many threads as seal at a time. A list's ends are safe from several threads.
_SPARE_MAX: Final = 2
_spare: list[bytearray] = []


class Plaintext:
    """Stands for the blob that closes ``data`` under ``key``. Its size is the blob's."""

    __slots__ = ("_data", "_key")

    def __init__(self, key: bytes, data: bytes) -> None:
        self._key = key
        self._data = data

    def __len__(self) -> int:
        return len(self._data) + TAG_BYTES

    def sealed(self) -> bytes:
        """The blob's bytes, the same each time."""
        return seal(self._key, 0, self._data)

    def seal_into(self, out: memoryview) -> None:
        """The same into memory that was used before."""
        seal_into(self._key, 0, self._data, out)

    def digest(self) -> bytes:
        """The blob's name."""
        try:
            memory = _spare.pop()
        except IndexError:
            memory = bytearray(BYTES_MAX + TAG_BYTES)
        with memoryview(memory) as whole, whole[: len(self)] as out:
            self.seal_into(out)
            name = digest(out)
        if len(_spare) < _SPARE_MAX:
            _spare.append(memory)
        return name


def immutable(data: bytes | memoryview) -> bytes | None:
    """The object that ``data`` is the whole of, where nobody can change it and it is not too large."""
    source = data.obj if isinstance(data, memoryview) else data
    if type(source) is bytes and len(source) == len(data) <= BYTES_MAX:
        return source
    return None
