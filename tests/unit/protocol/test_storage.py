"""Storage: each item goes to those of its sort, each row back to where it came from, and every answer fits."""

from __future__ import annotations

import random

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import node_id
from p2pcpn.protocol.effects import Commit, Effect, Send
from p2pcpn.protocol.holding import Row
from p2pcpn.protocol.items import ContentItem, Item, ProvidersItem, RecordItem, content_key
from p2pcpn.protocol.storage import Storage, fitting
from p2pcpn.wire import datagrams as d
from p2pcpn.wire.addresses import Contact, contact
from tests.unit.protocol.dhts import KEY, WALL, provider, record

OWN = b"o" * 20
SHARED = b"k" * 20
SENDER = contact(node_id(provider(1).key), ("10.0.0.1", 4000))
CONTACTS = [contact(bytes([number]) * 20, (f"2001:db8::{number}", 4000)) for number in range(20)]
ITEMS: list[Item] = [
    RecordItem(record()),
    ProvidersItem(SHARED, (provider(1, SHARED), provider(2, SHARED))),
    ContentItem(b"abc", WALL + 60.0),
]


def filled() -> tuple[Storage, list[Row]]:
    storage = Storage(OWN, random.Random(1))
    rows: list[Row] = []
    for item in ITEMS:
        code, _, writes = storage.keep(item, 0.0, WALL)
        assert code == d.StoreCode.KEPT
        rows += [(write.key[0], *write.value) for write in writes if write.value is not None]  # type: ignore[misc,arg-type]
    return storage, rows


def said(effects: list[Effect]) -> d.Datagram:
    [effect] = effects
    assert isinstance(effect, Send)
    assert len(d.CODEC.encode(effect.message)) <= limits.BODY_BYTES_MAX
    return effect.message


def test_what_is_kept_is_found_under_its_key_whatever_it_is() -> None:
    storage, _ = filled()
    assert storage.held() == [item.key for item in ITEMS]
    assert [storage.item(item.key, WALL) for item in ITEMS] == ITEMS
    assert (len(storage), KEY in storage, b"x" * 20 in storage) == (4, True, False)
    assert storage.item(b"x" * 20, WALL) is None and storage.drop(b"x" * 20) == ()
    storage.hasten(b"x" * 20, 0.0)
    storage.rest(b"x" * 20, 0.0, 1.0)
    assert storage.statistics() == {"records": 1, "owners": 1, "providers": 2, "provided": 1, "contents": 1}


def test_rows_of_the_disk_come_back_as_what_they_were() -> None:
    _, rows = filled()
    again = Storage(OWN, random.Random(2))
    assert again.restore(iter(rows), 0.0, WALL) == 4
    assert [again.item(item.key, WALL) for item in ITEMS] == ITEMS


def test_puts_of_others_go_where_they_belong() -> None:
    storage = Storage(OWN, random.Random(1))
    for message in (d.Put(1, record(), None), d.PutProviders(1, [provider(1, SHARED)]), d.PutContent(1, b"abc", 9.0)):
        [effect] = storage.put(SENDER, "group", message, 0.0, WALL)
        assert isinstance(effect, Commit)
    assert len(storage) == 3


def test_each_item_has_its_turn_and_what_is_dropped_has_none() -> None:
    storage, _ = filled()
    for item in ITEMS:
        storage.hasten(item.key, 5.0)
    assert storage.deadline() == 5.0
    turns = [storage.turn(5.0, WALL) for _ in range(4)]
    assert turns == [*ITEMS, None]
    storage.hasten(KEY, 6.0)
    storage.rest(KEY, 6.0, 8.0)
    assert storage.turn(7.0, WALL) is None
    assert len(storage.drop(SHARED)) == 2
    assert storage.held() == [KEY, content_key(b"abc")]
    assert [type(effect) for effect in storage.expire(1000.0, WALL + 100.0)] == [Commit]


def test_answers_have_what_is_asked_for_and_as_many_contacts_as_fit() -> None:
    storage, _ = filled()
    value = said(storage.tell(SENDER, d.Get(1, KEY, 0), CONTACTS, WALL))
    assert value == d.Value(1, record(), CONTACTS[: limits.RECORD_COPIES])
    assert said(storage.tell(SENDER, d.Get(1, KEY, 9), CONTACTS, WALL)) == d.Value(1, None, CONTACTS)
    found = said(storage.tell(SENDER, d.GetProviders(1, SHARED, 0), CONTACTS, WALL))
    assert found == d.Providers(
        1, [provider(2, SHARED), provider(1, SHARED)], 0, CONTACTS[: limits.CONTACTS_WITH_PROVIDERS_MAX]
    )
    assert said(storage.tell(SENDER, d.GetProviders(1, SHARED, 1), CONTACTS, WALL)) == d.Providers(
        1, [provider(1, SHARED)], 0, []
    )
    assert said(storage.tell(SENDER, d.GetProviders(1, KEY, 0), CONTACTS, WALL)) == d.Providers(1, [], 0, CONTACTS)
    content = said(storage.tell(SENDER, d.GetContent(1, content_key(b"abc")), CONTACTS, WALL))
    assert content == d.Content(1, b"abc", CONTACTS)
    assert said(storage.tell(SENDER, d.GetContent(1, KEY), CONTACTS, WALL)) == d.Content(1, None, CONTACTS)


def test_pages_of_many_providers_and_the_largest_content_fit() -> None:
    storage = Storage(OWN, random.Random(1))
    for number in range(1, 65):
        storage.providers.keep([provider(number, SHARED)], node_id(provider(number).key), number, 0.0, WALL)
    skip, left = 0, 64
    while left:
        page = said(storage.tell(SENDER, d.GetProviders(1, SHARED, skip), CONTACTS, WALL))
        assert isinstance(page, d.Providers) and page.entries
        skip, left = skip + len(page.entries), page.left
        assert skip + left == 64
    content = bytes(limits.CONTENT_BYTES_MAX)
    storage.keep(ContentItem(content, WALL + 60.0), 0.0, WALL)
    told = said(storage.tell(SENDER, d.GetContent(1, content_key(content)), CONTACTS, WALL))
    assert isinstance(told, d.Content) and 7 <= len(told.contacts) < 20


@pytest.mark.parametrize("storing", [True, False])
def test_a_peer_without_the_role_or_that_leaves_takes_nothing(storing: bool) -> None:
    storage = Storage(OWN, random.Random(1), storing=storing)
    storage.close()
    assert storage.storing is False
    assert {storage.keep(item, 0.0, WALL)[0] for item in ITEMS} == {d.StoreCode.REFUSED}


def test_contacts_are_cut_where_the_room_ends() -> None:
    some: list[Contact] = CONTACTS[:3]
    assert fitting(some, 44 * 2) == some[:2]
    assert fitting(some, 43) == []


def test_who_stores_no_more_gives_away_what_it_holds_bit_by_bit_and_takes_the_role_back() -> None:
    storage, _ = filled()
    storage.stores(False, 100.0)
    assert storage.clearing and not storage.storing
    assert {storage.keep(item, 100.0, WALL)[0] for item in ITEMS} == {d.StoreCode.REFUSED}
    assert storage.turn(100.0, WALL) == ITEMS[0]
    assert storage.turn(100.0, WALL) is None
    assert [storage.turn(100.0 + 2 / limits.MOVES_PER_S, WALL) for _ in range(3)] == [*ITEMS[1:], None]
    storage.stores(True, 200.0)
    assert storage.storing and not storage.clearing
    assert storage.keep(RecordItem(record(seq=2)), 200.0, WALL)[0] == d.StoreCode.KEPT
