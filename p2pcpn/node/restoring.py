"""Restoring: what a node kept on disk, as the machines want it back after a restart or a handover.

A row that cannot be what was written costs what it held and nothing else: it is set aside (:mod:`p2pcpn.node.damage`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.errors import StoreError
from p2pcpn.identity.keys import NODE_ID_BYTES
from p2pcpn.node.damage import DAMAGED, Damage, DamagedRow
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.canonical import Line, deciding, stale
from p2pcpn.protocol.journal import JOB_ROW, JOB_ROW_PREFIX, rows_of
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.orphans import orphan_bytes
from p2pcpn.protocol.settlement import check_body
from p2pcpn.protocol.spans import outside
from p2pcpn.store.database import Database, Value
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import LeftState, Results
from p2pcpn.wire.pages import Entry, cut, spans_of
from p2pcpn.wire.statements import LogHeader, ProviderRecord, Receipt, Record, Signed, read

log = logging.getLogger("p2pcpn.node")

Segments = list[tuple[Signed, list[bytes]]]
Row = tuple[bytes, bytes, int, float, bytes]  # of a record: key, owner, seq, expires_s, packed Signed


@dataclass(frozen=True, slots=True)
class ForeignLog:
    """What lies here of the log of a job that is not known, as its ``grantor`` (a node's key) signed it."""

    job: bytes
    grantor: bytes
    expires_s: float
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What a node gives back to its machines at start: records, a steward's jobs, logs of unknown ones, results nobody
    acknowledged."""

    records: list[Row] = field(default_factory=list)
    jobs: list[Kept] = field(default_factory=list)
    foreign: list[ForeignLog] = field(default_factory=list)
    journal: list[tuple[Signed, Contact, list[Results]]] = field(default_factory=list)


def restored(database: Database) -> Restored:
    """All that the disk holds of an earlier life. Raises :class:`StoreError` where it cannot be read at all.

    A file that turns out corrupt on the way is replaced by what is left of it, and read again.
    """
    try:
        return _restored(database)
    except StoreError as error:
        log.warning("reading once more: %s", error)
        database.drop_expired(0.0)  # waits for what the store does about it
        return _restored(database)


def _restored(database: Database) -> Restored:
    damage = Damage(database)
    found = Restored(
        restored_records(database, damage), restored_jobs(database, damage), restored_foreign(database, damage),
        restored_journal(database, damage),
    )  # fmt: skip
    damage.set_aside()
    return found


def bytes_of(value: object) -> bytes:
    """A column of bytes. Raises :class:`DamagedRow`."""
    if not isinstance(value, bytes):
        raise DamagedRow(f"{type(value).__name__} where bytes were written")
    return value


def number_of(value: object) -> float:
    """A column that holds a number. Raises :class:`DamagedRow`."""
    if not isinstance(value, (int, float)):
        raise DamagedRow(f"{type(value).__name__} where a number was written")
    return value


def signed_of(value: object) -> Signed:
    """A column that holds a signed statement. Raises :class:`DamagedRow`."""
    try:
        return pages.SIGNED.decode(bytes_of(value))
    except DAMAGED as error:
        raise DamagedRow(f"a damaged statement: {error}") from error


def results_of(value: Sequence[object]) -> Results:
    """The columns of a result that waits for a grantor. Raises :class:`DamagedRow`."""
    lease = None if value[4] is None else signed_of(value[4])  # none in a row of an earlier release
    return Results(signed_of(value[2]), bytes_of(value[3]), False, lease)


def grants_of(value: object) -> pages.Grants:
    """A column that tells who grants a job. Raises :class:`DamagedRow`."""
    try:
        return pages.GRANTS.decode(bytes_of(value))
    except DAMAGED as error:
        raise DamagedRow(f"damaged words on who grants: {error}") from error


def pages_of(value: object) -> list[bytes]:
    """A column that holds the sealed pages of a segment. Raises :class:`DamagedRow`."""
    try:
        return pages.PAGES.decode(bytes_of(value))
    except DAMAGED as error:
        raise DamagedRow(f"damaged pages: {error}") from error


def job_state(database: Database, authority: Authority) -> tuple[Segments, list[tuple[int, int]]]:
    """The segments of a job kept here, up to the first that is missing, and the spans that logs kept here settle.

    What was made of results that lost to others is not among these: it has to be run again. Nor is what somebody
    settled who may not: that may lie here of the time when nothing was known of the job but its log.
    """
    job = authority.job
    damage = Damage(database)
    segments: Segments = []
    spans: list[tuple[int, int]] = []
    for key, value in database.scan("segments", (job,)):
        with damage.row("segments", key, value):
            segment = (signed_of(value[2]), pages_of(value[3]))
            if key[1] == len(segments):
                segments.append(segment)
    found: list[Line] = []
    for said, entries in _logs(database, damage, authority):
        spans += said.spans
        found += _lines(said, entries)
    damage.set_aside()
    return segments, outside(spans, spans_of(stale(lambda: found)))


def orphans(database: Database, job: bytes, *, own: bool = True) -> list[Results]:
    """Results of a job that workers brought here because they found no grantor; ``own``: what our worker ran, too."""
    damage = Damage(database)
    found: list[Results] = []
    for table in ("journal", "orphans") if own else ("orphans",):
        for key, value in database.scan(table, (job,)):
            with damage.row(table, key, value):
                found.append(results_of(value))
    damage.set_aside()
    return found


def states(database: Database, job: bytes) -> list[LeftState]:
    """What running tasks of a job left that is kept here."""
    damage = Damage(database)
    found: list[LeftState] = []
    for key, value in database.scan("states", (job,)):
        with damage.row("states", key, value):
            found.append(LeftState(int(number_of(key[1])), int(number_of(value[0])), bytes_of(value[1])))
    damage.set_aside()
    return found


def _logs(database: Database, damage: Damage, authority: Authority) -> Iterator[tuple[LogHeader, list[Entry]]]:
    """The logs of a job kept here, of those who may write them; what is settled nowhere but in a header is not."""
    for key, value in database.scan("logs", (authority.job,)):
        found: tuple[LogHeader, list[Entry]] | None = None
        with damage.row("logs", key, value):
            said = read(signed_of(value[0]), LogHeader)
            found = said, check_body(said, bytes_of(value[1]))
        if found is not None and authority.writes(found[0].grantor, found[0].epoch, found[0].spans):
            yield found


def _lines(said: LogHeader, entries: Sequence[Entry]) -> Iterator[Line]:
    return ((said.epoch, read(entry.receipt, Receipt), entry.spans) for entry in entries)


def stale_tasks(database: Database, authority: Authority) -> list[int]:
    """The tasks of which no result counts that logs kept here settle."""
    damage = Damage(database)
    lines = [line for said, entries in _logs(database, damage, authority) for line in _lines(said, entries)]
    damage.set_aside()
    return stale(lambda: lines)


def settlements(database: Database, authority: Authority, indices: Sequence[int]) -> list[tuple[int, Entry]]:
    """What the logs of a job that lie here say of ``indices``, and what decides which of it counts: their epochs, and
    whole entries, which settle others beside them."""
    damage = Damage(database)
    lines = [line for said, entries in _logs(database, damage, authority) for line in _lines(said, entries)]
    wanted = deciding(lambda: lines, indices)
    found = [
        (said.epoch, entry)
        for said, entries in _logs(database, damage, authority)
        for entry in entries
        if not wanted.isdisjoint(cut(read(entry.receipt, Receipt).spans))
    ]
    damage.set_aside()
    return found


def restored_records(database: Database, damage: Damage) -> list[Row]:
    """The records held for others; expired ones and their signatures are the machine's to judge."""
    rows: list[Row] = []
    for key, value in database.scan("records"):
        with damage.row("records", key, value):
            owner, seq, expires_s, packed = value
            if bytes_of(owner):  # contents have none, and provider records a longer key
                read(signed_of(packed), Record if len(bytes_of(key[0])) == NODE_ID_BYTES else ProviderRecord)
            rows.append(
                (bytes_of(key[0]), bytes_of(owner), int(number_of(seq)), number_of(expires_s), bytes_of(packed))
            )
    return rows


def restored_jobs(database: Database, damage: Damage) -> list[Kept]:
    """The jobs a steward kept before it was restarted. A row without a spec is of a log kept for its grantor alone."""
    jobs: list[Kept] = []
    for key, value in database.scan("jobs"):
        if value[1] is None:
            continue
        with damage.row("jobs", key, value, _alone()):
            jobs.append(_kept(database, damage, bytes_of(key[0]), value))
    return jobs


def _alone() -> Value:
    """The row of a job without a spec: without any nothing would ever delete what else is kept of it."""
    return (None, None, time.time() + limits.RETENTION_S, None, None, None)


def _kept(database: Database, damage: Damage, job: bytes, row: Value) -> Kept:
    owner, spec, expires_s, close, order, grants = row
    authority = Authority(signed_of(spec))
    if authority.job != job:
        raise DamagedRow("the spec of another job")
    words: list[Signed | None] = [None, None]
    kept = Kept(authority, number_of(expires_s), disk_bytes=len(authority.signed_spec.body) + limits.STEWARD_ROW_BYTES)
    instead: Value = (owner, spec, expires_s, None, None, None)
    with damage.row("jobs", (job,), row, instead):  # the owner says it again, or the others who keep the job do
        words = [None if each is None else signed_of(each) for each in (close, order)]
        if grants is not None:
            kept.granted(grants_of(grants))
    kept.close = words[0]
    if words[1] is not None:
        kept.restore_order(words[1])
    for key, value in database.scan("segments", (job,)):
        with damage.row("segments", key, value):
            _, count, segment, data = value
            signed, tasks, pages_bytes = signed_of(segment), int(number_of(count)), len(bytes_of(data))
            if key[1] == len(kept.segments):  # beyond a gap none follows on another
                kept.add_segment(signed, tasks, pages_bytes)
    for key, value in database.scan("logs", (job,)):
        with damage.row("logs", key, value):
            header, body = signed_of(value[0]), bytes_of(value[1])
            if authority.writes(bytes_of(key[1]), int(number_of(key[2])), read(header, LogHeader).spans):
                kept.restore_log(bytes_of(key[1]), int(number_of(key[2])), header, len(body))
    for key, value in database.scan("orphans", (job,)):
        with damage.row("orphans", key, value):
            message = results_of(value)
            kept.restore_orphan(bytes_of(key[1]), read(message.receipt, Receipt), orphan_bytes(message))
    for key, value in database.scan("states", (job,)):
        with damage.row("states", key, value):
            kept.restore_state(int(number_of(key[1])), int(number_of(value[0])), len(bytes_of(value[1])))
    return kept


def restored_foreign(database: Database, damage: Damage) -> list[ForeignLog]:
    """The logs that are kept for their grantors alone: of jobs without a spec."""
    found: list[ForeignLog] = []
    for (job,), value in database.scan("jobs"):
        if value[1] is not None:
            continue
        sizes: Counter[bytes] = Counter()
        for key, row in database.scan("logs", (bytes_of(job),)):
            with damage.row("logs", key, row):
                header = signed_of(row[0])
                sizes[header.key] += len(header.body) + len(bytes_of(row[1])) + limits.STEWARD_ROW_BYTES
        with damage.row("jobs", (job,), value, _alone()):
            expires_s = number_of(value[2])
            found += [ForeignLog(bytes_of(job), grantor, expires_s, size) for grantor, size in sizes.items()]
    return found


def restored_blobs(database: Database) -> list[tuple[bytes, int]]:
    """Of the blobs of jobs that lie here: whose each is, and its size."""
    damage = Damage(database)
    found: list[tuple[bytes, int]] = []
    for key, value in database.scan("blobs"):
        with damage.row("blobs", key, value):
            found.append((bytes_of(value[1]), int(number_of(value[0]))))
    damage.set_aside()
    return found


def restored_journal(database: Database, damage: Damage) -> list[tuple[Signed, Contact, list[Results]]]:
    """Results this worker had not brought to anybody before it was restarted, by job."""
    jobs: list[tuple[str, bytes]] = []
    for key, value in database.scan("meta"):
        name = key[0]
        if isinstance(name, str) and name.startswith(JOB_ROW_PREFIX):
            with damage.row("meta", key, value):
                packed = bytes_of(value[0])
                if Authority(JOB_ROW.decode(packed).spec).job != bytes.fromhex(name.removeprefix(JOB_ROW_PREFIX)):
                    raise DamagedRow("the spec of another job")
                jobs.append((name, packed))
    rows: list[tuple[bytes, bytes, bytes, bytes | None]] = []
    for key, value in database.scan("journal"):
        with damage.row("journal", key, value):
            read(results_of(value).receipt, Receipt)
            lease = None if value[4] is None else bytes_of(value[4])
            rows.append((bytes_of(key[0]), bytes_of(value[2]), bytes_of(value[3]), lease))
    return rows_of(jobs, rows)
