"""Salvage: every row that can be read comes out once, and nothing hangs on those that cannot."""

from __future__ import annotations

import random
import sqlite3

import pytest

from p2pcpn.store import salvage as module
from p2pcpn.store import schema
from p2pcpn.store.file import connect
from p2pcpn.store.salvage import salvage

ROWS = 1500


@pytest.fixture
def fresh(tmp_path):
    connection = connect(tmp_path / "fresh.db", False, None)
    yield connection
    connection.close()


def filled(path):
    """A database of numbered rows in three tables; the pages of the file."""
    connection = connect(path, False, None)
    connection.execute("BEGIN")
    for n in range(ROWS):
        connection.execute(schema.upsert("blobs"), (n.to_bytes(32, "big"), n, b"job", 1.0))
    for n in range(40):
        connection.execute(schema.upsert("logs"), (b"j", b"g", 0, n, b"%d" % n, bytes(9000)))
    connection.execute(schema.upsert("meta"), ("boot", 7))
    connection.execute("COMMIT")
    connection.close()
    return path.stat().st_size // 4096


def overwrite(path, pages):
    with open(path, "r+b") as file:
        for page in pages:
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)


def test_all_rows_of_a_sound_file_come_out(tmp_path, fresh):
    filled(tmp_path / "old.db")
    assert salvage(tmp_path / "old.db", fresh) == ROWS + 40 + 1
    assert fresh.execute("SELECT count(*), sum(size_bytes) FROM blobs").fetchone() == (ROWS, ROWS * (ROWS - 1) // 2)
    assert fresh.execute("SELECT value FROM meta").fetchone() == (7,)


@pytest.mark.parametrize("seed", range(6))
def test_what_comes_out_of_a_damaged_file_is_true_and_most_of_it(tmp_path, fresh, seed):
    path = tmp_path / "old.db"
    pages = filled(path)
    before = path.read_bytes()
    # Beyond the schema and the roots of the tables: a root that is gone takes its table along.
    overwrite(path, random.Random(seed).sample(range(25, pages), 3))
    damaged = path.read_bytes()
    assert damaged != before
    saved = salvage(path, fresh)
    assert saved > (ROWS + 41) * 0.6
    for digest, size in fresh.execute("SELECT digest, size_bytes FROM blobs"):
        assert int.from_bytes(digest, "big") == size
    assert path.read_bytes() == damaged, "the damaged file is left for its owner to look at"
    assert not path.with_name("old.db-shm").exists()


def test_rows_that_are_none_any_more_are_left_out(tmp_path, fresh):
    path = tmp_path / "old.db"
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("CREATE TABLE peers (id BLOB, host BLOB, port INTEGER, seen_s REAL)")
    old.execute("INSERT INTO peers VALUES (NULL, x'00', 1, 1.0), (x'01', x'00', 1, 1.0)")
    old.close()
    assert salvage(path, fresh) == 1
    assert fresh.execute("SELECT id FROM peers").fetchall() == [(b"\1",)]


def test_nothing_comes_of_what_is_no_database_or_takes_too_long(tmp_path, fresh):
    (tmp_path / "text").write_text("no database" * 1000)
    assert salvage(tmp_path / "text", fresh) == salvage(tmp_path / "missing", fresh) == 0
    filled(tmp_path / "old.db")
    assert salvage(tmp_path / "old.db", fresh, budget_s=0.0) == 0


def test_a_fresh_file_that_refuses_is_an_error_and_no_transaction_stays_open(tmp_path, fresh):
    filled(tmp_path / "old.db")
    fresh.execute("PRAGMA query_only = 1")
    with pytest.raises(sqlite3.Error):
        salvage(tmp_path / "old.db", fresh)
    assert not fresh.in_transaction


def test_the_walk_goes_on_right_behind_what_cannot_be_read(monkeypatch):
    bad = range(1000, 5000)

    def read(damaged, sql, after, count):
        return None if after + 1 in bad or (after + 1 < bad.start <= after + count) else [(after + 1,)]

    monkeypatch.setattr(module, "_read", read)
    assert module._behind(None, "", 999) == bad.stop - 1
    monkeypatch.setattr(module, "_read", lambda *_: None)
    assert module._behind(None, "", 999) is None
