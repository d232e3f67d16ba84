"""The sqlite file: made private, brought to the current version, set aside when it is corrupt."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

from p2pcpn import limits
from p2pcpn.errors import StoreError
from p2pcpn.store import schema

log = logging.getLogger(__name__)

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# Another process reading the file with sqlite's own shell may hold it for a moment.
_BUSY_S = 1.0


def connect(path: Path, durable: bool, bytes_max: int | None) -> sqlite3.Connection:
    """A connection to the file, which is made where it is missing, at the current version.

    Raises :class:`StoreError`; sqlite's own error where the file is corrupt (:func:`is_corrupt`).
    """
    try:
        # sqlite gives its log the permissions of the file, and the file those it finds.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        # The log grows with the largest transaction and would stay so for good.
        connection.execute(f"PRAGMA journal_size_limit = {limits.STORE_QUEUE_BYTES_MAX}")
        _migrate(path, connection)
        if bytes_max is not None:
            page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {max(1, bytes_max // page_bytes)}")
    except BaseException:
        connection.close()
        raise
    return connection


def is_corrupt(error: BaseException) -> bool:
    """Whether sqlite says so: the low byte is the kind of error, what is above it the place where it was found."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def set_aside(path: Path, cause: BaseException) -> Path:
    """Rename the corrupt file and its log to ``NAME.corrupt-N``, the largest N being the newest; where it is now.

    At most :data:`limits.CORRUPT_COPIES_MAX` are kept. Nobody may have the file open. Raises :class:`StoreError`.
    """
    stem = f"{path.name}.corrupt-"
    try:
        names = (entry.name.removeprefix(stem) for entry in path.parent.glob(f"{stem}*"))
        numbers = sorted(int(name) for name in names if name.isdigit())
        aside = path.with_name(f"{stem}{numbers[-1] + 1 if numbers else 1}")
        for old in numbers[: max(0, len(numbers) + 1 - limits.CORRUPT_COPIES_MAX)]:
            for suffix in ("", "-wal"):
                path.with_name(f"{stem}{old}{suffix}").unlink(missing_ok=True)
        # The log first: left behind, it would be played into the fresh file.
        journal = path.with_name(f"{path.name}-wal")
        if journal.exists():
            journal.replace(path.with_name(f"{aside.name}-wal"))
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
        path.replace(aside)
    except OSError as error:
        raise StoreError(f"{path}: corrupt, and cannot be set aside: {error.strerror or error}") from error
    log.warning("%s is corrupt (%s): set aside as %s, and a fresh one is begun", path, cause, aside.name)
    return aside


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(schema.MIGRATIONS):
        raise StoreError(f"{path}: made by a newer p2pcpn (version {version} of at most {len(schema.MIGRATIONS)})")
    for number, statements in enumerate(schema.MIGRATIONS[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
