"""The dead are left alone for a time that grows, and live again at once when they speak."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.protocol.dead import DeadPeers
from p2pcpn.wire.addresses import Contact, contact


def peer(number: int, host: str = "10.0.0.1") -> Contact:
    return contact(number.to_bytes(20, "big"), (host, 4000))


def test_who_was_late_is_silent_until_it_speaks_or_time_has_passed() -> None:
    dead = DeadPeers()
    dead.late(peer(1), 0.0)
    dead.late(peer(1), 10.0)
    assert dead.is_silent(peer(1), limits.DEAD_S - 1)
    assert not dead.is_dead(peer(1), 1.0)
    assert not dead.is_silent(peer(1), limits.DEAD_S)
    dead.late(peer(2), 0.0)
    dead.heard(peer(2))
    assert not dead.is_silent(peer(2), 0.0)


def test_each_failure_doubles_the_time_up_to_a_bound() -> None:
    dead, now = DeadPeers(), 0.0
    for dead_s in (30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0):
        dead.failed(peer(1), now)
        assert dead.is_dead(peer(1), now + dead_s - 0.1)
        now += dead_s
        assert not dead.is_dead(peer(1), now)
        assert dead.is_silent(peer(1), now), "asked again, and nobody waits for it"


def test_who_speaks_lives_and_its_time_begins_anew() -> None:
    dead = DeadPeers()
    for _ in range(3):
        dead.failed(peer(1), 0.0)
    dead.heard(peer(1))
    assert not dead.is_dead(peer(1), 0.0) and not dead.is_silent(peer(1), 0.0)
    dead.failed(peer(1), 0.0)
    assert not dead.is_dead(peer(1), limits.DEAD_S)


def test_nobodys_time_grows_while_it_is_we_who_are_cut_off() -> None:
    dead = DeadPeers()
    for _ in range(5):
        dead.failed(peer(1), 0.0, cut_off=True)
    assert not dead.is_dead(peer(1), limits.DEAD_S)


def test_a_wrong_address_condemns_nobody() -> None:
    dead = DeadPeers()
    dead.failed(peer(1, "10.0.0.66"), 0.0)
    assert not dead.is_dead(peer(1), 0.0)
    dead.heard(peer(1))
    assert dead.is_dead(peer(1, "10.0.0.66"), 0.0)


@given(st.lists(st.tuples(st.sampled_from("lfh"), st.integers(0, 9)), max_size=60))
def test_a_peer_is_dead_only_if_it_failed_after_it_was_heard_last(steps: list[tuple[str, int]]) -> None:
    dead, failed = DeadPeers(), set()
    for now, (what, number) in enumerate(steps):
        if what == "l":
            dead.late(peer(number), float(now))
        elif what == "f":
            dead.failed(peer(number), float(now))
            failed.add(number)
        else:
            dead.heard(peer(number))
            failed.discard(number)
        assert {number for number in range(10) if dead.is_dead(peer(number), float(now))} <= failed
        assert len(dead) == len(failed)


def test_the_memory_of_either_kind_is_bounded() -> None:
    dead = DeadPeers()
    for number in range(limits.DEAD_PEERS_MAX + 5):
        dead.late(peer(number), 0.0)
        assert dead.is_silent(peer(number), 0.0)
    assert not dead.is_silent(peer(0), 0.0)
    for number in range(limits.DEAD_PEERS_MAX + 5):
        dead.failed(peer(number), 0.0)
    assert len(dead) == limits.DEAD_PEERS_MAX
    assert not dead.is_dead(peer(0), 0.0)
