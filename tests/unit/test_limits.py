"""The bounds hold together: each sum that a comment gives is a sum here."""

from __future__ import annotations

from p2pcpn import limits


def numbers() -> dict[str, float]:
    return {name: value for name, value in vars(limits).items() if name.isupper() and name != "TYPE_CHECKING"}


def test_every_bound_is_a_positive_number() -> None:
    found = {name: value for name, value in numbers().items() if not value > 0}
    assert not found


def test_a_datagram_passes_every_ipv6_path_unfragmented() -> None:
    assert limits.DATAGRAM_BYTES_MAX + 40 + 8 <= 1280
    assert limits.BODY_BYTES_MAX == limits.DATAGRAM_BYTES_MAX - limits.ENVELOPE_BYTES == 1128


def test_a_rumor_fits_a_datagram_with_its_signature() -> None:
    # tag, lists, hop count; kind, key 34, signature 66, the body's own framing
    assert limits.RUMOR_BYTES_MAX + 3 + 2 + 105 <= limits.BODY_BYTES_MAX


def test_a_hello_that_fails_takes_less_than_four_seconds() -> None:
    assert limits.HELLO_WAIT_S * (2**limits.HELLO_TRIES - 1) < 4.0


def test_hellos_that_wait_cost_no_more_than_ten_megabytes() -> None:
    assert limits.HELLOS_MAX * limits.PAIR_QUEUE_MAX * limits.DATAGRAM_BYTES_MAX < 10_000_000


def test_a_page_fits_a_frame_and_a_segment_a_message() -> None:
    assert limits.PAGE_BYTES_MAX <= limits.FRAME_BYTES_MAX
    assert limits.SEGMENT_BYTES_MAX < limits.MESSAGE_BYTES_MAX
    assert limits.LOG_SEGMENT_BYTES_MAX < limits.MESSAGE_BYTES_MAX
    assert limits.RENEW_S * 2 < limits.LEASE_S
