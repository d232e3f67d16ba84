"""A job's term: durations of the spec, counted from its age and not from anybody's clock."""

from __future__ import annotations

import math

from p2pcpn.protocol.term import OWNERS_TURN_S, Term
from p2pcpn.wire.statements import Spec, read
from tests.unit.protocol.granting import spec


def term(age_s: float = 0.0, *, owners: bool = True, **options: float) -> Term:
    return Term(read(spec(**options), Spec), age_s, 100.0, owners=owners)


def test_without_either_a_job_goes_on_for_ever() -> None:
    assert (term().due, term().lapses) == (math.inf, math.inf)


def test_a_deadline_counts_from_the_opening_whoever_grants() -> None:
    assert term(deadline_s=60.0).due == 160.0
    assert term(45.0, deadline_s=60.0, owners=False).due == 115.0


def test_the_time_to_live_begins_anew_with_each_task() -> None:
    found = term(ttl_s=30.0)
    assert found.lapses == 130.0
    found.extended(120.0)
    assert found.lapses == 150.0


def test_who_is_not_the_owners_node_lets_it_close_the_job_first() -> None:
    assert term(5.0, ttl_s=30.0, owners=False).lapses == 130.0 + OWNERS_TURN_S


def test_the_age_is_told_as_of_the_last_thing_done() -> None:
    found = term(7.0)
    assert found.age_s == 7.0
    found.passes(104.0)
    assert found.age_s == 11.0
