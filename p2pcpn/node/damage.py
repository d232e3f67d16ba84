"""Damage: rows on the disk that cannot be what was written. They are set aside and said once, and the node goes on.

One bit that fell over in a row of one job must not keep a peer from starting that serves a thousand others. The row is
moved to the table ``damaged``, for its owner to look at; what it held is other peers' to bring back.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from p2pcpn import limits
from p2pcpn.errors import PeerError, StoreError
from p2pcpn.protocol.effects import Write
from p2pcpn.store.database import Database, Key, Value

log = logging.getLogger("p2pcpn.node")

# What decoding a row may raise that holds something else than was written.
DAMAGED: Final = (PeerError, ValueError, TypeError, OverflowError, AssertionError)
_PACK: Final = msgspec.msgpack.Encoder().encode


class DamagedRow(StoreError, ValueError):
    """A row, read on demand, holds what was never written."""


class Damage:
    """The damaged rows that one look at ``database`` found."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writes: list[Write] = []
        self._found: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(self._found.values())

    @contextmanager
    def row(self, table: str, key: Key, value: Value, instead: Value | None = None) -> Iterator[None]:
        """What is done within may fail for what the row holds: it is set aside then, ``instead`` put in its place."""
        try:
            yield
        except DAMAGED as error:
            self.note(table, key, value, error, instead)

    def note(self, table: str, key: Key, value: Value, error: Exception, instead: Value | None = None) -> None:
        """This row is damaged."""
        self._found[table] += 1
        if len(self) <= limits.DAMAGED_ROWS_MAX:
            shown = [part[: limits.DAMAGED_BYTES_MAX] if isinstance(part, (bytes, str)) else part for part in value]
            why = f"{type(error).__name__}: {error}"[: limits.REASON_CHARS_MAX]
            self._writes.append(Write("damaged", (table, _PACK(key)), (_PACK(shown), why, time.time())))
        self._writes.append(Write(table, key, instead))

    def set_aside(self) -> None:
        """Move what was found out of the way, soon, and say so in one line."""
        if not self._found:
            return
        if self._database.count("damaged") + len(self._writes) > 2 * limits.DAMAGED_ROWS_MAX:
            self._writes.insert(0, Write("damaged", (), None))  # those of earlier looks have been there long enough
        self._database.commit(self._writes)
        where = ", ".join(f"{count} of {table}" for table, count in sorted(self._found.items()))
        log.warning(
            "%s: damaged rows are set aside (%s; table damaged of that file), other peers' copies make up for them;"
            " check that disk",
            self._database.path, where,
        )  # fmt: skip
        self._writes, self._found = [], Counter()
