"""Passing on: what an heir lacks of a job and nothing else, message by message, in an order in which it can be kept."""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.kept_logs import Log
from p2pcpn.protocol.passing import TAKE_WAIT_S, Passing, covers, held, lacking, needs_segments, parcel
from p2pcpn.wire import messages as m
from p2pcpn.wire.messages import JobKept
from p2pcpn.wire.statements import Cancel, signed
from tests.unit.protocol.keepers import Job, Table
from tests.unit.protocol.leased import GRANTOR, ME, OWNER

LOG = (bytes(GRANTOR.id), 0, 3)


def job(**options: bool) -> tuple[Table, Job]:
    table = Table(2)
    return table, Job(table, table.keepers[:1], **options)


def steps(table: Table, made: Job, theirs: JobKept | None) -> list[object]:
    """What is told of the job, until nothing is."""
    keeper, heir = table.keepers
    passing = Passing(heir.contact, parcel(keeper.steward.jobs[made.job]), theirs)
    found: list[object] = []
    while effects := passing.next(len(found) + 1, 1e9, 5.0):
        (effect,) = effects
        assert (passing.request, passing.until_s) == (len(found) + 1, 5.0 + TAKE_WAIT_S)
        if isinstance(effect, fx.Commit):
            assert not effect.writes  # it waits for what is being written, and writes nothing
            (effect,) = effect.then  # type: ignore[assignment]
        assert isinstance(effect, (fx.Tell, fx.TellSegment, fx.TellLog)) and effect.to == heir.contact
        found.append(type(effect.message) if isinstance(effect, fx.Tell) else (type(effect), effect.number))
    return found


def test_who_knows_nothing_is_told_the_owners_words_first_and_then_the_logs_in_order() -> None:
    table, made = job()
    assert steps(table, made, None) == [m.Entrust, *((fx.TellLog, number) for number in range(3))]
    table, made = job(left_open=True)
    assert steps(table, made, None) == [m.Entrust, (fx.TellSegment, 0), *((fx.TellLog, number) for number in range(3))]


def test_who_has_some_of_it_is_told_the_rest() -> None:
    table, made = job()
    assert steps(table, made, JobKept(1, 0, [(*LOG[:2], 2)])) == [(fx.TellLog, 2)]
    assert steps(table, made, JobKept(0, 0, [LOG])) == [m.Entrust]
    assert steps(table, made, JobKept(1, 0, [LOG])) == []


def test_what_is_held_is_counted_and_compared() -> None:
    table, made = job()
    kept = table.keepers[0].steward.jobs[made.job]
    mine = held(kept)
    assert mine == JobKept(1, 1, [LOG])
    assert covers(mine, mine, segments=True) and covers(JobKept(2, 1, [LOG, (bytes(20), 1, 1)]), mine, segments=True)
    assert not covers(None, mine, segments=False)
    assert not covers(JobKept(0, 1, [LOG]), mine, segments=False)
    assert covers(JobKept(1, 0, [LOG]), mine, segments=False) and not covers(JobKept(1, 0, [LOG]), mine, segments=True)
    assert not covers(JobKept(1, 1, [(*LOG[:2], 2)]), mine, segments=False)
    assert lacking(None, mine, segments=True) == 4 and lacking(JobKept(1, 1, [LOG]), mine, segments=True) == 0
    assert (lacking(None, mine), lacking(JobKept(1, 1, [(*LOG[:2], 2)]), mine), lacking(mine, mine)) == (3, 1, 0)


def test_of_more_logs_than_one_message_tells_the_newest_are_told() -> None:
    table, made = job()
    kept = table.keepers[0].steward.jobs[made.job]
    for epoch in range(1, limits.RECOUNTED_LOGS_MAX + 5):
        kept.logs[ME.id, epoch] = Log(count=1)
    logs = held(kept).logs
    assert len(logs) == limits.RECOUNTED_LOGS_MAX and logs[0] == (bytes(ME.id), limits.RECOUNTED_LOGS_MAX + 4, 1)
    assert LOG not in logs


def test_tasks_are_needed_while_somebody_may_run_them_or_add_others() -> None:
    table, made = job()
    kept = table.keepers[0].steward.jobs[made.job]
    assert not needs_segments(kept)
    kept.close = None
    assert needs_segments(kept)
    kept.cancel = signed(Cancel(made.job, 1), OWNER)
    assert not needs_segments(kept)
