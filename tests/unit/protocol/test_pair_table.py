"""The table of pairs: sequences that never fall back, addresses that are proven, and bounds."""

from __future__ import annotations

from collections import Counter

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.hellos import Cookies
from p2pcpn.protocol.pair_table import FORGOTTEN_EACH_S, PairTable
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.envelope import GREETING, Header

ME, PEER = Keypair(bytes([1]) * 32), Keypair(bytes([2]) * 32)
HOME, AWAY = contact(PEER.id, ("192.0.2.7", 4000)), contact(PEER.id, ("198.51.100.9", 5000))
COUNTS: Counter[str] = Counter()


def table() -> PairTable:
    COUNTS.clear()
    return PairTable(ME, 1, bytes(32), Cookies(b"secret"), COUNTS)


def header(boot: int = 1, sequence: int = 0, sender: bytes = PEER.id) -> Header:
    return Header(1, GREETING, sender, ME.id, boot, sequence)


def test_a_greeting_makes_a_pair_and_another_of_its_boot_only_refreshes_it() -> None:
    pairs = table()
    assert pairs.establish(header(sequence=3), PEER.public, HOME, 1, 2, 0.0)
    pair = pairs.pairs[PEER.id]
    assert (pair.contact, pair.address, pair.boot, pair.roles) == (HOME, ("192.0.2.7", 4000), 1, 2)
    assert not pairs.establish(header(sequence=5), PEER.public, HOME, 1, 6, 1.0)
    assert pairs.pairs[PEER.id] is pair and pair.roles == 6
    assert (pair.greeted, pair.window.newest, pair.heard_at) == (5, 5, 1.0)


def test_a_newer_boot_has_another_key_and_goes_on_counting() -> None:
    pairs = table()
    pairs.establish(header(), PEER.public, HOME, 1, 0, 0.0)
    old = pairs.pairs[PEER.id]
    old.sequence = 70
    assert pairs.establish(header(boot=2), PEER.public, AWAY, 1, 0, 0.0)
    new = pairs.pairs[PEER.id]
    assert new.contact == AWAY and new.sequence == 70
    assert new.mac.of(b"x") != old.mac.of(b"x")


def test_a_pair_made_anew_has_its_old_key_and_starts_above_all_it_said() -> None:
    pairs = table()
    pairs.establish(header(), PEER.public, HOME, 1, 0, 0.0)
    old = pairs.pairs[PEER.id]
    old.sequence = 70
    pairs.forget(PEER.id)
    pairs.forget(PEER.id)
    assert PEER.id not in pairs.pairs
    assert pairs.signed_sequence(PEER.id) == 70
    pairs.establish(header(sequence=9), PEER.public, HOME, 1, 0, 0.0)
    new = pairs.pairs[PEER.id]
    assert new.sequence == 71 and new.mac.of(b"x") == old.mac.of(b"x")
    assert not new.window.accept(9) and new.window.accept(10)


def test_signed_greetings_and_traffic_share_one_sequence() -> None:
    pairs = table()
    assert [pairs.signed_sequence(PEER.id) for _ in range(3)] == [0, 1, 2]
    pairs.establish(header(), PEER.public, HOME, 1, 0, 0.0)
    pair = pairs.pairs[PEER.id]
    assert pair.sequence == 3
    pair.sequence = 50
    assert pairs.signed_sequence(PEER.id) == 50 and pair.sequence == 51
    assert pairs.signed_sequence(bytes(20)) == 51


def test_an_address_that_is_heard_from_is_given_up_for_no_other() -> None:
    pairs = table()
    pairs.establish(header(), PEER.public, HOME, 1, 0, 0.0)
    pair = pairs.pairs[PEER.id]
    pairs.heard(pair, HOME.address, 4.0)
    assert not pairs.establish(header(sequence=1), PEER.public, AWAY, 1, 0, 4.0 + limits.ADDRESS_PROVEN_S - 0.1)
    assert pair.contact == HOME
    pairs.heard(pair, AWAY.address, 9.0)  # traffic from elsewhere proves nothing
    assert pairs.establish(header(sequence=2), PEER.public, AWAY, 1, 0, 4.0 + limits.ADDRESS_PROVEN_S)
    assert (pair.contact, pair.address) == (AWAY, AWAY.address)


def test_a_key_of_small_order_enters_nothing() -> None:
    pairs = table()
    with pytest.raises(PeerError):
        pairs.establish(header(), bytes(32), HOME, 1, 0, 0.0)
    assert not pairs.pairs and pairs.deadline() is None


def test_the_least_recently_heard_is_forgotten_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAIRS_MAX", 3)
    pairs = table()
    ids = [bytes([number]) * 20 for number in range(4)]
    for node in ids[:3]:
        pairs.establish(header(sender=node), PEER.public, contact(node, HOME.address), 1, 0, 0.0)
    pairs.heard(pairs.pairs[ids[0]], HOME.address, 1.0)
    pairs.establish(header(sender=ids[3]), PEER.public, contact(ids[3], HOME.address), 1, 0, 2.0)
    assert list(pairs.pairs) == [ids[2], ids[0], ids[3]]
    assert COUNTS["forgotten_full"] == 1


def test_a_silent_pair_is_forgotten_when_it_is_due() -> None:
    pairs = table()
    pairs.establish(header(), PEER.public, HOME, 1, 0, 0.0)
    pairs.heard(pairs.pairs[PEER.id], HOME.address, 5.0)
    due = pairs.deadline()
    assert due == 5.0 + limits.PAIR_SILENT_S + FORGOTTEN_EACH_S
    pairs.expire(due - 1)
    assert PEER.id in pairs.pairs
    pairs.expire(due)
    assert not pairs.pairs and COUNTS["forgotten_silent"] == 1


def test_those_that_fell_silent_soon_after_are_forgotten_with_the_first() -> None:
    pairs = table()
    ids = [bytes([number]) * 20 for number in range(3)]
    for node, at in zip(ids, (0.0, 50.0, 70.0), strict=True):
        pairs.establish(header(sender=node), PEER.public, contact(node, HOME.address), 1, 0, at)
    pairs.expire(limits.PAIR_SILENT_S + FORGOTTEN_EACH_S)
    assert list(pairs.pairs) == ids[2:] and COUNTS["forgotten_silent"] == 2
