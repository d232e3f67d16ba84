"""Legacies: who lacks least is brought a job first, and to as many as are short of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.errors import PeerError
from p2pcpn.protocol.legacies import Legacy, heirs, legacy, settled_of, shown, told_of
from p2pcpn.protocol.passing import Parcel
from p2pcpn.wire.messages import JobKept, JobState
from p2pcpn.wire.statements import Cancel, Close, signed
from tests.unit.protocol.granting import at, keypair
from tests.unit.protocol.keepers import Job, Table
from tests.unit.protocol.leased import GRANTOR, ME, OWNER, Made, settling

A, B = bytes([1]) * 20, bytes([2]) * 20
JOB = bytes(20)


def here(*logs: tuple[bytes, int, int], segments: int = 0) -> Parcel:
    return Parcel(JOB, None, 0, segments, logs)


def has(*logs: tuple[bytes, int, int], segments: int = 0) -> JobKept:
    return JobKept(0, segments, list(logs))


def test_nobody_is_needed_where_enough_others_have_all_of_it() -> None:
    contacts = [at(keypair(number), 5000 + number) for number in range(3)]
    whole, others = heirs(
        here((A, 0, 2), (B, 1, 1)), 2,
        [(contacts[0], has((A, 0, 2), (B, 1, 1))), (contacts[1], None), (contacts[2], has((A, 0, 5), (B, 1, 1)))],
    )  # fmt: skip
    assert whole == [contacts[0], contacts[2]] and others == [(contacts[1], None)]


def test_who_lacks_least_comes_first_and_of_equal_ones_the_nearest() -> None:
    near, far, partly, tasks = (at(keypair(number), 5000 + number) for number in range(4))
    answers = [(near, None), (far, None), (partly, has((A, 0, 3))), (tasks, has((A, 0, 3), segments=5))]
    whole, others = heirs(here((A, 0, 4), segments=5), 3, answers)
    assert whole == [] and [contact for contact, _ in others] == [tasks, partly, near, far]


def test_what_is_kept_is_a_legacy_with_its_tasks_while_they_are_open() -> None:
    table = Table(2)
    done, left = Job(table, table.keepers[:1]), Job(table, table.keepers, number=2, left_open=True)
    jobs = table.keepers[0].steward.jobs
    log = (bytes(GRANTOR.id), 0, 3)
    first = legacy(jobs[done.job])
    assert (first.parcel.segments, first.parcel.logs, first.replicas, first.orphans) == (0, (log,), 1, 0)
    second = legacy(jobs[left.job])
    assert (second.parcel.segments, second.stewards) == (1, {keeper.contact.id for keeper in table.keepers})
    assert not first.empty and first.with_disk({}).empty and not second.with_disk({}).empty
    disk = first.with_disk({(B, 1): 2, (A, 1): 3, (B, 0): 4})
    assert disk.parcel.logs == ((B, 0, 4), (A, 1, 3), (B, 1, 2)) and disk.job == done.job
    assert not Legacy(here(), 1, orphans=1).empty


def test_what_a_peer_says_counts_for_the_job_that_it_shows() -> None:
    made, close = Made(), signed(Close(Made().job, 3, bytes(32)), OWNER)
    cancel = signed(Cancel(made.job, 1.0), OWNER)
    state = JobState(1, made.spec, close, cancel, 2, 3, [(A, 0, 1)], 0, 0, 0, False, handovers=[made.handover(0)])
    assert shown(made.job, state) == JobKept(3, 2, [(A, 0, 1)]) and shown(JOB, state) is None
    told = told_of(state)(7, 1e9)
    assert (told.request, told.spec, told.words) == (7, made.spec, [made.handover(0), close, cancel])


def test_a_log_settles_the_receipts_of_one_worker_among_others() -> None:
    assert settled_of(ME.public, settling(JOB, [(0, 3)])) == [(0, 1, 0)]
    assert settled_of(OWNER.public, settling(JOB, [(0, 3)])) == []
    with pytest.raises(PeerError):
        settled_of(ME.public, b"garbage")


counts = st.one_of(st.none(), st.integers(0, 5))


@given(
    st.lists(st.tuples(counts, st.integers(0, 2)), max_size=8), st.integers(1, 5), st.integers(0, 2), st.integers(1, 5)
)
def test_everybody_has_all_of_it_or_may_be_brought_the_rest(
    theirs: list[tuple[int | None, int]], ours: int, segments: int, replicas: int
) -> None:
    answers = [
        (at(keypair(number), 5000 + number), None if count is None else has((A, 0, count), segments=tasks))
        for number, (count, tasks) in enumerate(theirs)
    ]
    whole, others = heirs(here((A, 0, ours), segments=segments), replicas, answers)
    full = sum(count is not None and count >= ours and tasks >= segments for count, tasks in theirs)
    assert len(whole) == min(full, replicas) and len(others) == len(theirs) - full
