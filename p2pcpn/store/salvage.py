"""Salvage: the rows of a damaged database that can still be read, brought into a fresh one.

A damaged page spoils the rows on it, and a reader that walks the table stops there. Rows have numbers: the walk is
taken up again at the first number behind the damage that can be read, found by doubling and then by halving the leap.
What comes out may itself be garbage; whoever decodes a row finds that out.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from p2pcpn.store import schema

# A peer that starts must not read a broken disk for minutes: small tables first, and what is left is other peers'.
SALVAGE_S: Final = 20.0
ROW_MAX: Final = (1 << 63) - 1
ROWS: Final = 256
# Small and precious ones first; a log or a segment is kept by others as well.
ORDER: Final = ("meta", "records", "jobs", "blobs", "journal", "peers")


def salvage(path: Path, into: sqlite3.Connection, budget_s: float = SALVAGE_S) -> int:
    """Copy what can be read of the database at ``path`` to ``into``; how many rows. ``path`` itself is not changed.

    Stops after ``budget_s``. Raises sqlite's own error where ``into`` refuses.
    """
    until = time.monotonic() + budget_s
    try:
        damaged = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error:
        return 0
    saved = 0
    try:
        for name in sorted(schema.TABLES, key=lambda name: (name not in ORDER, name)):
            for rows in _readable(damaged, name, until):
                into.execute("BEGIN IMMEDIATE")
                for row in rows:
                    try:
                        saved += into.execute(schema.upsert(name), row).rowcount > 0
                    except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError):
                        continue  # a key that is none any more
                into.execute("COMMIT")
    finally:
        if into.in_transaction:
            into.execute("ROLLBACK")
        damaged.close()
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return saved


def _readable(damaged: sqlite3.Connection, name: str, until: float) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of one table, some at a time, leaping over what cannot be read."""
    table = schema.TABLES[name]
    columns = ", ".join((*table.key, *table.value))
    sql = f"SELECT rowid, {columns} FROM {name} NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT ?"
    last, count = 0, min(ROWS, table.read_rows)
    while time.monotonic() < until:
        rows = _read(damaged, sql, last, count)
        if rows is None and count > 1:
            count = max(1, count // 4)
        elif rows is None:
            behind = _behind(damaged, sql, last)
            if behind is None:
                return
            last = behind
        elif not rows:
            return
        else:
            yield [row[1:] for row in rows]
            last, count = rows[-1][0], min(2 * count, ROWS, table.read_rows)


def _behind(damaged: sqlite3.Connection, sql: str, last: int) -> int | None:
    """The least row number above ``last`` from which the table can be read on; ``None`` where it cannot at all."""
    unreadable, leap = last, 1
    while _read(damaged, sql, min(ROW_MAX, last + leap), 1) is None:
        if last + leap >= ROW_MAX:
            return None
        unreadable, leap = last + leap, 2 * leap
    readable = min(ROW_MAX, last + leap)
    while readable - unreadable > 1:
        middle = (readable + unreadable) // 2
        if _read(damaged, sql, middle, 1) is None:
            unreadable = middle
        else:
            readable = middle
    return readable


def _read(damaged: sqlite3.Connection, sql: str, after: int, count: int) -> list[tuple[Any, ...]] | None:
    try:
        return damaged.execute(sql, (after, count)).fetchall()
    except (sqlite3.Error, OverflowError):  # text that is none is an OperationalError, too
        return None
