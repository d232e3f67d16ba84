"""Operations on the DHT: copies are counted honestly, and the newest valid version is what a reader gets."""

from __future__ import annotations

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.items import RecordItem, record_key
from p2pcpn.protocol.lookup import Lookup
from p2pcpn.protocol.operations import LATE_MAX, Finding, Getting, PutDone, Putting
from p2pcpn.protocol.roll import Roll
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.datagrams import Ack, Find, Get, Nodes, Put, StoreCode, Stored, Value
from p2pcpn.wire.statements import Record, Signed, signed

WALL = 1_700_000_000.0
OWN = b"\xff" * 20
OWNER = Keypair(bytes(31) + b"\x01")
KEY = record_key(OWNER.public, b"s")


def peer(number: int) -> Contact:
    """The smaller the number, the nearer to ``KEY``."""
    return contact(bytes(KEY[:19]) + bytes([KEY[19] ^ number]), ("10.0.0.1", 4000 + number))


def record(seq: int, value: bytes = b"v") -> Signed:
    return signed(Record(b"s", seq, WALL, 3600.0, value), OWNER)


def begun(operation: Finding, count: int) -> None:
    operation.begin(Lookup(OWN, KEY, [peer(number) for number in range(1, count + 1)]))


def drained(operation: Finding, record_of: dict[Contact, Signed] | None = None) -> list[Contact]:
    """Answer the lookup's queries; returns who was asked."""
    asked = []
    while not operation.lookup.done:
        for to, make in operation.asks():
            asked.append(to)
            message = make(1)
            if isinstance(message, Get):
                operation.answered(to, Value(1, (record_of or {}).get(to), []), WALL)
            else:
                assert isinstance(message, Find)
                operation.answered(to, Nodes(1, []), WALL)
    return asked


def stored(operation: Putting, to: Contact, code: int, seq: int = 1) -> None:
    operation.answered(to, Stored(1, code, seq), WALL)


def put(count: int, copies: int, own_code: int | None = None) -> Putting:
    operation = Putting(RecordItem(record(1)), copies, WALL, ticket=1)
    begun(operation, count)
    drained(operation)
    operation.store(own_code, 1, lambda node: False)
    return operation


def test_a_lookup_is_done_when_the_nearest_answered() -> None:
    finding = Finding(KEY, 1)
    begun(finding, 3)
    [(first, make), *_] = finding.asks()
    assert make(5) == Find(5, KEY)
    finding.answered(first, Ack(5, 0), WALL)  # no answer to what was asked
    finding.late(peer(2))
    finding.failed(peer(2))
    assert not finding.done
    finding.answered(first, Nodes(5, []), WALL)
    for number in (1, 3):
        finding.answered(peer(number), Nodes(5, []), WALL)
    assert finding.done


def test_a_put_goes_to_the_nearest_and_replaces_who_refuses() -> None:
    operation = put(count=6, copies=3)
    asks = operation.asks()
    assert [to for to, _ in asks] == [peer(1), peer(2), peer(3)]
    assert asks[0][1](9) == Put(9, record(1), None)
    stored(operation, peer(1), StoreCode.KEPT)
    stored(operation, peer(2), StoreCode.REFUSED)
    assert [to for to, _ in operation.asks()] == [peer(4)]
    operation.failed(peer(3))
    assert [to for to, _ in operation.asks()] == [peer(5)]
    stored(operation, peer(4), StoreCode.KEPT)
    assert not operation.done
    stored(operation, peer(5), StoreCode.KEPT)
    stored(operation, peer(5), StoreCode.KEPT)  # said twice, counted once
    assert operation.done
    assert operation.holders == [peer(1), peer(4), peer(5)]
    assert (operation.code, operation.seq) == (StoreCode.KEPT, 1)


def test_our_own_copy_counts_as_one() -> None:
    operation = put(count=4, copies=2, own_code=StoreCode.KEPT)
    assert [to for to, _ in operation.asks()] == [peer(1)]
    stored(operation, peer(1), StoreCode.KEPT)
    assert operation.done
    assert PutDone(1, KEY, tuple(operation.holders), True, 0, 1).copies == 2


def test_who_is_nearer_than_the_last_copy_keeps_one_itself() -> None:
    operation = put(count=4, copies=3)
    assert operation.is_near(peer(0).id)
    assert not operation.is_near(OWN)
    assert put(count=2, copies=3).is_near(OWN)  # too few others


def test_an_objection_is_told_and_not_replaced() -> None:
    operation = put(count=6, copies=2)
    operation.asks()
    stored(operation, peer(1), StoreCode.OLDER, 9)
    stored(operation, peer(2), StoreCode.KEPT)
    assert operation.done
    assert (operation.code, operation.seq) == (StoreCode.OLDER, 9)


def test_a_put_that_nobody_keeps_says_why() -> None:
    operation = put(count=2, copies=2)
    operation.asks()
    stored(operation, peer(1), StoreCode.FULL, 0)
    assert not operation.done
    stored(operation, peer(2), StoreCode.FULL, 0)
    assert operation.done
    assert (operation.code, operation.holders) == (StoreCode.FULL, [])
    alone = put(count=0, copies=2)
    assert alone.done
    assert alone.code == StoreCode.REFUSED


def test_who_refused_lately_is_asked_last() -> None:
    operation = Putting(RecordItem(record(1)), 2, WALL)
    begun(operation, 3)
    drained(operation)
    assert not operation.done
    operation.store(None, 0, lambda node: node == peer(1).id)
    assert [to for to, _ in operation.asks()] == [peer(2), peer(3)]


def test_the_highest_valid_version_wins_and_the_others_are_to_be_repaired() -> None:
    operation = Getting(KEY, None, 1)
    begun(operation, 4)
    good = record(3)
    lie = Signed(good.kind, record(9).body, OWNER.public, bytes(64))
    elsewhere = signed(Record(b"other salt", 99, WALL, 3600.0, b""), OWNER)
    drained(operation, {peer(1): record(2), peer(2): good, peer(3): lie, peer(4): elsewhere})
    assert operation.best is not None
    assert operation.best[0] == good
    assert operation.behind(8) == [peer(1), peer(3), peer(4)]
    assert operation.behind(2) == [peer(1)]


def test_of_two_values_under_one_version_every_reader_takes_the_same() -> None:
    one, other = record(3, b"a"), record(3, b"b")
    for first, second in ((one, other), (other, one)):
        operation = Getting(KEY, None, 1)
        begun(operation, 2)
        drained(operation, {peer(1): first, peer(2): second})
        assert operation.best is not None
        assert operation.best[0] == other


def test_while_few_have_answered_only_who_is_late_twice_is_given_up() -> None:
    operation = Getting(KEY, None, 1)
    begun(operation, 2)
    operation.asks()
    operation.answered(peer(1), Value(1, record(3), []), WALL)
    operation.late(peer(2))
    assert not operation.done
    operation.late(peer(2))
    assert operation.done


def test_a_reader_that_holds_the_record_starts_with_its_own_version() -> None:
    held = record(5)
    operation = Getting(KEY, (held, Record(b"s", 5, WALL, 3600.0, b"v")), 1)
    begun(operation, 2)
    drained(operation, {peer(1): record(4)})
    assert operation.best is not None
    assert operation.best[0] == held
    assert operation.behind(8) == [peer(1), peer(2)]
    empty = Getting(KEY, None, 1)
    begun(empty, 1)
    drained(empty)
    assert empty.behind(8) == []


def test_nobody_waits_for_a_holder_that_is_late_again_and_again_where_another_does_it() -> None:
    putting = put(3, copies=2)
    assert [to for to, _ in putting.asks()] == [peer(1), peer(2)]
    stored(putting, peer(2), StoreCode.KEPT)
    for _ in range(LATE_MAX):
        assert putting.asks() == [] and not putting.done
        putting.late(peer(1))
    assert [to for to, _ in putting.asks()] == [peer(3)]
    assert not putting.done
    stored(putting, peer(3), StoreCode.KEPT)
    assert putting.done and putting.holders == [peer(2), peer(3)]


def test_where_there_is_no_other_a_late_holder_is_waited_for() -> None:
    putting = put(1, copies=2)
    putting.asks()
    for _ in range(LATE_MAX):
        putting.late(peer(1))
    assert not putting.done
    putting.failed(peer(1))
    assert putting.done and putting.holders == []


def test_who_knows_all_has_one_of_the_nearest_name_others_and_then_those_beyond() -> None:
    getting = Getting(KEY, None, 1)
    getting.begin(Roll(OWN, KEY, [peer(number) for number in range(1, 10)], 6))
    asks = getting.asks()
    assert [make(5) for _, make in asks] == [Get(5, KEY, 0), *[Get(5, KEY, 0, 0)] * 5]
    assert getting.knew_all
    for to, _ in asks:
        getting.answered(to, Value(5, None, []), WALL)
    assert [make(5) for _, make in getting.asks()] == [Get(5, KEY, 0)] * 3


def test_our_own_look_is_one_of_those_that_are_wanted_where_we_are_near() -> None:
    others = [peer(number) for number in range(1, 10)]
    assert Finding(KEY).reads(peer(0).id, others) == 6
    assert Getting(KEY, None).reads(peer(0).id, others) == 5
    assert Getting(KEY, None).reads(OWN, others) == 6
    assert Getting(KEY, None).reads(OWN, others[:5]) == 5


def test_our_own_copy_needs_no_repair_and_counts_where_we_are_near() -> None:
    said = record(1)
    held = said, Record(b"s", 1, WALL, 3600.0, b"v")
    for own, behind in ((peer(0).id, []), (OWN, [peer(5), peer(6)])):
        getting = Getting(KEY, held, 1)
        getting.reads(own, [peer(number) for number in range(1, 10)])
        begun(getting, 6)
        drained(getting, {peer(number): said for number in range(1, 5)})
        assert getting.behind(8) == behind
