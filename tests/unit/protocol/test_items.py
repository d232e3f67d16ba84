"""Items: each has one key, an end, and puts that fit a datagram."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.items import (
    ContentItem,
    ProvidersItem,
    RecordItem,
    content_key,
    page,
    provider_key,
    record_key,
    timely,
)
from p2pcpn.wire.datagrams import CODEC, Put, PutContent, PutProviders
from p2pcpn.wire.statements import ProviderRecord, Record, read
from tests.unit.protocol.dhts import KEY, OWNER, WALL, provider, record


def test_keys_of_different_sorts_never_meet() -> None:
    assert len({record_key(b"", b"x"), provider_key(b"x"), content_key(b"x")}) == 3
    assert {len(key) for key in (record_key(b"o", b"s"), provider_key(b"n"), content_key(b"c"))} == {20}


def test_a_record_is_one_put() -> None:
    item = RecordItem(record(), 4)
    assert item.key == record_key(OWNER.public, b"salt") == KEY
    assert item.ends_s() == WALL + 1e6
    [make] = item.puts(WALL)
    assert make(7) == Put(7, record(), 4)


def test_many_providers_are_as_many_puts_as_they_take_and_each_fits() -> None:
    entries = tuple(provider(number) for number in range(1, 65))
    item = ProvidersItem(KEY, entries)
    puts = [make(number) for number, make in enumerate(item.puts(WALL))]
    assert [signed for put in puts if isinstance(put, PutProviders) for signed in put.entries] == list(entries)
    assert [put.nonce for put in puts] == list(range(len(puts)))
    assert all(len(CODEC.encode(put)) <= limits.BODY_BYTES_MAX for put in puts)
    assert item.ends_s() == WALL + 64 + 7200.0


def test_a_content_is_put_for_the_rest_of_its_time() -> None:
    item = ContentItem(b"abc", WALL + 100.0)
    assert (item.key, item.ends_s()) == (content_key(b"abc"), WALL + 100.0)
    assert [make(1) for make in item.puts(WALL + 40.0)] == [PutContent(1, b"abc", 60.0)]
    assert [make(1) for make in item.puts(WALL + 140.0)] == [PutContent(1, b"abc", 0.0)]


def test_a_page_ends_with_the_room_or_the_most_entries() -> None:
    entries = [provider(number) for number in range(1, 9)]
    assert page(entries, 10_000) == limits.PROVIDERS_PER_DATAGRAM_MAX
    assert page(entries[:2], 10_000) == 2
    assert page(entries, 100) == 0
    assert page([], 0) == 0


def test_what_is_kept_has_a_time() -> None:
    said = read(provider(1), ProviderRecord)
    timely(said, WALL)
    for wall in (WALL - limits.CLOCK_TOLERANCE_S - 10, WALL + 7300.0):
        with pytest.raises(PeerError):
            timely(said, wall)
    long_s = limits.PROVIDER_RETENTION_S_MAX + 1
    with pytest.raises(PeerError, match="too long"):
        timely(read(provider(1, retention_s=long_s), ProviderRecord), WALL)
    timely(Record(b"", 1, WALL, long_s, b""), WALL)
