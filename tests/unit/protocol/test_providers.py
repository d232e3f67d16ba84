"""Providers: one entry an owner, bounded for each key, and no flood crowds out honest ones of other networks."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, node_id
from p2pcpn.protocol.effects import Commit, Send, Write
from p2pcpn.protocol.holding import OURS, SWEEP_S
from p2pcpn.protocol.items import ProvidersItem
from p2pcpn.protocol.providers import Providers, check_provider
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.datagrams import PutProviders, StoreCode, Stored
from p2pcpn.wire.pages import SIGNED
from p2pcpn.wire.statements import DOMAIN, ProviderRecord, Signed, read, signed
from tests.unit.protocol.dhts import KEY, WALL, provider, record

MOST = limits.PROVIDERS_PER_KEY_MAX
EACH = limits.PROVIDERS_PER_KEY_AND_GROUP_MAX


def holding(storage: bool = True) -> Providers:
    return Providers(random.Random(1), storage=storage)


def who(number: int) -> Keypair:
    return Keypair(number.to_bytes(32, "big"))


def keep(providers: Providers, item: Signed, group: object = "g", sender: bytes | None = None) -> int:
    return providers.keep([item], node_id(item.key) if sender is None else sender, group, 0.0, WALL)[0]


def everything(providers: Providers, wall: float = WALL) -> list[Signed]:
    found: list[Signed] = []
    left = 1
    while left:
        page, left = providers.get(KEY, len(found), 900, wall)
        found += page
    return found


def test_an_entry_is_called_stored_only_after_it_is_durable() -> None:
    providers, item = holding(), provider(1)
    sender = contact(who(1).id, ("10.0.0.1", 4000))
    row = Write("records", (KEY + who(1).id,), (who(1).public, 1, WALL + 1 + 7200.0, SIGNED.encode(item)))
    stored = Commit(
        (row,),
        then=(Send(sender, Stored(5, StoreCode.KEPT, 1)),),
        otherwise=(Send(sender, Stored(5, StoreCode.REFUSED, 0)),),
    )
    assert providers.put(sender, "g", PutProviders(5, [item]), 0.0, WALL) == [stored]
    assert providers.put(sender, "g", PutProviders(5, [item]), 0.0, WALL) == [stored]
    assert (len(providers), KEY in providers, providers.held()) == (1, True, [KEY])
    assert providers.statistics() == {"providers": 1, "provided": 1}


def test_an_entry_padded_with_unknown_fields_keeps_no_page_from_holding_any() -> None:
    providers = holding()
    assert keep(providers, provider(1)) == StoreCode.KEPT
    plain = read(provider(2), ProviderRecord)

    def padded(size: int) -> Signed:
        later = msgspec.msgpack.encode([*msgspec.to_builtins(plain, builtin_types=(bytes,)), bytes(size)])
        return Signed(15, later, who(2).public, who(2).sign(DOMAIN + bytes([0, 15]) + later))

    assert keep(providers, padded(800)) == StoreCode.REFUSED
    assert keep(providers, padded(40)) == StoreCode.KEPT  # as a later version may
    assert len(everything(providers)) == 2


def test_each_owner_has_one_entry_its_newest() -> None:
    providers = holding()
    assert keep(providers, provider(1, seq=5)) == StoreCode.KEPT
    assert keep(providers, provider(2, seq=1)) == StoreCode.KEPT
    assert providers.keep([provider(1, seq=4)], b"x" * 20, "h", 0.0, WALL) == (StoreCode.OLDER, 5, ())
    other = ProviderRecord(KEY, 5, WALL, 60.0, read(provider(1), ProviderRecord).contact, b"another value")
    assert keep(providers, signed(other, who(1))) == StoreCode.OLDER
    assert keep(providers, provider(1, seq=6)) == StoreCode.KEPT
    assert everything(providers) == [provider(2), provider(1, seq=6)]


def stolen() -> Signed:
    return signed(ProviderRecord(KEY, 1, WALL, 60.0, contact(who(2).id, ("10.0.0.2", 1))), who(1))


def forged() -> Signed:
    good = provider(9)
    return Signed(good.kind, good.body, good.key, bytes(64))


@pytest.mark.parametrize("make", [stolen, forged, record, lambda: provider(1, retention_s=1e6)])
def test_what_no_reader_would_accept_is_not_kept(make: object) -> None:
    item = make()  # type: ignore[operator]
    with pytest.raises(PeerError):
        check_provider(item, WALL)
    providers = holding()
    assert keep(providers, item) == StoreCode.REFUSED
    assert len(providers) == 0
    assert keep(holding(storage=False), provider(1)) == StoreCode.REFUSED


def test_of_several_entries_the_worst_answer_is_told_and_the_right_ones_are_kept() -> None:
    providers = holding()
    code, seq, writes = providers.keep([provider(1, seq=7), forged(), provider(2)], b"x" * 20, "g", 0.0, WALL)
    assert (code, seq, len(writes)) == (StoreCode.REFUSED, 7, 2)
    assert len(everything(providers)) == 2


def test_a_network_has_a_share_of_each_key() -> None:
    providers = holding()
    assert {keep(providers, provider(number)) for number in range(1, EACH + 1)} == {StoreCode.KEPT}
    assert keep(providers, provider(99)) == StoreCode.FULL
    assert keep(providers, provider(99), "another") == StoreCode.KEPT
    assert keep(providers, provider(1, seq=2)) == StoreCode.KEPT  # a newer version takes no more room


def test_a_flood_from_a_few_networks_makes_room_for_each_newcomer_of_another() -> None:
    providers = holding()
    for number in range(MOST):
        assert keep(providers, provider(300 + number), f"hostile {number // EACH}") == StoreCode.KEPT
    for number in range(1, 30):
        assert keep(providers, provider(number), f"honest {number}") == StoreCode.KEPT
    for number in range(MOST, 4 * MOST):
        keep(providers, provider(300 + number), f"hostile {number % 8}")
    numbers = {read(item, ProviderRecord).contact.host[2] for item in everything(providers)}
    assert len(providers) == MOST and numbers
    honest = {node_id(item.key) for item in everything(providers)} & {who(number).id for number in range(1, 30)}
    assert len(honest) == 29


def test_of_networks_with_one_each_the_first_stay() -> None:
    providers = holding()
    for number in range(MOST):
        assert keep(providers, provider(1 + number), number) == StoreCode.KEPT
    assert keep(providers, provider(500), "late") == StoreCode.FULL
    assert keep(providers, provider(500), 3) == StoreCode.FULL


def test_hearsay_gives_way_to_the_provider_itself_and_to_nobody_elses_hearsay_of_the_same() -> None:
    providers = holding()
    holder = b"h" * 20
    for number in range(MOST):
        expected = StoreCode.KEPT if number < limits.PROVIDERS_HEARSAY_PER_GROUP_MAX else StoreCode.FULL
        assert keep(providers, provider(1 + number), "holder", holder) == expected
    for number in range(limits.PROVIDERS_HEARSAY_PER_GROUP_MAX):
        keep(providers, provider(200 + number), "liar", b"l" * 20)
    assert len(providers) == MOST
    assert keep(providers, provider(300), "third", b"t" * 20) == StoreCode.KEPT  # the largest crowd gives one up
    for number in range(MOST):
        assert keep(providers, provider(400 + number), number // 4) == StoreCode.KEPT
    assert keep(providers, provider(600), "late", b"t" * 20) == StoreCode.FULL
    assert {node_id(item.key) for item in everything(providers)} == {who(400 + number).id for number in range(MOST)}


def test_hearsay_becomes_first_hand_when_its_provider_says_it_and_stays_so() -> None:
    providers = holding()
    keep(providers, provider(1), "holder", b"h" * 20)
    keep(providers, provider(2), "its own")
    assert everything(providers)[0] == provider(2)
    keep(providers, provider(1), "its own too")
    assert keep(providers, provider(1, seq=2), "holder", b"h" * 20) == StoreCode.KEPT
    crowd = Counter((entry.first_hand, entry.group) for entry in providers._held[KEY].values())
    assert crowd == {(True, "its own"): 1, (True, "its own too"): 1}


def test_pages_begin_with_the_newest_of_each_network() -> None:
    providers = holding()
    for number in range(1, 7):  # created later, the higher the number
        keep(providers, provider(number), "crowd")
    keep(providers, provider(0x80), "lone")
    order = [who_signed(item) for item in everything(providers)]
    assert order == [0x80, 6, 5, 4, 3, 2, 1]
    page, left = providers.get(KEY, 5, 10_000, WALL)
    assert ([who_signed(item) for item in page], left) == ([2, 1], 0)
    assert providers.get(KEY, 50, 10_000, WALL) == ([], 0)
    assert providers.get(b"x" * 20, 0, 10_000, WALL) == ([], 0)


def who_signed(item: Signed) -> int:
    return next(number for number in range(1, 1000) if who(number).public == item.key)


def test_the_whole_an_owner_and_a_network_have_quotas_over_all_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROVIDERS_PER_OWNER_MAX", 2)
    monkeypatch.setattr(limits, "PROVIDERS_PER_GROUP_MAX", 3)
    monkeypatch.setattr(limits, "PROVIDERS_MAX", 5)
    providers = holding()
    keys = [bytes([number]) * 20 for number in range(9)]
    assert [keep(providers, provider(1, key)) for key in keys[:3]] == [0, 0, StoreCode.FULL]
    assert [keep(providers, provider(2, key)) for key in keys[:2]] == [0, StoreCode.FULL]
    assert [keep(providers, provider(number, keys[number]), number) for number in (3, 4, 5)] == [0, 0, StoreCode.FULL]


def test_expired_entries_are_told_to_nobody_and_swept_with_their_rows() -> None:
    providers = holding()
    keep(providers, provider(1, retention_s=30.0))
    keep(providers, provider(2))
    assert providers.deadline() == SWEEP_S
    assert everything(providers, WALL + 40) == [provider(2)]
    assert providers.item(KEY, WALL + 40) == ProvidersItem(KEY, (provider(2),))
    assert providers.expire(SWEEP_S, WALL + SWEEP_S) == [Commit((Write("records", (KEY + who(1).id,), None),))]
    assert providers.drop(KEY) == (Write("records", (KEY + who(2).id,), None),)
    assert (len(providers), providers.item(KEY, WALL), providers.deadline()) == (0, None, SWEEP_S * 2)


def test_what_the_disk_held_is_held_again_until_its_providers_say_it_anew() -> None:
    def row(number: int, name: bytes | None = None, **changes: float) -> tuple[bytes, bytes, int, float, bytes]:
        item = provider(number, **changes)  # type: ignore[arg-type]
        return (name or KEY + who(number).id, item.key, 1, 0.0, SIGNED.encode(item))

    providers = holding()
    rows = [row(1), row(1), row(2), row(3, b"n" * 40), row(4, retention_s=1e9)]
    rows.append((b"d" * 40, b"o", 1, 0.0, b"\xc1"))
    assert providers.restore(rows, 0.0, WALL) == 2
    assert providers.turn(limits.REFRESH_S, WALL) == ProvidersItem(KEY, (provider(1), provider(2)))
    assert [entry.group for entry in providers._held[KEY].values()] == [OURS, OURS]


CROWD = [(5, 1, 0, False), (6, 1, 0, False), (7, 1, 1, False), (8, 1, 0, False)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 3), st.integers(0, 6), st.booleans()), max_size=50))
@example(
    [(1, 1, 2, False), (2, 1, 0, True), (3, 2, 0, False), (4, 1, 0, True), *CROWD, (9, 1, 0, True), (3, 1, 1, False)]
)
def test_whatever_comes_bounds_and_counts_hold(puts: list[tuple[int, int, int, bool]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "PROVIDERS_PER_KEY_MAX", 8)
        patch.setattr(limits, "PROVIDERS_PER_KEY_AND_GROUP_MAX", 3)
        patch.setattr(limits, "PROVIDERS_HEARSAY_PER_GROUP_MAX", 4)
        play(puts)


def play(puts: list[tuple[int, int, int, bool]]) -> None:
    providers = holding()
    seqs: dict[int, int] = {}
    for number, seq, group, own in puts:
        code = keep(providers, CACHED[number, seq], group, None if own else b"x" * 20)
        if code == StoreCode.KEPT:
            assert seq >= seqs.get(number, 0)
            seqs[number] = seq
        # Who had to make room is forgotten, and its version with it: readers take the newest of several holders.
        seqs = {each: held for each, held in seqs.items() if who(each).public in providers._held[KEY]}
        entries = providers._held[KEY].values()
        crowds = Counter((entry.first_hand, entry.group) for entry in entries)
        assert len(providers) == len(entries) <= limits.PROVIDERS_PER_KEY_MAX
        assert all(
            count <= (3 if first_hand else limits.PROVIDERS_HEARSAY_PER_GROUP_MAX)
            for (first_hand, _), count in crowds.items()
        )
        assert sum(providers._groups.values()) == sum(providers._owners.values()) == len(entries)
    for _ in range(len(providers.held())):
        providers.drop(KEY)
    assert (providers._groups, providers._owners, len(providers)) == ({}, {}, 0)


CACHED = {(number, seq): provider(number, seq=seq) for number in range(1, 21) for seq in (1, 2, 3)}


def test_a_withdrawn_provider_keeps_its_place_so_that_no_older_word_comes_back() -> None:
    providers = holding()
    keep(providers, provider(1))
    gone = ProviderRecord(KEY, 2, WALL, 60.0, Contact(who(1).id, bytes([10, 0, 0, 1]), 0))
    assert keep(providers, signed(gone, who(1))) == StoreCode.KEPT
    assert keep(providers, provider(1)) == StoreCode.OLDER
