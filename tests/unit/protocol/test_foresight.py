"""Foresight: who calls and waits, again and again, has its tasks named to a peer that was leased them before."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import history as h
from p2pcpn.protocol.foresight import ALONE_MIN, FORESEEN, FORESEEN_S, carried
from p2pcpn.protocol.verdict import judge
from p2pcpn.wire import messages as m
from p2pcpn.wire.statements import Lease, opened
from tests.unit.protocol.granting import Table, Worker, steward


def one_by_one(table: Table, worker: Worker, count: int) -> None:
    """So many tasks, each after the result of the one before."""
    for _ in range(count):
        table.extend(1)
        worker.run(last=True)


def foreseen(**options: object) -> tuple[Table, Worker]:
    """A grantor that has leased its worker tasks that are still to come."""
    table = Table(**options)  # type: ignore[arg-type]
    worker = table.worker(10, slots=1)
    one_by_one(table, worker, ALONE_MIN + 1)
    assert not worker.of(m.Further)
    return table, worker


def test_after_some_tasks_that_came_alone_those_to_come_are_leased_with_the_next() -> None:
    table, worker = foreseen()
    given = [opened(grant.lease, Lease).spans for grant in worker.of(m.Grant)]
    assert given[:-1] == [[(index, 1)] for index in range(ALONE_MIN)]
    assert given[-1] == [(ALONE_MIN, 1 + FORESEEN)]
    grants = len(worker.of(m.Grant))
    one_by_one(table, worker, 3)
    assert len(worker.of(m.Grant)) == grants and len(worker.of(m.Further)) == 3
    assert {said.token for said in worker.of(m.Further)} == {worker.last.token}
    assert table.delivered == list(range(ALONE_MIN + 4)) and not table.grantor.leases
    assert judge(table.noted, over=False).ok


def test_a_lease_that_is_used_up_is_followed_by_another() -> None:
    table, worker = foreseen()
    one_by_one(table, worker, 2 * FORESEEN + 4)
    assert len(worker.of(m.Grant)) == ALONE_MIN + 3
    assert table.delivered == list(range(ALONE_MIN + 5 + 2 * FORESEEN)) and judge(table.noted, over=False).ok


def test_a_lease_gives_no_task_beyond_those_that_a_job_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TASKS_PER_JOB_MAX", ALONE_MIN + 3)
    table, worker = foreseen()
    assert opened(worker.of(m.Grant)[-1].lease, Lease).spans == [(ALONE_MIN, 3)]
    one_by_one(table, worker, 1)
    assert len(worker.of(m.Further)) == 1


def test_tasks_that_come_together_or_while_others_run_are_not_foreseen() -> None:
    table = Table()
    worker = table.worker(10, slots=4)
    for _ in range(3 * ALONE_MIN):
        table.extend(2)
        worker.run(last=True)
    table.extend(1)
    for _ in range(3 * ALONE_MIN):
        before = worker.last
        table.extend(1)
        worker.run(before, last=True)
    assert not worker.of(m.Further)
    assert all(sum(count for _, count in opened(grant.lease, Lease).spans) < 3 for grant in worker.of(m.Grant))


def test_what_comes_while_its_task_runs_is_leased_as_ever_and_ends_it() -> None:
    table, worker = foreseen()
    other = table.worker(11, slots=1)
    table.extend(1)
    assert len(worker.of(m.Further)) == 1
    lease = worker.last
    table.extend(1)
    assert other.last.token > lease.token and not other.of(m.Further)
    worker.run(lease, last=True)
    other.run(last=True)
    table.extend(1)
    assert len(worker.of(m.Further)) == 1 and worker.last.token > other.last.token
    worker.run(last=True)
    assert judge(table.noted, over=False).ok


def test_a_nearer_peer_that_idles_is_leased_the_next_task() -> None:
    table, worker = foreseen(max_workers=2)
    nearer = table.worker(9, slots=1)
    table.extend(2)
    worker.run(last=True)
    nearer.run(last=True)
    one_by_one(table, nearer, ALONE_MIN + 2)
    assert nearer.of(m.Further) and not worker.of(m.Further)


def test_a_peer_that_gives_back_what_came_is_leased_it_anew() -> None:
    table, worker = foreseen()
    table.extend(1)
    before = worker.last
    assert before.token == worker.of(m.Further)[0].token
    worker.give_back(before, "missing")
    assert worker.last.token > before.token and worker.last.spans == before.spans
    worker.run(last=True)
    one_by_one(table, worker, ALONE_MIN)
    assert len(worker.of(m.Further)) == 1, "it begins anew"
    assert judge(table.noted, over=False).ok


def test_it_is_good_for_half_a_lease() -> None:
    table, worker = foreseen()
    table.pass_time(FORESEEN_S - 0.1)
    one_by_one(table, worker, 1)
    assert len(worker.of(m.Further)) == 1
    table.pass_time(0.2)
    one_by_one(table, worker, 1)
    assert len(worker.of(m.Further)) == 1


def test_a_task_that_came_is_leased_like_any_and_lost_with_its_peer() -> None:
    table, worker = foreseen()
    table.extend(1)
    lease = worker.last
    assert table.grantor.leases[lease.token].until == pytest.approx(table.now + limits.LEASE_S)
    table.pass_time(limits.LEASE_S + 0.1)
    assert not table.grantor.leases
    other = table.worker(11, slots=1)
    table.pass_time(10.0)
    assert other.last.spans == lease.spans and other.last.token > lease.token
    worker.run(lease)  # fenced by now
    assert table.delivered[-1] < lease.spans[0][0]
    other.run()
    assert table.delivered[-1] == lease.spans[0][0] and judge(table.noted, over=False).ok


def test_after_a_lost_session_it_is_named_again_and_nothing_more_comes_under_that_lease() -> None:
    table, worker = foreseen()
    table.extend(1)
    table.session_closed(worker.node)
    table.peer_alive(worker.node)
    table.session_opened(worker.node)
    said = worker.of(m.Further)
    assert len(said) >= 2 and said[0].slices == said[-1].slices and said[0].token == said[-1].token
    worker.run(last=True)
    table.extend(1)
    assert worker.last.token > said[0].token


def test_a_peer_that_was_lost_with_what_came_and_speaks_again_is_leased_anew() -> None:
    table, worker = foreseen()
    table.extend(1)
    lease = worker.last
    table.peer_dead(worker.node)
    table.extend(1)
    worker.run(lease, last=True)
    table.pass_time(5.0)
    assert worker.last.token > lease.token
    worker.run(last=True)
    assert table.delivered == list(range(ALONE_MIN + 3)) and judge(table.noted, over=False).ok


def test_a_result_of_an_earlier_task_of_the_lease_that_comes_again_changes_nothing() -> None:
    table, worker = foreseen()
    table.extend(1)
    first = worker.message(worker.last, last=True)
    worker.bring(first)
    table.extend(1)
    worker.bring(first)
    (held,) = table.grantor.leases.values()
    assert held.until > table.now + 10, "its last word was about another task"
    assert table.delivered == list(range(ALONE_MIN + 2))
    worker.run(last=True)
    assert table.delivered == list(range(ALONE_MIN + 3)) and judge(table.noted, over=False).ok


def test_what_a_lease_gave_and_was_not_named_cannot_be_settled_under_it() -> None:
    from p2pcpn.errors import PeerError

    table, worker = foreseen()
    lease = opened(worker.of(m.Grant)[-1].lease, Lease)
    table.extend(1)
    with pytest.raises(PeerError):
        worker.run(lease, spans=[(ALONE_MIN + 2, 1)])
    assert len(table.delivered) == ALONE_MIN + 1


def test_a_cancelled_task_does_not_end_it() -> None:
    table, worker = foreseen()
    table.extend(1)
    table.act(lambda grantor, now: grantor.cancel([(ALONE_MIN + 1, 1)], stop=False, now=now))
    one_by_one(table, worker, 1)
    assert len(worker.of(m.Further)) == 2 and table.delivered[-1] == ALONE_MIN + 2
    assert judge(table.noted, over=False).ok


# --- one message -----------------------------------------------------------------------------------------------------


def test_a_steward_that_runs_the_task_is_sent_its_segment_and_its_name_in_one_message_before_the_others() -> None:
    key, named = steward(10)
    _, other = steward(20)
    table = Table(stewards=[named, other])
    worker = Worker(table, key, named.contact, slots=1)
    table.workers[key.id] = worker
    worker.claim()
    one_by_one(table, worker, ALONE_MIN + 1)
    effects = table.extend(1)
    said = [effect.to.id for effect in effects if isinstance(effect, fx.Tell)]
    assert said == [key.id, other.contact.id]
    (further,) = worker.of(m.Further)
    assert further.extend is not None and further.extend.keep and further.extend.request
    assert m.CODEC.decode(m.CODEC.encode(further)) == further
    kept = table.told[other.contact.id][-1]
    assert isinstance(kept, m.Extend) and kept.segment == further.extend.segment


def test_a_task_whose_segment_goes_to_nobody_else_is_named_alone() -> None:
    table, worker = foreseen()
    table.extend(1)
    (further,) = worker.of(m.Further)
    assert further.extend is not None and not further.extend.keep, "the page that its peer lacks"
    other = fx.Tell(table.worker(11, claims=False).contact, further)
    assert carried([], [other]) == [other] and carried([other], []) == [other]


# --- the history -----------------------------------------------------------------------------------------------------


def test_what_was_foreseen_and_what_came_of_it_is_noted() -> None:
    table, worker = foreseen()
    one_by_one(table, worker, 1)
    noted = [line.event for line in table.noted]
    foresaw = [event for event in noted if isinstance(event, h.Foresaw)]
    assert [event.spans for event in foresaw] == [((ALONE_MIN + 1, FORESEEN),)]
    (furthered,) = [event for event in noted if isinstance(event, h.Furthered)]
    assert furthered.token == foresaw[0].token and furthered.spans == ((ALONE_MIN + 1, 1),)
