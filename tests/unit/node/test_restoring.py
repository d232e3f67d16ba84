"""Restoring: what lies on disk comes back as the machines had it, and nothing of other jobs with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pcpn.node.restoring import bytes_of, job_state, restored_jobs, restored_journal, signed_of
from p2pcpn.protocol.effects import Commit, Effect, Write
from p2pcpn.protocol.steward import Steward
from p2pcpn.store.database import Database
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Cancel, Close, LogHeader, Signed, signed
from tests.unit.protocol.leased import GRANTOR, GRANTOR_AT, ME, NOTHING, OWNER, STEWARDS, Bench, Made, told

WALL = 1e9


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "node.db", durable=False)
    yield database
    database.close()


def write(database: Database, effects: list[Effect]) -> None:
    """Write what effects ask for, those after a commit included, and wait for it."""
    for effect in effects:
        if isinstance(effect, Commit):
            database.commit(effect.writes)
            write(database, list(effect.then))
    database.drop_expired(0.0)  # waits for what was queued before


def log(made: Made, spans: list[tuple[int, int]]) -> list[m.Append]:
    """A settlement log of the job's grantor, a segment a span."""
    found, last = [], NOTHING
    for number, span in enumerate(spans):
        body = b"body %d" % number
        header = signed(LogHeader(made.job, 0, GRANTOR.id, number, last, digest(body), number + 1, [span]), GRANTOR)
        found.append(m.Append(number + 1, header, body))
        last = digest(header.body)
    return found


def steward() -> Steward:
    return Steward(me=STEWARDS[0], storing=True, wall=lambda: WALL, granting=lambda job: None)


def kept(database: Database, made: Made, logs: list[m.Append]) -> Steward:
    """A steward that keeps the job, all of it on disk."""
    keeper = steward()
    write(database, keeper.introduced(GRANTOR_AT, m.Introduce(1, made.spec, True)))
    for number, (segment, sealed) in enumerate(zip(made.segments, made.sealed, strict=True)):
        write(database, keeper.extended(GRANTOR_AT, m.Extend(2 + number, segment, sealed, True)))
    for each in logs:
        write(database, keeper.appended(GRANTOR_AT, each))
    return keeper


def test_a_job_comes_back_as_its_steward_kept_it(database: Database) -> None:
    made = Made()
    made.segment(3, 2)
    made.segment(4)
    keeper = kept(database, made, log(made, [(0, 3), (3, 4)]))
    for statement in (Close(made.job, 9, made.last), Cancel(made.job, 5.0)):
        write(database, keeper.finished(GRANTOR_AT, m.Finish(9, signed(statement, OWNER))))
    before = keeper.jobs[made.job]
    (after,) = restored_jobs(database)
    assert (after.tasks, after.total, after.segments) == (9, 9, before.segments)
    assert (after.close, after.cancel, after.expires_s) == (before.close, before.cancel, before.expires_s)
    assert before.disk_bytes <= after.disk_bytes < before.disk_bytes + 64  # it is charged as it was
    assert after.last == made.last
    assert after.logs == before.logs
    assert after.log(GRANTOR.id, 0).count == 2


def test_a_steward_that_was_restarted_shows_and_goes_on_with_the_job(database: Database) -> None:
    made = Made()
    made.segment(3)
    entries = log(made, [(0, 1), (1, 1), (2, 1)])
    before = kept(database, made, entries[:2])
    again = steward()
    for each in restored_jobs(database):
        again.restore(each)
    assert again.asked(GRANTOR_AT, m.Ask(5, made.job)) == before.asked(GRANTOR_AT, m.Ask(5, made.job))
    assert again.appended(GRANTOR_AT, entries[2]) == before.appended(GRANTOR_AT, entries[2])


def test_a_handover_is_remembered(database: Database) -> None:
    made = Made()
    keeper = kept(database, made, [])
    _, effects = keeper.taken(GRANTOR_AT, m.Take(3, made.handover(0)), made.job)
    write(database, effects)
    (after,) = restored_jobs(database)
    assert after.authority.epoch == 1
    assert after.authority.grants(STEWARDS[0].public, 1)


def test_a_log_kept_for_its_grantor_alone_is_no_job(database: Database) -> None:
    made = Made()
    (entry,) = log(made, [(0, 1)])
    write(database, steward().appended(GRANTOR_AT, entry))
    assert database.count("logs") == 1
    assert list(restored_jobs(database)) == []
    assert job_state(database, made.job) == ([], [(0, 1)])


def test_the_state_of_a_job_is_its_segments_and_what_is_settled(database: Database) -> None:
    made, other = Made(1), Made(2)
    made.segment(3)
    made.segment(2)
    other.segment(7)
    kept(database, made, log(made, [(0, 2), (3, 1)]))
    kept(database, other, log(other, [(0, 7)]))
    segments, settled = job_state(database, made.job)
    assert segments == list(zip(made.segments, made.sealed, strict=True))
    assert settled == [(0, 2), (3, 1)]
    assert job_state(database, b"\0" * 20) == ([], [])


def test_unsettled_results_come_back_with_their_job_and_no_others(database: Database) -> None:
    bench = Bench()
    made = bench.know(Made(), 4)
    bench.take(made, (0, 4))
    effects = bench.run_all()
    write(database, bench.effects)
    messages = told(effects, m.Results)
    # Beside them the rows a steward keeps for others, whose job has no line in the journal, and what else is noted.
    foreign = (0, GRANTOR.id, pages.SIGNED.encode(messages[0].receipt), b"page")
    database.commit([Write("journal", (b"\5" * 20, 1, 0), foreign), Write("meta", ("other",), (b"x",))])
    write(database, [])
    ((spec, grantor, results),) = restored_journal(database)
    assert (spec, grantor) == (made.spec, GRANTOR_AT)
    assert [(each.receipt, each.page) for each in results] == [(each.receipt, each.page) for each in messages]
    assert results
    again = Bench(me=ME)
    again.worker.restore(restored_journal(database), 0.0)
    assert made.job in again.worker.works


def test_a_column_that_holds_something_else_is_our_own_mistake() -> None:
    assert bytes_of(b"bytes") == b"bytes"
    with pytest.raises(AssertionError, match="holds something else"):
        bytes_of("text")
    with pytest.raises(AssertionError):
        signed_of(None)
    statement: Signed = signed(Cancel(b"\1" * 20, 1.0), OWNER)
    assert signed_of(pages.SIGNED.encode(statement)) == statement
