"""The leases of a grantor: tokens, what each owes, and when it ends."""

from __future__ import annotations

import random

import pytest

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import leases as module
from p2pcpn.protocol.leases import Leases

A = NodeId(b"a" * 20)


def test_tokens_grow_and_a_lease_owes_its_spans() -> None:
    leases = Leases()
    assert [leases.grant(A, [(0, 2)], 30.0), leases.grant(A, [(2, 3)], 30.0)] == [1, 2]
    assert leases.live[2].remaining == 3
    assert leases.granted == 2


def test_a_lease_ends_with_the_last_task_it_owes() -> None:
    leases = Leases()
    leases.grant(A, [(0, 4)], 30.0)
    leases.fulfil(1, [(1, 1)])
    assert leases.live[1].open == [(0, 1), (2, 2)]
    leases.fulfil(1, [(0, 1), (2, 2)])
    assert leases.known(1) is None
    assert leases.deadline() is None


def test_a_lease_that_was_granted_ahead_owes_what_comes_and_ends_with_it_each_time() -> None:
    leases = Leases()
    leases.grant(A, [(0, 1)], 30.0)
    leases.fulfil(1, [(0, 1)])
    leases.further(1, A, [(0, 2)], [(1, 1)], 40.0, 10.0)
    held = leases.live[1]
    assert (held.spans, held.open, held.since, held.further, leases.granted) == ([(0, 2)], [(1, 1)], 10.0, True, 1)
    assert leases.deadline() == 40.0 and leases.expired(40.0) == [1]
    leases.fulfil(1, [(1, 1)])
    assert leases.known(1) is None and leases.deadline() is None


def test_a_lease_that_ends_unfulfilled_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNFULFILLED_MAX", 2)
    leases = Leases()
    for token in range(1, 4):
        leases.grant(A, [(token, 1)], 30.0)
        assert leases.end(token).spans == [(token, 1)]
    assert [leases.known(token) is not None for token in (1, 2, 3)] == [False, True, True]


def test_a_renewed_lease_ends_later_and_a_hastened_one_sooner() -> None:
    leases = Leases()
    leases.grant(A, [(0, 1)], 30.0)
    leases.grant(A, [(1, 1)], 31.0)
    leases.renew(leases.live[1], 40.0)
    leases.renew(leases.live[1], 35.0)
    assert leases.deadline() == 31.0
    assert leases.expired(30.5) == []
    assert leases.expired(31.0) == [2]
    leases.end(2)
    assert leases.deadline() == 40.0
    leases.hasten(1, 33.0)
    leases.hasten(1, 34.0)
    assert leases.deadline() == 33.0


def test_a_lease_that_was_hastened_and_renewed_ends_once() -> None:
    leases = Leases()
    leases.grant(A, [(0, 1)], 30.0)
    leases.hasten(1, 1.0)
    leases.renew(leases.live[1], 40.0)
    assert leases.deadline() == 40.0
    assert leases.expired(40.0) == [1]


def test_the_next_end_is_always_the_least_of_all() -> None:
    rng, leases = random.Random(5), Leases()
    for _ in range(500):
        token = leases.grant(A, [(0, 1)], rng.uniform(0, 9))
        other = leases.live.get(rng.randint(1, token))
        if other is not None:
            leases.renew(other, rng.uniform(0, 9))
        if rng.random() < 0.3:
            leases.hasten(token, rng.uniform(0, 9))
        if rng.random() < 0.3:
            leases.end(rng.choice(list(leases.live)))
        assert leases.deadline() == min((lease.until for lease in leases.live.values()), default=None)
