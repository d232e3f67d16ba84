"""A grantor that is brought another's log looks through all of them, once for many segments, where it matters."""

from __future__ import annotations

import pytest

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


def test_once_all_has_ended_it_looks_again_where_a_log_came_meanwhile_or_it_took_over() -> None:
    for begin in (Reviewing.begun, lambda machine, grantor: machine.appended(grantor, 0.0)):
        machine, table = Reviewing(), granting(taking=True)
        machine.logged(table.grantor, 1.0)
        assert machine.deadline() is None, "of what it ran itself nothing can have lost"
        begin(machine, table.grantor)
        machine.expire(9.0)
        table.grantor.ledger.settle([(0, 3)])
        machine.logged(table.grantor, 10.0)
        assert machine.deadline() is None, "a task runs still"
        table.grantor.ledger.settle([(3, 1)])
        machine.logged(table.grantor, 20.0)
        assert machine.expire(20.0 + REVIEW_S) == [Commit((), (Review(table.job),))]
        machine.logged(table.grantor, 30.0)
        assert machine.deadline() is None, "nothing new came"


def test_lots_in_which_something_may_be_found_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.protocol.reviewing.UNSURE_MAX", 1)
    machine, one, two = Reviewing(), granting(taking=True), granting(taking=True)
    two.grantor.job = bytes(20)
    for table in (one, two):
        machine.begun(table.grantor)
        table.grantor.ledger.settle([(0, 4)])
    for table in (one, two):
        machine.logged(table.grantor, 1.0)
    assert len(machine) == 1


def test_another_epoch_is_needed_where_a_task_has_ended_of_which_nothing_counts() -> None:
    table = granting(taking=True)
    table.grantor.ledger.settle([(0, 1), (2, 1)])
    assert Reviewing.needed(table.grantor, [2])
    assert not Reviewing.needed(table.grantor, [3, 99])
    assert not Reviewing.needed(table.grantor, [])
