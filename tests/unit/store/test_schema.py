"""The tables: what the migrations make is what the code speaks of, and every statement finds its index."""

from __future__ import annotations

import sqlite3

import pytest

from p2pcpn.store import schema


@pytest.fixture(autouse=True)
def unmade_statements():
    """Each statement is made once a process: whichever test came before, here they are made."""
    for make in (schema.upsert, schema.delete, schema.get, schema.count, schema.scan, schema.expired):
        make.cache_clear()


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statements in schema.MIGRATIONS:
        for statement in statements:
            connection.execute(statement)
    yield connection
    connection.close()


def test_the_migrations_make_exactly_the_tables_the_code_speaks_of(connection):
    made = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert made == set(schema.TABLES)
    for name, table in schema.TABLES.items():
        columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
        assert [column[1] for column in columns] == [*table.key, *table.value]
        assert [column[1] for column in columns if column[5]] == list(table.key)
        assert all(column[3] for column in columns if column[5]), "a key's column is never null"


def test_what_expires_has_one_key_column_and_an_index(connection):
    for name in schema.EXPIRING:
        assert len(schema.TABLES[name].key) == 1
        plan = connection.execute(f"EXPLAIN QUERY PLAN {schema.expired(name, 10)}", (0,)).fetchall()
        assert f"{name}_expire" in plan[0][3]
    assert all(schema.TABLES[name].key[0] == "job" for name in schema.OF_A_JOB)


def test_an_upsert_writes_a_row_and_then_replaces_it(connection):
    for size in (1, 2):
        connection.execute(schema.upsert("blobs"), (b"digest", size, b"job", 9.5))
    assert connection.execute(schema.get("blobs"), (b"digest",)).fetchall() == [(2, b"job", 9.5)]


def test_a_blob_is_kept_as_long_as_the_one_who_asked_for_the_longest_wants(connection):
    rows = [(b"digest", 7, b"job", 9.5), (b"digest", 1, b"other", 3.0), (b"new", 2, b"job", 1.0)]
    connection.execute(schema.upsert("blobs", 3), [part for row in rows for part in row])
    connection.execute(schema.upsert("blobs"), (b"digest", 1, b"other", 0.0))
    assert connection.execute(schema.get("blobs"), (b"digest",)).fetchall() == [(7, b"job", 9.5)]
    connection.execute(schema.upsert("blobs"), (b"digest", 7, b"other", 10.0))
    assert connection.execute(schema.get("blobs"), (b"digest",)).fetchall() == [(7, b"other", 10.0)]
    connection.execute(schema.upsert("records"), (b"key", b"owner", 1, 9.5, b""))
    connection.execute(schema.upsert("records"), (b"key", b"owner", 2, 3.0, b""))
    assert connection.execute(schema.get("records"), (b"key",)).fetchall() == [(b"owner", 2, 3.0, b"")]


def test_a_prefix_deletes_and_counts_what_is_under_it(connection):
    for job, number in ((b"a", 1), (b"a", 2), (b"b", 1)):
        connection.execute(schema.upsert("segments"), (job, number, 0, 1, b"", b""))
    assert connection.execute(schema.count("segments", 0)).fetchone() == (3,)
    assert connection.execute(schema.count("segments", 1), (b"a",)).fetchone() == (2,)
    connection.execute(schema.delete("segments", 2), (b"a", 1))
    assert connection.execute(schema.count("segments", 1), (b"a",)).fetchone() == (1,)
    connection.execute(schema.delete("segments", 0))
    assert connection.execute(schema.count("segments", 0)).fetchone() == (0,)


def test_a_scan_goes_on_after_the_key_it_is_given_and_sorts_by_the_index(connection):
    for part in (3, 1, 2):
        connection.execute(schema.upsert("journal"), (b"job", 7, part, 0, b"", b"", b"", b""))
    sql = schema.scan("journal", 1, True)
    assert [row[2] for row in connection.execute(sql, (b"job", 7, 1))] == [2, 3]
    plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (b"job", 7, 1)))
    assert "USING INDEX" in plan and "TEMP B-TREE" not in plan
    assert [row[2] for row in connection.execute(schema.scan("journal", 3, False), (b"job", 7, 2))] == [2]
