"""Token buckets: what flows in bounds what is taken, for one group and for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.protocol.rates import Allowance, Bucket, group_of


def test_a_bucket_starts_full_and_fills_at_its_rate() -> None:
    bucket = Bucket(2.0, 3.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(10.4)
    assert bucket.take(10.5) and not bucket.take(10.5)
    assert [bucket.take(99.0) for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.floats(0, 20), max_size=200))
def test_no_order_of_times_takes_more_than_rate_and_burst(times: list[float]) -> None:
    bucket = Bucket(3.0, 5.0)
    assert sum(bucket.take(now) for now in times) <= 5 + 3 * 20


def test_one_group_does_not_spend_what_is_there_for_all() -> None:
    allowance = Allowance(10.0, 2.0)
    assert sum(allowance.take("a", 0.0) for _ in range(50)) == 2
    assert sum(allowance.take(f"group {number}", 0.0) for number in range(50)) == 8


def test_groups_are_forgotten_beyond_their_bound() -> None:
    allowance = Allowance(1e9, 1.0)
    for number in range(limits.HELLO_GROUPS_MAX + 5):
        assert allowance.take(number, 0.0)
    assert len(allowance) == limits.HELLO_GROUPS_MAX
    assert not allowance.take(limits.HELLO_GROUPS_MAX, 0.0)
    assert allowance.take(0, 0.0)  # long forgotten, so it starts anew


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
    ],
)
def test_a_group_is_a_24_or_a_48(host: str, group: str) -> None:
    assert group_of((host, 4000)) == group
