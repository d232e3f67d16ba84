"""A kept job: its owner's words alone, whether it is open, and what is told of it to whoever keeps it next."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.lots import DIVIDED_EPOCH, RANGE_TASKS
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Cancel, Close, Handover, LogHeader, Pause, Signed, signed
from tests.unit.protocol.leased import GRANTOR, GRANTOR_AT, OWNER, STEWARDS, STEWARDS_AT, STRANGER, STRANGER_AT, Made

WALL = 1e9


def keeping(made: Made) -> Kept:
    """The job with an hour of its retention left."""
    return Kept(Authority(made.spec), WALL + 3600.0)


def pause(made: Made, number: int) -> Signed:
    return signed(Pause(made.job, number, True), OWNER)


def header(made: Made, number: int, last: bytes, count: int = 1, epoch: int = 0) -> Signed:
    said = LogHeader(made.job, epoch, GRANTOR.id, number, last, bytes(32), number + count, [(number, count)])
    return signed(said, GRANTOR)


def test_the_owners_words_count_and_nobody_elses() -> None:
    made = Made()
    kept = keeping(made)
    assert (kept.total, kept.order) == (None, None)
    assert not kept.stated(signed(Close(made.job, 3, NOTHING), OWNER)) and kept.total == 3
    assert kept.stated(pause(made, 2)) and not kept.stated(pause(made, 1)) and kept.order == pause(made, 2)
    cancel = signed(Cancel(made.job, 1.0), OWNER)
    assert kept.stated(cancel) and not kept.stated(signed(Cancel(made.job, 2.0), OWNER)) and kept.order == cancel
    assert not kept.stated(made.handover(0)) and kept.authority.grantor == STEWARDS[0].public
    for wrong in (
        signed(Close(made.job, 3, NOTHING), STRANGER),
        signed(Close(Made(2).job, 3, NOTHING), OWNER),
        Signed(Close.kind, bytes(limits.SPEC_BYTES_MAX + 1), OWNER.public, bytes(64)),
    ):
        with pytest.raises(PeerError):
            kept.stated(wrong)


def test_all_of_them_are_told_to_whoever_keeps_it_next() -> None:
    made = Made()
    kept = keeping(made)
    words = [made.handover(1, 3), made.handover(0, 6), signed(Close(made.job, 3, NOTHING), OWNER), pause(made, 2)]
    for word in words:
        kept.stated(word)
    assert kept.entrust(7, WALL + 60.0) == m.Entrust(7, made.spec, words, 60.0)


def test_orders_are_restored_as_they_stood() -> None:
    made = Made()
    kept = keeping(made)
    kept.restore_order(pause(made, 1))
    assert kept.order == pause(made, 1)
    kept.restore_order(signed(Cancel(made.job, 1.0), OWNER))
    assert kept.cancel is not None


def test_a_job_is_open_until_its_log_or_its_grantor_says_that_all_has_ended() -> None:
    made = Made()
    kept = keeping(made)
    assert not kept.is_open  # it has no task
    extend = made.segment(2)
    kept.add_segment(extend.segment, 2, 100)
    assert kept.is_open and kept.last == digest(extend.segment.body)
    first = header(made, 0, NOTHING)
    kept.restore_log(GRANTOR.id, 0, first, 50)
    kept.restore_log(GRANTOR.id, 0, header(made, 2, bytes(32)), 50)  # beyond a gap
    assert kept.is_open
    kept.restore_log(GRANTOR.id, 0, header(made, 1, digest(first.body)), 50)
    assert not kept.is_open
    another = keeping(made)
    another.add_segment(extend.segment, 2, 100)
    another.mandate = m.Mandate(0, made.job, 0, STRANGER_AT, None, 0, 2, 0)
    assert not another.is_open
    another.add_segment(made.segment(1).segment, 1, 100)
    assert another.is_open
    another.stated(signed(Cancel(made.job, 1.0), OWNER))
    assert not another.is_open


def test_who_granted_is_restored_where_the_owner_made_him_a_grantor() -> None:
    made = Made()
    kept = keeping(made)
    mandate = m.Mandate(0, made.job, 1, STEWARDS_AT[0], None, 0, 2, 1)
    kept.granted(pages.Grants([made.handover(1, 3)], mandate))
    assert (kept.mandate, kept.grantor) == (mandate, STEWARDS_AT[0])
    assert kept.authority.epoch == 3 and kept.authority.grantor == STEWARDS[1].public
    fresh = keeping(made)
    fresh.granted(pages.Grants([], m.Mandate(0, made.job, 1, STRANGER_AT, None, 0, 2, 1)))
    fresh.granted(pages.Grants([], None))
    assert fresh.mandate is None


def test_logs_of_one_grantor_are_bounded_and_those_of_others_are_not_his(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOGS_PER_GRANTOR_MAX", 2)
    kept = keeping(Made())
    one, two = NodeId(STEWARDS[0].id), NodeId(STEWARDS[1].id)
    kept.log(one, 1)
    kept.log(one, 4)
    assert kept.has_many_logs_of(one, 7) and not kept.has_many_logs_of(one, 4) and not kept.has_many_logs_of(two, 2)


def test_what_a_state_takes_of_the_disk_counts() -> None:
    kept = keeping(Made())
    kept.restore_state(3, 1, 1000)
    assert kept.disk_bytes == 1000 + limits.STEWARD_ROW_BYTES


TASKS = 8 * RANGE_TASKS


def distributed() -> tuple[Made, Kept]:
    """A job of two lots, with tasks in both."""
    made = Made(orchestration="distributed")
    kept = keeping(made)
    kept.add_segment(made.segment(TASKS).segment, TASKS, 10)
    return made, kept


def said(made: Made, epoch: int, left: int, at: int = 0) -> m.Mandate:
    return m.Mandate(0, made.job, epoch, STEWARDS_AT[at], None, 0, TASKS, left)


def test_of_a_distributed_job_each_lot_is_open_or_not() -> None:
    made, kept = distributed()
    assert [sitting.tasks for sitting in kept.sittings] == kept.authority.lots.sizes(0, TASKS)
    assert [sitting.grantor for sitting in kept.sittings] == list(STEWARDS_AT), "where the spec says"
    assert kept.open_in(0) and kept.open_in(1)
    count = kept.sittings[0].tasks
    log = LogHeader(made.job, 1, STEWARDS[0].id, 0, NOTHING, bytes(32), count, [(0, count)])
    kept.restore_log(STEWARDS[0].id, 1, signed(log, STEWARDS[0]), 5)
    assert not kept.open_in(0) and kept.open_in(1) and kept.is_open
    kept.sittings[1].mandate = said(made, 2, 0, 1)
    assert not kept.is_open and kept.mandates == [said(made, 2, 0, 1)]


def test_who_grants_is_where_it_was_last_heard() -> None:
    kept = keeping(Made())
    assert kept.heard(STRANGER_AT) == [] and kept.grantor is None
    assert kept.heard(GRANTOR_AT) == [0] and kept.grantor == GRANTOR_AT == kept.owner_at
    kept.grantor = None
    assert kept.sittings[0].grantor is None
    _, kept = distributed()
    kept.authority.take_over(STEWARDS[0].public, 4)
    assert kept.heard(STEWARDS_AT[0]) == [0, 1] and kept.sittings[1].grantor == STEWARDS_AT[0]
    assert kept.heard(STEWARDS_AT[1]) == []


def test_who_grants_each_lot_comes_back_from_disk_and_what_nobody_may_have_said_does_not() -> None:
    made, kept = distributed()
    kept.granted(pages.Grants([], None, [said(made, 4, 3, 0), said(made, 1, 2, 1)]))
    assert [tenure.epoch for tenure in kept.authority.tenures] == [1, 4]
    assert kept.mandates == [said(made, 4, 3, 0)] and kept.sittings[1].grantor == STEWARDS_AT[0]


def test_the_tasks_of_lots_are_counted_anew_when_a_job_is_divided() -> None:
    made = Made()
    kept = keeping(made)
    kept.add_segment(made.segment(TASKS).segment, TASKS, 10)
    assert [sitting.tasks for sitting in kept.sittings] == [TASKS, 0, 0] and kept.is_open and not kept.open_in(1)
    kept.stated(signed(Handover(made.job, DIVIDED_EPOCH, bytes(32), RANGE_TASKS), OWNER))
    assert kept.open_in(0) and kept.open_in(1) and kept.open_in(2)
    assert [sitting.tasks for sitting in kept.sittings] == kept.authority.lots.sizes(0, TASKS)
    kept.add_segment(made.segment(TASKS).segment, TASKS, 10)
    assert [sitting.tasks for sitting in kept.sittings] == kept.authority.lots.sizes(0, 2 * TASKS)
    kept.sittings[0].mandate = said(made, 0, 0)
    log = LogHeader(made.job, 0, GRANTOR.id, 0, NOTHING, bytes(32), RANGE_TASKS, [(0, RANGE_TASKS)])
    kept.restore_log(GRANTOR.id, 0, signed(log, GRANTOR), 5)
    assert not kept.open_in(0) and kept.open_in(1), "the stem is over, and the lots are not"
