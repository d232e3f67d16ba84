"""Leasing: a batch whenever something changed for a peer, smaller at the tail, and calls for more peers."""

from __future__ import annotations

from p2pcpn.wire.pages import cut
from tests.unit.protocol.granting import Table, Worker


def size(worker: Worker, number: int) -> int:
    """How many tasks its lease ``number`` holds."""
    return len(cut(worker.grants[number][1].spans))


def test_batches_follow_the_length_of_tasks() -> None:
    table = Table()
    table.extend(*[256] * 16)
    worker = table.worker(10, slots=1)
    assert size(worker, 0) == 1
    worker.run(ran_s=0.001)
    assert size(worker, 1) == 101


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
    table.extend(41)
    one, two = table.worker(10, slots=1), table.worker(11, slots=1)
    one.run(ran_s=0.0001)
    assert size(one, 1) == 10
    two.run(ran_s=0.0001)
    assert size(two, 1) == 8


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


def test_an_offer_states_no_more_slots_than_a_field_holds() -> None:
    table = Table()
    table.grantor.ledger.waiting = 1 << 40
    assert table.grantor._leasing._offer().statement.slots_wanted == (1 << 32) - 1
