"""Leases taken: renewed in the order of their silence, over with their last task, and cheap however many there are."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.leases_taken import Leases
from p2pcpn.protocol.work import LeaseTaken, Work
from p2pcpn.wire import messages as m
from tests.unit.protocol.leased import GRANTOR, GRANTOR_AT, Bench, Made, told

KEY = bytes(32)


def table(*counts: int) -> tuple[Leases, Work, list[LeaseTaken], set[NodeId]]:
    bench = Bench()
    made = bench.know(Made())
    sessions = {NodeId(GRANTOR.id)}
    leases, work = Leases(sessions), bench.worker.works[made.job]
    held = [LeaseTaken(token, 0, GRANTOR_AT, count, KEY, KEY, KEY, 0.0) for token, count in enumerate(counts, 1)]
    for at, lease in enumerate(held):
        leases.take(work, lease, float(at))
    return leases, work, held, sessions


def tokens(effects: list[fx.Effect]) -> list[int]:
    return [message.token for message in told(effects, m.Progress)]


def test_the_longest_silent_lease_is_renewed_first() -> None:
    leases, work, held, _ = table(2, 2, 2)
    leases.ended(work, held[0], 1, 5.0)
    assert leases.deadline() == 1.0 + limits.RENEW_S
    assert tokens(leases.expire(12.5)) == [2, 3]
    assert tokens(leases.expire(15.0)) == [1]
    assert leases.deadline() == 12.5 + limits.RENEW_S


def test_a_lease_is_over_with_its_last_task() -> None:
    leases, work, held, _ = table(3)
    leases.ended(work, held[0], 2, 1.0)
    assert len(leases) == 1 and work.leases == {(0, 1): held[0]}
    (back,) = told(leases.give_back(work, held[0], [(2, 1)], "why" * 100, 1.0), m.Return)
    assert (back.token, back.spans, back.code, back.text) == (1, [(2, 1)], "late", ("why" * 100)[:200])
    assert len(leases) == 0 and work.leases == {} and leases.deadline() is None
    assert leases.give_back(work, held[0], [], "nothing", 1.0) == []


def test_more_tasks_than_were_leased_is_our_own_mistake() -> None:
    leases, work, held, _ = table(1)
    with pytest.raises(AssertionError):
        leases.ended(work, held[0], 2, 1.0)


def test_nobody_is_told_while_there_is_no_session() -> None:
    leases, work, held, sessions = table(1, 1)
    sessions.clear()
    assert leases.expire(50.0) == [] and leases.deadline() == 60.0
    sessions.add(NodeId(GRANTOR.id))
    assert tokens(leases.session_opened(NodeId(GRANTOR.id), 51.0)) == [1, 2]
    assert leases.session_opened(NodeId(bytes(20)), 51.0) == []
    assert told(leases.progress(work, held[0], [7], 52.0), m.Progress) == [m.Progress(work.job, 1, [7])]
