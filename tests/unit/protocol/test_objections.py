"""Objections: each hindrance is told by its code and in words, and none is told where there is none."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.leased_pages import PageKept
from p2pcpn.protocol.objections import LEAVES, Objections
from p2pcpn.protocol.turns import Turns
from p2pcpn.protocol.work import LeaseTaken, Piece, Work
from tests.unit.protocol.leased import GRANTOR_AT, OWNER, Made, rules


def objecting(made: Made, slots: int = 2) -> tuple[Objections, Work]:
    found = Objections(
        lambda: rules(missing=lambda names: tuple(name for name in names if name != "numpy")), slots, Turns(slots)
    )
    authority = Authority(made.spec)
    return found, Work(authority, GRANTOR_AT, found.to_job(authority), GRANTOR_AT.id)  # type: ignore[arg-type]


def page(*requires: str) -> dict[int, PageKept]:
    return {0: PageKept(0, 4, requires, b"sealed")}


def test_a_job_that_may_run_meets_no_objection() -> None:
    found, work = objecting(Made())
    assert work.refused is None
    assert found.to_tasks(work, page(), 4) is None and found.to_tasks(work, page("numpy"), 4) is None
    assert found.declines == []


def test_a_job_is_declined_for_what_it_needs_and_the_owner_hears_it_once_more_with_its_lease() -> None:
    found, work = objecting(Made(python="2.7"))
    assert work.refused == "runs Python 3.11; the job needs Python 2.7"
    assert found.to_tasks(work, page(), 1) == ("declined", work.refused)
    assert found.declines == [(work.job, work.refused)]
    assert objecting(Made(), slots=0)[1].refused == "runs nothing"


def test_the_rules_are_those_of_now() -> None:
    strict, kind = rules(swarm_key=bytes(32)), rules(swarm_key=bytes(32), trusted=frozenset([OWNER.public]))
    now = [strict]
    found = Objections(lambda: now[0], 1, Turns(1))
    authority = Authority(Made().spec)
    assert found.to_job(authority) is not None
    now[0] = kind
    assert found.to_job(authority) is None


def test_tasks_are_not_taken_by_who_leaves_lacks_a_page_or_a_package_or_has_enough() -> None:
    found, work = objecting(Made())
    assert found.to_tasks(work, None, 1) == ("missing", "lacks a page")
    assert found.to_tasks(work, page("torch"), 1) == ("declined", "lacks the package torch")
    most = 2 * limits.QUEUED_TASKS_PER_SLOT_MAX
    assert found.to_tasks(work, page(), most) is None
    assert found.to_tasks(work, page(), most + 1) == ("late", "has more leased to it than it can queue")
    found.leaving = True
    assert found.to_tasks(work, page(), 1) == ("leaving", LEAVES)


@pytest.mark.parametrize("everybodys", [False, True])
def test_no_more_bytes_are_queued_than_memory_holds(everybodys: bool) -> None:
    turns = Turns(1)
    found = Objections(rules, 1, turns)
    work = objecting(Made())[1]
    lease = LeaseTaken(1, 0, GRANTOR_AT, 1, bytes(32), bytes(32), bytes(32), 0.0)
    piece = Piece(lease, 0, (b"f",), None, (b"argument",))
    assert found.to_bytes(work, [piece]) is None
    if everybodys:
        turns.queued_bytes = limits.QUEUED_BYTES_MAX
    else:
        work.queued_bytes = limits.QUEUED_BYTES_PER_JOB_MAX
    assert found.to_bytes(work, [piece]) == ("late", "has more leased to it than its memory holds")


def test_of_what_was_declined_only_so_much_is_remembered() -> None:
    found, work = objecting(Made(python="2.7"))
    for _ in range(limits.OFFERS_MAX + 5):
        found.to_tasks(work, page(), 1)
    assert len(found.declines) == limits.OFFERS_MAX
