"""Guests: strangers share one part of a steward, by network group, and displace nobody else."""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.protocol.guests import BYTES_MAX, Guests


def job(number: int) -> bytes:
    return number.to_bytes(20, "big")


def test_a_group_that_has_most_makes_room_for_one_that_has_fewer_and_its_newest_goes() -> None:
    guests = Guests()
    for number in range(3):
        guests.add(b"many", job(number))
    guests.add(b"one", job(9))
    assert guests.leaves(b"new", lambda each: True) == job(2)
    assert guests.leaves(b"one", lambda each: True) == job(2)
    assert guests.leaves(b"many", lambda each: True) is None
    guests.remove(b"many", job(2))
    assert guests.leaves(b"one", lambda each: True) is None  # it would have no fewer then
    assert (guests.count, guests.of(b"many"), guests.of(b"nobody")) == (3, 2, 0)


def test_for_who_is_trusted_any_guest_leaves_that_can_be_spared() -> None:
    guests = Guests()
    assert guests.leaves(None, lambda each: True) is None
    guests.add(b"a", job(1))
    guests.add(b"b", job(2))
    guests.add(b"b", job(3))
    assert guests.leaves(None, lambda each: each != job(3)) == job(2)
    assert guests.leaves(None, lambda each: each == job(1)) == job(1)
    assert guests.leaves(None, lambda each: False) is None
    for group, number in ((b"a", 1), (b"b", 2), (b"b", 3)):
        guests.remove(group, job(number))
    assert guests.count == 0 and guests.leaves(None, lambda each: True) is None


def test_a_group_of_guests_has_a_share_of_their_part_of_the_disk_and_who_is_trusted_is_bound_elsewhere() -> None:
    guests = Guests()
    share = BYTES_MAX // limits.GUESTS_PART
    assert guests.fits(b"a", share) and not guests.fits(b"a", share + 1) and guests.fits(None, BYTES_MAX + 1)
    for number in range(limits.GUESTS_PART):
        guests.quota.take(b"%d" % number, share)
    assert not guests.fits(b"another", 1)
