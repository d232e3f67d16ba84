"""A virtual disk: tables with a key and a value, durable some milliseconds after they were written.

The semantics of ``Write`` are those of a real peer's database: a value replaces, ``None`` deletes every row under
that prefix of the key. What was not durable when the host crashed is lost; what was stays.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from p2pcpn.protocol.effects import Write
from p2pcpn.sim.clock import Timekeeper

Key = tuple[bytes | int | str, ...]
Row = tuple[bytes | int | float | str | None, ...]

FSYNC_S_MIN = 0.001
FSYNC_S_MAX = 0.008

_PACK = msgspec.msgpack.Encoder().encode


class Disk:
    """One host's disk. ``refusing``: from now on every write fails, as on a full disk."""

    def __init__(self, clock: Timekeeper, dice: random.Random) -> None:
        self._clock = clock
        self._dice = dice
        self._tables: dict[str, dict[Key, Row]] = {}
        self.blobs: dict[bytes, bytes] = {}
        self.refusing = False
        self._life = 0  # commits of an earlier life never become durable
        self._busy_until = 0.0
        self.boot = 0

    def commit(self, writes: tuple[Write, ...], done: Callable[[bool], None]) -> None:
        """Write all of ``writes`` or none; ``done`` says whether they are durable. In the order of the calls."""
        self._flush(lambda: self._apply(writes), done)

    def put_blob(self, digest: bytes, data: bytes, done: Callable[[bool], None]) -> None:
        """Keep a blob."""
        self._flush(lambda: self.blobs.__setitem__(digest, data), done)

    def _flush(self, work: Callable[[], None], done: Callable[[bool], None]) -> None:
        life, refused = self._life, self.refusing

        def durable() -> None:
            if life != self._life:
                return
            if not refused:
                work()
            done(not refused)

        self._busy_until = max(self._busy_until, self._clock.now + self._dice.uniform(FSYNC_S_MIN, FSYNC_S_MAX))
        self._clock.at(self._busy_until, durable)

    def crash(self) -> None:
        """The host dies: what is not durable never will be."""
        self._life += 1

    def next_boot(self) -> int:
        """The number of this start: one above every earlier one."""
        self.boot += 1
        return self.boot

    def _apply(self, writes: tuple[Write, ...]) -> None:
        for write in writes:
            table = self._tables.setdefault(write.table, {})
            if write.value is not None:
                table[write.key] = write.value
            elif write.key in table:
                del table[write.key]
            else:
                width = len(write.key)
                for key in [key for key in table if key[:width] == write.key]:
                    del table[key]

    def get(self, table: str, key: Key) -> Row | None:
        """The value under ``key``, or ``None``."""
        return self._tables.get(table, {}).get(key)

    def scan(self, table: str, prefix: Key = ()) -> Iterator[tuple[Any, Any]]:
        """Every (key, value) under ``prefix``, in the order of the keys."""
        rows = self._tables.get(table, {})
        width = len(prefix)
        found = [key for key in rows if key[:width] == prefix]
        for key in sorted(found):  # the columns of one table's keys are of one type each
            yield key, rows[key]


def packed(writes: tuple[Write, ...]) -> bytes:
    """Writes as bytes, for the trace."""
    return _PACK([(write.table, write.key, write.value) for write in writes])
