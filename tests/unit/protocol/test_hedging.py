"""Hedging: what will end last gets a second lease, the first result counts, and not many have one."""

from __future__ import annotations

import random

from p2pcpn.protocol import events
from p2pcpn.protocol.hedging import HANDFUL, HEDGES_AT_ONCE_MAX
from p2pcpn.protocol.leasing import LOOK_S
from p2pcpn.protocol.ledger import LEASED
from p2pcpn.protocol.participants import UNSTARTED_S
from p2pcpn.wire.messages import Output, Progress, Revoke
from p2pcpn.wire.pages import Print, cut
from p2pcpn.wire.statements import Lease
from tests.unit.protocol.granting import Table, Worker


def begun(count: int, *, ran_s: float = 1.0, hedge: bool = True) -> tuple[Table, Worker, Worker]:
    """Two workers of a slot: the one has brought ``count`` tasks of a second each, the other holds its first."""
    table = Table(hedge=hedge, output=True)
    table.extend(count + 1)
    slow, fast = table.worker(11, slots=1), table.worker(10, slots=1)
    for _ in range(count):
        table.pass_time(ran_s)
        fast.run(fast.last, spans=[(cut(fast.last.spans)[0], 1)], ran_s=ran_s, last=True)
    assert slow.indices == [0] and table.grantor.ledger.leased == 1
    return table, slow, fast


def progress(worker: Worker, lease: Lease, running: list[int]) -> None:
    """It says which tasks of a lease it runs, and renews it."""
    told = Progress(lease.job, lease.token, running)
    worker.table.act(lambda grantor, now: grantor.running.progress(worker.contact, told, now))


def test_a_task_on_a_peer_that_brings_nothing_runs_a_second_time_and_the_first_result_counts() -> None:
    table, slow, fast = begun(4)
    table.pass_time(0.5)
    assert fast.indices[-1] == 0 and table.grantor.ledger.leased == 1
    fast.run(ran_s=1.0)
    assert table.delivered.count(0) == 1
    assert [(list(said.spans), said.stop) for said in slow.of(Revoke)] == [([(0, 1)], True)]
    assert table.grantor.hedging.statistics() == {"hedged": 1, "hedges_won": 1, "doubled": 0}
    slow.run(ran_s=9.0)  # its receipt was on its way: counted, and no error
    assert table.grantor.conflicts == 1 and table.delivered.count(0) == 1


def test_when_the_first_run_wins_the_second_is_stopped() -> None:
    table, slow, fast = begun(4)
    table.pass_time(0.5)
    slow.run(ran_s=4.0)
    assert [list(said.spans) for said in fast.of(Revoke)] == [[(0, 1)]]
    assert table.grantor.hedging.statistics()["hedges_won"] == 0


def test_a_peer_whose_slots_run_others_tasks_gets_no_second_run() -> None:
    table, _, fast = begun(4)
    table.grantor.book.participants.crowd(table.grantor.participants[fast.node], table.now + 0.8)
    table.pass_time(0.5)
    assert 0 not in fast.indices
    table.pass_time(0.5)
    assert 0 in fast.indices


def test_it_is_looked_soon_whether_a_second_run_has_started() -> None:
    table, _, fast = begun(4)
    while fast.indices[-1]:
        table.pass_time(LOOK_S)
    due = table.grantor._leasing.deadline()
    assert due is not None and due <= table.now + UNSTARTED_S + LOOK_S


def test_who_says_so_has_no_second_runs() -> None:
    table, _, fast = begun(4, hedge=False)
    table.pass_time(20.0)
    assert 0 not in fast.indices


def test_before_a_few_receipts_nothing_is_known_and_nothing_hedged() -> None:
    table, _, fast = begun(2)
    table.pass_time(20.0)
    assert 0 not in fast.indices


def test_a_task_that_is_not_late_is_left_alone() -> None:
    table = Table()
    table.extend(9)
    one, two = table.worker(10, slots=1), table.worker(11, slots=1)
    for _ in range(4):
        table.pass_time(1.0)
        for worker in (one, two):
            worker.run(worker.last, spans=[(cut(worker.last.spans)[0], 1)], ran_s=1.0, last=True)
    holder, other = (one, two) if one.node in [lease.peer for lease in table.grantor.leases.values()] else (two, one)
    before = len(other.grants)
    table.pass_time(0.9)
    progress(holder, holder.last, [8])
    table.pass_time(0.5)
    assert len(other.grants) == before
    table.pass_time(5.0)  # but one that runs three times as long as nearly all did is not
    assert other.indices[-1] == 8 and len(other.grants) == before + 1


def test_a_peer_known_to_be_slower_loses_its_task_as_soon_as_a_faster_one_idles() -> None:
    table = Table()
    table.extend(30)
    fast, slow = table.worker(10, slots=1), table.worker(11, slots=1)
    free_at = table.now + 4.0
    while table.grantor.ledger.waiting or fast.node in [lease.peer for lease in table.grantor.leases.values()]:
        table.pass_time(1.0)
        if table.now >= free_at and slow.node in [lease.peer for lease in table.grantor.leases.values()]:
            slow.run(slow.last, spans=[(cut(slow.last.spans)[0], 1)], ran_s=4.0, last=True)
            free_at = table.now + 4.0
        fast.run(fast.last, spans=[(cut(fast.last.spans)[0], 1)], ran_s=1.0, last=True)
    # The last tasks were left to the fast one, or are hedged.
    assert table.grantor.ledger.open == 0 or table.grantor.book.doubled or table.grantor.deadline() < table.now + 1.0


def test_a_task_that_seems_about_to_end_runs_twice_where_its_peer_may_be_slower_than_it_seems() -> None:
    table = Table()
    slow, fast = table.worker(11, slots=1), table.worker(10, slots=1)
    for _ in range(8):
        table.extend(2)
        fast.run(ran_s=0.4)
        slow.run(ran_s=1.2)
    for tenths in range(2, 11):
        table.extend(1)
        fast.run(ran_s=tenths / 10)
    table.extend(2)
    late = cut(slow.last.spans)[0]
    table.pass_time(1.45)
    fast.run(ran_s=1.45)
    outlook = table.grantor.hedging._placement.outlook(table.now)
    assert outlook is not None and table.grantor.ledger.leased == 1 and not table.grantor.hedging.granted
    slow_by = outlook.slow(slow.node)
    whole_s = outlook.expected_s(1.45 / slow_by)
    assert whole_s * slow_by - 1.45 < whole_s * outlook.slow(fast.node), "what is left of it is less than a second run"
    table.pass_time(0.25)
    assert fast.indices[-1] == late


def of_three_speeds(*, slots: int = 1) -> tuple[Table, Worker, Worker, Worker]:
    """Workers who take a second, three and twelve for each task, and have just been leased all there is: the fastest
    has so many slots, the others one."""
    table = Table()
    workers = [table.worker(10, slots=slots), table.worker(11, slots=1), table.worker(12, slots=1)]
    for _ in range(6):
        table.extend(slots + 2)
        for worker, ran_s in zip(workers, (1.0, 3.0, 12.0), strict=True):
            for _, lease in [each for each in worker.grants if each[1].token in table.grantor.leases]:
                worker.run(lease, ran_s=ran_s * sum(count for _, count in lease.spans))
    assert table.grantor.ledger.open == 0
    table.extend(slots + 2)
    assert table.grantor.ledger.waiting == 0
    fast, middle, slow = workers
    return table, fast, middle, slow


def with_one_that_idles() -> tuple[Table, Worker, Worker, int]:
    """Of three speeds: the fastest, which runs a task; the middle one, which idles; and what the slowest runs."""
    table, fast, middle, slow = of_three_speeds()
    table.pass_time(0.5)
    middle.run(ran_s=3.0)
    return table, fast, middle, slow.indices[-1]


def test_a_second_run_waits_for_a_much_faster_peer_that_is_about_to_be_free() -> None:
    table, fast, middle, late = with_one_that_idles()
    table.pass_time(0.4)
    assert not table.grantor.hedging.granted, "three seconds from now, or two: in a second the fast peer is free"
    fast.run(ran_s=0.9)
    table.pass_time(0.1)
    assert fast.indices[-1] == late and late not in middle.indices


def test_a_second_run_does_not_wait_for_a_peer_that_brings_nothing() -> None:
    table, fast, middle, late = with_one_that_idles()
    table.pass_time(2.0)
    assert middle.indices[-1] == late and late not in fast.indices


def test_a_second_run_does_not_wait_for_a_peer_where_more_is_in_line() -> None:
    table, fast, middle, late = with_one_that_idles()
    table.pass_time(0.1)
    assert late not in middle.indices
    table.grantor.book.participants.hold(table.grantor.participants[fast.node], 1)  # who is asked for it back, in vain
    table.pass_time(0.3)
    assert middle.indices[-1] == late


def test_a_second_run_does_not_wait_for_the_peer_where_the_first_stands_still() -> None:
    table, fast, middle, slow = of_three_speeds(slots=2)
    slow.run(ran_s=12.0)
    table.peer_dead(slow.node)
    lease = next(lease for _, lease in fast.grants if lease.token in table.grantor.leases)
    stuck, other = fast.indices[-2:]
    progress(fast, lease, [stuck])
    for _ in range(3):
        table.pass_time(1.0)
        fast.run(next(lease for _, lease in fast.grants if other in cut(lease.spans)), spans=[(other, 1)], ran_s=1.0)
        table.extend(1)
        other = fast.indices[-1]
    assert not table.grantor.hedging.granted
    middle.run(ran_s=3.0)
    table.pass_time(0.5)
    assert middle.indices[-1] == stuck


def test_of_two_runs_one_is_heard_and_what_the_winner_printed_is_told_with_its_result() -> None:
    table, _, fast = begun(4)
    table.pass_time(0.5)
    token = fast.last.token
    assert table.act(
        lambda grantor, now: grantor.running.output(fast.contact, Output(table.job, token, 0, b"sealed"), now)
    ) == []  # fmt: skip
    fast.run(ran_s=1.0, output=[Print(0, 1, b"hello\n")])
    assert [event.data for event in table.seen(events.Printed)] == [b"hello\n"]


def test_who_is_known_to_be_slower_is_seen_among_many_who_only_may_be() -> None:
    table = Table()
    slow, *fast = (table.worker(number, slots=1) for number in range(10, 14))
    for turn in range(12):
        table.extend(4)
        for worker in (slow, *fast):
            worker.run(ran_s=(1.6 if worker is slow else 1.0) * (0.9 if turn % 2 else 1.1))
    table.extend(4)
    late = slow.indices[-1]
    fresh = [table.worker(number, slots=64) for number in range(20, 25)]
    table.extend(64 * len(fresh))
    assert sum(len(worker.indices) for worker in fresh) > HEDGES_AT_ONCE_MAX and not table.grantor.ledger.waiting
    for worker in (slow, *fast, *fresh):
        for _, lease in worker.grants:
            progress(worker, lease, cut(lease.spans))
    table.pass_time(0.5)
    fast[0].run(ran_s=0.5)
    outlook = table.grantor.hedging._placement.outlook(table.now)
    assert outlook is not None
    assert not outlook.surely_slower(fresh[0].node, fast[0].node) and outlook.surely_slower(slow.node, fast[0].node)
    table.pass_time(0.1)
    assert fast[0].indices[-1] == late


def with_all_second_runs_out() -> tuple[Table, Worker, Worker]:
    """One of two workers has run forty tasks for ten seconds, and as many second runs as may save time are the
    other's."""
    table = Table()
    table.extend(40)
    slow = table.worker(11, slots=40)
    fast = table.worker(10, slots=64)
    for _ in range(4):
        table.extend(1)
        fast.run(ran_s=0.1)
    assert len(slow.indices) == 40
    table.pass_time(10.0)
    return table, slow, fast


def test_second_runs_are_few() -> None:
    table, *_ = with_all_second_runs_out()
    assert table.grantor.hedging.granted == HANDFUL + 44 // 20


def test_second_runs_that_saved_time_leave_others_for_a_peer_of_which_nothing_is_heard_any_more() -> None:
    table, slow, fast = with_all_second_runs_out()
    most = table.grantor.hedging.granted
    for _, lease in fast.grants[-most:]:
        fast.run(lease, ran_s=0.1)
    assert table.grantor.hedging.statistics() == {"hedged": most, "hedges_won": most, "doubled": 0}
    progress(slow, slow.last, [index for index in slow.indices if index not in table.delivered])
    for _ in range(12):
        table.pass_time(1.0)
    assert table.grantor.hedging.granted == most, "the others run for long, and it says so"
    table.pass_time(2.0)
    assert table.grantor.hedging.granted == 2 * most
    assert table.grantor.hedging.statistics()["doubled"] == most


def test_ahead_of_others_only_what_is_expected_to_take_long_is_looked_at_and_all_of_that() -> None:
    dice, table = random.Random(5), Table()
    table.extend(*[100] * 6)
    workers = [table.worker(10 + number, slots=2) for number in range(8)]
    seen = 0
    for turn in range(120):
        table.pass_time(dice.uniform(0.05, 0.4))
        worker = dice.choice(workers[1:] if turn < 80 else workers)
        lease = worker.last
        index = cut(lease.spans)[0]
        if table.grantor.ledger.states[index] == LEASED:
            progress(worker, lease, [index])
            if dice.random() < 0.8:
                worker.run(lease, ran_s=dice.choice([0.1, 0.3, 1.0, 3.0]))
        hedging = table.grantor.hedging
        outlook = hedging._placement.outlook(table.now)
        if outlook is None:
            continue
        for long_s in (0.1, outlook.mean_s, 1.5 * outlook.mean_s, 3 * outlook.nearly_all_s):
            everything, _ = hedging._suspects(outlook.at, outlook)
            some, _ = hedging._suspects(outlook.at, outlook, long_s)
            assert [each for each in everything if each.anew_s > long_s] == [
                each for each in some if each.anew_s > long_s
            ]
            assert len(some) <= len(everything)
            seen += len(everything) > len(some) > 0
    assert seen > 20
