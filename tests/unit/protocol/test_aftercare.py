"""Aftercare: while anybody lives who keeps a job's results there are soon as many copies again as its owner wants, no
more than that in the end, and who lies about what it keeps is no copy."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.aftercare import _Asked
from p2pcpn.protocol.keepers import SPARE
from p2pcpn.protocol.passing import held
from p2pcpn.wire import messages as m
from tests.unit.protocol.keepers import PULSE, Job, Keeper, Table
from tests.unit.protocol.leased import GRANTOR_AT

HOUR = 3600.0


def inherited(table: Table) -> tuple[Job, list[Keeper], list[Keeper]]:
    """A job whose keepers both died, one after the other; who they were, and their heirs."""
    named = table.keepers[:2]
    job = Job(table, named)
    table.run(HOUR)
    for keeper in named:
        table.kill(keeper)
        table.run(HOUR)
    assert len(job.at) == 2 and not set(map(id, job.at)) & set(map(id, named))
    return job, named, job.at


def test_a_copy_that_dies_is_replaced_by_those_left_and_then_by_the_heirs_alone() -> None:
    table = Table(8)
    job = Job(table, table.keepers[:3])
    table.run(HOUR)
    assert job.at == table.keepers[:3] and "Append" not in table.counts  # more than enough
    first = list(job.at)
    for keeper in first:
        table.kill(keeper)
        table.run(PULSE.replace_s * 5)
        assert len(job.at) >= 2
    assert not {keeper.key for keeper in job.at} & {keeper.key for keeper in first}
    assert all(keeper.steward.jobs[job.job].close == job.close for keeper in job.at)
    assert all(job.job in keeper.provides for keeper in job.at)


def test_a_death_that_nobody_heard_of_is_found_by_the_next_comparison() -> None:
    table = Table(6)
    job = Job(table, table.keepers[:2])
    table.run(HOUR)
    table.kill(table.keepers[0], noticed=False)
    table.run(PULSE.keepers_s * 1.2 + PULSE.replace_s * 3)
    assert len(job.at) == 2


def test_one_acts_and_not_all_and_who_comes_next_acts_where_the_first_cannot() -> None:
    table = Table(9)
    job = Job(table, table.keepers[:3], replicas=3)
    table.run(HOUR)
    assert len(job.at) == 4 and table.counts["Entrust"] == 1
    brings = max(table.keepers[:3], key=lambda keeper: keeper.care.restored)
    table.kill(job.at[-1])
    brings.care._passings = {bytes([n]): None for n in range(limits.PASSED_AT_ONCE)}  # type: ignore[misc]
    brings.alive = False  # it hangs, and nobody has noticed: its session stands
    table.run(HOUR)
    brings.alive = True
    assert len([keeper for keeper in job.at if keeper is not brings]) >= 3


def test_the_surplus_goes_when_those_who_were_gone_come_back_and_show_what_they_have() -> None:
    table = Table(8)
    job, named, heirs = inherited(table)
    for keeper in named:
        keeper.start()
    table.run(3 * HOUR)
    assert job.at == named
    assert all(keeper.keeps(job.job) == -1 and job.job not in keeper.provides for keeper in heirs)
    assert all(job.job not in keeper.steward.jobs and not len(keeper.care) for keeper in heirs)
    assert all(keeper.steward.quota.taken_bytes == 0 for keeper in heirs)


def test_an_heir_lets_go_of_nothing_on_the_word_of_others_alone() -> None:
    table = Table(8)
    job, named, heirs = inherited(table)
    for keeper in named:  # they come back, say that they have all of it, and show nothing
        keeper.start()
        keeper.lies = lambda message: None if isinstance(message, m.LogData) else message
    table.run(3 * HOUR)
    assert [keeper for keeper in job.at if keeper not in named] == heirs


def test_who_says_that_it_keeps_a_job_and_shows_nothing_is_no_copy() -> None:
    table = Table(7)
    job = Job(table, table.keepers[:2])
    said = held(table.keepers[0].steward.jobs[job.job])

    def boasts(message: m.Message) -> m.Message:
        return m.Recounted(message.request, [said] * len(message.kept)) if isinstance(message, m.Recounted) else message

    def forges(message: m.Message) -> m.Message:
        if isinstance(message, m.Answer) and message.text.startswith("has no such log"):
            header, body = job.log[0]
            return m.LogData(message.request, header, body + b" ")
        return boasts(message)

    liars = table.keepers[2:4]
    liars[0].lies, liars[1].lies = boasts, forges
    table.run(HOUR)
    table.kill(table.keepers[0])
    table.run(HOUR)
    assert len([keeper for keeper in job.at if keeper not in liars]) == 2


def test_who_takes_it_not_is_left_alone_for_a_while_and_another_takes_it() -> None:
    table = Table(6)
    job = Job(table, table.keepers[:2])
    table.run(HOUR)
    for keeper in table.keepers[2:]:
        keeper.refuses = True
    table.kill(table.keepers[0])
    table.run(HOUR)
    assert len(job.at) == 1 and table.counts["Entrust"] <= 4 * 8
    table.keepers[4].refuses = False
    table.run(HOUR)
    assert len(job.at) == 2


def test_heirs_are_in_other_networks_where_there_are_any() -> None:
    table = Table(8)
    table.group = lambda each: each.host[2] % 2  # even ones, and odd ones
    job = Job(table, [table.keepers[0], table.keepers[2]])
    table.run(HOUR)
    table.kill(table.keepers[0])
    table.run(HOUR)
    (heir,) = (keeper for keeper in job.at if keeper is not table.keepers[2])
    assert heir.contact.host[2] % 2 == 1


def test_nothing_is_restored_past_retention() -> None:
    table = Table(6)
    job = Job(table, table.keepers[:2])
    table.run(8 * 86_400.0)
    table.kill(table.keepers[0])
    table.run(HOUR)
    assert "Entrust" not in table.counts and len(job.at) == 1


def test_what_an_heir_is_brought_ends_when_the_job_does() -> None:
    table = Table(6)
    job = Job(table, table.keepers[:2])
    table.run(3 * 86_400.0)
    table.kill(table.keepers[0])
    table.run(HOUR)
    ends = {round(keeper.steward.jobs[job.job].expires_s) for keeper in job.at}
    assert len(job.at) == 2 and len(ends) == 1


def test_a_job_that_nobody_grants_is_brought_with_its_tasks_and_one_that_is_over_without() -> None:
    table = Table(6)
    left_open = Job(table, table.keepers[:2], left_open=True)
    over = Job(table, table.keepers[:2], number=2)
    table.run(HOUR)
    table.kill(table.keepers[0])
    table.run(HOUR)
    for job, segments in ((left_open, 1), (over, 0)):
        (heir,) = (keeper for keeper in job.at if keeper is not table.keepers[1])
        assert len(heir.steward.jobs[job.job].segments) == segments


def test_a_job_that_still_changes_or_is_granted_here_is_somebody_elses_to_look_after() -> None:
    table = Table(6)
    job = Job(table, table.keepers[:2])
    table.run(HOUR)
    one, two = table.keepers[:2]
    two.granting = (1, 0, 6)
    table.kill(one)
    table.run(HOUR)
    assert "Entrust" not in table.counts
    two.granting = None
    for _ in range(20):  # its log grows every five minutes
        job.log.append(job._settle(len(job.log)))
        two.do(two.steward.appended(GRANTOR_AT, m.Append(0, *job.log[-1])))
        table.run(300.0)
    assert "Entrust" not in table.counts
    table.run(HOUR)
    assert len(job.at) == 2


def test_many_jobs_are_compared_in_few_messages_and_brought_a_few_at_a_time() -> None:
    table = Table(6)
    jobs = [Job(table, table.keepers[:2], number=number, segments=1) for number in range(1, 101)]
    table.run(HOUR)
    assert table.counts["Recount"] <= 2 * 3 * 6
    table.kill(table.keepers[0])
    passings: list[int] = []
    keeper = table.keepers[1]
    do = keeper.do

    def watched(effects: list[fx.Effect]) -> None:
        passings.append(len(keeper.care._passings))
        do(effects)

    keeper.do = watched  # type: ignore[method-assign]
    table.run(HOUR)
    assert all(len(job.at) == 2 for job in jobs) and max(passings) <= limits.PASSED_AT_ONCE


def test_an_answer_to_another_question_is_refused_and_one_to_none_changes_nothing() -> None:
    table = Table(4)
    Job(table, table.keepers[:2])
    one, two = table.keepers[:2]
    two.lies = lambda message: None if isinstance(message, m.Recounted) else message
    table.run(one.care.deadline() or 0.0)
    table.run(PULSE.keepers_s * 1.2)
    asked = next(message for message in reversed(one.said) if isinstance(message, m.Recount))
    assert one.care.recounted(table.keepers[2].contact, m.Recounted(asked.request, []), table.now) == []
    assert one.care.shown(two.contact, m.LogData(9999, *Job(table, []).log[0]), table.now) == []
    one.care._asked[7] = _Asked(two.node, (b"job",), table.now + 1.0)
    with pytest.raises(PeerError):
        one.care.recounted(two.contact, m.Recounted(7, []), table.now)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["kill", "hush", "start", "add"]), st.integers(0, 11)), max_size=14),
    st.booleans(),
)
def test_while_one_who_keeps_it_lives_there_are_soon_enough_copies_and_in_the_end_no_more(
    replicas: int, happens: list[tuple[str, int]], left_open: bool
) -> None:
    table = Table(8)
    job = Job(table, table.keepers[:3], replicas=replicas, left_open=left_open, segments=2)
    table.run(HOUR)
    copies = replicas + SPARE
    for what, number in happens:
        keeper = table.keepers[number % len(table.keepers)]
        if what == "add" and len(table.keepers) < 12:
            table.add()
        elif what == "start" and not keeper.alive:
            keeper.start()
        elif what in ("kill", "hush") and keeper.alive and [keeper] != job.at:
            table.kill(keeper, noticed=what == "kill")
        before = len(job.at)
        table.run(200.0)
        assert len(job.at) >= min(before, copies)
    table.run(4 * HOUR)
    alive = sum(keeper.alive for keeper in table.keepers)
    named = sum(keeper.alive for keeper in table.keepers[:3])
    assert min(copies, alive) <= len(job.at) <= max(copies, named)


def test_words_of_many_who_keep_nothing_make_no_copies() -> None:
    table = Table(limits.KEEPERS_MAX + 6)
    job = Job(table, table.keepers[:1])
    said = held(table.keepers[0].steward.jobs[job.job])
    for keeper in table.keepers[4:]:
        keeper.lies = lambda message: (
            m.Recounted(message.request, [said] * len(message.kept)) if isinstance(message, m.Recounted) else message
        )
    for _ in range(30):
        for keeper in table.keepers[:4]:
            for liar in table.keepers[4:]:
                keeper.care.recounted_to(liar.contact, m.Recount(0, [job.job]))
        table.run(300.0)
    assert len(job.at) == 2


def test_an_heir_that_starts_anew_says_again_that_it_is_found_there() -> None:
    table = Table(5)
    job = Job(table, table.keepers[:1])
    table.run(HOUR)
    (heir,) = (keeper for keeper in job.at if keeper is not table.keepers[0])
    table.kill(heir)
    heir.provides.clear()
    heir.start()
    table.run(HOUR)
    assert list(heir.provides) == [job.job] and not table.keepers[0].provides
