"""The tables of a peer's database, and the SQL that one row of each needs.

Rowid tables throughout: *measured*, 20 MB of 1 KB values take 28 MB in a rowid table and 94 MB in one ``WITHOUT
ROWID``. ``TABLES`` is what the code speaks of; ``MIGRATIONS`` is how a file comes to have it. The file's version is
its ``user_version``, the number of migrations done. A migration that was released is never edited: append another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of the key, in the order of its prefixes, and of the value.

    ``read_rows`` are fetched at a time by a scan: few where a row may hold megabytes. Of two rows of one key the newer
    stands, or the one that ends last where ``longest``: what one peer asked us to keep no other has dropped sooner.
    """

    key: tuple[str, ...]
    value: tuple[str, ...]
    read_rows: int = 512
    longest: bool = False


# Of a job ``cancel`` is the owner's order: its Cancel, after which no other matters, or else its newest Pause.
TABLES: Final[dict[str, Table]] = {
    "meta": Table(("name",), ("value",)),
    "records": Table(("key",), ("owner", "seq", "expires_s", "signed")),
    "jobs": Table(("job",), ("owner", "spec", "expires_s", "close", "cancel", "handover"), read_rows=64),
    "segments": Table(("job", "number"), ("first", "count", "signed", "pages"), read_rows=4),
    "logs": Table(("job", "grantor", "epoch", "number"), ("header", "body"), read_rows=4),
    "journal": Table(("job", "token", "part"), ("epoch", "grantor", "receipt", "page", "lease"), read_rows=4),
    # Results that workers brought here because nobody granted, by who signed them.
    "orphans": Table(("job", "worker", "token", "part"), ("epoch", "grantor", "receipt", "page", "lease"), read_rows=4),
    "states": Table(("job", "task"), ("number", "sealed"), read_rows=16),
    # By which handover of its owner this node granted a job last: it takes no epoch twice.
    "handovers": Table(("job",), ("expires_s", "signed")),
    "peers": Table(("id",), ("host", "port", "seen_s")),
    "blobs": Table(("digest",), ("size_bytes", "job", "expires_s"), longest=True),
    # Rows that could not be what was written, for the owner to look at: key and value as MessagePack, and why.
    "damaged": Table(("origin", "key"), ("value", "why", "found_s"), read_rows=64),
}

# Tables whose rows end at ``expires_s`` (wall clock), and what goes with a job that has ended.
EXPIRING: Final = ("records", "jobs", "blobs", "handovers")
OF_A_JOB: Final = ("segments", "logs", "journal", "orphans", "states")

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE meta (name TEXT NOT NULL, value BLOB, PRIMARY KEY (name))",
        "CREATE TABLE records (key BLOB NOT NULL, owner BLOB, seq INTEGER, expires_s REAL, signed BLOB,"
        " PRIMARY KEY (key))",
        "CREATE INDEX records_expire ON records (expires_s)",
        "CREATE TABLE jobs (job BLOB NOT NULL, owner BLOB, spec BLOB, expires_s REAL, close BLOB, cancel BLOB,"
        " handover BLOB, PRIMARY KEY (job))",
        "CREATE INDEX jobs_expire ON jobs (expires_s)",
        "CREATE TABLE segments (job BLOB NOT NULL, number INTEGER NOT NULL, first INTEGER, count INTEGER, signed BLOB,"
        " pages BLOB, PRIMARY KEY (job, number))",
        "CREATE TABLE logs (job BLOB NOT NULL, grantor BLOB NOT NULL, epoch INTEGER NOT NULL, number INTEGER NOT NULL,"
        " header BLOB, body BLOB, PRIMARY KEY (job, grantor, epoch, number))",
        "CREATE TABLE journal (job BLOB NOT NULL, token INTEGER NOT NULL, part INTEGER NOT NULL, epoch INTEGER,"
        " grantor BLOB, receipt BLOB, page BLOB, PRIMARY KEY (job, token, part))",
        "CREATE TABLE peers (id BLOB NOT NULL, host BLOB, port INTEGER, seen_s REAL, PRIMARY KEY (id))",
        "CREATE TABLE blobs (digest BLOB NOT NULL, size_bytes INTEGER, job BLOB, expires_s REAL, PRIMARY KEY (digest))",
        "CREATE INDEX blobs_expire ON blobs (expires_s)",
    ),
    (
        "CREATE TABLE damaged (origin TEXT NOT NULL, key BLOB NOT NULL, value BLOB, why TEXT, found_s REAL,"
        " PRIMARY KEY (origin, key))",
    ),
    (
        "CREATE TABLE states (job BLOB NOT NULL, task INTEGER NOT NULL, number INTEGER, sealed BLOB,"
        " PRIMARY KEY (job, task))",
    ),
    (
        "CREATE TABLE orphans (job BLOB NOT NULL, worker BLOB NOT NULL, token INTEGER NOT NULL, part INTEGER NOT NULL,"
        " epoch INTEGER, grantor BLOB, receipt BLOB, page BLOB, PRIMARY KEY (job, worker, token, part))",
    ),
    (
        "CREATE TABLE handovers (job BLOB NOT NULL, expires_s REAL, signed BLOB, PRIMARY KEY (job))",
        "CREATE INDEX handovers_expire ON handovers (expires_s)",
    ),
    ("ALTER TABLE journal ADD COLUMN lease BLOB", "ALTER TABLE orphans ADD COLUMN lease BLOB"),
)


@cache
def upsert(name: str, rows: int = 1) -> str:
    """Writes so many rows: parameters are the key's columns, then the value's, row after row.

    Where the table's ``longest`` row stands, one that ends sooner than the row that is there changes nothing.
    """
    table = TABLES[name]
    columns = (*table.key, *table.value)
    news = ", ".join(f"{column} = excluded.{column}" for column in table.value)
    row = f"({', '.join('?' * len(columns))})"
    longest = f" WHERE excluded.expires_s >= ifnull({name}.expires_s, 0)" if table.longest else ""
    return (
        f"INSERT INTO {name} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"
        f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {news}{longest}"
    )


@cache
def delete(name: str, prefix: int) -> str:
    """Deletes every row whose first ``prefix`` key columns equal the parameters; all rows where ``prefix`` is 0."""
    return f"DELETE FROM {name}{_where(TABLES[name].key[:prefix])}"


@cache
def get(name: str) -> str:
    """Reads the value's columns of one key."""
    table = TABLES[name]
    return f"SELECT {', '.join(table.value)} FROM {name}{_where(table.key)}"


@cache
def count(name: str, prefix: int) -> str:
    """Counts the rows under a key prefix."""
    return f"SELECT count(*) FROM {name}{_where(TABLES[name].key[:prefix])}"


@cache
def scan(name: str, prefix: int, after: bool) -> str:
    """Reads ``read_rows`` rows under a key prefix in key order; ``after`` a key, whose remaining columns follow."""
    table = TABLES[name]
    rest = table.key[prefix:]
    clauses = [f"{column} = ?" for column in table.key[:prefix]]
    if after:
        clauses.append(f"({', '.join(rest)}) > ({', '.join('?' * len(rest))})")
    where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
    order = f" ORDER BY {', '.join(rest)}" if rest else ""
    return f"SELECT {', '.join((*table.key, *table.value))} FROM {name}{where}{order} LIMIT {table.read_rows}"


@cache
def expired(name: str, limit: int) -> str:
    """Reads the keys of the rows that ended at or before the parameter, the oldest first."""
    return f"SELECT {TABLES[name].key[0]} FROM {name} WHERE expires_s <= ? ORDER BY expires_s LIMIT {limit}"


def _where(columns: tuple[str, ...]) -> str:
    return f" WHERE {' AND '.join(f'{column} = ?' for column in columns)}" if columns else ""
