"""Restoring: what a node kept on disk, as the machines want it back after a restart or a handover."""

from __future__ import annotations

from collections.abc import Iterator

from p2pcpn import limits
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.journal import rows_of
from p2pcpn.protocol.steward import Kept
from p2pcpn.store.database import Database
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Results
from p2pcpn.wire.statements import LogHeader, Signed, read

Segments = list[tuple[Signed, list[bytes]]]


def bytes_of(value: object) -> bytes:
    """A column of bytes."""
    assert isinstance(value, bytes), "a column of bytes holds something else"
    return value


def signed_of(value: object) -> Signed:
    """A column that holds a signed statement."""
    return pages.SIGNED.decode(bytes_of(value))


def job_state(database: Database, job: bytes) -> tuple[Segments, list[tuple[int, int]]]:
    """The segments of a job kept here, and the spans that logs kept here settle."""
    segments = [
        (signed_of(signed), pages.PAGES.decode(bytes_of(data)))
        for _, (_, _, signed, data) in database.scan("segments", (job,))
    ]
    settled = [
        span for _, (header, _) in database.scan("logs", (job,)) for span in read(signed_of(header), LogHeader).spans
    ]
    return segments, settled


def restored_jobs(database: Database) -> Iterator[Kept]:
    """The jobs a steward kept before it was restarted. A row without a spec is of a log kept for its grantor alone."""
    for (job,), (_, spec, expires_s, close, cancel, handover) in database.scan("jobs"):
        if spec is None:
            continue
        authority = Authority(signed_of(spec))
        if handover is not None:
            authority.hand_over(signed_of(handover))
        spec_bytes = len(authority.signed_spec.body) + limits.STEWARD_ROW_BYTES
        kept = Kept(authority, float(expires_s or 0.0), disk_bytes=spec_bytes)
        kept.close = None if close is None else signed_of(close)
        kept.cancel = None if cancel is None else signed_of(cancel)
        for _, (_, count, segment, data) in database.scan("segments", (job,)):
            kept.add_segment(signed_of(segment), int(count or 0), len(bytes_of(data)))
        for (_, grantor, epoch, _), (header, body) in database.scan("logs", (job,)):
            kept.restore_log(bytes_of(grantor), int(epoch), signed_of(header), len(bytes_of(body)))
        yield kept


def restored_journal(database: Database) -> list[tuple[Signed, Contact, list[Results]]]:
    """Results this worker had not brought to anybody before it was restarted, by job."""
    jobs = [
        (str(name), bytes_of(value)) for (name,), (value,) in database.scan("meta") if str(name).startswith("journal")
    ]
    rows = [
        (bytes_of(job), bytes_of(receipt), bytes_of(page))
        for (job, *_), (_, _, receipt, page) in database.scan("journal")
    ]
    return rows_of(jobs, rows)
