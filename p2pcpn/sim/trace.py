"""The trace: a running hash over everything that arrived, and counts of it. Runs are the same when their hashes are.

Each entry is its kind, its time, both ends and its bytes, every field of fixed length or with its length ahead of it.
"""

from __future__ import annotations

import struct
from collections import Counter
from hashlib import blake2b

_HEAD = struct.Struct(">BdIII")

DATAGRAM, MESSAGE, COMMIT, OPENED, CLOSED, FAULT = range(6)


class Trace:
    """BLAKE2b-256 over the canonical entries; ``counts`` by the words that callers choose."""

    __slots__ = ("_hash", "counts", "entries")

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=32, person=b"p2pcpn trace")
        self.counts: Counter[str] = Counter()
        self.entries = 0

    def note(self, kind: int, now: float, source: int, target: int, data: bytes) -> None:
        """One thing happened at ``now`` between the hosts of these numbers."""
        self.entries += 1
        self._hash.update(_HEAD.pack(kind, now, source, target, len(data)) + data)

    def count(self, word: str) -> None:
        """One more of what ``word`` says."""
        self.counts[word] += 1

    @property
    def hash(self) -> str:
        """The hash so far, in hex."""
        return self._hash.hexdigest()
