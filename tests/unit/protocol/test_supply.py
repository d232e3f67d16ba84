"""Supply: each peer is sent what it lacks, once, and a steward nothing that it has."""

from __future__ import annotations

import pytest

from p2pcpn import limits
from p2pcpn.protocol.dependencies import Known
from p2pcpn.protocol.effects import Tell, TellBlob, Turn
from p2pcpn.wire import messages as m
from p2pcpn.wire.sealing import result_digest
from p2pcpn.wire.statements import BlobRef, Handover, Segment, read, signed
from tests.unit.protocol.granting import KEYS, ME, OWNER, Table, Worker, keypair, steward

BLOB = bytes([3]) * 32


def test_only_the_pages_of_a_lease_are_sent() -> None:
    table = Table()
    table.extend(2, 2, 2)
    worker = table.worker(10, slots=3)
    [extend] = worker.of(m.Extend)
    assert [bool(page) for page in extend.pages] == [True, True, False]
    assert (extend.keep, extend.request) == (False, 0)
    worker.run()
    assert [bool(page) for page in worker.of(m.Extend)[1].pages] == [False, False, True]


def test_pages_of_several_segments_come_with_their_segments() -> None:
    table = Table()
    table.extend(1)
    table.extend(1)
    worker = table.worker(10, slots=2)
    assert [read(extend.segment, Segment).number for extend in worker.of(m.Extend)] == [0, 1]


def test_blobs_go_ahead_of_the_lease_that_needs_them() -> None:
    table = Table()
    table.extend(1, blobs=[[BLOB]])
    worker = table.worker(10)
    to = [effect for effect in table.effects if getattr(effect, "to", None) == worker.contact]
    kinds = [type(e.message) if isinstance(e, Tell) else type(e) for e in to]
    assert kinds.index(TellBlob) < kinds.index(m.Grant)


def as_worker(table: Table, number: int) -> Worker:
    """A steward that also works."""
    key = keypair(number)
    table.told.clear()
    worker = table.worker(number, claims=False)
    worker.contact = next(s.contact for s in table.grantor.spec.stewards if s.contact.id == key.id)
    worker.claim()
    return worker


def test_a_steward_that_works_is_sent_nothing_again_but_its_copies_sooner() -> None:
    _, named = steward(20)
    code = BlobRef(bytes([5]) * 32, 10, b"")
    table = Table(stewards=[named], code=code)
    table.extend(2, blobs=[[BLOB]])
    copies = [effect for effect in table.effects if isinstance(effect, TellBlob)]
    assert {copy.turn for copy in copies} == {Turn.LATER}
    worker = as_worker(table, 20)
    assert [type(message) for message in worker.said] == [m.Grant]
    hurried = [effect for effect in table.effects if isinstance(effect, TellBlob)][len(copies) :]
    assert {(effect.digest, effect.turn) for effect in hurried} == {(copy.digest, Turn.HURRY) for copy in copies}


def test_a_steward_that_lacks_a_page_is_sent_everything() -> None:
    _, named = steward(20)
    table = Table(stewards=[named])
    table.extend(2, blobs=[[BLOB]])
    worker = as_worker(table, 20)
    worker.give_back(worker.last, "missing")
    assert [type(message) for message in worker.said] == [m.Grant, m.Introduce, m.Grant]
    turns = [effect.turn for effect in table.effects if isinstance(effect, TellBlob)]
    assert turns == [Turn.LATER, Turn.HURRY, Turn.NOW]


def test_a_steward_that_is_lost_is_supplied_like_any_peer() -> None:
    _, named = steward(20)
    table = Table(stewards=[named])
    table.extend(2)
    table.peer_dead(keypair(20).id)
    worker = as_worker(table, 20)
    assert [type(message) for message in worker.said] == [m.Introduce, m.Grant]


def test_who_grants_by_a_handover_shows_it() -> None:
    table = Table()
    handover = signed(Handover(table.job, 1, ME.public), OWNER)
    table.custody.adopt(m.Take(0, handover))
    table.extend(1)
    worker = table.worker(10)
    assert [type(message) for message in worker.said] == [m.Introduce, m.Take, m.Grant]
    assert worker.of(m.Take) == [m.Take(0, handover)]


def blobs_sent(table: Table, worker: Worker) -> list[bytes]:
    return [effect.digest for effect in table.effects if isinstance(effect, TellBlob) and effect.to == worker.contact]


def test_what_was_placed_goes_to_who_takes_part_and_to_who_comes_later_each_once() -> None:
    table = Table()
    table.extend(3)
    early = table.worker(10, slots=1)
    table.act(lambda grantor, _: grantor.place([BLOB]))
    assert blobs_sent(table, early) == [BLOB]
    table.act(lambda grantor, _: grantor.place([BLOB]))
    table.extend(3, blobs=[[BLOB]])
    late = table.worker(11, slots=3)
    assert blobs_sent(table, early) == blobs_sent(table, late) == [BLOB]


def test_of_what_was_placed_the_oldest_is_not_sent_ahead_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PLACED_MAX", 2)
    table = Table()
    for number in (1, 2, 1, 3):
        table.act(lambda grantor, _, name=bytes([number]) * 32: grantor.place([name]))
    table.extend(1)
    assert blobs_sent(table, table.worker(10)) == [bytes([1]) * 32, bytes([3]) * 32]


def test_a_large_result_is_named_with_who_ran_it_and_who_keeps_it_and_a_small_one_comes_along() -> None:
    _, named = steward(20)
    table = Table(stewards=[named])
    worker = table.worker(10)
    large = BlobRef(bytes([9]) * 32, 1 << 20, bytes(32))
    known = {
        0: Known(b"d" * 16, large, worker.key.public),
        1: Known(b"", b"words"),
        2: Known(b"e" * 16, large, b"x" * 32),
    }
    one, two, three = table.grantor._supply.inputs(known, table.grantor.participants)
    assert (one.index, one.digest, one.value, one.holders[0]) == (0, b"d" * 16, large, worker.contact)
    assert two.value == b"words" and two.digest == result_digest(KEYS.digests, b"words") and two.holders == []
    assert worker.contact not in three.holders
