"""Returns: each code has its own consequence, and none is charged to the tasks."""

from __future__ import annotations

import pytest

from p2pcpn.protocol import events
from p2pcpn.protocol.effects import Hangup
from p2pcpn.protocol.returns import CROWDED_S, DECLINES_MAX, MISSING_MAX
from p2pcpn.wire import messages as m
from tests.unit.protocol.granting import Table, Worker


def one_worker(tasks: int = 4, *, slots: int = 2) -> tuple[Table, Worker]:
    """A job whose tasks may never lose a peer, and one peer that holds some."""
    table = Table(retries=0)
    table.extend(tasks)
    return table, table.worker(10, slots=slots)


@pytest.mark.parametrize("code", ["late", "recalled", "declined", "missing", "leaving", "a code of a newer release"])
def test_what_comes_back_unrun_waits_again_and_nothing_is_charged(code: str) -> None:
    table, worker = one_worker(2)
    for _ in range(3):
        if worker.node in table.grantor.participants and table.grantor.participants[worker.node].held:
            worker.give_back(worker.last, code)
    other = table.worker(11, slots=4)
    table.pass_time(1.0)
    assert not table.seen(events.GaveUp)
    assert sorted(set(worker.indices + other.indices)) == [0, 1]


def test_what_is_declined_goes_to_others_only() -> None:
    table, worker = one_worker(2)
    worker.give_back(worker.last, "declined", [(0, 1)])
    assert table.grantor.ledger.barred_from(0) == {worker.node} and not table.grantor.ledger.barred_from(1)
    assert table.worker(11).indices == [0]


def test_a_peer_that_declines_everything_or_lacks_everything_takes_part_no_more() -> None:
    for code, most in (("declined", DECLINES_MAX), ("missing", MISSING_MAX)):
        table, worker = one_worker(100)
        count = 0
        while worker.node in table.grantor.participants:
            effects = worker.give_back(worker.last, code)
            count += 1
        assert count == most + 1
        hung_up = [effect.peer for effect in effects if isinstance(effect, Hangup)]
        assert hung_up == ([worker.node] if code == "missing" else [])


def test_a_peer_that_lacks_something_is_sent_it_again() -> None:
    _, worker = one_worker(2)
    worker.give_back(worker.last, "missing")
    assert [type(message) for message in worker.said] == [m.Introduce, m.Extend, m.Grant] * 2


def test_the_slots_of_a_peer_that_works_for_others_are_not_counted_on_for_a_while() -> None:
    table, worker = one_worker(2)
    worker.give_back(worker.last, "recalled")
    assert table.grantor.participants[worker.node].crowded_until == table.now + CROWDED_S


def test_a_peer_that_leaves_ends_what_it_runs() -> None:
    table, worker = one_worker(2)
    lease = worker.last
    worker.give_back(lease, "leaving", [(0, 1)])
    assert table.grantor.participants[worker.node].leaving
    worker.give_back(lease, "leaving", [(1, 1)])
    assert worker.node not in table.grantor.participants
