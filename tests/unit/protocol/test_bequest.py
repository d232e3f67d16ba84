"""The bequest: what a peer that leaves keeps of jobs is with as many as are wanted, and what is not is counted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from p2pcpn.protocol import bequest as module
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.events import Bequeathed
from p2pcpn.wire import messages as m
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Cancel, Receipt, signed
from tests.unit.protocol.keepers import Job, Keeper, Table
from tests.unit.protocol.leased import GRANTOR, GRANTOR_AT, OWNER, keypair, lease_of


def counts(keeper: Keeper) -> tuple[int, int, int, int]:
    """What is left, short, here alone, and results nobody took."""
    machine = keeper.care.bequest
    return machine.left, machine.short, machine.alone, machine.orphans


def over(keeper: Keeper) -> bool:
    return keeper.news == [Bequeathed()] and keeper.care.bequest.deadline() is None


def wait(keeper: Keeper) -> None:
    """Let time pass until it is over."""
    table, machine = keeper.table, keeper.care.bequest
    for _ in range(1000):
        if (due_s := machine.deadline()) is None:
            return
        table.now = max(table.now, due_s)
        keeper.do(machine.expire(table.now))
    raise AssertionError("it never ends")


def bring_orphans(job: Job, keeper: Keeper, count: int = 2, *, worker: int = 900) -> None:
    """A worker brings a steward results that nobody grants."""
    key, page = keypair(worker), b"page"
    for part in range(count):
        said = Receipt(job.job, 0, GRANTOR.id, 1, part, [(6, 1)], b"\0", bytes(16), digest(page), 0.1, b"")
        results = m.Results(signed(said, key), page, False, lease_of(said, key))
        sender = keeper.contact.__class__(key.id, *keeper.contact.address)
        keeper.do([e for e in keeper.steward.orphan(sender, results) if isinstance(e, fx.Commit)])


@pytest.fixture(autouse=True)
def workers_hear_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who brought a result is told that it is kept, and sits at no table."""
    say = Table.say

    def heard(self: Table, sender: Keeper, to: object, message: m.Message) -> None:
        if not isinstance(message, m.Settled):
            say(self, sender, to, message)  # type: ignore[arg-type]

    monkeypatch.setattr(Table, "say", heard)


def test_a_job_that_enough_others_have_stays_where_it_is() -> None:
    table = Table(4)
    job = Job(table, table.keepers[:3], replicas=2)
    table.keepers[0].leave()
    assert over(table.keepers[0]) and counts(table.keepers[0]) == (0, 0, 0, 0)
    assert "Append" not in table.counts and table.counts["Ask"] == 3 and len(job.at) == 3


def test_what_is_short_goes_to_the_nearest_that_lacks_least() -> None:
    table = Table(5)
    job = Job(table, table.keepers[:1], replicas=2)
    table.keepers[0].leave()
    assert over(table.keepers[0]) and len(job.at) == 3 and counts(table.keepers[0]) == (0, 0, 0, 0)
    assert table.keepers[0].care.bequest.given == 2
    assert all(keeper.steward.jobs[job.job].close == job.close for keeper in job.at)
    assert "Extend" not in table.counts  # nobody asks for tasks of a job again that is over


def test_tasks_of_an_open_job_go_along_with_its_logs() -> None:
    table = Table(4)
    job = Job(table, table.keepers[:1], replicas=2, left_open=True)
    table.keepers[0].leave()
    assert over(table.keepers[0]) and counts(table.keepers[0]) == (0, 0, 0, 0)
    heirs = [keeper for keeper in table.keepers[1:] if keeper.keeps(job.job) == 3]
    assert len(heirs) == 2
    for heir in heirs:
        kept = heir.steward.jobs[job.job]
        assert (len(kept.segments), kept.tasks) == (1, job.tasks)
        assert (job.job, 0) in heir.disk["segments"]


def test_tasks_of_which_nothing_is_settled_go_to_others_too() -> None:
    table = Table(3)
    job = Job(table, table.keepers[:1], segments=0, left_open=True)
    table.keepers[0].leave()
    assert counts(table.keepers[0]) == (0, 0, 0, 0)
    assert [keeper.steward.jobs[job.job].tasks for keeper in table.keepers[1:] if keeper.steward.jobs] == [1]


def test_tasks_are_short_only_where_nobody_has_them() -> None:
    """A job that is granted has a grantor that looks after them, and says so of every open job else."""
    for others, found in ((2, (0, 0, 0, 0)), (1, (0, 0, 0, 0)), (0, (0, 1, 1, 0))):
        table = Table(1 + others)
        Job(table, table.keepers[:1], segments=0, left_open=True, replicas=3)
        table.keepers[0].leave()
        assert counts(table.keepers[0]) == found and table.keepers[0].care.bequest.given == others


def test_a_job_of_which_only_words_are_here_is_its_owners_to_say_again() -> None:
    table = Table(3)
    job, keeper = Job(table, table.keepers[:1], segments=0, left_open=True), table.keepers[0]
    keeper.do(keeper.steward.finished(GRANTOR_AT, m.Finish(0, signed(Cancel(job.job, 1.0), OWNER))))
    keeper.leave()
    assert over(table.keepers[0]) and counts(table.keepers[0]) == (0, 0, 0, 0) and not table.counts


def test_what_nobody_takes_is_counted() -> None:
    for others in range(3):
        table = Table(1 + others)
        Job(table, table.keepers[:1], replicas=2)
        for keeper in table.keepers[1:]:
            keeper.refuses = True
        table.keepers[0].leave()
        assert over(table.keepers[0]) and counts(table.keepers[0]) == (0, 1, 1, 0)


def test_one_copy_less_than_wanted_is_short_and_not_the_last() -> None:
    table = Table(2)
    Job(table, table.keepers[:1], replicas=2)
    table.keepers[0].leave()
    assert counts(table.keepers[0]) == (0, 1, 0, 0)


def test_who_is_silent_is_waited_for_a_little_and_passed_over() -> None:
    table = Table(5)
    job = Job(table, table.keepers[:1], replicas=2)
    for keeper in table.keepers[1:3]:
        keeper.lies = lambda message: None
    table.keepers[0].leave()
    assert counts(table.keepers[0])[0] == 1 and not over(table.keepers[0])
    wait(table.keepers[0])
    assert over(table.keepers[0]) and counts(table.keepers[0]) == (0, 0, 0, 0)
    assert {keeper.contact.id for keeper in table.keepers[3:]} <= {keeper.contact.id for keeper in job.at}


def test_who_dies_meanwhile_is_replaced_by_the_next() -> None:
    table = Table(5)
    job = Job(table, table.keepers[:1], replicas=2)
    leaver, killed = table.keepers[0], []
    for keeper in table.keepers[1:]:

        def dies(message: m.Message, keeper: Keeper = keeper) -> m.Message | None:
            if isinstance(message, m.Answer) and message.code == 0 and not killed:
                killed.append(keeper)
                return None
            return message

        keeper.lies = dies
    leaver.leave()
    assert len(killed) == 1 and not over(leaver)
    table.kill(killed[0])
    assert over(leaver) and counts(leaver) == (0, 0, 0, 0) and len(job.at) == 3
    silent = Table(2)
    Job(silent, silent.keepers[:1])
    silent.keepers[1].lies = lambda message: None
    silent.keepers[0].leave()
    silent.kill(silent.keepers[1])
    assert over(silent.keepers[0]) and counts(silent.keepers[0]) == (0, 1, 1, 0)


def test_the_log_of_a_job_that_is_unknown_here_goes_where_it_is_known() -> None:
    table = Table(3)
    job = Job(table, table.keepers[:1], replicas=1)
    holder = table.keepers[1]
    for header, body in job.log:
        holder.do(holder.steward.appended(GRANTOR_AT, m.Append(0, header, body)))
    assert job.job not in holder.steward.jobs
    holder.leave()
    assert over(holder) and counts(holder) == (0, 0, 0, 0)  # the steward has all of it
    for key in [key for key in table.keepers[0].disk["logs"] if key[3] == 2]:
        del table.keepers[0].disk["logs"][key]
    table.keepers[0].start()
    holder.news.clear()
    holder.leave()
    assert over(holder) and table.keepers[0].keeps(job.job) == 3
    table.kill(table.keepers[0])
    holder.news.clear()
    holder.leave()
    assert over(holder) and counts(holder) == (0, 1, 1, 0)  # nobody knows what job it is


def test_who_shows_another_job_is_believed_nothing() -> None:
    table = Table(3)
    job, other = Job(table, table.keepers[:1]), Job(table, [], number=2)
    liar = table.keepers[1]
    liar.lies = lambda message: (
        m.JobState(message.request, other.spec, None, None, 9, 9, [(bytes(GRANTOR.id), 0, 9)], 0, 0, 0, False)
        if isinstance(message, m.Answer) and message.code == m.AnswerCode.UNKNOWN else message
    )  # fmt: skip
    table.keepers[0].leave()
    assert counts(table.keepers[0]) == (0, 0, 0, 0) and len(job.at) == 2


def with_blobs(keeper: Keeper, job: Job, *names: bytes) -> None:
    """Blobs of a job on a disk, and the keeper leaves."""
    for name in names:
        keeper.disk["blobs"][name * 32,] = (1, job.job, 0.0)
    keeper.steward.storing = False
    keeper.do(keeper.care.bequest.begin(keeper.logs, keeper.table.now, lambda _: [name * 32 for name in names]))


def test_blobs_that_open_tasks_name_go_to_those_who_had_the_tasks_before() -> None:
    table = Table(4)
    job = Job(table, table.keepers[:3], left_open=True, replicas=2)
    leaver, *stay = table.keepers[:3]
    with_blobs(leaver, job, b"a", b"b")
    assert over(leaver) and counts(leaver) == (0, 0, 0, 0)
    assert [len(keeper.disk["blobs"]) for keeper in stay] == [2, 2] and table.counts["PutBlob"] == 4
    closed = Table(2)
    job = Job(closed, closed.keepers)
    with_blobs(closed.keepers[0], job, b"a")
    assert over(closed.keepers[0]) and "PutBlob" not in closed.counts  # nobody runs its tasks again


def test_who_was_brought_the_tasks_had_their_blobs_with_them() -> None:
    table = Table(2)
    job = Job(table, table.keepers[:1], left_open=True)
    with_blobs(table.keepers[0], job, b"a")
    assert over(table.keepers[0]) and counts(table.keepers[0]) == (0, 0, 0, 0) and "PutBlob" not in table.counts


def test_a_blob_that_nobody_takes_is_the_last_of_its_job() -> None:
    table = Table(3)
    job = Job(table, table.keepers, left_open=True, replicas=2)
    leaver, takes, refuses = table.keepers
    refuses.refuses = True
    with_blobs(leaver, job, b"a", b"b")
    assert over(leaver) and counts(leaver) == (0, 0, 0, 0) and len(takes.disk["blobs"]) == 2
    assert table.counts["PutBlob"] == 3  # who refused one is not sent the next
    takes.refuses = True
    leaver.news.clear()
    with_blobs(leaver, job, b"a", b"b")
    assert over(leaver) and counts(leaver) == (0, 1, 1, 0)
    takes.lies = refuses.lies = lambda message: None if isinstance(message, m.Answer) else message
    leaver.news.clear()
    with_blobs(leaver, job, b"a")
    table.kill(takes)
    assert not over(leaver)
    wait(leaver)
    assert over(leaver) and counts(leaver) == (0, 1, 1, 0)


def test_results_that_wait_for_a_grantor_go_to_a_steward_that_stays() -> None:
    table = Table(4)
    job = Job(table, table.keepers[:2], left_open=True)
    leaver, stays = table.keepers[:2]
    bring_orphans(job, leaver)
    leaver.leave()
    assert over(leaver) and counts(leaver) == (0, 0, 0, 0)
    assert len(stays.steward.jobs[job.job].orphans) == 2
    assert stays.disk["orphans"] == leaver.disk["orphans"]


def test_results_that_nobody_takes_are_counted() -> None:
    table = Table(3)
    job = Job(table, table.keepers[:2], left_open=True)
    leaver, stays = table.keepers[:2]
    bring_orphans(job, leaver, 3)
    for keeper in table.keepers[1:]:
        keeper.refuses = True
    leaver.leave()
    assert over(leaver) and counts(leaver) == (0, 0, 0, 3)
    stays.refuses = False
    stays.lies = lambda message: None if isinstance(message, m.Answer) else message
    leaver.news.clear()
    leaver.leave()
    table.kill(stays)  # before it answered
    assert over(leaver) and counts(leaver)[3] == 3
    alone = Table(1)
    job = Job(alone, alone.keepers[:1], left_open=True)
    bring_orphans(job, alone.keepers[0], 1)
    alone.keepers[0].leave()
    assert counts(alone.keepers[0]) == (0, 1, 1, 1)


def test_whoever_takes_results_and_says_nothing_is_replaced_in_time() -> None:
    table = Table(4)
    job = Job(table, table.keepers[:3], left_open=True)
    leaver = table.keepers[0]
    bring_orphans(job, leaver, 1)
    for keeper in table.keepers[1:2]:
        keeper.lies = lambda message: None if isinstance(message, m.Answer) else message
    leaver.leave()
    wait(leaver)
    assert over(leaver) and counts(leaver) == (0, 0, 0, 0)


def test_what_was_not_brought_when_it_ends_is_counted_and_what_is_said_later_is_not_heard() -> None:
    table = Table(3)
    jobs = [Job(table, table.keepers[:1], number=number, left_open=True) for number in range(1, 8)]
    bring_orphans(jobs[0], table.keepers[0])
    for keeper in table.keepers[1:]:
        keeper.lies = lambda message: None
    leaver = table.keepers[0]
    leaver.leave()
    assert counts(leaver)[0] == 7
    asked = [said for said in leaver.said if isinstance(said, m.Ask)]
    assert len(asked) == 2 * module.AT_ONCE
    leaver.care.bequest.stop()
    assert counts(leaver) == (0, 7, 7, 2) and leaver.care.bequest.deadline() is None and leaver.news == []
    answer = m.Answer(asked[0].request, m.AnswerCode.UNKNOWN, "")
    assert leaver.care.bequest.answered(table.keepers[1].contact, answer, 0.0) == []


def test_a_thousand_jobs_that_nobody_is_there_for_end_at_once() -> None:
    table = Table(1)
    job = Job(table, table.keepers[:1])
    keeper = table.keepers[0]
    legacy = keeper.steward.legacies()[0]
    keeper.steward.legacies = lambda: [legacy] * 3000  # type: ignore[method-assign]
    keeper.leave()
    assert over(keeper) and counts(keeper) == (0, 3000, 3000, 0) and job.at == [keeper]


@settings(max_examples=40, deadline=None)
@given(
    some.lists(some.sampled_from(["good", "refuses", "silent", "steward", "dies"]), max_size=6),
    some.integers(1, 3),
    some.booleans(),
    some.integers(0, 2),
)
def test_whoever_is_there_it_ends_and_counts_what_is_so(
    others: list[str], replicas: int, left_open: bool, orphans: int
) -> None:
    table = Table(1 + len(others))
    leaver, rest = table.keepers[0], list(zip(table.keepers[1:], others, strict=True))
    named = [leaver, *(keeper for keeper, kind in rest if kind == "steward")]
    job = Job(table, named, replicas=replicas, left_open=left_open)
    bring_orphans(job, leaver, orphans)
    for keeper, kind in rest:
        keeper.refuses = kind == "refuses"
        if kind == "silent":
            keeper.lies = lambda message: None
        if kind == "dies":
            table.kill(keeper, noticed=False)
    leaver.leave()
    wait(leaver)
    assert over(leaver)
    left, short, alone, kept_back = counts(leaver)
    have = [keeper for keeper, kind in rest if kind in ("good", "steward") and keeper.keeps(job.job) == len(job.log)]
    if left_open:
        have = [keeper for keeper in have if keeper.steward.jobs[job.job].tasks == job.tasks]
    logged = [keeper for keeper, kind in rest if kind in ("good", "steward") and keeper.keeps(job.job) == len(job.log)]
    assert left == 0 and short == (len(logged) < replicas) and alone == (not have)
    waits = orphans if left_open else 0
    assert kept_back == (0 if any(len(each.steward.jobs[job.job].orphans) == orphans for each in have) else waits)
