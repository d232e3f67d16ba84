"""The round-trip estimate follows RFC 6298 and forgets whom it has not asked for longest."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.protocol.roundtrip import FIRST_EXCHANGE_TRIPS, SAMPLES, RoundTrips

A, B, C = (bytes([number]) * 20 for number in (1, 2, 3))


def test_a_peer_never_asked_gets_the_first_guess() -> None:
    trips = RoundTrips()
    assert trips.timeout_s(A) == limits.RTO_INITIAL_S
    assert trips.srtt_s(A) is None
    assert trips.median_s() is None


def test_the_second_sample_replaces_the_first_which_carried_a_handshake() -> None:
    trips = RoundTrips()
    trips.observe(A, 0.3)
    trips.observe(A, 0.1)
    assert trips.srtt_s(A) == 0.1
    assert trips.timeout_s(A) == pytest.approx(0.1 + 4 * 0.05)


def test_later_samples_are_smoothed_as_the_rfc_says() -> None:
    trips = RoundTrips()
    for rtt_s in (0.1, 0.1, 0.2):
        trips.observe(A, rtt_s)
    rttvar_s = 0.75 * 0.05 + 0.25 * 0.1
    assert trips.srtt_s(A) == pytest.approx(0.875 * 0.1 + 0.125 * 0.2)
    assert trips.timeout_s(A) == pytest.approx(0.1125 + 4 * rttvar_s)


def test_the_timeout_stays_between_floor_and_ceiling() -> None:
    trips = RoundTrips()
    for _ in range(50):
        trips.observe(A, 0.0001)
        trips.observe(B, 9.0)
    assert trips.timeout_s(A) == limits.RTO_FLOOR_S
    assert trips.timeout_s(B) == limits.RTO_CEILING_S


def test_an_unanswered_request_doubles_the_timeout_until_the_next_sample() -> None:
    trips = RoundTrips()
    trips.unanswered(A)
    trips.unanswered(A)
    assert trips.timeout_s(A) == 4 * limits.RTO_INITIAL_S
    assert trips.srtt_s(A) is None
    trips.observe(A, 0.5)
    assert trips.timeout_s(A) == pytest.approx(1.5)


def test_the_one_asked_least_recently_is_forgotten_first() -> None:
    trips = RoundTrips(peers_max=2)
    trips.observe(A, 0.1)
    trips.observe(B, 0.1)
    trips.observe(A, 0.1)
    trips.observe(C, 0.3)
    assert (trips.srtt_s(A), trips.srtt_s(B), len(trips)) == (0.1, None, 2)
    assert trips.median_s() == 0.3
    trips.forget(C)
    assert trips.srtt_s(C) is None


def measured(*first_s: float) -> RoundTrips:
    """Peers of which each was met once, and asked once more."""
    trips = RoundTrips()
    for number, rtt_s in enumerate(first_s, 10):
        trips.observe(number.to_bytes(20, "big"), rtt_s)
        trips.observe(number.to_bytes(20, "big"), rtt_s / FIRST_EXCHANGE_TRIPS)
    return trips


def test_a_stranger_is_expected_to_be_like_the_others() -> None:
    near, far = measured(*[0.003] * 20), measured(*[0.4] * 20)
    assert near.timeout_s(A) == FIRST_EXCHANGE_TRIPS * limits.RTO_FLOOR_S
    assert far.timeout_s(A) == pytest.approx(0.8)
    near.unanswered(A)
    assert near.timeout_s(A) == 2 * FIRST_EXCHANGE_TRIPS * limits.RTO_FLOOR_S
    assert measured(*[0.003] * 4).timeout_s(A) == limits.RTO_INITIAL_S, "four peers say nothing of others"


def test_a_quarter_of_slow_peers_does_not_change_what_is_expected_of_strangers() -> None:
    assert measured(*[0.003] * 19, *[5.0] * 5).timeout_s(A) == FIRST_EXCHANGE_TRIPS * limits.RTO_FLOOR_S
    assert measured(*[5.0] * 20).timeout_s(A) == limits.RTO_STRANGER_S_MAX


def test_what_is_expected_of_strangers_follows_the_network() -> None:
    assert measured(*[0.4] * 100, *[0.1] * SAMPLES).timeout_s(A) == pytest.approx(0.2)


def test_a_swarm_that_was_slow_to_start_is_not_expected_to_stay_so() -> None:
    trips = RoundTrips()
    for number in range(10, 30):
        trips.observe(number.to_bytes(20, "big"), 0.4)
    assert trips.timeout_s(A) == pytest.approx(0.8)
    for number in range(10, 26):
        trips.observe(number.to_bytes(20, "big"), 0.001)
    assert trips.timeout_s(A) == FIRST_EXCHANGE_TRIPS * limits.RTO_FLOOR_S
    assert trips.timeout_s((29).to_bytes(20, "big")) < limits.RTO_INITIAL_S, "met in the storm, and not asked since"


def test_a_stranger_is_as_far_as_others_are() -> None:
    found = RoundTrips()
    assert found.usual_s(b"a", 0.005) == 0.005
    for number, node in enumerate((b"a", b"b", b"c"), 1):
        found.observe(node, 0.1 * number)
    assert found.usual_s(b"d", 0.005) == pytest.approx(0.2)
    assert found.usual_s(b"a", 0.005) == pytest.approx(0.1)
