"""Leasing: a batch whenever something changed for a peer, smaller at the tail, and calls for more peers."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.leasing import BEHIND_S, HEAR_S, LOOK_PEER_S, LOOK_S
from p2pcpn.protocol.participants import DIAL_ROUNDTRIPS, UNSTARTED_S
from p2pcpn.protocol.speeds import SEVERAL
from p2pcpn.wire import messages as m
from p2pcpn.wire.messages import Progress, Recall
from p2pcpn.wire.pages import cut
from p2pcpn.wire.statements import Offer
from tests.unit.protocol.granting import Table, Worker, keypair


def size(worker: Worker, number: int) -> int:
    """How many tasks its lease ``number`` holds."""
    return len(cut(worker.grants[number][1].spans))


def test_batches_follow_the_length_of_tasks() -> None:
    table = Table()
    table.extend(*[256] * 16)
    worker = table.worker(10, slots=1)
    assert size(worker, 0) == 1
    for number, held in enumerate((4, 16, 64, 251), 1):
        worker.run(ran_s=0.001 * size(worker, number - 1))
        assert size(worker, number) == held


def test_results_refill_the_peer_that_brought_them_and_no_other() -> None:
    table = Table()
    table.extend(*[256] * 4)
    one, two = table.worker(10, slots=1), table.worker(11, slots=1)
    before = len(two.grants)
    one.run(ran_s=0.001)
    assert len(one.grants) == 2
    assert len(two.grants) == before


def test_at_the_tail_no_peer_takes_all_that_is_left() -> None:
    table = Table()
    table.extend(14)
    one, two = table.worker(10, slots=1), table.worker(11, slots=1)
    one.run(ran_s=0.0001)
    assert size(one, 1) == 3
    two.run(ran_s=0.0001)
    assert size(two, 1) == 3
    one.run(ran_s=0.0001)
    assert size(one, 2) == 2


def test_every_idle_peer_gets_something_while_anything_waits() -> None:
    table = Table()
    table.extend(1)
    one = table.worker(10, slots=1)
    one.run(ran_s=0.0001)
    for number in range(11, 15):
        table.worker(number, slots=1)
    table.extend(3)
    assert sum(len(worker.grants) for worker in table.workers.values()) == 1 + 3


def test_a_peer_in_doubt_gets_nothing_new_until_it_has_a_session() -> None:
    table = Table()
    table.extend(3)
    worker = table.worker(10, slots=1)
    table.session_closed(worker.node)
    table.peer_alive(worker.node)
    tokens = {lease.token for _, lease in worker.grants}
    table.extend(3)
    assert {lease.token for _, lease in worker.grants} == tokens
    table.session_opened(worker.node)
    worker.run()
    assert len({lease.token for _, lease in worker.grants}) == 2


def test_no_peer_is_called_for_while_slots_are_enough() -> None:
    table = Table()
    table.worker(10, slots=4)
    table.extend(3)
    assert table.offers == []
    table.extend(1)
    assert table.offers == []
    table.extend(1)
    assert len(table.offers) == 1


def test_who_can_take_nobody_calls_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.limits.SESSIONS_MAX", 1)
    table = Table()
    worker = table.worker(10, slots=1)
    table.extend(40)
    table.pass_time(3.0)
    assert table.offers == []
    for _ in range(2):
        worker.run(ran_s=0.001)
    while table.grantor.ledger.waiting:
        worker.run(ran_s=0.001)
    table.pass_time(3.0)
    assert table.offers == [], "nor for what lies at one who is behind"


def test_an_offer_goes_no_farther_than_those_are_who_can_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table()
    table.extend(*[256] * 4)
    assert [hops for _, hops in table.offers] == [4]
    monkeypatch.setattr("p2pcpn.limits.SESSIONS_MAX", 8)
    table = Table()
    table.extend(*[256] * 4)
    assert [hops for _, hops in table.offers] == [2]


def behind(table: Table, tasks: int = 40) -> tuple[Worker, Worker]:
    """One worker with a queue that takes longer than foreseen, and one that has run all it got."""
    table.extend(tasks)
    one, two = table.worker(10, slots=1), table.worker(11, slots=1)
    for _ in range(2):
        one.run(ran_s=0.001)
    while table.grantor.ledger.waiting:
        two.run(ran_s=0.001)
    if table.grantor.participants[two.node].held:
        two.run(ran_s=0.001)
    return one, two


def test_when_somebody_idles_what_waits_at_others_is_asked_back_soon() -> None:
    table = Table()
    one, two = behind(table)
    held = table.grantor.participants[one.node].held
    assert held > 1 and table.grantor.ledger.waiting == 0 and not one.of(Recall)
    table.pass_time(2 * BEHIND_S + 4 * LOOK_S)
    [recall] = one.of(Recall)
    assert recall.count == held - held // 2
    assert not two.of(Recall)


def test_what_comes_back_goes_to_who_idles_uncharged_and_under_a_newer_lease() -> None:
    table = Table(retries=0)
    one, two = behind(table)
    table.pass_time(0.05)
    before = len(two.grants)
    last = one.last.spans[-1]
    one.give_back(one.last, "recalled", [(sum(last) - 1, 1)])
    assert two.last.spans == [(sum(last) - 1, 1)] and len(two.grants) == before + 1
    assert two.last.token > one.last.token
    while table.grantor.ledger.leased:
        for worker in (one, two):
            if worker.last.token in table.grantor.leases:
                worker.run(spans=table.grantor.leases[worker.last.token].open)
    assert sorted(table.delivered) == list(range(40)) and table.grantor.conflicts == 0


def test_a_peer_that_was_asked_is_not_asked_again_before_it_could_answer() -> None:
    table = Table()
    one, _ = behind(table)
    table.pass_time(0.1)
    assert len(one.of(Recall)) == 1
    table.pass_time(0.5)
    assert len(one.of(Recall)) > 1


def test_a_peer_that_runs_what_it_holds_is_asked_for_nothing() -> None:
    table = Table()
    table.extend(2)
    one, two = table.worker(10, slots=2), table.worker(11, slots=2)
    progress = Progress(table.job, one.last.token, [0, 1])
    table.act(lambda grantor, now: grantor.running.progress(one.contact, progress, now))
    table.pass_time(20.0)
    assert not one.of(Recall) and not two.grants


def test_tasks_that_wait_behind_those_of_another_job_are_asked_back_after_a_while() -> None:
    table = Table()
    table.extend(2)
    one, two = table.worker(10, slots=2), table.worker(11, slots=2)
    assert one.indices == [0, 1]
    table.pass_time(UNSTARTED_S / 2)
    assert not one.of(Recall)
    table.pass_time(2 * UNSTARTED_S)
    assert one.of(Recall)[0].count == 1
    one.give_back(one.last, "recalled", [(1, 1)])
    assert two.indices == [1]
    # Its slots run others' tasks: nothing is leased to it again before somebody else, and it is not said to idle.
    assert table.grantor.book.participants.slots_idle == 1


def test_whoever_takes_part_in_a_job_that_was_taken_over_is_heard_before_it_is_leased_anything() -> None:
    table = Table(epoch=1)
    table.extend(2)
    one, two = table.worker(10, slots=1), table.worker(11, slots=1)
    assert not one.grants and not two.grants
    leasing = table.grantor._leasing
    assert leasing.deadline() == table.now + HEAR_S
    table.grantor.book.participants.remove(one.node)
    table.pass_time(HEAR_S)
    assert two.indices == [0] and leasing.deadline() != table.now


def test_nothing_is_asked_back_for_a_slow_peer_that_had_better_leave_it_to_others_for_a_time() -> None:
    table = Table()
    table.extend(2)
    one, slow = table.worker(10, slots=1), table.worker(11, slots=1)
    speeds = table.grantor.book.speeds
    for _ in range(8):
        speeds.ran(slow.node, 1, 4.0)
        for number in (10, *range(30, 30 + SEVERAL)):
            speeds.ran(keypair(number).id, 1, 1.0)
    slow.run(ran_s=4.0)
    one.run(ran_s=0.1)
    table.extend(1)
    table.extend(1)
    held = [table.grantor.participants[worker.node].held for worker in (one, slow)]
    assert held == [2, 0] and not table.grantor.ledger.waiting
    progress = Progress(table.job, one.last.token, one.indices[-1:])
    table.act(lambda grantor, now: grantor.running.progress(one.contact, progress, now))
    table.pass_time(1.0)
    assert not one.of(Recall)
    table.pass_time(4.0)
    assert one.of(Recall)


def test_a_task_that_nobody_begins_is_left_for_longer_where_it_went() -> None:
    table = Table()
    table.extend(2)
    one, two = table.worker(10, slots=2), table.worker(11, slots=2)
    table.pass_time(2 * UNSTARTED_S)
    one.give_back(one.last, "recalled", [(1, 1)])
    [token] = table.grantor.participants[two.node].tokens
    assert table.grantor.leases[token].moved == 1
    table.pass_time(1.5 * UNSTARTED_S)
    assert not two.of(Recall)
    progress = Progress(table.job, one.last.token, [0])
    table.act(lambda grantor, now: grantor.running.progress(one.contact, progress, now))
    table.worker(12, slots=1)
    table.pass_time(2 * UNSTARTED_S)
    assert two.of(Recall)


def test_what_comes_back_is_not_given_to_who_gave_such_back_and_nobody_is_called_for_it() -> None:
    table = Table()
    table.extend(2)
    one, two = table.worker(10, slots=2), table.worker(11, slots=2)
    table.pass_time(3 * UNSTARTED_S)
    one.give_back(one.last, "recalled", [(1, 1)])
    offers = len(table.offers)
    two.give_back(two.last, "recalled", [(1, 1)])
    assert table.grantor.ledger.waiting == 1 and len(one.grants) == len(two.grants) == 1
    assert len(table.offers) == offers


def test_where_nobody_idles_more_peers_are_called_for_what_waits_at_one() -> None:
    table = Table()
    table.extend(1)
    one = table.worker(10, slots=1)
    one.run(ran_s=0.001)
    for _ in range(3):
        table.extend(1)
    assert table.grantor.participants[one.node].held > 1 and not table.grantor.ledger.waiting
    before = len(table.offers)
    table.pass_time(3.0)
    assert not one.of(Recall) and len(table.offers) > before
    table.worker(11, slots=1)
    table.pass_time(0.02)
    assert one.of(Recall)


def test_with_the_last_task_leased_it_is_known_when_to_look_who_idles() -> None:
    table = Table()
    table.extend(1)
    table.worker(10, slots=2)
    assert table.grantor._leasing.deadline() == table.now + LOOK_S
    table.extend(1)
    assert table.grantor._leasing.deadline() == table.now + LOOK_S


def test_it_is_looked_when_tasks_will_be_known_to_wait_and_not_only_now_and_then() -> None:
    table = Table()
    table.extend(2)
    one, _ = table.worker(10, slots=2), table.worker(11, slots=2)
    table.session_opened(one.node)
    known_at = UNSTARTED_S + table.grantor.participants[one.node].pace.rtt_s
    table.pass_time(known_at - 0.001)
    assert not one.of(Recall)
    table.pass_time(LOOK_S)
    assert one.of(Recall)


def far_from_its_tasks() -> tuple[Table, Worker, float]:
    """A worker is leased two tasks, and how many seconds away it is; another idles."""
    table = Table()
    table.extend(2)
    one, _ = table.worker(10, slots=2, rtt_ms=200.0), table.worker(11, slots=2)
    return table, one, table.grantor.participants[one.node].pace.rtt_s


def test_who_had_to_be_dialled_for_its_first_tasks_has_longer_to_say_that_they_run() -> None:
    table, one, rtt_s = far_from_its_tasks()
    table.pass_time(DIAL_ROUNDTRIPS * rtt_s)
    table.session_opened(one.node)
    table.pass_time(UNSTARTED_S + rtt_s - 0.001)
    assert not one.of(Recall), "what it was leased has only then been sent"
    table.pass_time(LOOK_S)
    assert one.of(Recall)


def test_who_is_never_reached_is_asked_for_its_tasks_all_the_same() -> None:
    table, one, rtt_s = far_from_its_tasks()
    table.pass_time(UNSTARTED_S + (1 + DIAL_ROUNDTRIPS) * rtt_s - 0.001)
    assert not one.of(Recall)
    table.pass_time(LOOK_S)
    assert one.of(Recall)


def test_where_many_take_part_it_is_looked_less_often_for_each_look_goes_through_all() -> None:
    table = Table()
    table.extend(2)
    one = table.worker(10, slots=1)
    assert table.grantor._leasing._soon_s == LOOK_S
    for number in range(11, 12 + int(2 * LOOK_S / LOOK_PEER_S)):
        table.worker(number, slots=1)
    assert table.grantor._leasing._soon_s > 2 * LOOK_S
    table.pass_time(1.0)
    one.run(ran_s=0.1)
    assert table.grantor._leasing.deadline() == pytest.approx(table.now + table.grantor._leasing._soon_s)


def test_it_is_looked_when_the_slots_of_a_crowded_peer_count_again() -> None:
    table = Table()
    table.extend(2)
    one, two = table.worker(10, slots=1), table.worker(11, slots=1)
    two.run(ran_s=0.1)
    table.grantor.book.participants.crowd(table.grantor.participants[two.node], table.now + 0.9)
    table.pass_time(0.895)
    assert not one.of(Recall)
    table.pass_time(2 * LOOK_S)
    assert one.of(Recall)


def test_where_nobody_idles_and_all_wait_behind_others_tasks_more_peers_are_called_for() -> None:
    table = Table()
    table.extend(2)
    one = table.worker(10, slots=2)
    before = len(table.offers)
    table.pass_time(2.0)
    assert one.indices == [0, 1] and len(table.offers) > before
    progress = Progress(table.job, one.last.token, [0, 1])
    table.act(lambda grantor, now: grantor.running.progress(one.contact, progress, now))
    before = len(table.offers)
    table.pass_time(20.0)
    assert len(table.offers) == before


def test_a_peer_that_lately_brought_nothing_is_asked_for_all_that_has_not_started() -> None:
    table = Table()
    table.extend(1)
    one = table.worker(10, slots=1)
    one.run(ran_s=0.1)
    for _ in range(2):
        table.extend(1)
    peer = table.grantor.participants[one.node]
    assert peer.held == 2
    table.pass_time(UNSTARTED_S / 2)
    assert table.grantor._leasing._unstarted(peer, table.now) == peer.held - peer.slots
    table.pass_time(UNSTARTED_S)
    assert table.grantor._leasing._unstarted(peer, table.now) == peer.held


def test_a_peer_that_let_a_lease_end_gets_no_other_before_it_speaks() -> None:
    table = Table()
    table.extend(1)
    one = table.worker(10, slots=2)
    table.pass_time(10.0)
    table.extend(1)
    assert len(one.grants) == 2
    table.pass_time(20.5)
    assert (len(one.grants), table.grantor.ledger.waiting) == (2, 1)
    progress = Progress(table.job, one.last.token, [])
    table.act(lambda grantor, now: grantor.running.progress(one.contact, progress, now))
    table.extend(1)
    assert len(one.grants) == 3


def test_an_offer_states_no_more_slots_than_a_field_holds() -> None:
    table = Table()
    (spread,) = table.grantor._leasing._call(1 << 40, table.now)
    assert isinstance(spread, fx.Spread) and isinstance(spread.statement, Offer)
    assert spread.statement.slots_wanted == (1 << 32) - 1


def extend_needing(table: Table, count: int, needs: list[tuple[int, list[int]]]) -> None:
    segment, sealed = table.segment(count)
    table.act(lambda grantor, now: grantor.extend(segment, sealed, [[]], now, needs))


def test_the_results_that_a_lease_names_go_ahead_of_it_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INPUTS_AT_ONCE_BYTES", 15)
    table = Table()
    table.extend(3)
    extend_needing(table, 1, [(3, [0, 1, 2])])
    worker = table.worker(10, slots=8)
    worker.run()
    assert [type(message) for message in worker.said[-3:]] == [m.Inputs, m.Inputs, m.Grant]
    assert [[each.index for each in said.inputs] for said in worker.of(m.Inputs)] == [[0, 1], [2]]


def test_a_lease_leaves_what_would_name_too_many_results_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEASE_INPUTS_MAX", 2)
    table = Table()
    table.extend(2)
    extend_needing(table, 3, [(2, [0, 1]), (3, [0]), (4, [1])])
    worker = table.worker(10, slots=8)
    worker.run()
    assert worker.last.spans == [(2, 1)] and table.grantor.ledger.waiting == 2
    worker.run()
    assert worker.last.spans == [(3, 2)]
