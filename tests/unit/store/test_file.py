"""The sqlite file: private, at the current version, set aside when it is corrupt."""

from __future__ import annotations

import os
import sqlite3
import stat

import pytest

from p2pcpn import limits
from p2pcpn.errors import StoreError
from p2pcpn.store import schema
from p2pcpn.store.file import connect, is_corrupt, set_aside


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


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "peer.db"
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    raw.close()
    with pytest.raises(StoreError, match="newer p2pcpn"):
        connect(path, True, None)
    assert "peer.db" in names(tmp_path)


def test_an_older_file_is_brought_to_the_current_version(tmp_path, monkeypatch):
    path = tmp_path / "peer.db"
    connect(path, True, None).close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("ALTER TABLE peers ADD COLUMN note TEXT",)))
    connection = connect(path, True, None)
    assert connection.execute("SELECT note FROM peers").fetchall() == []
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
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
