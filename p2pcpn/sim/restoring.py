"""Restoring: what a peer that starts again reads from its virtual disk, and its driver from there for others."""

from __future__ import annotations

from typing import Any

from p2pcpn import limits
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.canonical import Line, stale
from p2pcpn.protocol.journal import results_of, rows_of
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.orphans import orphan_bytes
from p2pcpn.protocol.peer import Peer
from p2pcpn.protocol.spans import outside
from p2pcpn.sim.disk import Disk
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.statements import LogHeader, Receipt, Signed, read


def restore(peer: Peer, disk: Disk, now: float, wall: float) -> None:
    """Give a peer that starts the records, jobs and unsettled results of its earlier lives."""
    peer.dht.restore([(key[0], *value) for key, value in disk.scan("records")], now, wall)
    for (job,), value in disk.scan("jobs"):
        if value[1] is not None:
            peer.steward.restore(_kept(disk, job, value))
            continue
        for _, (header, body) in disk.scan("logs", (job,)):  # that this peer keeps for its grantor alone
            signed, row = _signed(header), limits.STEWARD_ROW_BYTES
            peer.steward.restore_foreign(job, signed.key, value[2], len(signed.body) + len(body) + row)
    jobs = [(name, value) for (name,), (value,) in disk.scan("meta")]
    journal = [(job, *row) for (job, *_), (_, _, *row) in disk.scan("journal")]
    peer.worker.restore(rows_of(jobs, journal), now)


def _kept(disk: Disk, job: bytes, row: tuple[Any, ...]) -> Kept:
    _, spec, expires_s, close, order, grants = row
    authority = Authority(_signed(spec))
    kept = Kept(authority, expires_s)
    kept.granted(pages.GRANTS.decode(grants))
    kept.close = None if close is None else _signed(close)
    if order is not None:
        kept.restore_order(_signed(order))
    for _, (_, count, segment, data) in disk.scan("segments", (job,)):
        kept.add_segment(_signed(segment), count, len(data))
    for (_, grantor, epoch, _), (header, body) in disk.scan("logs", (job,)):
        kept.restore_log(grantor, epoch, _signed(header), len(body))
    for (_, worker, *_), (_, _, *row) in disk.scan("orphans", (job,)):
        message = results_of(*row)
        kept.restore_orphan(worker, read(message.receipt, Receipt), orphan_bytes(message))
    for state in states(disk, job):
        kept.restore_state(state.index, state.number, len(state.sealed))
    return kept


def job_state(disk: Disk, authority: Authority) -> tuple[list[tuple[Signed, list[bytes]]], list[tuple[int, int]]]:
    """The segments of a job on this disk, and the spans that logs on it settle, less what was made of losers."""
    job = authority.job
    segments = [
        (_signed(segment), pages.PAGES.decode(data)) for _, (_, _, segment, data) in disk.scan("segments", (job,))
    ]
    log = _settled(disk, authority)
    spans = [span for said, _ in log for span in said.spans]
    return segments, outside(spans, pages.spans_of(stale_tasks(disk, authority)))


def _logs(disk: Disk, job: bytes) -> list[tuple[LogHeader, list[pages.Entry]]]:
    return [
        (read(_signed(header), LogHeader), pages.LOG_BODY.decode(body))
        for _, (header, body) in disk.scan("logs", (job,))
    ]


def _settled(disk: Disk, authority: Authority) -> list[tuple[LogHeader, list[pages.Entry]]]:
    """The logs of those who may write them."""
    found = _logs(disk, authority.job)
    return [(said, log) for said, log in found if authority.writes(said.grantor, said.epoch, said.spans)]


def _lines(logs: list[tuple[LogHeader, list[pages.Entry]]]) -> list[Line]:
    return [(said.epoch, read(each.receipt, Receipt), each.spans) for said, entries in logs for each in entries]


def lines_of(disk: Disk, job: bytes) -> list[Line]:
    """Every entry of the logs of a job on this disk, and its epoch."""
    return _lines(_logs(disk, job))


def stale_tasks(disk: Disk, authority: Authority) -> list[int]:
    """The tasks of which no result counts that logs on this disk settle."""
    lines = _lines(_settled(disk, authority))
    return stale(lambda: lines)


def orphans(disk: Disk, job: bytes, *, own: bool = True) -> list[m.Results]:
    """Results of a job that workers brought here because they found no grantor; ``own``: what our worker ran, too."""
    rows = [row for table in (("journal",) * own + ("orphans",)) for _, row in disk.scan(table, (job,))]
    return [results_of(*row) for _, _, *row in rows]


def states(disk: Disk, job: bytes) -> list[m.LeftState]:
    """What running tasks of a job left that is kept on this disk."""
    return [m.LeftState(index, number, sealed) for (_, index), (number, sealed) in disk.scan("states", (job,))]


def settlements(disk: Disk, authority: Authority) -> list[tuple[int, pages.Entry]]:
    """What the logs of a job on this disk settle, and in which epochs."""
    return [(said.epoch, entry) for said, entries in _settled(disk, authority) for entry in entries]


def log_message(request: int, row: tuple[Any, ...]) -> m.Append:
    """A stored log segment, for a holder to keep."""
    return m.Append(request, _signed(row[0]), row[1])


def segment_message(request: int, row: tuple[Any, ...], *, keep: bool = True) -> m.Extend:
    """A stored segment of tasks, for a peer to keep, or (not ``keep``) for one that asked for it."""
    return m.Extend(request, _signed(row[2]), pages.PAGES.decode(row[3]), keep)


def log_answer(request: int, row: tuple[Any, ...]) -> m.LogData:
    """A stored log segment, for a reader."""
    return m.LogData(request, _signed(row[0]), row[1])


def _signed(value: bytes) -> Signed:
    return pages.SIGNED.decode(value)
