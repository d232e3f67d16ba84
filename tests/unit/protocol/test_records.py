"""Records: the highest valid version wins, quotas hold, and nothing is called stored before it is durable."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.effects import Commit, Send, Write
from p2pcpn.protocol.holding import OURS, SWEEP_S
from p2pcpn.protocol.items import RecordItem, record_key
from p2pcpn.protocol.records import Records, check
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.datagrams import Put, StoreCode, Stored
from p2pcpn.wire.pages import SIGNED
from p2pcpn.wire.statements import Close, Record, Signed, signed

WALL = 1_700_000_000.0
OWNER = Keypair(bytes(31) + b"\x01")
OTHER = Keypair(bytes(31) + b"\x02")
SENDER = contact(b"s" * 20, ("10.0.0.1", 4000))


def record(
    seq: int = 1, value: bytes = b"value", salt: bytes = b"salt", keypair: Keypair = OWNER, **changes: float
) -> Signed:
    times = {"created_s": WALL, "retention_s": 3600.0, **changes}
    return signed(Record(salt, seq, times["created_s"], times["retention_s"], value), keypair)


KEY = record_key(OWNER.public, b"salt")


def holding(storage: bool = True) -> Records:
    return Records(random.Random(1), storage=storage)


def code(records: Records, item: Signed, cas: int | None = None, group: str = "group") -> int:
    return records.keep(item, cas, group, 0.0, WALL)[0]


def test_a_record_is_called_stored_only_after_it_is_durable() -> None:
    records = holding()
    item = record(seq=7)
    row = Write("records", (KEY,), (OWNER.public, 7, WALL + 3600.0, SIGNED.encode(item)))
    stored = Commit(
        (row,),
        then=(Send(SENDER, Stored(5, StoreCode.KEPT, 7)),),
        otherwise=(Send(SENDER, Stored(5, StoreCode.REFUSED, 0)),),
    )
    assert records.put(SENDER, "group", Put(5, item, None), 0.0, WALL) == [stored]
    # Put again, it is written again: the first write may not have ended.
    assert records.put(SENDER, "group", Put(5, item, None), 0.0, WALL) == [stored]
    assert records.get(KEY, WALL) == item
    assert KEY in records


def test_an_older_version_or_another_value_of_the_same_is_refused() -> None:
    records = holding()
    assert code(records, record(seq=5)) == StoreCode.KEPT
    assert records.keep(record(seq=4), None, "g", 0.0, WALL) == (StoreCode.OLDER, 5, ())
    assert records.keep(record(seq=5, value=b"another"), None, "g", 0.0, WALL) == (StoreCode.OLDER, 5, ())
    assert records.put(SENDER, "g", Put(9, record(seq=4), None), 0.0, WALL) == [
        Send(SENDER, Stored(9, StoreCode.OLDER, 5))
    ]
    assert code(records, record(seq=6)) == StoreCode.KEPT


def test_cas_names_the_version_that_is_replaced() -> None:
    records = holding()
    assert records.keep(record(seq=2), 1, "g", 0.0, WALL) == (StoreCode.CAS, 0, ())
    assert code(records, record(seq=2), cas=0) == StoreCode.KEPT
    assert records.keep(record(seq=3), 1, "g", 0.0, WALL) == (StoreCode.CAS, 2, ())
    assert code(records, record(seq=3), cas=2) == StoreCode.KEPT
    assert code(records, record(seq=3), cas=2) == StoreCode.KEPT  # the same put, repeated on its way


def forged() -> Signed:
    good = record()
    return Signed(good.kind, good.body, OTHER.public, good.signature)


BAD: dict[str, Callable[[], Signed]] = {
    "signature": forged,
    "future": lambda: record(created_s=WALL + limits.CLOCK_TOLERANCE_S + 1),
    "expired": lambda: record(created_s=WALL - 3601),
    "retention": lambda: record(retention_s=limits.RECORD_RETENTION_S_MAX + 1.0),
    "kind": lambda: signed(Close(b"j" * 20, 1, b"d" * 32), OWNER),
    "bytes": lambda: Signed(Record.kind, b"\xff", OWNER.public, bytes(64)),
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_reader_would_accept_is_not_kept(name: str) -> None:
    records = holding()
    with pytest.raises(PeerError):
        check(BAD[name](), WALL)
    assert code(records, BAD[name]()) == StoreCode.REFUSED
    assert len(records) == 0


def test_a_forged_newer_version_does_not_replace_an_honest_one() -> None:
    records = holding()
    honest = record(seq=1)
    code(records, honest)
    newer = record(seq=2)
    lie = Signed(newer.kind, newer.body, newer.key, bytes(64))
    assert records.keep(lie, None, "g", 0.0, WALL) == (StoreCode.REFUSED, 1, ())
    assert records.get(KEY, WALL) == honest


def test_a_peer_without_the_storage_role_keeps_nothing() -> None:
    assert code(holding(storage=False), record()) == StoreCode.REFUSED


def test_an_owner_a_network_and_the_whole_have_quotas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECORDS_PER_OWNER_MAX", 2)
    monkeypatch.setattr(limits, "RECORDS_PER_GROUP_MAX", 3)
    monkeypatch.setattr(limits, "RECORDS_MAX", 4)
    records = holding()
    assert [code(records, record(salt=bytes([n]))) for n in range(3)] == [0, 0, StoreCode.FULL]
    assert code(records, record(seq=2, salt=b"\x00")) == StoreCode.KEPT  # a newer version takes no more room
    keys = [Keypair(bytes([n]) * 32) for n in range(5)]
    assert code(records, record(keypair=keys[0])) == StoreCode.KEPT
    assert code(records, record(keypair=keys[1])) == StoreCode.FULL  # of this network
    assert code(records, record(keypair=keys[1]), group="another") == StoreCode.KEPT
    assert code(records, record(keypair=keys[2]), group="a third") == StoreCode.FULL
    assert records.statistics() == {"records": 4, "owners": 3}


def test_expired_records_are_gone_at_once_and_swept_with_their_rows() -> None:
    records = holding()
    code(records, record(retention_s=30.0))
    code(records, record(salt=b"long"))
    assert records.get(KEY, WALL + 31) is None
    assert records.deadline() == SWEEP_S
    assert records.expire(SWEEP_S - 1, WALL + 59) == []
    assert records.expire(SWEEP_S, WALL + 60) == [Commit((Write("records", (KEY,), None),))]
    assert len(records) == 1
    assert records.expire(10_000.0, WALL + 10_000)
    assert records.statistics() == {"records": 0, "owners": 0}
    assert records.deadline() is None


def test_a_holder_passes_on_each_record_about_hourly_unless_another_did() -> None:
    records = holding()
    item = record(retention_s=1e6)
    code(records, item)
    assert records.turn(0.7 * limits.REFRESH_S, WALL) is None
    records.keep(item, None, "g", 0.7 * limits.REFRESH_S, WALL)  # a holder passed it on to us: we skip our turn
    assert records.turn(1.4 * limits.REFRESH_S, WALL) is None
    assert records.turn(2.0 * limits.REFRESH_S, WALL) == RecordItem(item)
    assert records.turn(2.0 * limits.REFRESH_S, WALL) is None
    records.put_off(KEY, 2.0 * limits.REFRESH_S, 8.0)
    assert records.turn(6.0 * limits.REFRESH_S, WALL) is None
    assert records.turn(99.0 * limits.REFRESH_S, WALL + 2e6) is None  # expired meanwhile


def test_what_the_disk_held_is_held_again_without_the_damaged_and_the_expired() -> None:
    good = record(seq=3)
    old = record(created_s=WALL - 5000, salt=b"old")
    rows = [
        (KEY, OWNER.public, 3, WALL + 3600, SIGNED.encode(good)),
        (record_key(OWNER.public, b"old"), OWNER.public, 1, WALL - 1400, SIGNED.encode(old)),
        (b"k" * 20, OWNER.public, 3, WALL + 3600, SIGNED.encode(good)),
        (b"d" * 20, OWNER.public, 3, WALL + 3600, b"\xc1"),
        (KEY, OWNER.public, 3, WALL + 3600, SIGNED.encode(good)),
    ]
    records = holding()
    assert records.restore(rows, 0.0, WALL) == 1
    assert records.get(KEY, WALL) == good
    assert records.turn(limits.REFRESH_S, WALL) == RecordItem(good)


@dataclass
class Model:
    seq: int
    body: bytes


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.binary(max_size=1), st.none() | st.integers(0, 5)),
        max_size=25,
    )
)
def test_whatever_is_put_the_first_of_the_highest_version_is_held(
    puts: list[tuple[int, int, bytes, int | None]],
) -> None:
    records = holding()
    model: dict[bytes, Model] = {}
    for salt, seq, value, cas in puts:
        item = record(seq, value, bytes([salt]))
        key = record_key(OWNER.public, bytes([salt]))
        held = model.get(key)
        answer, held_seq, writes = records.keep(item, cas, OURS, 0.0, WALL)
        if held is not None and held.body == item.body:
            assert answer == StoreCode.KEPT
        elif cas is not None and cas != (held.seq if held else 0):
            assert answer == StoreCode.CAS
        elif held is not None and seq <= held.seq:
            assert answer == StoreCode.OLDER
        else:
            assert answer == StoreCode.KEPT
            model[key] = Model(seq, item.body)
        assert bool(writes) == (answer == StoreCode.KEPT)
        assert held_seq == (model[key].seq if key in model else 0)
    assert {key: records.get(key, WALL).body for key in model} == {key: it.body for key, it in model.items()}  # type: ignore[union-attr]
