"""Foreign logs: their grantors pay for them, strangers out of the guests' part; what expires is given back."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.foreign import ForeignLogs
from p2pcpn.protocol.guests import Guests
from p2pcpn.protocol.quota import Quota

ONE, TWO = NodeId(b"1" * 20), NodeId(b"2" * 20)


def logs(each_bytes: int = 100) -> ForeignLogs:
    return ForeignLogs(Quota(10 * each_bytes, each_bytes), Guests())


def job(number: int) -> bytes:
    return number.to_bytes(20, "big")


def test_a_grantor_has_a_share_of_the_disk_and_gets_it_back_when_its_logs_expire() -> None:
    kept = logs()
    assert kept.fits(job(1), ONE, 100, None) and not kept.fits(job(1), ONE, 101, None)
    assert kept.take(job(1), ONE, 60, 5.0, None) and not kept.take(job(1), ONE, 20, 9.0, None)
    assert kept.fits(job(2), ONE, 20, None) and not kept.fits(job(2), ONE, 21, None)
    assert kept.fits(job(1), TWO, 100, None)
    kept.take(job(2), TWO, 5, 7.0, None)
    assert (len(kept), kept.jobs()) == (2, [job(1), job(2)])
    kept.sweep(6.0)
    assert kept.jobs() == [job(2)] and kept.fits(job(3), ONE, 100, None)
    kept.drop(job(2))
    assert len(kept) == 0 and kept._quota.taken_bytes == 0 and not kept._by_grantor


def test_a_stranger_is_a_guest_and_his_network_has_a_part_of_the_guests_part(monkeypatch: pytest.MonkeyPatch) -> None:
    guests = Guests()
    guests.quota = Quota(50, 20)
    kept = ForeignLogs(Quota(1000, 1000), guests)
    kept.take(job(1), ONE, 20, 5.0, b"network")
    assert not kept.fits(job(1), ONE, 1, b"network") and not kept.fits(job(2), TWO, 1, b"network")
    assert kept.fits(job(2), TWO, 20, b"another") and kept.fits(job(2), TWO, 1000 - 20, None)
    guests.quota.take(b"an owner", 20)
    assert kept.fits(job(2), TWO, 10, b"another") and not kept.fits(job(2), TWO, 11, b"another"), "one part for all"
    kept.drop(job(1))
    assert guests.quota.of(b"network") == 0 and not kept._by_guest


def test_strangers_have_few_logs_here_and_one_network_of_them_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOBS_PER_PEER_MAX", 32)  # 8 of them guests', 2 of one network
    kept = logs(10_000)
    for number in range(2):
        assert kept.fits(job(number), ONE, 1, b"network")
        kept.take(job(number), ONE, 1, 5.0, b"network")
    assert kept.fits(job(0), ONE, 1, b"network"), "what is kept goes on"
    assert not kept.fits(job(2), ONE, 1, b"network") and kept.fits(job(2), TWO, 1, b"another")
    for number in range(2, 8):
        kept.take(job(number), TWO, 1, 5.0, b"%d" % number)
    assert not kept.fits(job(9), TWO, 1, b"another") and kept.fits(job(9), TWO, 1, None)
    for number in range(24):
        kept.take(job(100 + number), TWO, 1, 5.0, None)
    assert not kept.fits(job(9), TWO, 1, None), "as many as of known jobs"
