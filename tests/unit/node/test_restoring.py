"""Restoring: what lies on disk comes back as the machines had it, and nothing of other jobs with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import pytest

from p2pcpn.errors import StoreError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node import restoring
from p2pcpn.node.damage import Damage, DamagedRow
from p2pcpn.node.restoring import bytes_of, job_state, number_of, pages_of, restored, signed_of
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.effects import Commit, Effect, OnDisk, Write
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.lots import RANGE_TASKS
from p2pcpn.protocol.spans import joined
from p2pcpn.protocol.steward import Steward
from p2pcpn.store.database import Database
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Cancel, Close, LogHeader, Pause, Receipt, Record, Signed, signed
from tests.unit.protocol.leased import (
    GRANTOR,
    GRANTOR_AT,
    ME,
    NOTHING,
    OWNER,
    STEWARDS,
    STRANGER,
    STRANGER_AT,
    Bench,
    Made,
    at,
    lease_of,
    settling,
    told,
)

WALL = 1e9


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "node.db", durable=False)
    yield database
    database.close()


def restored_jobs(database: Database) -> list[Kept]:
    return restoring.restored_jobs(database, Damage(database))


def restored_journal(database: Database) -> list[tuple[Signed, Contact, list[m.Results]]]:
    return restoring.restored_journal(database, Damage(database))


def write(database: Database, effects: list[Effect], keeper: Steward | None = None) -> None:
    """Write what effects ask for, those after a commit included, and wait for it; ``keeper`` is told."""
    for effect in effects:
        if isinstance(effect, Commit):
            database.commit(effect.writes)
            write(database, list(effect.then), keeper)
        elif isinstance(effect, OnDisk) and keeper is not None:
            keeper.on_disk(effect.header)
    database.drop_expired(0.0)  # waits for what was queued before


def log(made: Made, spans: list[tuple[int, int]]) -> list[m.Append]:
    """A settlement log of the job's grantor, a segment a span."""
    found, last, settled = [], NOTHING, 0
    for number, span in enumerate(spans):
        body, settled = settling(made.job, [span]), settled + span[1]
        header = signed(LogHeader(made.job, 0, GRANTOR.id, number, last, digest(body), settled, [span]), GRANTOR)
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
        write(database, keeper.appended(GRANTOR_AT, each), keeper)
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
    assert job_state(database, Authority(made.spec)) == ([], [(0, 1)])


def test_the_state_of_a_job_is_its_segments_and_what_is_settled(database: Database) -> None:
    made, other = Made(1), Made(2)
    made.segment(3)
    made.segment(2)
    other.segment(7)
    kept(database, made, log(made, [(0, 2), (3, 1)]))
    kept(database, other, log(other, [(0, 7)]))
    segments, settled = job_state(database, Authority(made.spec))
    assert segments == list(zip(made.segments, made.sealed, strict=True))
    assert settled == [(0, 2), (3, 1)]
    assert job_state(database, Authority(Made(3).spec)) == ([], [])


def test_states_of_running_tasks_come_back_and_a_damaged_one_costs_itself(database: Database) -> None:
    made = Made(1)
    keeper = kept(database, made, [])
    left = m.States(made.job, 0, [m.LeftState(4, 1, b"x"), m.LeftState(2, 2, b"y")])
    write(database, keeper.left(GRANTOR.public, left))
    write(database, [Commit((Write("states", (made.job, 9), (1, None)),))])
    assert restoring.states(database, made.job) == [m.LeftState(2, 2, b"y"), m.LeftState(4, 1, b"x")]
    (job,) = restored_jobs(database)
    assert len(job.states) == 2


def test_unsettled_results_come_back_with_their_job_and_no_others(database: Database) -> None:
    bench = Bench()
    made = bench.know(Made(), 4)
    bench.take(made, (0, 4))
    effects = bench.run_all()
    write(database, bench.effects)
    messages = told(effects, m.Results)
    # Beside them the rows a steward keeps for others, whose job has no line in the journal, and what else is noted.
    foreign = (0, GRANTOR.id, pages.SIGNED.encode(messages[0].receipt), b"page", None)
    database.commit([Write("journal", (b"\5" * 20, 1, 0), foreign), Write("meta", ("other",), (b"x",))])
    write(database, [])
    ((spec, grantor, results),) = restored_journal(database)
    assert (spec, grantor) == (made.spec, GRANTOR_AT)
    assert [(each.receipt, each.page, each.lease) for each in results] == [
        (each.receipt, each.page, each.lease) for each in messages
    ]
    assert results
    again = Bench(me=ME)
    again.worker.restore(restored_journal(database), 0.0)
    assert made.job in again.worker.works


def test_a_column_that_holds_something_else_is_told_from_one_that_does_not() -> None:
    assert bytes_of(b"bytes") == b"bytes" and number_of(1.5) == 1.5 and pages_of(b"\x91\xc4\x01x") == [b"x"]
    for read, value in ((bytes_of, "text"), (number_of, b"1"), (signed_of, None), (signed_of, b"x"), (pages_of, b"x")):
        with pytest.raises(DamagedRow):
            read(value)  # type: ignore[operator]
    statement: Signed = signed(Cancel(b"\1" * 20, 1.0), OWNER)
    assert signed_of(pages.SIGNED.encode(statement)) == statement


GARBAGE = (b"garbage", "text", 7, None, 2.5)


def spoil(database: Database, table: str, key: tuple[bytes | int | str, ...], column: int, what: object) -> None:
    value = list(database.get(table, key) or ())
    value[column] = what  # type: ignore[call-overload]
    database.commit([Write(table, key, tuple(value))])
    write(database, [])


@pytest.mark.parametrize("what", GARBAGE, ids=repr)
def test_any_row_may_be_damaged_and_the_others_come_back(
    tmp_path: Path, what: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Every column of every table that is read at start, one after the other."""
    tables = {"records": 4, "jobs": 6, "segments": 4, "logs": 2, "journal": 5, "meta": 1}
    bench = Bench()
    mine = bench.know(Made(9), 4)
    bench.take(mine, (0, 4))
    bench.run_all()
    for table, columns in tables.items():
        for column in range(columns):
            if table == "jobs" and column == 1 and what is None:
                continue  # a row of a log that is kept for its grantor alone
            database = Database(tmp_path / f"{table}-{column}" / "node.db", durable=False)
            made = [Made(1), Made(2)]
            for each in made:
                each.segment(3)
                each.segment(2)
                kept(database, each, log(each, [(0, 2), (3, 1)]))
            write(database, bench.effects)
            for salt in (b"one", b"two"):
                record = signed(Record(salt, 1, WALL, 3600.0, b"value"), OWNER)
                key = blake2b(OWNER.public + salt, digest_size=20).digest()
                row = (OWNER.public, 1, WALL + 3600, pages.SIGNED.encode(record))
                database.commit([Write("records", (key,), row)])
            write(database, [])
            victim = next(key for key, _ in database.scan(table))
            spoil(database, table, victim, column, what)
            caplog.clear()
            found = restored(database)
            write(database, [])
            assert len(found.records) >= 1 and len(found.jobs) >= 1 and found.journal is not None
            whole = [each for each in found.jobs if each.authority.job != victim[0]]
            assert all(each.tasks == 5 and each.log(GRANTOR.id, 0).count == 2 for each in whole)
            for each in made:
                job_state(database, Authority(each.spec))
            again = restored(database)
            write(database, [])
            assert len(again.jobs) == len(found.jobs) and len(again.records) == len(found.records)
            assert len(caplog.records) <= 2, "what is set aside is not found again"
            database.close()


def test_a_damaged_segment_costs_those_behind_it_and_not_the_job(database: Database) -> None:
    made = Made()
    for count in (3, 2, 4):
        made.segment(count)
    kept(database, made, log(made, [(0, 1)]))
    spoil(database, "segments", (made.job, 1), 2, b"garbage")
    (after,) = restored(database).jobs
    write(database, [])
    assert (after.tasks, len(after.segments)) == (3, 1)
    segments, settled = job_state(database, Authority(made.spec))
    assert segments == [(made.segments[0], made.sealed[0])] and settled == [(0, 1)]
    assert [key[1] for key, _ in database.scan("segments", (made.job,))] == [0, 2]
    assert database.count("damaged") == 1
    # Whoever keeps the job beside us brings what is missing, and it follows on what is here.
    again = steward()
    again.restore(after)
    write(database, again.extended(GRANTOR_AT, m.Extend(9, made.segments[1], made.sealed[1], True)))
    assert len(job_state(database, Authority(made.spec))[0]) == 3


def test_a_damaged_spec_leaves_a_row_that_ends_what_else_is_kept_of_its_job(database: Database) -> None:
    made = Made()
    made.segment(3)
    kept(database, made, [])
    spoil(database, "jobs", (made.job,), 1, b"garbage")
    assert restored(database).jobs == []
    write(database, [])
    row = database.get("jobs", (made.job,))
    assert row is not None and row[1] is None and isinstance(row[2], float)
    assert made.job in database.drop_expired(row[2]).jobs
    assert database.count("segments") == 0


def test_a_damaged_word_of_the_owner_is_forgotten_and_the_job_is_kept(database: Database) -> None:
    made = Made()
    made.segment(3)
    keeper = kept(database, made, [])
    write(database, keeper.finished(GRANTOR_AT, m.Finish(9, signed(Close(made.job, 3, made.last), OWNER))))
    spoil(database, "jobs", (made.job,), 3, b"garbage")
    (after,) = restored(database).jobs
    write(database, [])
    assert (after.tasks, after.close) == (3, None)
    (again,) = restored(database).jobs
    assert again.tasks == 3 and database.count("damaged") == 1


def test_a_file_that_turns_out_corrupt_is_read_again_once_it_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    database = Database(path, durable=False)
    for number in range(40):
        made = Made(number)
        made.segment(3)
        kept(database, made, [])
    database.close()
    data = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as connection:
        (last_root,) = connection.execute("SELECT max(rootpage) FROM sqlite_master").fetchone()
    leaves = [n for n in range(last_root, len(data) // 4096) if data[n * 4096] == 13]  # of jobs and segments
    for page in leaves[1:3]:
        data[page * 4096 : (page + 1) * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    database = Database(path, durable=False)
    found = restored(database)
    assert len(database.statistics().corrupt) == 1
    assert 20 < len(found.jobs) < 40
    database.close()


def test_a_store_that_cannot_be_read_at_all_is_an_error(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("node.db: disk I/O error")

    monkeypatch.setattr(database, "scan", refuse)
    with pytest.raises(StoreError, match=r"node\.db"):
        restored(database)


def test_a_pause_is_remembered(database: Database) -> None:
    made = Made()
    keeper = kept(database, made, [])
    write(database, keeper.finished(GRANTOR_AT, m.Finish(9, signed(Pause(made.job, 3, True), OWNER))))
    (after,) = restored_jobs(database)
    assert after.pause == keeper.jobs[made.job].pause is not None and after.cancel is None


def test_orphans_come_back_and_count_as_before_and_beside_those_of_another_with_the_same_lease(
    database: Database,
) -> None:
    made, messages = Made(), []
    made.segment(2)
    keeper = kept(database, made, [])
    for worker, number in ((ME, 4003), (STRANGER, 4006)):
        said = Receipt(made.job, 0, GRANTOR.id, 1, 0, [(0, 1)], b"\0", bytes(16), digest(b"page"), 0.1, b"")
        messages.append(m.Results(signed(said, worker), b"page", False, lease_of(said, worker)))
        write(database, keeper.orphan(at(worker, number), messages[-1]))
    assert sorted(restoring.orphans(database, made.job), key=lambda each: each.receipt.key) == sorted(
        messages, key=lambda each: each.receipt.key
    )
    before, (after,) = keeper.jobs[made.job], restored_jobs(database)
    assert len(after.orphans) == 2 and after.orphans == before.orphans
    assert before.disk_bytes <= after.disk_bytes < before.disk_bytes + 64
    spoil(database, "orphans", (made.job, ME.id, 1, 0), 2, b"garbage")
    assert restoring.orphans(database, made.job) == [messages[1]]


def test_what_is_settled_by_a_header_alone_has_to_be_run(database: Database) -> None:
    made = Made()
    kept(database, made, log(made, [(0, 1), (1, 1)]))
    spoil(database, "logs", (made.job, GRANTOR.id, 0, 1), 1, settling(made.job, [(2, 1)]))
    assert job_state(database, Authority(made.spec))[1] == [(0, 1)]
    database.drop_expired(0.0)
    assert database.count("logs") == 1 and database.count("damaged") == 1


def test_what_logs_settle_is_read_by_index(database: Database) -> None:
    made = Made()
    receipt = signed(
        Receipt(made.job, 0, GRANTOR.id, 1, 0, [(3, 2)], bytes(2), bytes(32), bytes(32), 0.1, b""), STEWARDS[0]
    )
    entry = pages.Entry(receipt, b"page", None)
    body = pages.LOG_BODY.encode([entry])
    header = signed(LogHeader(made.job, 0, GRANTOR.id, 0, bytes(32), digest(body), 2, [(3, 2)]), GRANTOR)
    write(database, steward().appended(GRANTOR_AT, m.Append(1, header, body)))
    assert restoring.settlements(database, Authority(made.spec), [4]) == [(0, entry)]
    assert (
        restoring.settlements(database, Authority(made.spec), [5, 0])
        == []
        == restoring.settlements(database, Authority(Made(3).spec), [4])
    )


Task = tuple[int, bytes, list[tuple[int, bytes]]]  # its digest, and what it took


def stating(made: Made, epoch: int, by: Keypair, number: int, tasks: list[Task]) -> m.Append:
    """A log segment of ``epoch``, its first, that settles ``tasks``: each by a receipt with what it took."""
    entries = []
    for index, stated, taken in tasks:
        inputs = [(index, each, said) for each, said in taken]
        receipt = Receipt(
            made.job, epoch, by.id, 1 + index, 0, [(index, 1)], bytes(1), stated, bytes(32), 0.1, b"", inputs
        )
        entries.append(pages.Entry(signed(receipt, STRANGER), b"page", None))
    body = pages.LOG_BODY.encode(entries)
    spans = joined([(index, 1) for index, _, _ in tasks])
    header = signed(LogHeader(made.job, epoch, by.id, 0, NOTHING, digest(body), len(tasks), spans), by)
    return m.Append(number, header, body)


def test_what_was_made_of_a_result_that_lost_is_not_settled_and_what_decides_on_a_result_is_read_with_it(
    database: Database,
) -> None:
    made, a, b, c = Made(), b"a" * 16, b"b" * 16, b"c" * 16
    made.segment(4)
    keeper = kept(database, made, [stating(made, 0, GRANTOR, 1, [(0, a, [])])])
    write(database, keeper.finished(GRANTOR_AT, m.Finish(9, signed(Close(made.job, 4, made.last), OWNER))))
    taking = stating(made, 1, STEWARDS[0], 2, [(0, b, []), (1, c, [(0, b)]), (2, c, [(1, c)]), (3, c, [])])
    write(database, [Commit((Write("logs", (made.job, STEWARDS[0].id, 1, 0), (
        pages.SIGNED.encode(taking.header), taking.body)),))])  # fmt: skip
    assert restoring.stale_tasks(database, Authority(made.spec)) == [1, 2]
    settled = job_state(database, Authority(made.spec))[1]
    assert {index for first, count in settled for index in range(first, first + count)} == {0, 3}
    assert [epoch for epoch, _ in restoring.settlements(database, Authority(made.spec), [3])] == [1]
    assert [epoch for epoch, _ in restoring.settlements(database, Authority(made.spec), [0])] == [0, 1]
    again = stating(made, 2, STEWARDS[1], 3, [(1, a, [(0, a)])])
    write(database, [Commit((Write("logs", (made.job, STEWARDS[1].id, 2, 0), (
        pages.SIGNED.encode(again.header), again.body)),))])  # fmt: skip
    assert restoring.stale_tasks(database, Authority(made.spec)) == [2]
    decide = restoring.settlements(database, Authority(made.spec), [1])
    assert sorted(epoch for epoch, _ in decide) == [0, 1, 1, 2]  # of task 0 both, for they decide on task 1


def test_a_strangers_log_of_a_job_that_was_not_known_then_settles_nothing_of_it(database: Database) -> None:
    made = Made()
    made.segment(4)
    body = settling(made.job, [(0, 4)])
    header = signed(LogHeader(made.job, 0, STRANGER.id, 0, NOTHING, digest(body), 4, [(0, 4)]), STRANGER)
    write(database, steward().appended(STRANGER_AT, m.Append(1, header, body)))
    kept(database, made, log(made, [(1, 1)]))
    assert database.count("logs") == 2
    assert job_state(database, Authority(made.spec))[1] == [(1, 1)]
    (after,) = restored_jobs(database)
    assert list(after.logs) == [(GRANTOR.id, 0)]


def test_what_a_lots_grantor_settles_of_another_lot_is_not_read_from_disk(database: Database) -> None:
    made = Made(orchestration="distributed")
    made.segment(*[RANGE_TASKS] * 8)
    authority = Authority(made.spec)
    mine, others = (next(n for n in range(8) if authority.lots.of_range(n) == lot) * RANGE_TASKS for lot in (0, 1))
    kept(database, made, [])
    for epoch, by in ((1, STEWARDS[0]), (2, STEWARDS[1])):
        body = settling(made.job, [(mine, 2)])
        header = signed(LogHeader(made.job, epoch, by.id, 0, NOTHING, digest(body), 2, [(mine, 2)]), by)
        row = (pages.SIGNED.encode(header), body)
        write(database, [Commit((Write("logs", (made.job, by.id, epoch, 0), row),))])
    assert others != mine and job_state(database, authority)[1] == [(mine, 2)]
    (after,) = restored_jobs(database)
    assert list(after.logs) == [(STEWARDS[0].id, 1)]


def test_what_is_kept_of_unknown_jobs_counts_after_a_restart_as_it_did_before(database: Database) -> None:
    made, other = Made(1), Made(2)
    keeper = steward()
    for each in [*log(made, [(0, 1), (1, 2)]), *log(other, [(0, 3)])]:
        write(database, keeper.appended(GRANTOR_AT, each))
    before = keeper.quota.of(GRANTOR.id)
    again = steward()
    for each in restored(database).foreign:
        again.restore_foreign(each.job, each.grantor, each.expires_s, each.disk_bytes)
    assert again.quota.of(GRANTOR.id) == before > 0
    assert sorted(again.foreign.jobs()) == sorted(keeper.foreign.jobs()) == sorted([made.job, other.job])
    kept(database, made, [])
    assert [each.job for each in restored(database).foreign] == [other.job]
    spoil(database, "logs", (other.job, GRANTOR.id, 0, 0), 0, b"garbage")
    assert restored(database).foreign == []


def test_whose_the_blobs_are_that_lie_here_and_how_large(database: Database) -> None:
    job, until = Made().job, WALL + 60.0
    write(database, [Commit((Write("blobs", (bytes(32),), (500, job, until)),))])
    write(database, [Commit((Write("blobs", (b"x" * 32,), (500, None, until)),))])
    assert restoring.restored_blobs(database) == [(job, 500)]
    database.drop_expired(0.0)
    assert database.count("damaged") == 1
