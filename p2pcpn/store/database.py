"""The database: writes become durable in groups, reads see all that was acknowledged.

One thread writes. What is committed while it flushes waits, and all of it goes into the next transaction: *measured*,
41,000 durable rows a second in batches against 3,900 one by one. ``durable=False`` leaves the flush to the operating
system (sqlite's ``synchronous=NORMAL``): what is acknowledged survives the death of the process, not that of the
machine.

Reads come from any thread over a second connection (WAL: they neither wait for the writer nor stop it).
A file that turns out corrupt is set aside as ``NAME.corrupt-N`` and a fresh one begun, with the rows that can still be
read: the others can be had from other replicas, a peer that does not start cannot. While the disk is full what is there
is read, commits fail with :class:`DiskFull`, and each later one is an attempt: with room again all goes on by itself.
sqlite's exceptions end here: callers see :class:`StoreError`. What the disk refuses is logged once, not once a commit.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from p2pcpn import limits
from p2pcpn.errors import DiskFull, StoreError
from p2pcpn.store import schema
from p2pcpn.store.exclusive import Exclusive
from p2pcpn.store.file import as_it_lies, connect, is_corrupt, refused, save_rows, set_aside

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from p2pcpn.protocol.effects import Write

log = logging.getLogger(__name__)

Key = tuple[bytes | int | str, ...]
Value = tuple[bytes | int | float | str | None, ...]
T = TypeVar("T")

# Transactions follow each other no sooner, unless somebody waits: one costs the writer's thread, and through the
# interpreter lock the event loop, as much as forty rows. A commit that comes after a pause begins at once.
APART_S = 0.005
# What nobody is told of may wait longer for company, in the system's memory as in ours: a peer that dies with it may
# have died as much before.
PATIENT_APART_S = 0.02
# So many rows of one table are written by one statement; each count has a statement of its own in sqlite's cache.
_ROWS_TOGETHER_MAX = 16
# A row costs sqlite and the queue about this much beside its bytes.
_ROW_BYTES = 100
# A disk that has taken everything for so long is well again: the next refusal is news.
WELL_AGAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Expired:
    """Keys of the rows that a sweep dropped. The files of ``blobs`` are the caller's to delete."""

    records: tuple[bytes, ...]
    jobs: tuple[bytes, ...]
    blobs: tuple[bytes, ...]
    handovers: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.records or self.jobs or self.blobs or self.handovers)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a database has done since it was opened; ``corrupt`` are the files it set aside."""

    commits: int
    transactions: int
    failed: int
    queued_bytes: int
    corrupt: tuple[Path, ...]


@dataclass(slots=True)
class _Commit:
    """One caller's work, done in a transaction that it may share with others."""

    work: Callable[[sqlite3.Connection], None]
    done: Callable[[StoreError | None], None] | None
    queued_bytes: int = 0
    writes: tuple[Write, ...] = ()  # what ``work`` does, where it is nothing else
    broken: sqlite3.Connection | None = None  # a reader found the file corrupt over this connection
    error: BaseException | None = None


class Database:
    """A peer's tables (:mod:`p2pcpn.store.schema`) in the sqlite file ``path``, opened for this process alone.

    Raises :class:`StoreError` where the file cannot be opened, is in use by another process, or was made by a newer
    version. ``bytes_max`` bounds the file; beyond it commits fail as they do on a full disk.
    """

    def __init__(self, path: str | os.PathLike[str], *, durable: bool = True, bytes_max: int | None = None) -> None:
        self.path = Path(path)
        self._durable = durable
        self._bytes_max = bytes_max
        self._wake = threading.Condition()
        self._queue: deque[_Commit] = deque()
        self._queued_bytes = 0
        self._asleep = False  # the writer waits for a first commit
        self._hurry = False  # somebody waits for the commits, in a thread
        self._awaited = False  # something follows from one of them
        self._closing = False
        self._commits = self._transactions = self._failed = 0
        self._corrupt: list[Path] = []
        self._aside: Path | None = None  # the corrupt file, while there is no fresh one yet
        self._lost: BaseException | None = None  # what was wrong with it, as long
        self._bare = False  # the disk has no room for sqlite's log: the file is read as it lies
        self._refused_s: float | None = None  # when a write was refused last, until all is well again
        self._reading = threading.Lock()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path.parent}: {error.strerror or error}") from error
        self._exclusive = Exclusive(self.path.with_name(f"{self.path.name}.lock"))
        try:
            self._writer, self._reader = self._open()
        except BaseException:
            self._exclusive.release()
            raise
        # A daemon: a program that ends without close() loses what was not acknowledged, and does not hang.
        self._thread = threading.Thread(target=self._run, name="p2pcpn-store", daemon=True)
        self._thread.start()

    # --- Writing ---------------------------------------------------------------------------------------------------

    def commit(
        self, writes: Sequence[Write], done: Callable[[StoreError | None], None] | None = None, *, patient: bool = False
    ) -> None:
        """Make ``writes`` durable, all of them or none, in the order of the commits; then call ``done`` with ``None``.

        ``done`` gets a :class:`StoreError` where the disk refused. It is called from the writer's thread; from this one
        when the commit is refused at once (closed, or :data:`limits.STORE_QUEUE_BYTES_MAX` waiting). It must not block.
        A write whose value is ``None`` deletes every row under its key, which may be a prefix of the table's key.
        ``patient``: nothing follows from it, and it may share a transaction with what comes within ``PATIENT_APART_S``.
        """
        rows = tuple(writes)
        queued_bytes = 0
        for write in rows:
            table = schema.TABLES[write.table]
            if write.value is None:
                assert len(write.key) <= len(table.key), f"{write.table}: {len(write.key)} key columns"
                queued_bytes += _ROW_BYTES
            else:
                assert len(write.key) == len(table.key), f"{write.table}: {len(write.key)} key columns"
                assert len(write.value) == len(table.value), f"{write.table}: {len(write.value)} value columns"
                queued_bytes += _ROW_BYTES + sum(len(part) for part in write.value if isinstance(part, (bytes, str)))
        self._enqueue(_Commit(lambda connection: _apply(connection, rows), done, queued_bytes, rows), patient=patient)

    def next_boot(self, wall_now: float | None = None) -> int:
        """The number of this start: greater than that of every start before, also of those whose file was lost.

        It is at least the wall clock in seconds: a peer that begins with a fresh file would otherwise count from 1
        again, and everyone who knows its key would drop its datagrams as replays. On a full disk it is not written
        down: the clock will have gone on by the next start.
        """
        seconds = int(time.time() if wall_now is None else wall_now)

        def above(row: Value | None) -> int:
            last = row[0] if row else None
            return max(seconds, last + 1 if isinstance(last, int) else 1)

        def work(connection: sqlite3.Connection) -> int:
            boot = above(connection.execute(schema.get("meta"), ("boot",)).fetchone())
            connection.execute(schema.upsert("meta"), ("boot", boot))
            return boot

        try:
            return self._perform(work)
        except DiskFull:
            return above(self.get("meta", ("boot",)))

    def expired(self, table: str, wall_now: float) -> list[Any]:
        """The keys of what :meth:`drop_expired` would drop of ``table`` now, the oldest first."""
        return [key for (key,) in self._read(schema.expired(table, limits.EXPIRED_ROWS_MAX), (wall_now,))]

    def drop_expired(self, wall_now: float) -> Expired:
        """Drop the rows that ended at ``wall_now`` or before, jobs with their segments, logs and journal.

        At most :data:`limits.EXPIRED_ROWS_MAX` of each table, so that no commit waits long: call again while any were
        dropped. Waits for the disk; raises :class:`StoreError` where it refuses.
        """

        def work(connection: sqlite3.Connection) -> dict[str, tuple[bytes, ...]]:
            dropped = {}
            for name in schema.EXPIRING:
                rows = connection.execute(schema.expired(name, limits.EXPIRED_ROWS_MAX), (wall_now,)).fetchall()
                for table in (name, *schema.OF_A_JOB) if name == "jobs" else (name,):
                    connection.executemany(schema.delete(table, 1), rows)
                dropped[name] = tuple(row[0] for row in rows)
            return dropped

        return Expired(**self._perform(work))

    def close(self) -> None:
        """Flush what was committed, then close. Commits that come later are refused. May be called twice."""
        with self._wake:
            self._closing = self._hurry = True
            self._wake.notify()
        self._thread.join()
        with self._reading:
            self._reader.close()
            self._writer.close()  # the last one out folds the log into the file
        self._exclusive.release()

    # --- Reading ---------------------------------------------------------------------------------------------------

    def get(self, table: str, key: Key) -> Value | None:
        """The value under ``key``, or ``None``. Raises :class:`StoreError`."""
        rows = self._read(schema.get(table), key)
        return rows[0] if rows else None

    def scan(self, table: str, prefix: Key = ()) -> Iterator[tuple[Key, Value]]:
        """Every (key, value) under ``prefix`` in the order of the keys, a few rows in memory at a time.

        What is committed meanwhile may be seen or not; nothing is seen twice. Raises :class:`StoreError`.
        """
        shape = schema.TABLES[table]
        width = len(shape.key)
        rows = self._read(schema.scan(table, len(prefix), False), prefix)
        while rows:
            for row in rows:
                yield row[:width], row[width:]
            if len(rows) < shape.read_rows or len(prefix) == width:
                return
            rows = self._read(schema.scan(table, len(prefix), True), (*prefix, *rows[-1][len(prefix) : width]))

    def count(self, table: str, prefix: Key = ()) -> int:
        """How many rows there are under ``prefix``. Raises :class:`StoreError`."""
        return int(self._read(schema.count(table, len(prefix)), prefix)[0][0])

    def statistics(self) -> Statistics:
        """Counts since the database was opened."""
        return Statistics(self._commits, self._transactions, self._failed, self._queued_bytes, tuple(self._corrupt))

    def _read(self, sql: str, parameters: tuple[bytes | int | float | str, ...]) -> list[tuple[Any, ...]]:
        with self._reading:
            reader = self._reader
            try:
                # Fetched whole: an open cursor would hold its snapshot, and later reads would not see later commits.
                return reader.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                cause = error
        if is_corrupt(cause):
            self._enqueue(_Commit(lambda connection: None, None, broken=reader, error=cause))
        raise refused(self.path, cause) from cause

    # --- The writer's thread ---------------------------------------------------------------------------------------

    def _enqueue(self, commit: _Commit, *, hurry: bool = False, patient: bool = False) -> None:
        with self._wake:
            behind = self._queued_bytes > 0 and self._queued_bytes + commit.queued_bytes > limits.STORE_QUEUE_BYTES_MAX
            if not self._closing and not behind:
                self._queue.append(commit)
                self._queued_bytes += commit.queued_bytes
                self._hurry = self._hurry or hurry
                if self._asleep or hurry or not (patient or self._awaited):
                    self._asleep = False
                    self._wake.notify()
                self._awaited = self._awaited or not patient
                return
        self._failed += 1
        if commit.done is not None:
            why = "it is closed" if self._closing else f"the disk is {self._queued_bytes >> 20} MiB behind"
            commit.done(StoreError(f"{self.path}: {why}"))

    def _perform(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` in the writer's thread and wait until it is durable."""
        results: list[T] = []
        errors: list[StoreError | None] = []
        ended = threading.Event()

        def done(error: StoreError | None) -> None:
            errors.append(error)
            ended.set()

        self._enqueue(_Commit(lambda connection: results.append(work(connection)), done), hurry=True)
        ended.wait()
        if errors[0] is not None:
            raise errors[0]
        return results[-1]

    def _run(self) -> None:
        began = float("-inf")  # the last transaction
        while True:
            with self._wake:
                self._asleep = True
                self._wake.wait_for(lambda: self._queue or self._closing)
                self._asleep = False
                if not self._queue:
                    return
                while not self._hurry and (rest_s := began + self._apart_s - time.monotonic()) > 0:
                    self._wake.wait(rest_s)
                began = time.monotonic()
                self._awaited = False
                commits = tuple(self._queue)
                self._queue.clear()
                self._hurry = self._closing
            self._flush(commits)
            with self._wake:
                self._queued_bytes -= sum(commit.queued_bytes for commit in commits)
            for commit in commits:
                self._answer(commit)

    @property
    def _apart_s(self) -> float:
        return APART_S if self._awaited else PATIENT_APART_S

    def _flush(self, commits: tuple[_Commit, ...]) -> None:
        self._write(commits)
        self._say(next((commit.error for commit in commits if commit.error is not None), None))

    def _say(self, error: BaseException | None) -> None:
        """Log the first refusal, and when all has been well again for a while."""
        now = time.monotonic()
        if error is not None:
            if self._refused_s is None:
                log.error("%s", refused(self.path, error))
            self._refused_s = now
        elif self._refused_s is not None and now - self._refused_s >= WELL_AGAIN_S:
            self._refused_s = None
            log.warning("%s: writes succeed again", self.path)

    def _write(self, commits: tuple[_Commit, ...]) -> None:
        if self._bare and (full := self._open_again()) is not None:
            for commit in commits:
                commit.error = full
            return
        cause: BaseException | None = self._lost or next(
            (commit.error for commit in commits if commit.broken is self._reader), None
        )
        if cause is None:
            cause = self._transact(commits)
        if cause is not None and is_corrupt(cause):
            try:
                self._begin_fresh(cause)
            except StoreError as error:
                cause = error
            else:
                cause = self._transact(commits)
        if cause is not None and len(commits) > 1 and not _concerns_all(cause):
            for commit in commits:
                commit.error = self._transact((commit,))
        else:
            for commit in commits:
                commit.error = cause

    def _transact(self, commits: Sequence[_Commit]) -> BaseException | None:
        try:
            if (statement := _one_statement(commits)) is not None:
                self._writer.execute(*statement)  # which is a transaction of its own
            else:
                self._writer.execute("BEGIN IMMEDIATE")
                for commit in commits:
                    commit.work(self._writer)
                self._writer.execute("COMMIT")
        except Exception as error:  # whatever it is, the next commit gets its turn; the caller is told
            try:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # sqlite rolled back by itself, or does so when the file is opened again
            return error
        self._transactions += 1
        return None

    def _answer(self, commit: _Commit) -> None:
        self._commits += commit.error is None
        self._failed += commit.error is not None
        if commit.done is None:
            return
        try:
            commit.done(None if commit.error is None else refused(self.path, commit.error))
        except Exception:  # an event loop that was closed meanwhile must not end the writing for all others
            log.exception("%s: a commit's callback failed", self.path)

    # --- The file --------------------------------------------------------------------------------------------------

    def _open(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        """The writer's and the readers' connection, to a fresh file where the one found is corrupt.

        On a full disk they may be one that only reads.
        """
        try:
            try:
                writer = connect(self.path, self._durable, self._bytes_max)
            except sqlite3.DatabaseError as error:
                if not is_corrupt(error):
                    raise
                aside = self._set_aside(error)
                writer = connect(self.path, self._durable, self._bytes_max)
                self._aside = None
                save_rows(self.path, aside, error, writer)
            return writer, connect(self.path, self._durable, self._bytes_max)
        except sqlite3.Error as error:
            why = refused(self.path, error)
            bare = as_it_lies(self.path) if isinstance(why, DiskFull) else None
            if bare is None:
                raise why from error
            self._bare = True
            return bare, bare

    def _open_again(self) -> sqlite3.Error | StoreError | None:
        """Write, too, from now on, where the disk has room by now; else what is in the way."""
        try:
            writer = connect(self.path, self._durable, self._bytes_max)
            try:
                reader = connect(self.path, self._durable, self._bytes_max)
            except BaseException:
                writer.close()
                raise
        except (sqlite3.Error, StoreError) as error:
            return error
        with self._reading:
            self._reader.close()
            self._writer, self._reader, self._bare = writer, reader, False
        return None

    def _set_aside(self, cause: BaseException) -> Path:
        """Where the corrupt file is from now on, which nobody has open."""
        if self._aside is None:
            self._aside = set_aside(self.path, cause)
            self._corrupt.append(self._aside)
        return self._aside

    def _begin_fresh(self, cause: BaseException) -> None:
        """Another file instead of the corrupt one. Where the disk refuses that, the next commit is another attempt.

        What can be read of the old one is saved when others can read again: they are not to wait so long.
        """
        with self._reading:
            self._lost = cause
            self._reader.close()
            self._writer.close()
            aside = self._set_aside(cause)
            try:
                self._writer = connect(self.path, self._durable, self._bytes_max)
                self._reader = connect(self.path, self._durable, self._bytes_max)
            except sqlite3.Error as error:
                raise refused(self.path, error) from error
            self._lost = self._aside = None
        save_rows(self.path, aside, cause, self._writer)


def _apply(connection: sqlite3.Connection, writes: tuple[Write, ...]) -> None:
    for write in writes:
        if write.value is None:
            connection.execute(schema.delete(write.table, len(write.key)), write.key)
        else:
            connection.execute(schema.upsert(write.table), (*write.key, *write.value))


def _one_statement(commits: Sequence[_Commit]) -> tuple[str, list[Any]] | None:
    """The statement that does it all, where a few rows of one table are written and that is all.

    Three statements pass the interpreter's lock to and fro three times, and the event loop seldom gives it back soon.
    """
    writes = [write for commit in commits for write in commit.writes]
    if not 0 < len(writes) <= _ROWS_TOGETHER_MAX or not all(commit.writes for commit in commits):
        return None
    table = writes[0].table
    parameters: list[Any] = []
    for write in writes:
        if write.table != table or write.value is None:
            return None
        parameters += write.key
        parameters += write.value
    return schema.upsert(table, len(writes)), parameters


def _concerns_all(error: BaseException) -> bool:
    """Whether the file is at fault. Else one commit is (no room for it, no such type), and its neighbours may pass."""
    full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return isinstance(error, StoreError) or (isinstance(error, sqlite3.OperationalError) and not full)
