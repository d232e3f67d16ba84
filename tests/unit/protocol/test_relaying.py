"""Relaying: the stewards of a distributed job tell whoever submitted it what comes of it; nobody else is believed."""

from __future__ import annotations

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.granted import Granted
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.ledger import FAILED, SETTLED
from p2pcpn.protocol.lots import DIVIDED_EPOCH, RANGE_TASKS, Lots
from p2pcpn.protocol.relaying import Relaying
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.pages import spans_of
from p2pcpn.wire.statements import Cancel, Close, Handover, Receipt, Record, Role, read, signed
from tests.unit.protocol.leased import OWNER, STRANGER, STRANGER_AT
from tests.unit.protocol.swarm import Job, Member, Swarm

TASKS = 6 * RANGE_TASKS


class Cast:
    """A submitter, two stewards that run nothing, a worker, and a distributed job of six ranges."""

    def __init__(self, *, takes_s: float | None = 0.05, tasks: int = TASKS, slots: int = 8) -> None:
        self.swarm = Swarm()
        add = self.swarm.add
        self.one = add(slots=0, roles=Role.STORAGE).start()
        self.two = add(slots=0, roles=Role.STORAGE).start(self.one)
        self.worker = add(roles=Role.COMPUTE, slots=slots).start(self.one)
        self.submitter = add(slots=0, roles=0).start(self.one)
        stewards = (self.one, self.two)
        assert self.swarm.run(10, lambda: all(self.worker.id in self.swarm.knows(each) for each in stewards))
        assert self.swarm.run(10, lambda: self.one.id in self.swarm.knows(self.submitter))
        self.worker.takes_s = takes_s
        self.job = Job(self.submitter, stewards=stewards, granting=False, orchestration="distributed")
        self.job.extend(*[1] * tasks)
        self.tasks = tasks

    @property
    def name(self) -> bytes:
        return self.job.job

    def close(self) -> None:
        statement = signed(Close(self.name, self.tasks, self.job.made.last), OWNER)
        self.job.act(lambda grantor: grantor.close(statement, self.tasks, self.swarm.now))

    def delivered(self) -> list[int]:
        return [index for event in self.submitter.seen(events.Delivered) for index in event.indices]

    def granted(self, member: Member) -> list[int]:
        """The epochs in which ``member`` grants."""
        return [grantor.epoch for grantor in member.peer.jobs.granted.of(self.name) if grantor.granting]

    def own(self) -> object:
        return self.submitter.peer.presiding._own[self.name]


def test_each_steward_grants_its_lot_and_the_submitter_is_told_every_result_once() -> None:
    cast = Cast()
    assert cast.swarm.run(5, lambda: bool(cast.granted(cast.one) and cast.granted(cast.two)))
    assert (cast.granted(cast.one), cast.granted(cast.two), cast.granted(cast.submitter)) == ([1], [2], [])
    cast.close()
    assert cast.swarm.run(30, lambda: len(cast.delivered()) >= TASKS)
    assert sorted(cast.delivered()) == list(range(TASKS))
    assert cast.swarm.run(30, lambda: bool(cast.submitter.seen(events.Replicated)[-1:]) and _last(cast).done)
    assert (_last(cast).settled, _last(cast).replicated) == (TASKS, TASKS)
    for steward, lot in ((cast.one, 0), (cast.two, 1)):
        ledger = steward.peer.jobs.granted.lots[cast.name, lot].ledger
        assert ledger.ended == TASKS - ledger.ceded and ledger.open == 0
    assert not cast.submitter.peer.grantors[cast.name].leases
    assert not cast.worker.peer.worker.works[cast.name].unsettled


def _last(cast: Cast) -> events.Replicated:
    return cast.submitter.seen(events.Replicated)[-1]


def test_what_begins_to_run_is_told_and_what_the_submitter_takes_back_is_not_run() -> None:
    cast = Cast(takes_s=None, slots=1)
    assert cast.swarm.run(10, lambda: bool(cast.submitter.seen(events.Started)))
    running = {index for event in cast.submitter.seen(events.Started) for index in event.indices}
    others = [index for index in range(TASKS) if index not in running]
    cast.job.act(lambda grantor: grantor.cancel(spans_of(others), stop=False, now=cast.swarm.now))
    cast.swarm.run(2)
    granted = [grantor for each in (cast.one, cast.two) for grantor in each.peer.jobs.granted.of(cast.name)]
    assert {index for g in granted for index in range(TASKS) if g.ledger.states[index] < SETTLED} <= running


def test_nobody_else_takes_tasks_of_the_job_back() -> None:
    cast = Cast(takes_s=None, slots=1)
    assert cast.swarm.run(10, lambda: bool(cast.submitter.seen(events.Started)))
    lot = cast.one.peer.jobs.granted.of(cast.name)[0]
    before = lot.ledger.open
    message = m.Revoke(cast.name, [(0, TASKS)], True)
    assert cast.one.peer.presiding.revoked(STRANGER.public, message, cast.swarm.now) == []
    assert lot.ledger.open == before
    too_many = m.Revoke(cast.name, [(0, TASKS)] * 3, True)
    assert cast.one.peer.presiding.revoked(cast.submitter.key.public, too_many, cast.swarm.now) == []
    assert lot.ledger.open == before


def test_tasks_that_are_given_up_fail_at_the_submitter_and_for_those_that_wait_for_them() -> None:
    cast = Cast(takes_s=None, slots=1)
    assert cast.swarm.run(10, lambda: bool(cast.granted(cast.one) and cast.granted(cast.two)))
    assert cast.swarm.run(5, lambda: cast.two.peer.jobs.granted.of(cast.name)[0].ledger.total == TASKS)
    lots = cast.own().lots
    mine = next(index for index in range(TASKS) if lots.of(index) == 0)
    gave_up = fx.Notify(events.GaveUp(cast.name, [mine], "its peer was lost", True, 9, None))
    effects = cast.one.peer.presiding.relayed([gave_up], cast.swarm.now)
    assert {effect.to.id for effect in effects} == {cast.submitter.id, cast.two.id}
    cast.one.follow(effects)
    assert cast.swarm.run(5, lambda: bool(cast.submitter.seen(events.GaveUp)))
    heard = cast.submitter.seen(events.GaveUp)[0]
    assert (heard.indices, heard.text, heard.died, heard.signal) == ([mine], "its peer was lost", True, 9)
    elsewhere = cast.two.peer.jobs.granted.of(cast.name)[0].ledger
    assert cast.swarm.run(5, lambda: elsewhere.states[mine] == FAILED), "a task that takes its result will fail"


@pytest.mark.parametrize("wrong", ["key", "lot", "epoch", "span"])
def test_a_steward_speaks_for_its_own_lots_alone(wrong: str) -> None:
    cast = Cast(takes_s=None, slots=1)
    relaying, own = cast.submitter.peer.presiding.relaying, cast.own()
    mine = next(index for index in range(TASKS) if own.lots.of(index) == 0)
    other = next(index for index in range(TASKS) if own.lots.of(index) == 1)
    key = STRANGER.public if wrong == "key" else cast.one.key.public
    epoch = 2 if wrong == "epoch" else 1
    spans = {"lot": [(other, 1)], "span": [(0, 1 << 31)]}.get(wrong, [(mine, 1)])
    said = m.GivenUp(cast.name, epoch, spans, "so", False, None, None)
    assert cast.submitter.peer.message_received(cast.one.id, said, cast.swarm.now) is not None
    with pytest.raises(Exception, match=r"a peer that does not grant|in its lot"):
        relaying.gave_up(own, key, said, cast.swarm.now)
    assert not cast.submitter.seen(events.GaveUp)


def test_who_grants_a_lot_here_does_not_believe_that_another_gave_its_tasks_up() -> None:
    cast = Cast(takes_s=None, slots=1)
    assert cast.swarm.run(10, lambda: bool(cast.granted(cast.one) and cast.granted(cast.two)))
    (lot,) = cast.one.peer.jobs.granted.of(cast.name)
    assert cast.swarm.run(5, lambda: lot.ledger.total == TASKS)
    before = lot.ledger.open
    mine = next(index for index in range(TASKS) if cast.own().lots.of(index) == 0)
    known = cast.one.peer.steward.jobs[cast.name].authority
    said = m.GivenUp(cast.name, 3, [(mine, 1)], "so", False, None, None)  # the epoch that is the other's after ours
    relaying = cast.one.peer.presiding.relaying
    assert relaying.gave_up(known, cast.two.key.public, said, cast.swarm.now) == []
    assert lot.ledger.open == before and known.presides(cast.one.key.public, 1)
    with pytest.raises(Exception, match="cannot have come yet"):
        far = m.GivenUp(cast.name, 3 + (1 << 18), [(mine, 1)], "so", False, None, None)
        relaying.gave_up(known, cast.two.key.public, far, cast.swarm.now)


class Divided:
    """A job of twelve ranges that was divided while it ran: one steward grants nothing of the other's lot."""

    def __init__(self, takes_s: float | None = 0.2) -> None:
        self.swarm = Swarm()
        self.one = self.swarm.add(slots=0, roles=Role.STORAGE).start()
        self.two = self.swarm.add(slots=0, roles=Role.STORAGE).start(self.one)
        worker = self.swarm.add(roles=Role.COMPUTE, slots=2).start(self.one)
        self.submitter = self.swarm.add(slots=0, roles=0).start(self.one)
        self.swarm.run(8)
        worker.takes_s = takes_s
        self.job = Job(self.submitter, stewards=(self.one, self.two), orchestration="hybrid")
        self.job.extend(*[RANGE_TASKS] * 12)
        self.swarm.run(1)
        division = signed(Handover(self.job.job, DIVIDED_EPOCH, bytes(32), self.job.grantor.border), OWNER)
        peer = self.submitter.peer
        self.submitter.do(peer.perform(peer.presiding.divide(division), self.swarm.now))
        assert self.swarm.run(5, lambda: any(g.granting for g in self.two.peer.jobs.granted.of(self.job.job)))
        self.swarm.run(1)
        (self.lot,) = self.two.peer.jobs.granted.of(self.job.job)

    def delivered_in_lot(self) -> pages.Entry | None:
        """The first result that the steward of the lot settled."""
        for event in self.two.seen(events.Delivered):
            if event.entry is not None and read(event.entry.receipt, Receipt).epoch == self.lot.epoch:
                return event.entry
        return None


def test_in_the_epoch_of_a_stem_nobody_gives_up_or_delivers_what_lies_behind_it() -> None:
    cast = Divided()
    assert cast.swarm.run(5, lambda: cast.delivered_in_lot() is not None)
    job, now, one, total = cast.job.job, cast.swarm.now, cast.one.key.public, cast.lot.ledger.total
    behind = cast.lot.book.lots.first
    assert behind is not None and 0 < behind < total
    before, seen = bytes(cast.lot.ledger.states), len(cast.submitter.seen(events.Delivered))
    cast.two.do(cast.two.peer.perform(cast.two.peer.presiding.told(one, _given_up(job, 1, [(0, total)]), now), now))
    assert bytes(cast.lot.ledger.states) == before
    delivered = cast.delivered_in_lot()
    assert delivered is not None
    settled = m.Settlement(delivered.receipt, delivered.page, delivered.spans)
    own, relaying = cast.submitter.peer.presiding._own[job], cast.submitter.peer.presiding.relaying
    heard: list[m.Settlement] = []
    stem = cast.submitter.peer.grantors[job]
    stem.hear = lambda said, now: heard.append(said) or []  # type: ignore[method-assign, func-returns-value]
    with pytest.raises(Exception, match="cannot have inherited"):
        relaying.delivered(own, one, m.Delivery(job, 1, [settled]), now)
    stated = read(delivered.receipt, Receipt)
    for spans, counts in (([(behind - 1, 3)], [(behind - 1, 1)]), ([(behind, 3)], None)):
        receipt = signed(msgspec.structs.replace(stated, epoch=1, spans=spans), cast.one.key)
        heard.clear()
        assert relaying.delivered(own, one, m.Delivery(job, 1, [m.Settlement(receipt, b"", None)]), now) == ([], None)
        assert [said.spans for said in heard] == ([] if counts is None else [counts])
    assert len(cast.submitter.seen(events.Delivered)) == seen


def _given_up(job: bytes, epoch: int, spans: list[tuple[int, int]]) -> m.GivenUp:
    return m.GivenUp(job, epoch, spans, "so", False, None, None)


def test_in_the_epoch_of_a_lot_nobody_gives_up_tasks_of_the_stem() -> None:
    cast = Divided(None)
    job, now, lots = cast.job.job, cast.swarm.now, cast.lot.book.lots
    stem = cast.submitter.peer.grantors[job]
    before = stem.ledger.open, bytes(stem.ledger.states[: lots.first])
    assert before[0] > 0
    own = cast.submitter.peer.presiding._own[job]
    lot = next(epoch for epoch in (DIVIDED_EPOCH, DIVIDED_EPOCH + 1) if not lots.astray(epoch, 0, RANGE_TASKS))
    by = own.steward_of(lot)
    assert by is not None and own.grants(by.key, lot)
    cast.submitter.peer.presiding.told(by.key, _given_up(job, lot, [(0, RANGE_TASKS)]), now)
    assert (stem.ledger.open, bytes(stem.ledger.states[: lots.first])) == before


def test_nobody_gives_up_tasks_of_a_job_that_is_granted_as_a_whole() -> None:
    swarm = Swarm()
    one = swarm.add(slots=0, roles=Role.STORAGE).start()
    submitter = swarm.add(slots=0, roles=0).start(one)
    assert swarm.run(10, lambda: one.id in swarm.knows(submitter))
    job = Job(submitter, stewards=(one,)).extend(1, 1)
    said = m.GivenUp(job.job, 1, [(0, 2)], "so", False, None, None)
    submitter.peer.message_received(one.id, said, swarm.now)
    with pytest.raises(Exception, match="does not grant them"):
        submitter.peer.presiding.told(one.key.public, said, swarm.now)
    assert submitter.peer.grantors[job.job].ledger.open == 2 and not submitter.seen(events.GaveUp)


def test_more_tasks_than_there_are_cost_nothing_to_hear_of(monkeypatch: pytest.MonkeyPatch) -> None:
    cast = Cast(takes_s=None, slots=1)
    heard: list[int] = []

    def noted(book: Book, spans: list[tuple[int, int]], why: str) -> list[tuple[int, int]]:
        heard.append(sum(count for _, count in spans))
        return []

    monkeypatch.setattr(Book, "failed_elsewhere", noted)
    own = cast.own()
    theirs = [number * RANGE_TASKS for number in range(1000) if own.lots.of_range(number) == 0]
    said = m.GivenUp(cast.name, 1, [(first, RANGE_TASKS) for first in theirs[:256]], "so", False, None, None)
    cast.submitter.peer.presiding.relaying.gave_up(own, cast.one.key.public, said, cast.swarm.now)
    assert 0 < sum(heard) <= cast.tasks


def test_a_delivery_is_believed_for_its_receipt_alone() -> None:
    cast = Cast(tasks=RANGE_TASKS)
    assert cast.swarm.run(20, lambda: bool(cast.submitter.seen(events.Delivered)))
    entry = next(event.entry for event in _at_stewards(cast, events.Delivered) if event.entry is not None)
    peer, own = cast.submitter.peer, cast.own()
    epoch = own.lots.of(0) + 1
    steward = cast.one if epoch == 1 else cast.two
    relaying, now = peer.presiding.relaying, cast.swarm.now

    def told(*settled: m.Settlement, epoch: int = epoch) -> m.Delivery:
        return m.Delivery(cast.name, epoch, [*settled])

    right = m.Settlement(entry.receipt, entry.page, entry.spans)
    torn = m.Settlement(entry.receipt, b"", None)
    too_much = m.Settlement(entry.receipt, entry.page, [(0, RANGE_TASKS)])
    assert relaying.delivered(own, steward.key.public, told(right), now) == ([], None), "it was told before"
    for settled, why in ((torn, "page of results"), (too_much, "does not state")):
        effects, wrong = relaying.delivered(own, steward.key.public, told(settled, right), now)
        assert effects == [] and why in str(wrong), "what stands beside it is heard"
    with pytest.raises(Exception, match="not its own"):
        relaying.delivered(own, STRANGER.public, told(right), now)
    with pytest.raises(Exception, match="cannot have come yet"):
        relaying.delivered(own, steward.key.public, told(torn, epoch=1 << 19), now)
    assert relaying.delivered(None, steward.key.public, told(right), now) == ([], None)
    assert peer.counters["refused Delivery"] == 0
    assert peer.presiding.told(steward.key.public, told(right, torn), now) == []
    assert peer.counters["refused Delivery"] == 1, "and counts against its sender"


def test_one_message_makes_its_reader_look_at_no_more_runs_of_tasks_than_it_may_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cast = Cast(takes_s=None, slots=1)
    relaying, own, now = cast.submitter.peer.presiding.relaying, cast.own(), cast.swarm.now
    mine = [number * RANGE_TASKS for number in range(20_000) if own.lots.of_range(number) == 0]
    spans = [(first, 1) for first in mine[: limits.BATCH_TASKS_MAX]]
    receipt = Receipt(cast.name, 1, cast.one.id, 1, 0, spans, b"", b"", bytes(32), 0.0, b"")
    settled = m.Settlement(signed(receipt, cast.worker.key), b"", None)
    looks: list[int] = []
    hashed = Lots._hashed

    def counted(lots: Lots, number: int) -> int:
        looks.append(number)
        return hashed(lots, number)

    monkeypatch.setattr(Lots, "_hashed", counted)
    with pytest.raises(Exception, match="more runs of tasks"):
        relaying.delivered(own, cast.one.key.public, m.Delivery(cast.name, 1, [settled] * 64), now)
    assert len(looks) <= limits.BATCH_TASKS_MAX
    looks.clear()
    more = m.GivenUp(cast.name, 1, [(first, RANGE_TASKS) for first in mine[:1000]], "so", False, None, None)
    again = m.GivenUp(cast.name, 1, [(mine[0], 1)] * limits.BATCH_TASKS_MAX, "so", False, None, None)
    for said in (more, again):
        with pytest.raises(Exception, match="twice, or of more"):
            relaying.gave_up(own, cast.one.key.public, said, now)
    assert not looks


def _at_stewards(cast: Cast, kind: type[events.Delivered]) -> list[events.Delivered]:
    return [*cast.one.seen(kind), *cast.two.seen(kind)]


def test_the_word_on_how_safe_a_lot_is_counts_in_its_newest_epoch() -> None:
    cast = Cast(takes_s=None, slots=1)
    relaying, own = cast.submitter.peer.presiding.relaying, cast.own()
    newer = m.Standing(cast.name, 3, 5, 5, 2, True)
    (notify,) = relaying.stands(own, cast.two.key.public, newer)
    assert isinstance(notify, fx.Notify) and not notify.event.done, "the other lot has not spoken"
    assert relaying.stands(own, cast.one.key.public, m.Standing(cast.name, 1, 9, 9, 2, True)) == []
    assert relaying.stands(None, cast.one.key.public, newer) == []
    relaying.forget(cast.name)
    (notify,) = relaying.stands(own, cast.one.key.public, m.Standing(cast.name, 1, 9, 9, 2, True))
    assert (notify.event.settled, notify.event.copies) == (9, 2)


def test_a_submitter_that_is_dead_is_told_nothing_and_one_that_speaks_again_is_told_again() -> None:
    cast = Cast(takes_s=None, slots=1)
    assert cast.swarm.run(10, lambda: bool(cast.granted(cast.one)))
    kept = cast.one.peer.steward.jobs[cast.name]
    assert kept.owner_at is not None and kept.owner_at.id == cast.submitter.id
    cast.swarm.kill(cast.submitter)
    assert cast.swarm.run(20, lambda: kept.owner_at is None)
    started = fx.Notify(events.Started(cast.name, [0]))
    assert cast.one.peer.presiding.relayed([started], cast.swarm.now) == []
    # Its own record may never have been kept: readers find the job at one of its grantors.
    assert cast.swarm.run(20, lambda: any(cast.name in each.peer.publishing._provided for each in (cast.one, cast.two)))


def test_what_is_no_news_of_a_lot_is_nobodys() -> None:
    relaying = Relaying(Granted())
    assert relaying.relayed([fx.Dial(STRANGER_AT), fx.Notify(object())], {}, {}, 0.0) == []
    assert relaying.started(None, STRANGER.public, m.Progress(b"j" * 20, 0, [1])) == []


def test_that_tasks_run_is_heard_of_who_grants_them_alone_and_of_tasks_there_are() -> None:
    cast = Cast(takes_s=None, slots=1)
    relaying, own = cast.submitter.peer.presiding.relaying, cast.own()
    mine = [index for index in range(TASKS) if own.lots.of(index) == 0]

    def heard(by: Member, *indices: int) -> list[int]:
        effects = relaying.started(own, by.key.public, m.Progress(cast.name, 0, [*indices]))
        return [index for effect in effects for index in effect.event.indices]

    assert heard(cast.one, *range(TASKS), TASKS, 1 << 40) == mine
    assert heard(cast.two, *mine) == heard(cast.worker, *mine) == []
    relaying.stands(own, cast.one.key.public, m.Standing(cast.name, 4, 0, 0, 0, False))
    assert heard(cast.one, *range(TASKS)) == list(range(TASKS)), "it grants both lots now"
    relaying._granted.whole.clear()
    assert heard(cast.one, *mine) == []


def test_what_runs_of_a_lot_that_was_taken_over_is_heard_before_any_of_it_has_ended() -> None:
    cast = Cast(takes_s=None, slots=1)
    assert cast.swarm.run(10, lambda: bool(cast.granted(cast.one) and cast.granted(cast.two)))
    cast.swarm.run(1)
    cast.swarm.kill(cast.two)
    assert cast.swarm.run(30, lambda: cast.granted(cast.one) == [1, 4])
    lots = cast.own().lots
    theirs = max(index for index in range(TASKS) if lots.of(index) == 1)
    assert all(theirs not in event.indices for event in cast.submitter.seen(events.Started))
    cast.one.follow(cast.one.peer.presiding.relayed([fx.Notify(events.Started(cast.name, [theirs]))], cast.swarm.now))
    assert cast.swarm.run(2, lambda: any(theirs in event.indices for event in cast.submitter.seen(events.Started)))


def test_a_cancel_from_elsewhere_reaches_the_program() -> None:
    cast = Cast(takes_s=None, slots=1)
    assert cast.swarm.run(10, lambda: bool(cast.granted(cast.one) and cast.granted(cast.two)))
    finish = m.Finish(0, signed(Cancel(cast.name, 1.0), OWNER))
    cast.one.follow(cast.one.peer.presiding.finished(cast.worker.contact, finish, cast.swarm.now))
    assert cast.swarm.run(5, lambda: bool(cast.submitter.seen(events.Cancelled)))
    assert cast.swarm.run(5, lambda: not cast.granted(cast.two) or not _open(cast, cast.two))


def _open(cast: Cast, member: Member) -> int:
    return sum(grantor.ledger.open for grantor in member.peer.jobs.granted.of(cast.name))


def test_when_a_steward_dies_the_other_grants_its_lot_and_every_result_arrives() -> None:
    cast = Cast(takes_s=0.2, slots=2)
    cast.close()
    assert cast.swarm.run(20, lambda: len(cast.delivered()) >= 10)
    cast.swarm.kill(cast.two)
    assert cast.swarm.run(20, lambda: cast.granted(cast.one) == [1, 4])
    lots = cast.one.peer.jobs.granted
    assert cast.swarm.run(60, lambda: not _open(cast, cast.one))
    assert len(cast.delivered()) == len(set(cast.delivered()))
    assert lots.lots[cast.name, 1].ledger.ended == TASKS - lots.lots[cast.name, 1].ledger.ceded


def test_who_grants_two_lots_names_the_logs_of_both_in_either_head() -> None:
    cast = Cast()
    assert cast.swarm.run(30, lambda: len(cast.delivered()) >= TASKS)
    cast.swarm.kill(cast.two)
    cast.job.extend(*[1] * TASKS)
    assert cast.swarm.run(30, lambda: cast.granted(cast.one) == [1, 4])
    assert cast.swarm.run(30, lambda: len(set(cast.delivered())) == 2 * TASKS)

    def named() -> set[int]:
        head = _head(cast)
        return set() if head is None else {head.epoch, *(epoch for epoch, count in head.others if count)}

    assert cast.swarm.run(5, lambda: named() == {1, 4})


def _head(cast: Cast) -> pages.LogHead | None:
    """The head of the first steward's logs, as the newest record of it says."""
    heads = [
        (seq, read(pages.SIGNED.decode(packed), Record).value)
        for member in cast.swarm.members
        for (key,), (_, seq, _, packed) in member.disk.scan("records")
        if key == record_key(cast.one.key.public, cast.name)
    ]
    return pages.LOG_HEAD.decode(max(heads)[1]) if heads else None
