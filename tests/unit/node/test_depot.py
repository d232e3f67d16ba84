"""The depot takes what its ledger allows, verifies it, gives it to who asks, and knows it again after a restart."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError, StoreError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.depot import Depot
from p2pcpn.node.sessions import Sessions
from p2pcpn.protocol.admission import Rules
from p2pcpn.protocol.deposits import Ledger
from p2pcpn.store.sections import SectionStore
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.sealing import digest
from tests.unit.node.section_world import OWNER, SWARM_KEY, Made

ME, PEER = Keypair(b"\1" * 32), Keypair(b"\2" * 32)
RULES = Rules(("function",), "3.11", 1 << 30, swarm_key=SWARM_KEY)
OTHER = contact(b"\3" * 20, ("127.0.0.1", 4003))


class Place:
    """A depot on a real disk, and a session with one peer."""

    def __init__(self, directory: Path, session: Any, quota_bytes: int | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.session = session
        sessions = Sessions(ME.id, loop)
        sessions.opened(session)
        self.ledger = Ledger(RULES, storing=True, quota_bytes=quota_bytes)
        self.counters: Counter[str] = Counter()
        self.store = SectionStore(directory, durable=False)
        self.depot = Depot(store=self.store, ledger=self.ledger, sessions=sessions, counters=self.counters, loop=loop)
        self.changed: list[bytes] = []
        self.learned: list[Any] = []
        self.shared: list[list[bytes]] = []
        self.depot.changed = self.changed.append
        self.depot.holders = lambda name: [OTHER]
        self.depot.learned = lambda name, contacts: self.learned.append((name, contacts))
        self.depot.compared = lambda session, names: self.shared.append(names)
        self.depot.restore()

    async def say(self, *messages: m.Message) -> list[Any]:
        """Messages come in; what is said to them."""
        before = len(self.session.sent)
        for message in messages:
            assert self.depot.take(self.session, message)
        for _ in range(3):  # what follows a piece of work may ask for another
            await self.depot.lane.run(lambda: None)
        return list(self.session.sent[before:])

    async def whole(self, made: Made, **other: Any) -> None:
        keep = m.Keep(1, made.deposit(**other), made.data, [])
        said = await self.say(keep, *(made.put(index) for index in range(5)), m.Complete(2, made.name))
        assert said[-1] == m.Answer(2, AnswerCode.DONE, "")


@pytest.fixture
def place(tmp_path: Path, unwired: Any) -> Callable[..., Place]:
    return lambda **other: Place(tmp_path / "sections", unwired(PEER), **other)


@pytest.mark.asyncio
async def test_a_section_is_taken_chunk_by_chunk_and_given_again(place: Callable[..., Place]) -> None:
    there, made = place(), Made()
    keep = m.Keep(1, made.deposit(), made.data, [OTHER])
    assert await there.say(keep) == [m.Holding(1, False, b"\0", b"", [OTHER])]
    assert there.learned == [(made.name, [OTHER])]
    assert await there.say(m.Seek(2, made.name, True)) == [m.Answer(2, AnswerCode.UNKNOWN, "keeps no such section")]
    assert await there.say(made.put(0), made.put(2), made.put(2)) == []
    assert await there.say(m.Seek(3, made.name, False)) == [m.Holding(3, False, b"\5", b"", [OTHER])]
    (refused,) = await there.say(m.Complete(4, made.name))
    assert refused.code == AnswerCode.FAILED and "3 chunks did not come" in refused.text
    assert there.changed == []
    (done,) = await there.say(made.put(1), made.put(3), made.put(4), m.Complete(5, made.name))
    assert done.code == AnswerCode.DONE and there.changed == [made.name] and there.session.held_bytes == 0
    assert await there.say(m.Complete(6, made.name)) == [m.Answer(6, AnswerCode.DONE, "")]
    assert await there.say(m.Seek(7, made.name, True)) == [m.Holding(7, True, b"", made.data, [OTHER])]
    (chunk,) = await there.say(m.GetChunk(8, made.name, 3))
    assert chunk.data == made.chunks[3]
    assert await there.say(made.put(1)) == [] and there.counters["chunks of unknown sections"] == 1
    assert there.depot.statistics() == {"sections": 1, "whole": 1, "pinned": 0, "bytes": there.ledger.total_bytes}
    assert not there.depot.take(there.session, m.Goodbye(""))


@pytest.mark.asyncio
async def test_a_wrong_chunk_is_not_kept_and_one_that_does_not_fit_ends_the_session(
    place: Callable[..., Place],
) -> None:
    there, made = place(), Made()
    await there.say(m.Keep(1, made.deposit(), made.data, []))
    await there.say(m.PutChunk(made.name, 0, memoryview(made.chunks[1])))
    assert there.counters["chunks that were wrong"] == 1 and not there.ledger.kept[made.name].here
    for index, data in ((9, made.chunks[0]), (0, b"short")):
        with pytest.raises(PeerError):
            there.depot.take(there.session, m.PutChunk(made.name, index, memoryview(data)))


@pytest.mark.asyncio
async def test_what_came_before_a_restart_is_there_again(place: Callable[..., Place]) -> None:
    first, made, other = place(), Made(), Made(key=b"\2" * 32)
    await first.say(m.Keep(1, made.deposit(), made.data, []), made.put(0), made.put(3))
    await first.whole(other)
    await first.depot.pin(other.name)
    await first.depot.close()
    second = place()
    assert second.ledger.kept[made.name].here == {0, 3} and not second.ledger.kept[made.name].whole
    assert second.ledger.kept[other.name].whole and second.ledger.kept[other.name].pinned
    (answer,) = await second.say(m.Keep(2, made.deposit(), made.data, []))
    assert (answer.whole, answer.have) == (False, b"\x09")
    second.store.begin(bytes(32), b"no head")
    third = place()
    assert bytes(32) not in third.ledger.kept and [name for name, _, _ in third.store.scan()] == sorted(
        [made.name, other.name]
    )


@pytest.mark.asyncio
async def test_what_may_not_be_kept_is_refused_in_words(place: Callable[..., Place]) -> None:
    there, made = place(quota_bytes=1000), Made()
    (answer,) = await there.say(m.Keep(1, made.deposit(), made.data, []))
    assert answer.code == AnswerCode.FULL and "gives one owner" in answer.text
    (answer,) = await there.say(m.Keep(1, made.deposit(proof=b""), made.data, []))
    assert answer.code == AnswerCode.REFUSED
    there.depot.leaving = True
    (answer,) = await there.say(m.Keep(1, made.deposit(), made.data, []))
    assert answer.text == "is leaving" and there.counters["deposits refused"] == 3
    for message in (m.Complete(2, made.name), m.GetChunk(3, made.name, 0), m.Seek(4, made.name, True)):
        (answer,) = await there.say(message)
        assert answer.code == AnswerCode.UNKNOWN
    with pytest.raises(PeerError, match="is not here"):
        await there.depot.pin(made.name)


@pytest.mark.asyncio
async def test_holders_compare_and_owners_list(place: Callable[..., Place]) -> None:
    there, made = place(), Made()
    await there.whole(made)
    (answer,) = await there.say(m.Compare(1, [bytes(32), made.name]))
    assert answer == m.Compared(1, b"\2") and there.shared == [[made.name]]
    (answer,) = await there.say(m.ListDeposits(2, OWNER.public, b""))
    assert [digest(each.body) for each in answer.deposits] == [digest(there.ledger.kept[made.name].signed.body)]
    assert not answer.more
    (answer,) = await there.say(m.ListDeposits(3, ME.public, b""))
    assert answer.deposits == []


@pytest.mark.asyncio
async def test_what_has_expired_goes_and_what_is_pinned_stays(place: Callable[..., Place]) -> None:
    there, old, pinned, new = place(), Made(), Made(key=b"\2" * 32), Made(key=b"\3" * 32)
    for made, retention_s in ((old, 50.0), (pinned, 50.0), (new, 1000.0)):
        await there.whole(made, retention_s=retention_s)
    await there.depot.pin(pinned.name)
    there.changed.clear()
    for kept in there.ledger.kept.values():
        if kept.deposit.retention_s < 100:
            kept.deposit = msgspec.structs.replace(kept.deposit, created_s=0.0)
    there.depot.sweep()
    await there.depot.lane.run(lambda: None)
    assert sorted(there.ledger.kept) == sorted([pinned.name, new.name]) and there.changed == [old.name]
    await there.depot.pin(pinned.name, pinned=False)
    there.depot.sweep()
    assert sorted(there.ledger.kept) == [new.name]
    expired = Made(key=b"\4" * 32)
    await there.whole(expired)
    there.ledger.kept[expired.name].deposit = msgspec.structs.replace(
        there.ledger.kept[expired.name].deposit, created_s=0.0
    )
    await there.say(m.Keep(9, old.deposit(), old.data, []))  # room is made for it
    assert expired.name not in there.ledger.kept and old.name in there.ledger.kept


@pytest.mark.asyncio
async def test_a_disk_that_refuses_is_told_to_the_sender(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("no space left")

    there, made = place(), Made()
    await there.say(m.Keep(1, made.deposit(), made.data, []))
    with monkeypatch.context() as patched:
        patched.setattr(there.store, "write", refuse)
        (answer,) = await there.say(made.put(0), m.Complete(2, made.name))
    assert (answer.code, answer.text) == (AnswerCode.FAILED, "no space left")
    with monkeypatch.context() as patched:
        patched.setattr(there.store, "finish", refuse)
        (answer,) = await there.say(*(made.put(index) for index in range(5)), m.Complete(3, made.name))
    assert answer.code == AnswerCode.FAILED and made.name not in there.ledger.kept
    with monkeypatch.context() as patched:
        patched.setattr(there.store, "begin", refuse)
        (answer,) = await there.say(m.Keep(4, made.deposit(), made.data, []))
    assert answer.code == AnswerCode.FAILED and made.name not in there.ledger.kept
    await there.whole(made)
    with monkeypatch.context() as patched:
        patched.setattr(there.store, "read", refuse)
        (answer,) = await there.say(m.GetChunk(5, made.name, 0))
    assert answer.code == AnswerCode.FAILED and there.counters["chunks missing"] == 1
    monkeypatch.setattr(there.store, "delete", refuse)
    there.depot.drop(made.name)
    await there.depot.lane.run(lambda: None)
    assert there.counters["disk refused"] >= 4


@pytest.mark.asyncio
async def test_a_peer_that_reads_nothing_is_not_answered_for_ever(
    tmp_path: Path, unwired: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, made = Place(tmp_path, unwired(PEER)), Made()
    await there.whole(made)
    there.session.takes = len(there.session.sent)
    monkeypatch.setattr(limits, "OUTBOX_ANSWERS_MAX", 3)
    for number in range(3):
        there.depot.take(there.session, m.GetChunk(number + 1, made.name, 0))
    with pytest.raises(PeerError, match="does not read"):
        there.depot.take(there.session, m.GetChunk(9, made.name, 0))
    there.depot.gone(PEER.id)


@pytest.mark.asyncio
async def test_what_would_wait_for_the_disk_is_read_in_a_thread_first(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, made = place(), Made()
    await there.whole(made)
    monkeypatch.setattr(there.store, "at_hand", lambda *_: False)
    before = len(there.session.sent)
    for index in (1, 3):
        assert there.depot.take(there.session, m.GetChunk(index, made.name, index))
    assert len(there.session.sent) == before
    await there.depot.warming.run(lambda: None)
    assert [(each.request, bytes(each.data)) for each in there.session.sent[before:]] == [
        (1, made.chunks[1]), (3, made.chunks[3])
    ]  # fmt: skip
    there.store.delete(made.name)
    assert there.depot.take(there.session, m.GetChunk(9, made.name, 0))
    monkeypatch.setattr(limits, "OUTBOX_ANSWERS_MAX", 1)
    with pytest.raises(PeerError, match="does not read"):
        there.depot.take(there.session, m.GetChunk(9, made.name, 0))
    await there.depot.warming.run(lambda: None)
    assert there.session.sent[-1].code == AnswerCode.FAILED


@pytest.mark.asyncio
async def test_a_damaged_section_is_offered_without_what_it_lacks_and_completed_again(
    place: Callable[..., Place],
) -> None:
    there, made = place(), Made()
    await there.whole(made)
    await there.depot.damaged(made.name, [2])
    (holding,) = await there.say(m.Seek(3, made.name, False))
    assert (holding.whole, holding.have) == (False, bytes([0b11011]))
    (refusal,) = await there.say(m.GetChunk(4, made.name, 2))
    assert refusal.code == AnswerCode.UNKNOWN
    await there.say(m.Keep(5, made.deposit(), made.data, []), made.put(2), m.Complete(6, made.name))
    assert there.session.sent[-1] == m.Answer(6, AnswerCode.DONE, "")
    assert there.changed == [made.name] * 3 and there.ledger.kept[made.name].whole


@pytest.mark.asyncio
async def test_who_asks_faster_than_the_disk_writes_is_read_no_further(place: Callable[..., Place]) -> None:
    there, made = place(), Made()
    await there.whole(made)
    for number in range(50):
        there.depot.take(there.session, m.Keep(number, made.deposit(), bytes(33_000), []))
        there.depot.take(there.session, m.Complete(number, made.name))
    assert there.session.held_bytes > 49 * 33_000
    await there.say()
    assert there.session.held_bytes == 0
