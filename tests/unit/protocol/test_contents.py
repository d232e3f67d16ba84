"""Contents: found by their hash, paid for by their sender, kept as long as asked."""

from __future__ import annotations

import random

import pytest

from p2pcpn import limits
from p2pcpn.protocol.contents import Contents
from p2pcpn.protocol.effects import Commit, Send, Write
from p2pcpn.protocol.holding import OURS, SWEEP_S
from p2pcpn.protocol.items import ContentItem, content_key
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.datagrams import PutContent, StoreCode, Stored

WALL = 1_700_000_000.0
SENDER = contact(b"s" * 20, ("10.0.0.1", 4000))
KEY = content_key(b"abc")


def holding(storage: bool = True) -> Contents:
    return Contents(random.Random(1), storage=storage)


def code(
    contents: Contents, content: bytes, sender: bytes = b"s" * 20, group: str = "g", retention_s: float = 60
) -> int:
    return contents.keep(content, retention_s, sender, group, 0.0, WALL)[0]


def test_a_content_is_called_stored_only_after_it_is_durable() -> None:
    contents = holding()
    row = Write("records", (KEY,), (b"", 0, WALL + 60.0, b"abc"))
    assert contents.put(SENDER, "g", PutContent(5, b"abc", 60.0), 0.0, WALL) == [
        Commit(
            (row,),
            then=(Send(SENDER, Stored(5, StoreCode.KEPT, 0)),),
            otherwise=(Send(SENDER, Stored(5, StoreCode.REFUSED, 0)),),
        )
    ]
    assert contents.get(KEY, WALL) == b"abc"
    assert contents.get(KEY, WALL + 60.0) is None
    assert contents.item(KEY, WALL) == ContentItem(b"abc", WALL + 60.0)
    assert KEY in contents and contents.held() == [KEY] and len(contents) == 1


def test_what_is_put_again_lives_longer_and_never_shorter_at_nobodys_expense() -> None:
    contents = holding()
    code(contents, b"abc", retention_s=60)
    code(contents, b"abc", sender=b"t" * 20, retention_s=600)
    code(contents, b"abc", retention_s=6)
    assert contents.item(KEY, WALL) == ContentItem(b"abc", WALL + 600.0)
    assert contents.statistics() == {"contents": 1}


@pytest.mark.parametrize(
    ("content", "retention_s"), [(b"", 60.0), (b"abc", 0.0), (b"abc", limits.CONTENT_RETENTION_S_MAX + 1.0)]
)
def test_nothing_at_all_or_for_too_long_is_refused(content: bytes, retention_s: float) -> None:
    assert code(holding(), content, retention_s=retention_s) == StoreCode.REFUSED
    assert code(holding(storage=False), b"abc") == StoreCode.REFUSED


def test_a_sender_a_network_and_the_whole_have_quotas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTENTS_PER_SENDER_MAX", 2)
    monkeypatch.setattr(limits, "CONTENTS_PER_GROUP_MAX", 3)
    monkeypatch.setattr(limits, "CONTENTS_MAX", 5)
    contents = holding()
    assert [code(contents, bytes([n])) for n in range(3)] == [0, 0, StoreCode.FULL]
    assert code(contents, b"x", b"t" * 20) == StoreCode.KEPT
    assert code(contents, b"y", b"u" * 20) == StoreCode.FULL  # of this network
    assert contents.keep(b"y", 60.0, b"own", OURS, 0.0, WALL)[0] == StoreCode.KEPT
    assert code(contents, b"z", b"v" * 20, "h") == StoreCode.KEPT
    assert code(contents, b"w", b"v" * 20, "i") == StoreCode.FULL  # of all
    contents.drop(content_key(b"\x00"))
    assert code(contents, b"w") == StoreCode.KEPT


def test_expired_contents_are_swept_with_their_rows() -> None:
    contents = holding()
    code(contents, b"abc", retention_s=30)
    assert contents.deadline() == SWEEP_S
    assert contents.expire(SWEEP_S, WALL + SWEEP_S) == [Commit((Write("records", (KEY,), None),))]
    assert contents.item(KEY, WALL) is None and contents.deadline() is None


def test_what_the_disk_held_is_held_again_where_it_is_what_it_says() -> None:
    contents = holding()
    rows = [
        (KEY, b"", 0, WALL + 10, b"abc"),
        (KEY, b"", 0, WALL + 10, b"abc"),
        (content_key(b"old"), b"", 0, WALL, b"old"),
        (b"k" * 20, b"", 0, WALL + 10, b"damaged"),
    ]
    assert contents.restore(rows, 0.0, WALL) == 1
    assert contents.turn(limits.REFRESH_S, WALL) == ContentItem(b"abc", WALL + 10)
