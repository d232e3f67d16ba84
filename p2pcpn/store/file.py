"""The sqlite file: made private, brought to the current version, set aside when it is corrupt."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from pathlib import Path

from p2pcpn import limits
from p2pcpn.errors import DiskFull, StoreError
from p2pcpn.store import schema
from p2pcpn.store.salvage import salvage

log = logging.getLogger(__name__)

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# A file that ends in the middle: somebody cut it, or its log, under an open peer.
_CUT_SHORT = sqlite3.SQLITE_IOERR_SHORT_READ
# Below this a disk counts as full, whatever the error was called: sqlite's log cannot grow by its index's 32 KiB.
_FULL_BYTES = 64 << 10
# Where sqlite keeps a file's version (its file format, section 1.3), and how a file of its begins.
_MAGIC, _VERSION_AT = b"SQLite format 3\0", 60
# Another process reading the file with sqlite's own shell may hold it for a moment.
_BUSY_S = 1.0


def connect(path: Path, durable: bool, bytes_max: int | None) -> sqlite3.Connection:
    """A connection to the file, which is made where it is missing, at the current version.

    Raises :class:`StoreError`; sqlite's own error where the file is corrupt (:func:`is_corrupt`).
    """
    _refuse_newer(path, _version_at_rest(path))
    try:
        # sqlite gives its log the permissions of the file, and the file those it finds.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600))
    except OSError as error:
        raise StoreError(
            f"{path} cannot be opened: {error.strerror or error}; name another folder with --data"
        ) from error
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


def as_it_lies(path: Path) -> sqlite3.Connection | None:
    """A connection that only reads the file: sqlite opens it without the log and index for which a full disk has no
    room. Nobody may write to the file as long. ``None`` where that would not show what was committed last.
    """
    journal = path.with_name(f"{path.name}-wal")
    if _version_at_rest(path) != len(schema.MIGRATIONS) or (journal.exists() and journal.stat().st_size):
        return None
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def is_corrupt(error: BaseException) -> bool:
    """Whether sqlite says so: the low byte is the kind of error, what is above it the place where it was found."""
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, sqlite3.Error) and (code & 0xFF in _CORRUPT or code == _CUT_SHORT)


def refused(path: Path, cause: BaseException) -> StoreError:
    """``cause`` in words: which file, what is wrong with it, what to do. :class:`DiskFull` where there is no room."""
    if isinstance(cause, StoreError):
        return cause
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    troubled = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
    if code == sqlite3.SQLITE_FULL or (troubled and _is_full(path)):
        return DiskFull(f"{path}: no room ({cause}); nothing new is kept until some is freed on that disk")
    return StoreError(f"{path}: {cause}")


def _is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _FULL_BYTES
    except OSError:
        return False


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
    return aside


def save_rows(path: Path, aside: Path, cause: BaseException, fresh: sqlite3.Connection) -> None:
    """Bring what can still be read of ``aside`` into the ``fresh`` file at ``path``, and say what happened."""
    try:
        saved = salvage(aside, fresh)
    except sqlite3.Error as error:
        log.warning("%s: what is left of %s cannot be saved: %s", path, aside.name, error)
        saved = 0
    log.warning(
        "%s is corrupt (%s): set aside as %s, %d rows of it saved into a fresh one, other peers' copies make up for"
        " the rest; check that disk",
        path, cause, aside.name, saved,
    )  # fmt: skip


def _version_at_rest(path: Path) -> int:
    """The version in the file's own first page, read without touching anything; 0 where there is none."""
    try:
        with open(path, "rb") as file:
            head = file.read(_VERSION_AT + 4)
    except OSError:
        return 0  # sqlite says it in a moment
    return int.from_bytes(head[_VERSION_AT:], "big") if head.startswith(_MAGIC) else 0


def _refuse_newer(path: Path, version: int) -> None:
    if version > len(schema.MIGRATIONS):
        raise StoreError(
            f"{path}: made by a newer p2pcpn (schema {version}; this one knows {len(schema.MIGRATIONS)}) and left as it"
            " is; install that version again, or name another folder with --data"
        )


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    _refuse_newer(path, version)  # its last migration may be in the log alone
    for number, statements in enumerate(schema.MIGRATIONS[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
