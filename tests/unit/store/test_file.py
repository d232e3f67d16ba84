"""The sqlite file: private, at the current version, set aside when it is corrupt."""

from __future__ import annotations

import os
import sqlite3
import stat

import pytest

from p2pcpn import limits
from p2pcpn.errors import DiskFull, StoreError
from p2pcpn.store import schema
from p2pcpn.store.file import as_it_lies, connect, is_corrupt, refused, save_rows, set_aside

# What the first release made, as text: a migration that is edited later would change what old files are taken for.
FIRST_RELEASE = """
CREATE TABLE meta (name TEXT NOT NULL, value BLOB, PRIMARY KEY (name));
CREATE TABLE records (key BLOB NOT NULL, owner BLOB, seq INTEGER, expires_s REAL, signed BLOB, PRIMARY KEY (key));
CREATE INDEX records_expire ON records (expires_s);
CREATE TABLE jobs (job BLOB NOT NULL, owner BLOB, spec BLOB, expires_s REAL, close BLOB, cancel BLOB, handover BLOB,
    PRIMARY KEY (job));
CREATE INDEX jobs_expire ON jobs (expires_s);
CREATE TABLE segments (job BLOB NOT NULL, number INTEGER NOT NULL, first INTEGER, count INTEGER, signed BLOB,
    pages BLOB, PRIMARY KEY (job, number));
CREATE TABLE logs (job BLOB NOT NULL, grantor BLOB NOT NULL, epoch INTEGER NOT NULL, number INTEGER NOT NULL,
    header BLOB, body BLOB, PRIMARY KEY (job, grantor, epoch, number));
CREATE TABLE journal (job BLOB NOT NULL, token INTEGER NOT NULL, part INTEGER NOT NULL, epoch INTEGER, grantor BLOB,
    receipt BLOB, page BLOB, PRIMARY KEY (job, token, part));
CREATE TABLE peers (id BLOB NOT NULL, host BLOB, port INTEGER, seen_s REAL, PRIMARY KEY (id));
CREATE TABLE blobs (digest BLOB NOT NULL, size_bytes INTEGER, job BLOB, expires_s REAL, PRIMARY KEY (digest));
CREATE INDEX blobs_expire ON blobs (expires_s);
PRAGMA user_version = 1;
INSERT INTO meta VALUES ('boot', 41);
INSERT INTO records VALUES (x'6b', x'6f', 7, 9.5, x'73');
INSERT INTO jobs VALUES (x'6a', x'6f', x'73706563', 9.5, NULL, NULL, NULL);
INSERT INTO blobs VALUES (x'64', 3, x'6a', 9.5);
"""


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_fresh_file_is_private_and_at_the_current_version(tmp_path):
    path = tmp_path / "peer.db"
    connection = connect(path, True, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()
    relaxed = connect(path, False, None)
    assert relaxed.execute("PRAGMA synchronous").fetchone() == (1,)
    relaxed.close()


KNOWN = len(schema.MIGRATIONS)
NEWER = rf"peer\.db: made by a newer p2pcpn \(schema {KNOWN + 1}; this one knows {KNOWN}\).*--data"


@pytest.mark.parametrize("in_log", [False, True], ids=["at rest", "its version in the log alone"])
def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path, in_log):
    path = tmp_path / "peer.db"
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA journal_mode = {'WAL' if in_log else 'DELETE'}")
    raw.execute("CREATE TABLE marvels (name TEXT)")
    raw.commit()
    raw.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    if not in_log:
        raw.close()
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir() if not each.name.endswith("-shm")}
    with pytest.raises(StoreError, match=NEWER):
        connect(path, True, None)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir() if not each.name.endswith("-shm")} == before
    raw.close()


def test_a_file_of_the_first_release_is_migrated_with_all_it_holds(tmp_path):
    path = tmp_path / "peer.db"
    raw = sqlite3.connect(path)
    raw.executescript(FIRST_RELEASE)
    raw.close()
    connection = connect(path, True, None)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    assert connection.execute("SELECT * FROM records").fetchall() == [(b"k", b"o", 7, 9.5, b"s")]
    assert connection.execute("SELECT * FROM jobs").fetchall() == [(b"j", b"o", b"spec", 9.5, None, None, None)]
    assert connection.execute("SELECT * FROM blobs").fetchall() == [(b"d", 3, b"j", 9.5)]
    assert connection.execute("SELECT value FROM meta").fetchall() == [(41,)]
    for name, table in schema.TABLES.items():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        assert columns == [*table.key, *table.value], name
    connection.close()


def test_a_migration_that_fails_halfway_leaves_the_file_at_its_version(tmp_path, monkeypatch):
    path = tmp_path / "peer.db"
    connect(path, True, None).close()
    version, good = len(schema.MIGRATIONS), "CREATE TABLE more (name TEXT)"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, (good, "no SQL at all")))
    with pytest.raises(sqlite3.OperationalError):
        connect(path, True, None)
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA user_version").fetchone() == (version,)
    assert not raw.execute("SELECT 1 FROM sqlite_schema WHERE name = 'more'").fetchall()
    raw.close()


def test_an_older_file_is_brought_to_the_current_version(tmp_path, monkeypatch):
    path = tmp_path / "peer.db"
    connect(path, True, None).close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("ALTER TABLE peers ADD COLUMN note TEXT",)))
    connection = connect(path, True, None)
    assert connection.execute("SELECT note FROM peers").fetchall() == []
    assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    connection.close()


def test_a_path_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"missing.peer\.db"):
        connect(tmp_path / "missing" / "peer.db", True, None)


def test_garbage_is_told_from_other_troubles(tmp_path):
    path = tmp_path / "peer.db"
    path.write_bytes(os.urandom(8192))
    with pytest.raises(sqlite3.DatabaseError) as caught:
        connect(path, True, None)
    assert is_corrupt(caught.value)
    assert not is_corrupt(sqlite3.OperationalError("disk full")) and not is_corrupt(OSError())


def failed(code):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


def test_no_room_is_told_from_other_troubles(tmp_path, monkeypatch):
    path = tmp_path / "peer.db"
    assert type(refused(path, failed(sqlite3.SQLITE_FULL))) is DiskFull
    assert "peer.db: no room" in str(refused(path, failed(sqlite3.SQLITE_FULL)))
    assert type(refused(path, failed(sqlite3.SQLITE_IOERR_SHMSIZE))) is StoreError
    assert type(refused(path / "gone" / "peer.db", failed(sqlite3.SQLITE_IOERR_WRITE))) is StoreError
    monkeypatch.setattr("p2pcpn.store.file._FULL_BYTES", 1 << 60)
    assert type(refused(path, failed(sqlite3.SQLITE_IOERR_SHMSIZE))) is DiskFull
    assert type(refused(path, failed(sqlite3.SQLITE_BUSY))) is StoreError
    ours = StoreError("ours")
    assert refused(path, ours) is ours


def test_a_file_is_read_as_it_lies_only_where_it_holds_what_was_committed_last(tmp_path):
    path = tmp_path / "peer.db"
    assert as_it_lies(path) is None, "there is none"
    opened = connect(path, True, None)
    opened.execute("INSERT INTO meta VALUES ('a', 1)")
    assert as_it_lies(path) is None, "its log holds more"
    opened.close()
    reader = as_it_lies(path)
    assert reader is not None and reader.execute("SELECT value FROM meta").fetchall() == [(1,)]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM meta")
    reader.close()
    older = sqlite3.connect(path)
    older.execute("PRAGMA user_version = 1")
    older.close()
    assert as_it_lies(path) is None, "it is of another version"


def test_what_could_not_be_saved_is_said(tmp_path, caplog):
    fresh = connect(tmp_path / "peer.db", False, None)
    fresh.execute("PRAGMA query_only = 1")
    aside = connect(tmp_path / "aside.db", False, None)
    aside.execute("INSERT INTO meta VALUES ('word', 1)")
    aside.close()
    save_rows(tmp_path / "peer.db", tmp_path / "aside.db", ValueError("garbage"), fresh)
    fresh.close()
    assert "cannot be saved" in caplog.text and "0 rows" in caplog.text


def test_the_newest_corrupt_copies_are_kept_with_their_logs(tmp_path):
    path = tmp_path / "peer.db"
    for number in range(1, limits.CORRUPT_COPIES_MAX + 3):
        path.write_text(str(number))
        path.with_name("peer.db-wal").write_text("log")
        path.with_name("peer.db-shm").write_text("index")
        assert set_aside(path, ValueError("garbage")).read_text() == str(number)
    kept = [f"peer.db.corrupt-{n}{suffix}" for n in (3, 4, 5) for suffix in ("", "-wal")]
    assert names(tmp_path) == kept


def test_a_file_that_cannot_be_set_aside_says_so(tmp_path):
    with pytest.raises(StoreError, match="cannot be set aside"):
        set_aside(tmp_path / "peer.db", ValueError("garbage"))
