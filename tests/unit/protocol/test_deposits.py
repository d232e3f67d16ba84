"""What is kept for whom: signatures, shares, room, and what goes first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.admission import Rules
from p2pcpn.protocol.deposits import ENTRY_BYTES, UNFINISHED_S, Kept, Ledger, Refused
from p2pcpn.wire.manifests import CODEC, Manifest
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.sealing import digest, swarm_proof
from p2pcpn.wire.statements import Deposit, Signed, signed

ALICE, BOB = Keypair(b"\1" * 32), Keypair(b"\2" * 32)
SWARM, WALL, SOURCE = b"\7" * 32, 1e6, b"s" * 20
RULES = Rules(("function",), "3.11", 1 << 30, swarm_key=SWARM)
SIZE = 4096
COST = SIZE + limits.CHUNK_SEAL_BYTES + ENTRY_BYTES


def section(number: int) -> bytes:
    return CODEC.encode(Manifest(0, number, SIZE, 4096, bytes([number]) * 32))


def deposit(number: int, owner: Keypair = ALICE, **other: Any) -> Signed:
    fields = {
        "name": digest(section(number)), "blob": bytes(20), "is_root": True, "parts": 0, "size_bytes": SIZE,
        "created_s": WALL, "retention_s": 100.0 + number, "replicas": 2, "note": b"",
        "proof": swarm_proof(SWARM, owner.public),
    }  # fmt: skip
    return signed(Deposit(**(fields | other)), owner)


def ledger(quota_bytes: int | None = None, **other: Any) -> Ledger:
    return Ledger(other.get("rules", RULES), storing=other.get("storing", True), quota_bytes=quota_bytes)


def offer(to: Ledger, number: int, owner: Keypair = ALICE, now: float = 0.0, wall: float = WALL) -> Kept:
    kept, gone = to.offered(deposit(number, owner), section(number), SOURCE, now, wall)
    for name in gone:
        to.drop(name)
    return kept


def keep(to: Ledger, number: int, owner: Keypair = ALICE) -> bytes:
    kept = offer(to, number, owner)
    to.completed(kept.deposit.name)
    return kept.deposit.name


def test_a_deposit_is_taken_filled_and_completed() -> None:
    kept_by = ledger()
    kept = offer(kept_by, 1)
    assert (kept.bits(), kept.sources, kept.expires_s) == (b"\0", {SOURCE}, WALL + 101)
    kept_by.came(kept.deposit.name, 0, 5.0)
    assert kept.bits() == b"\1" and kept.touched_s == 5.0
    kept_by.completed(kept.deposit.name)
    assert kept.whole and kept.bits() == b"" and not kept.sources
    assert kept_by.total_bytes == kept_by.used_bytes(ALICE.public) == COST
    kept_by.drop(kept.deposit.name)
    kept_by.drop(kept.deposit.name)
    assert kept_by.total_bytes == kept_by.used_bytes(ALICE.public) == 0


def test_who_comes_back_finds_what_was_there() -> None:
    kept_by = ledger()
    kept = offer(kept_by, 1)
    kept_by.came(kept.deposit.name, 0, 1.0)
    kept_by.gone(SOURCE)
    assert not kept.sources and offer(kept_by, 1) is kept and kept.here == {0} and kept.sources == {SOURCE}


def test_the_owners_deposit_that_ends_last_counts_and_another_owners_does_not() -> None:
    kept_by = ledger()
    kept = offer(kept_by, 1)
    for other, counts in (
        ({"created_s": WALL + 5}, True),
        ({"created_s": WALL + 1}, False),
        ({"created_s": WALL + 6, "retention_s": 50.0}, False),  # put again, for a shorter time
        ({"created_s": WALL + 6, "retention_s": 100.0}, True),  # it ends with the other, and is newer
        ({"created_s": WALL, "retention_s": 500.0, "replicas": 1}, True),
    ):
        again = deposit(1, **other)
        assert kept_by.offered(again, section(1), SOURCE, 0.0, WALL) == (kept, [])
        assert (kept.signed == again) is counts
    assert kept.expires_s == WALL + 500.0
    with pytest.raises(Refused, match="another owner"):
        kept_by.offered(deposit(1, BOB), section(1), SOURCE, 0.0, WALL)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"created_s": WALL - 1e6}, "has expired"),
        ({"proof": bytes(16)}, "does not trust"),
    ],
)
def test_what_may_not_be_kept_is_refused_in_words(other: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words) as caught:
        ledger().offered(deposit(1, **other), section(1), SOURCE, 0.0, WALL)
    assert caught.value.code == AnswerCode.REFUSED


@pytest.mark.parametrize("other", [{"created_s": WALL + 1e6}, {"retention_s": 1e9}])
def test_what_cannot_be_right_is_no_deposit(other: dict[str, Any]) -> None:
    with pytest.raises(PeerError):
        ledger().offered(deposit(1, **other), section(1), SOURCE, 0.0, WALL)


def test_a_forged_deposit_and_a_wrong_manifest_are_refused() -> None:
    forged = msgspec.structs.replace(deposit(1), signature=bytes(64))
    with pytest.raises(PeerError, match="signature"):
        ledger().offered(forged, section(1), SOURCE, 0.0, WALL)
    with pytest.raises(PeerError, match="not its name's"):
        ledger().offered(deposit(1), section(2), SOURCE, 0.0, WALL)


def test_who_stores_nothing_takes_nothing_and_an_open_swarm_trusts_keys() -> None:
    with pytest.raises(Refused, match="keeps nothing"):
        offer(ledger(storing=False), 1)
    open_swarm = replace(RULES, swarm_key=bytes(32), trusted=frozenset({BOB.public}))
    with pytest.raises(Refused, match="key trust"):
        offer(ledger(rules=open_swarm), 1)
    assert offer(ledger(rules=open_swarm), 1, BOB)


def test_one_owner_has_half_and_all_have_the_whole() -> None:
    kept_by = ledger(4 * COST)
    for number in (1, 2):
        keep(kept_by, number)
    with pytest.raises(Refused, match="gives one owner") as caught:
        offer(kept_by, 3)
    assert caught.value.code == AnswerCode.FULL
    for number in (4, 5):
        keep(kept_by, number, BOB)
    with pytest.raises(Refused, match="and they are taken"):
        offer(kept_by, 6, Keypair(b"\3" * 32))


def test_expired_deposits_make_room_and_pinned_ones_do_not() -> None:
    kept_by = ledger(4 * COST)
    first, second = keep(kept_by, 1), keep(kept_by, 2)
    kept_by.kept[second].pinned = True
    later = WALL + 150
    kept, gone = kept_by.offered(deposit(3, created_s=later), section(3), SOURCE, 0.0, later)
    assert gone == [first] and kept.deposit.name in kept_by.kept


@pytest.mark.parametrize("bound", ["DEPOSITS_PER_OWNER_MAX", "DEPOSITS_MAX"])
def test_expired_deposits_count_no_more_where_their_number_is_bounded(
    monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    kept_by = ledger()
    keep(kept_by, 1)
    monkeypatch.setattr(limits, bound, 1)
    with pytest.raises(Refused, match="as many sections"):
        offer(kept_by, 2)
    fresh, gone = kept_by.offered(deposit(3, retention_s=1e4), section(3), SOURCE, 0.0, WALL + 101.0)
    assert gone == [digest(section(1))] and fresh.deposit.name in kept_by.kept


def test_numbers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    kept_by = ledger()
    monkeypatch.setattr(limits, "DEPOSITS_UNFINISHED_PER_SOURCE_MAX", 1)
    offer(kept_by, 1)
    with pytest.raises(Refused, match="from there"):
        offer(kept_by, 2)
    kept_by = ledger()
    monkeypatch.setattr(limits, "DEPOSITS_UNFINISHED_MAX", 0)
    with pytest.raises(Refused, match="too many sections already"):
        offer(kept_by, 3)
    monkeypatch.setattr(limits, "DEPOSITS_UNFINISHED_MAX", 9)
    monkeypatch.setattr(limits, "DEPOSITS_MAX", 0)
    with pytest.raises(Refused, match="as many sections"):
        offer(kept_by, 3)


def test_over_quota_goes_what_expires_first_of_whoever_has_most() -> None:
    kept_by = ledger(100 * COST)
    alices = [keep(kept_by, number) for number in (1, 2, 3)]
    bobs = [keep(kept_by, number, BOB) for number in (4, 5)]
    kept_by.kept[alices[1]].pinned = True
    assert kept_by.surplus(WALL) == []
    kept_by.quota_bytes = 2 * COST
    assert kept_by.surplus(WALL) == [alices[0], alices[2], bobs[0]]  # of two that have as much, the greater key
    kept_by.quota_bytes = None
    assert kept_by.surplus(WALL + 104.5) == sorted([alices[0], alices[2], bobs[0]])


def test_what_nobody_brings_any_more_is_stale_and_lists_have_pages() -> None:
    kept_by = ledger()
    unfinished = offer(kept_by, 1).deposit.name
    names = sorted(keep(kept_by, number) for number in (2, 3, 4))
    keep(kept_by, 5, BOB)
    assert kept_by.stale(UNFINISHED_S - 1) == [] and kept_by.stale(UNFINISHED_S) == [unfinished]
    page, more = kept_by.of_owner(ALICE.public, b"", 2)
    assert more and [each.body for each in page] == [kept_by.kept[name].signed.body for name in names[:2]]
    page, more = kept_by.of_owner(ALICE.public, names[1], 2)
    assert not more and len(page) == 1


def test_sections_and_what_lies_beside_them_share_the_disk() -> None:
    beside = [COST]
    kept_by = Ledger(RULES, storing=True, quota_bytes=8 * COST, disk_bytes=4 * COST, beside=lambda: beside[0])
    first, second, third = (keep(kept_by, at, BOB if at == 3 else ALICE) for at in (1, 2, 3))
    assert kept_by.room_bytes == 3 * COST and kept_by.surplus(WALL) == []
    with pytest.raises(Refused, match="and they are taken"):
        offer(kept_by, 4, BOB)
    beside[0] = 2 * COST  # of whoever has most goes what expires first
    assert kept_by.surplus(WALL) == [first]
    beside[0] = 9 * COST
    assert kept_by.room_bytes == 0 and set(kept_by.surplus(WALL)) == {first, second, third}
    kept_by.kept[first].pinned = True
    assert first not in kept_by.surplus(WALL) and first not in kept_by.surplus(WALL + 1e9)


def test_a_damaged_section_is_unfinished_and_a_pinned_one_waits_for_ever() -> None:
    kept_by = ledger()
    name, other = keep(kept_by, 1), keep(kept_by, 2)
    for each in (name, other):
        kept_by.damaged(each, [0], 5.0)
    kept_by.kept[other].pinned = True
    assert not kept_by.kept[name].whole and kept_by.kept[name].here == set()
    assert kept_by.stale(5.0 + UNFINISHED_S) == [name]
    kept_by.came(name, 0, 6.0)
    kept_by.completed(name)
    assert kept_by.kept[name].whole
