"""A grantor that is brought another's log looks through all of them, once for many segments, where it matters."""

from __future__ import annotations

from p2pcpn.protocol.effects import Commit, Review
from p2pcpn.protocol.reviewing import REVIEW_S, Reviewing
from tests.unit.protocol.granting import Table


def granting(*, taking: bool) -> Table:
    table = Table()
    table.extend(4)
    if taking:
        table.grantor.book.need([(2, [0]), (3, [1])])
    return table


def test_many_segments_of_anothers_log_are_looked_through_together() -> None:
    machine, table = Reviewing(), granting(taking=True)
    assert machine.deadline() is None
    machine.appended(table.grantor, 100.0)
    machine.appended(table.grantor, 100.5)
    assert (machine.deadline(), len(machine), machine.expire(100.9)) == (100.0 + REVIEW_S, 1, [])
    assert machine.expire(101.0) == [Commit((), (Review(table.job),))]
    assert machine.deadline() is None and machine.expire(200.0) == []
    machine.appended(table.grantor, 300.0)
    assert machine.deadline() == 300.0 + REVIEW_S


def test_a_job_whose_tasks_take_nothing_is_not_looked_at() -> None:
    machine = Reviewing()
    machine.appended(granting(taking=False).grantor, 100.0)
    assert not len(machine)


def test_another_epoch_is_needed_where_a_task_has_ended_of_which_nothing_counts() -> None:
    table = granting(taking=True)
    table.grantor.ledger.settle([(0, 1), (2, 1)])
    assert Reviewing.needed(table.grantor, [2])
    assert not Reviewing.needed(table.grantor, [3, 99])
    assert not Reviewing.needed(table.grantor, [])
