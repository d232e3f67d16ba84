"""Dividing: a submitter with too many peers, or too late for what it has to do, says so; stewards then grant, too."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcpn.errors import PeerError
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.dividing import AGAIN_S, LATE_FOR_S, LATE_LOOKS, LATE_S, WAITING_MIN, Dividing
from p2pcpn.protocol.ledger import ELSEWHERE, FAILED, SETTLED
from p2pcpn.protocol.lots import DIVIDED_EPOCH, RANGE_TASKS
from p2pcpn.wire import messages as m
from p2pcpn.wire.statements import Cancel, Close, Handover, Role, signed
from tests.unit.protocol.granting import Table, steward
from tests.unit.protocol.leased import OWNER
from tests.unit.protocol.swarm import Job, Member, Swarm

MANY: dict[str, Any] = {"peers": 4, "slots": 8, "waiting": 16, "more": False, "stewards": 2, "now": 0.0}


def test_a_job_of_many_peers_is_divided_where_enough_is_left_of_it() -> None:
    assert Dividing(4).due(**MANY)
    assert not Dividing(0).due(**MANY), "of a job that is never divided"
    for less in ({"peers": 3}, {"waiting": 15}, {"stewards": 1}, {"waiting": 0, "more": True}):
        assert not Dividing(4).due(**MANY | less)
    assert Dividing(4).due(**MANY | {"waiting": 1, "more": True}), "what comes is the stewards', too"


def test_it_is_said_once_and_again_after_a_while() -> None:
    dividing = Dividing(4)
    assert dividing.due(**MANY)
    assert not dividing.due(**MANY | {"now": AGAIN_S - 0.1}) and dividing.due(**MANY | {"now": AGAIN_S})


def test_a_grantor_that_is_late_again_and_again_is_loaded() -> None:
    loaded = MANY | {"peers": 1, "waiting": WAITING_MIN}
    dividing, step_s = Dividing(4), LATE_FOR_S / LATE_LOOKS
    for look in range(LATE_LOOKS):
        assert not dividing.due(**loaded | {"now": look * step_s})
        dividing.looked(2 * LATE_S, look * step_s)
    assert not dividing.due(**loaded | {"now": LATE_FOR_S, "waiting": WAITING_MIN - 1}), "a small job"
    assert dividing.due(**loaded | {"now": LATE_FOR_S})


def test_who_was_late_once_or_slept_is_not_loaded() -> None:
    loaded = MANY | {"peers": 1, "waiting": WAITING_MIN, "now": 3600.0}
    dividing = Dividing(4)
    dividing.looked(3600.0, 3600.0)
    assert not dividing.due(**loaded), "a machine that slept"
    for look in range(20 * LATE_LOOKS):
        dividing.looked(2 * LATE_S if look % (LATE_LOOKS - 1) else 0.0, 3600.0 + look)
    assert not dividing.due(**loaded | {"now": 4000.0}), "now and then it is in time"


def test_a_grantor_whose_clock_rings_late_says_that_the_job_has_outgrown_it() -> None:
    table = Table(stewards=[steward(20)[1], steward(21)[1]], storing=False)
    table.grantor.dividing.peers_max = 8
    table.extend(2 * WAITING_MIN)
    for _ in range(LATE_LOOKS):
        assert not table.seen(events.Outgrown)
        due = table.grantor.deadline()
        assert due is not None
        table.now = due + 2 * LATE_S
        table.act(lambda grantor, now: grantor.expire(now))
    assert table.seen(events.Outgrown) == [events.Outgrown(table.job)]


# --- in a swarm -------------------------------------------------------------------------------------------------------

TASKS = 16 * RANGE_TASKS


class Cast:
    """A submitter, two stewards that run nothing, two workers, with whom a hybrid job has grown too large."""

    def __init__(self, *, takes_s: float | None = 0.2, tasks: int = TASKS, peers_max: int = 2) -> None:
        self.swarm = Swarm()
        add = self.swarm.add
        self.one = add(slots=0, roles=Role.STORAGE).start()
        self.two = add(slots=0, roles=Role.STORAGE).start(self.one)
        self.workers = [add(roles=Role.COMPUTE, slots=4).start(self.one) for _ in range(2)]
        self.submitter = add(slots=0, roles=0).start(self.one)
        for member in (self.one, self.two, self.submitter):
            assert self.swarm.run(20, lambda m=member: all(w.id in self.swarm.knows(m) for w in self.workers))
        for worker in self.workers:
            worker.takes_s = takes_s
        self.job = Job(self.submitter, stewards=(self.one, self.two), peers_max=peers_max)
        self.job.extend(*[1] * tasks)

    def divide(self) -> None:
        """As its program does when it hears that the job is too large."""
        assert self.swarm.run(10, lambda: bool(self.submitter.seen(events.Outgrown)))
        said = Handover(self.job.job, DIVIDED_EPOCH, bytes(32), self.job.grantor.border)
        self.submitter.follow(self.submitter.peer.presiding.divide(signed(said, OWNER)))

    def granted(self, member: Member) -> list[int]:
        return [grantor.epoch for grantor in member.peer.jobs.granted.of(self.job.job) if grantor.granting]

    def delivered(self) -> list[int]:
        return [index for event in self.submitter.seen(events.Delivered) for index in event.indices]

    def close(self) -> None:
        total = self.job.made.tasks
        statement = signed(Close(self.job.job, total, self.job.made.last), OWNER)
        self.job.act(lambda grantor: grantor.close(statement, total, self.swarm.now))

    def authority(self) -> Any:
        return self.submitter.peer.presiding._own[self.job.job]


@pytest.fixture
def divided() -> Cast:
    cast = Cast()
    cast.divide()
    lots = [[DIVIDED_EPOCH], [DIVIDED_EPOCH + 1]]
    assert cast.swarm.run(10, lambda: [cast.granted(cast.one), cast.granted(cast.two)] == lots)
    return cast


def test_the_submitter_keeps_what_it_leased_and_each_steward_grants_its_lot_of_the_rest(divided: Cast) -> None:
    cast, first = divided, divided.authority().lots.first
    stem = cast.job.grantor
    assert 0 < first < TASKS and first % RANGE_TASKS == 0 and cast.granted(cast.submitter) == [0]
    assert set(stem.ledger.states[first:]) <= {ELSEWHERE, SETTLED} and ELSEWHERE not in stem.ledger.states[:first]
    assert len(cast.submitter.seen(events.Outgrown)) == 1
    cast.close()
    assert cast.swarm.run(60, lambda: len(cast.delivered()) >= TASKS)
    assert sorted(cast.delivered()) == list(range(TASKS)), "each once"
    assert cast.swarm.run(30, lambda: cast.submitter.seen(events.Replicated)[-1].done)
    assert cast.submitter.seen(events.Replicated)[-1].settled == TASKS, "of stem and lots together"
    ended = [grantor.ledger.ended for s in (cast.one, cast.two) for grantor in s.peer.jobs.granted.of(cast.job.job)]
    assert sum(ended) == TASKS - first and all(ended) and stem.finished


def test_what_is_added_later_is_the_stewards_and_pausing_closing_and_cancelling_reach_them(divided: Cast) -> None:
    cast = divided
    cast.job.extend(*[1] * RANGE_TASKS)
    assert set(cast.job.grantor.ledger.states[TASKS:]) == {ELSEWHERE}
    lots = [grantor for s in (cast.one, cast.two) for grantor in s.peer.jobs.granted.of(cast.job.job)]
    assert cast.swarm.run(5, lambda: all(lot.ledger.total == TASKS + RANGE_TASKS for lot in lots))
    last = TASKS + RANGE_TASKS - 1
    cast.job.act(lambda grantor: grantor.cancel([(last, 1)], stop=False, now=cast.swarm.now))
    owner = next(lot for lot in lots if lot.book.lots.of(last) == lot.book.lot)
    assert cast.swarm.run(5, lambda: owner.ledger.states[last] >= FAILED)
    cancel = signed(Cancel(cast.job.job, 1.0), OWNER)
    cast.job.act(lambda grantor: grantor.cancel_job(cancel, cast.swarm.now))
    assert cast.swarm.run(5, lambda: all(lot.cancelled for lot in lots))


def test_when_the_submitter_dies_the_stem_is_taken_over_and_the_lots_go_on(divided: Cast) -> None:
    cast, first = divided, divided.authority().lots.first
    cast.close()
    cast.swarm.run(0.1)
    cast.swarm.kill(cast.submitter)
    stewards = (cast.one, cast.two)

    def settled() -> set[int]:
        found: set[int] = set()
        for grantor in (grantor for s in stewards for grantor in s.peer.jobs.granted.of(cast.job.job)):
            found |= {index for index, state in enumerate(grantor.ledger.states) if state == SETTLED}
        return found

    assert cast.swarm.run(60, lambda: settled() == set(range(TASKS)))
    stems = [s.peer.grantors[cast.job.job] for s in stewards if cast.job.job in s.peer.grantors]
    assert [stem.epoch for stem in stems] == [1] and stems[0].ledger.ended == first


def test_when_a_steward_dies_its_lot_is_taken_over_and_the_submitter_is_told_all(divided: Cast) -> None:
    cast = divided
    cast.close()
    cast.swarm.kill(cast.two)
    assert cast.swarm.run(20, lambda: cast.granted(cast.one) == [DIVIDED_EPOCH, DIVIDED_EPOCH + 3])
    lots = [grantor.ledger for grantor in cast.one.peer.jobs.granted.of(cast.job.job)]
    assert cast.swarm.run(60, lambda: all(set(ledger.states) == {SETTLED} for ledger in lots))
    assert len(cast.delivered()) == len(set(cast.delivered())), "what it missed it reads in the logs"


def test_what_was_given_up_of_the_stem_is_told_to_those_whose_tasks_may_take_it(divided: Cast) -> None:
    cast = divided
    gave_up = fx.Notify(events.GaveUp(cast.job.job, [0], "its peer was lost"))
    effects = cast.submitter.peer.presiding.relayed([gave_up], cast.swarm.now)
    assert {effect.to.id for effect in effects} == {cast.one.id, cast.two.id}
    cast.submitter.follow(effects)
    lots = [grantor for s in (cast.one, cast.two) for grantor in s.peer.jobs.granted.of(cast.job.job)]
    assert cast.swarm.run(5, lambda: all(lot.ledger.states[0] in (FAILED, SETTLED) for lot in lots))
    behind = fx.Notify(events.GaveUp(cast.job.job, [TASKS - 1], "its peer was lost"))
    assert cast.submitter.peer.presiding.relayed([behind], cast.swarm.now) == [], "who grants that has told them"


def test_what_a_steward_gives_up_its_submitter_hears(divided: Cast) -> None:
    cast, lots = divided, divided.authority().lots
    mine = next(index for index in reversed(range(TASKS)) if lots.of(index) == 1)
    said = m.GivenUp(cast.job.job, DIVIDED_EPOCH, [(mine, 1)], "so", False, None, None)
    effects = cast.submitter.peer.presiding.told(cast.one.key.public, said, cast.swarm.now)
    assert [e.event.indices for e in effects if isinstance(e, fx.Notify)] == [[mine]]


def test_a_steward_that_was_not_told_hears_of_it_from_whoever_grants_a_lot() -> None:
    cast = Cast()
    cast.swarm.run(1.0)
    before = cast.two.peer.presiding.take
    cast.two.peer.presiding.take = lambda *words: []  # type: ignore[method-assign]
    cast.divide()
    assert cast.swarm.run(10, lambda: cast.granted(cast.two) == [DIVIDED_EPOCH + 1]), "by a mandate"
    cast.two.peer.presiding.take = before  # type: ignore[method-assign]
    row = cast.two.disk.get("jobs", (cast.job.job,))
    assert row is not None and cast.authority().division.body in bytes(row[5]), "it is on its disk, too"


def test_a_steward_that_granted_the_job_on_the_other_side_of_a_cut_gives_away_what_lies_behind_the_stem() -> None:
    cast = Cast()
    assert cast.swarm.run(10, lambda: bool(cast.submitter.seen(events.Outgrown)))
    kept, made = cast.one.peer.steward.jobs[cast.job.job], cast.job.made
    assert cast.swarm.run(5, lambda: kept.tasks == TASKS)
    kept.authority.take_over(cast.one.key.public, 1)
    kept.grantor = None
    cast.one.peer.adopt(cast.job.job, list(zip(made.segments, made.sealed, strict=True)), [], cast.swarm.now)
    stem = cast.one.peer.grantors[cast.job.job]
    assert stem.ledger.open == TASKS
    division = signed(Handover(cast.job.job, DIVIDED_EPOCH, bytes(32), RANGE_TASKS), OWNER)
    cast.one.follow(cast.one.peer.presiding.take(cast.submitter.contact, b"", m.Take(1, division), cast.swarm.now))
    assert stem.division == division and ELSEWHERE in stem.ledger.states[RANGE_TASKS:]
    assert stem.ledger.states[:RANGE_TASKS].count(ELSEWHERE) == 0


def test_who_has_no_such_job_divides_none_and_nobody_takes_a_divided_one_back(divided: Cast) -> None:
    cast = divided
    other = signed(Handover(bytes(20), DIVIDED_EPOCH, bytes(32), 0), OWNER)
    assert cast.submitter.peer.presiding.divide(other) == []
    division = cast.authority().division
    assert cast.job.grantor.divide(division) == [], "once is enough"
    own = signed(Handover(cast.job.job, 3, cast.submitter.key.public), OWNER)
    with pytest.raises(PeerError, match="divided"):
        cast.submitter.peer.presiding.resume(cast.job.made.spec, b"", [division, own], None, cast.swarm.now)
