"""Quota: each owner has his share of the disk, and what is given back can be taken again."""

from __future__ import annotations

from p2pcpn.protocol.quota import Quota


def test_one_owner_has_his_share_and_all_together_the_whole() -> None:
    quota = Quota(10, 6)
    assert quota.fits(b"a", 6) and not quota.fits(b"a", 7)
    quota.take(b"a", 6)
    assert not quota.fits(b"a", 1) and quota.fits(b"b", 4) and not quota.fits(b"b", 5)
    quota.take(b"b", 4)
    assert not quota.fits(b"c", 1)
    quota.give_back(b"a", 2)
    assert quota.fits(b"c", 2) and quota.of(b"a") == 4


def test_an_owner_without_anything_is_not_remembered() -> None:
    quota = Quota(10, 10)
    for owner in (b"a", b"b"):
        quota.take(owner, 3)
        quota.give_back(owner, 3)
    assert quota.taken_bytes == 0 and quota._taken == {}


def test_what_lies_on_disk_counts_even_beyond_the_share() -> None:
    quota = Quota(10, 5)
    quota.take(b"a", 20)
    assert not quota.fits(b"b", 1)
