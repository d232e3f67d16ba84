"""The library: blobs, segments and logs are read part by part for whoever asks, and only wanted blobs are taken."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from p2pcpn import limits
from p2pcpn.errors import PeerError, StoreError, Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.net.beside import Giving, Place, Taking
from p2pcpn.node.library import PART_WAIT_S, Library
from p2pcpn.node.questions import Questions
from p2pcpn.node.rush import Rush
from p2pcpn.node.sessions import Sessions
from p2pcpn.node.shelf import Shelf
from p2pcpn.protocol.effects import TransmitBlob, TransmitLog, TransmitSegment, Turn, Write
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import LogHeader, signed
from tests.unit.protocol.leased import Made

ME, PEER, OTHER = (Keypair(bytes([number]) * 32) for number in (1, 2, 3))
JOB, STRANGE_JOB = b"\1" * 20, b"\2" * 20
LARGE = b"0123456789" * 60_000  # three parts


class NoRings:
    """No ring with anybody, unless the test says otherwise."""

    ring: Giving | None = None

    def to(self, session: Any) -> Giving | None:
        return self.ring


class Bench:
    """A library on a real disk, a session with one peer that reads as much as the test says, and other peers' words."""

    def __init__(self, directory: Path, session: Any) -> None:
        loop = asyncio.get_running_loop()
        self.database = Database(directory / "node.db", durable=False)
        self.shelf = Shelf(BlobStore(directory / "blobs", durable=False), self.database)
        self.rush = Rush(loop)
        self.sessions = Sessions(ME.id, loop, self.rush)
        self.questions = Questions(loop)
        self.counters: Counter[str] = Counter()
        self.session = session
        self.sessions.opened(session)
        self.rings: Any = NoRings()
        self.asked: list[tuple[bytes, m.Message, float, int]] = []
        self.answers: dict[bytes, Any] = {}
        self.storing = True
        self.room_bytes = limits.BLOB_BYTES_MAX
        self.library = Library(
            shelf=self.shelf, database=self.database, sessions=self.sessions, questions=self.questions,
            counters=self.counters, ask=self.ask, wanted=lambda job: job == JOB,
            keeps=lambda job: self.storing, granted=lambda job: False, rush=self.rush, rings=self.rings,
            room=lambda job, source, size_bytes: size_bytes <= self.room_bytes,
        )  # fmt: skip

    async def ask(
        self, to: Any, make: Callable[[int], m.Message], wait_s: float, blob_bytes_max: int = 0, take: Any = None
    ) -> m.Message:
        self.asked.append((to.id, make(9), wait_s, blob_bytes_max))
        answer = self.answers.get(to.id)
        if isinstance(answer, list):
            for part in answer:
                take(part)
            answer = answer[-1]
        if answer is None:
            raise Unreachable("nobody there")
        assert isinstance(answer, m.Message)
        return answer

    def take(self, message: m.Message) -> list[Any]:
        """A message comes in; what is said to it at once."""
        before = len(self.session.sent)
        assert self.library.take(self.session, message) is True
        return list(self.session.sent[before:])

    async def keep(self, data: bytes) -> bytes:
        """A blob that is on disk."""
        self.shelf.put(digest(data), data, JOB, 60.0)
        await self.shelf.flush()
        return digest(data)

    def write(self, *writes: Write) -> None:
        self.database.commit(writes)
        self.database.drop_expired(0.0)  # waits for what was queued before

    async def close(self) -> None:
        self.sessions.close()
        self.questions.close()
        await self.shelf.flush()
        self.database.close()


@pytest_asyncio.fixture
async def bench(tmp_path: Path, unwired: Any) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, unwired(PEER))
    yield bench
    await bench.close()


def put(data: bytes, offset: int, part: bytes, request: int = 5, job: bytes = JOB) -> m.PutBlob:
    return m.PutBlob(request, digest(data), job, len(data), offset, memoryview(part), 60.0)


async def answers(bench: Bench, count: int) -> list[Any]:
    """What was said, once the disk has caught up."""
    async with asyncio.timeout(10):
        while len(bench.session.sent) < count:
            await bench.shelf.flush()
            await asyncio.sleep(0)  # callbacks of writes that have ended
    return list(bench.session.sent)


# --- blobs that come -----------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_blob_is_taken_part_by_part_and_acknowledged_when_it_is_on_disk(bench: Bench) -> None:
    assert bench.take(put(b"abcdef", 0, b"abc", request=0)) == []
    assert bench.session.held_bytes == 0
    assert bench.take(put(b"abcdef", 3, b"def")) == []
    assert bench.session.held_bytes == 0  # it is in memory, and there is more
    assert await answers(bench, 1) == [m.Answer(5, AnswerCode.DONE, "")]
    assert bench.shelf.get(digest(b"abcdef")) == b"abcdef"


@pytest.mark.asyncio
async def test_who_brings_more_than_memory_takes_waits_for_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.shelf, "straight", lambda size: size == 6)
    assert bench.take(put(b"abcdef", 0, b"abcdef")) == []
    assert bench.session.held_bytes == 6
    assert await answers(bench, 1) == [m.Answer(5, AnswerCode.DONE, "")]
    assert bench.session.held_bytes == 0


@pytest.mark.asyncio
async def test_who_stores_nothing_for_others_takes_what_it_runs_and_keeps_no_copies(bench: Bench) -> None:
    bench.storing = False
    [answer] = bench.take(put(b"copy", 0, b"copy"))
    assert (answer.code, answer.text) == (AnswerCode.REFUSED, "keeps nothing for others")
    assert bench.counters["blobs refused"] == 1
    assert bench.take(put(b"argument", 0, b"argument", request=0)) == []
    await bench.shelf.flush()
    assert bench.shelf.size(digest(b"argument")) == 8
    assert bench.shelf.size(digest(b"copy")) is None


@pytest.mark.asyncio
async def test_blobs_of_jobs_that_are_not_known_are_not_taken(bench: Bench) -> None:
    (answer,) = bench.take(put(b"abc", 0, b"abc", job=STRANGE_JOB))
    assert answer == m.Answer(5, AnswerCode.UNKNOWN, "knows no such job")
    assert bench.take(put(b"abc", 0, b"abc", request=0, job=STRANGE_JOB)) == []
    assert not bench.shelf.has(digest(b"abc"))
    assert bench.counters["blobs of unknown jobs"] == 2


@pytest.mark.asyncio
async def test_parts_that_cannot_be_right_are_refused_and_the_session_goes_on(bench: Bench) -> None:
    (answer,) = bench.take(put(b"abcdef", 3, b"def"))
    assert (answer.request, answer.code) == (5, AnswerCode.FAILED)
    assert "does not follow" in answer.text
    (answer,) = bench.take(put(b"abc", 0, b"XXX"))
    assert "digest" in answer.text
    assert bench.counters["blobs refused"] == 2
    assert bench.session.held_bytes == 0
    assert not bench.session.ended


@pytest.mark.asyncio
async def test_who_has_brought_enough_of_a_job_is_refused_and_what_is_here_costs_nothing(bench: Bench) -> None:
    bench.take(put(b"abcdef", 0, b"abcdef"))
    await answers(bench, 1)
    bench.room_bytes = 5
    (answer,) = bench.take(put(b"123456", 0, b"123456"))
    assert (answer.code, answer.text) == (AnswerCode.FULL, "has no room left for blobs of that job from there")
    assert bench.take(put(b"ABCDEF", 0, b"ABC", request=0)) == []
    (answer,) = bench.take(put(b"ABCDEF", 3, b"DEF"))
    assert (answer.code, bench.shelf.has(digest(b"ABCDEF"))) == (AnswerCode.FAILED, False)
    assert bench.counters["blobs without room"] == 2
    bench.take(put(b"abcdef", 0, b"abcdef"))
    assert (await answers(bench, 1))[-1].code == AnswerCode.DONE
    bench.answers = {OTHER.id: parts_of(b"123456", 4)}
    with pytest.raises(PeerError, match="no room left"):
        await asyncio.wait_for(
            bench.library.gather([digest(b"123456")], contact(OTHER.id, ("127.0.0.1", 1)), JOB, 60.0), 10
        )


@pytest.mark.asyncio
async def test_a_disk_that_refuses_a_blob_is_told_in_few_words(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlobStore, "put_all", lambda *_: [StoreError("no room " * 100)])
    bench.take(put(b"abc", 0, b"abc"))
    (answer,) = await answers(bench, 1)
    assert answer.code == AnswerCode.FAILED
    assert len(answer.text) == limits.REASON_CHARS_MAX


# --- blobs that are asked for --------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("data", [b"", b"abc", LARGE])
@pytest.mark.parametrize("offset", [0, 2])
async def test_a_blob_is_sent_in_parts_from_where_it_was_asked_for(data: bytes, offset: int, bench: Bench) -> None:
    name = await bench.keep(data)
    sent = bench.take(m.GetBlob(4, name, offset))
    if offset > len(data):
        assert [each.code for each in sent] == [AnswerCode.UNKNOWN]
        return
    assert b"".join(part.data for part in sent) == data[offset:]
    assert {(part.request, part.digest, part.size_bytes) for part in sent} == {(4, name, len(data))}
    assert [part.offset for part in sent] == list(range(offset, max(len(data), offset + 1), limits.BLOB_PART_BYTES))


@pytest.mark.asyncio
async def test_parts_are_read_only_as_the_peer_takes_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    name = await bench.keep(LARGE)
    reads: list[int] = []
    read = bench.shelf.read

    def counted(name: bytes, offset: int, count: int) -> bytes | None:
        reads.append(offset)
        return read(name, offset, count)

    monkeypatch.setattr(bench.shelf, "held", lambda _: None)
    monkeypatch.setattr(bench.shelf, "read", counted)
    bench.session.takes = 1
    assert len(bench.take(m.GetBlob(4, name, 0))) == 1
    assert len(reads) == 1
    bench.session.takes = None
    bench.sessions.writable(bench.session)
    assert len(bench.session.sent) == 3


@pytest.mark.asyncio
async def test_a_blob_that_is_not_here_is_unknown(bench: Bench) -> None:
    assert bench.take(m.GetBlob(4, b"\0" * 32, 0)) == [m.Answer(4, AnswerCode.UNKNOWN, "has no such blob")]


@pytest.mark.asyncio
async def test_a_machine_sends_a_blob_whose_last_part_alone_asks_for_an_answer(bench: Bench) -> None:
    name = await bench.keep(LARGE)
    box = bench.sessions.outbox(PEER.id)
    assert box is not None
    bench.library.send_blob(box, TransmitBlob(PEER.id, 8, name, JOB, 60.0))
    sent = bench.session.sent
    assert [part.request for part in sent] == [0, 0, 8]
    assert {(type(part), part.job, part.size_bytes, part.retention_s) for part in sent} == {
        (m.PutBlob, JOB, len(LARGE), 60.0)
    }
    assert b"".join(part.data for part in sent) == LARGE
    bench.library.send_blob(box, TransmitBlob(PEER.id, 8, b"\0" * 32, JOB, 60.0))
    assert len(sent) == 3
    assert bench.counters["blobs missing"] == 1


@pytest.mark.asyncio
async def test_a_copy_waits_while_others_wait_for_data_until_it_is_needed_itself(bench: Bench) -> None:
    name = await bench.keep(LARGE)
    box = bench.sessions.outbox(PEER.id)
    assert box is not None
    bench.take(put(b"abc", 0, b"abc", request=0))  # a lease needs it
    bench.library.send_blob(box, TransmitBlob(PEER.id, 8, name, JOB, 60.0, Turn.LATER))
    assert (bench.session.sent, box.later_bytes, bench.sessions.later_bytes) == ([], len(LARGE), len(LARGE))
    bench.library.send_blob(box, TransmitBlob(PEER.id, 0, name, JOB, 60.0, Turn.HURRY))
    assert [part.request for part in bench.session.sent] == [0, 0, 8]
    bench.library.send_blob(box, TransmitBlob(PEER.id, 0, name, JOB, 60.0, Turn.HURRY))
    assert len(bench.session.sent) == 3  # it was sent already
    assert box.later_bytes == 0


@pytest.mark.asyncio
async def test_who_asks_patiently_lets_others_go_first(bench: Bench) -> None:
    name = await bench.keep(b"abc")
    bench.rush.note()
    assert bench.take(m.GetBlob(5, name, 0, True)) == []
    assert bench.take(m.GetBlob(6, name, 0)) == [m.BlobData(6, name, 3, 0, memoryview(b"abc"))]


@pytest.mark.asyncio
async def test_a_blob_that_vanishes_while_it_is_sent_ends_early(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    name = await bench.keep(LARGE)
    monkeypatch.setattr(bench.shelf, "held", lambda _: None)
    bench.session.takes = 1
    bench.take(m.GetBlob(4, name, 0))
    monkeypatch.setattr(bench.shelf, "read", lambda *_: None)
    bench.session.takes = None
    bench.sessions.writable(bench.session)
    assert len(bench.session.sent) == 1
    assert bench.counters["blobs missing"] == 1


@pytest.mark.asyncio
async def test_a_blob_that_leaves_memory_while_it_is_sent_is_sent_to_its_end(bench: Bench) -> None:
    data = bytes(3 * limits.BLOB_PART_BYTES)
    name = digest(data)
    bench.shelf.arrive(PEER.id, name, len(data), 0, data, JOB, 60.0, lambda error: None, keep=False)
    bench.session.takes = 1
    bench.take(m.GetBlob(4, name, 0))
    bench.shelf.let_go(name)
    assert not bench.shelf.has(name)
    bench.session.takes = None
    bench.sessions.writable(bench.session)
    assert b"".join(part.data for part in bench.session.sent) == data


@pytest.mark.asyncio
async def test_who_asks_for_more_and_more_and_reads_nothing_is_at_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_ANSWERS_MAX", 3)
    name = await bench.keep(b"abc")
    bench.session.takes = 0
    for _ in range(3):
        bench.take(m.GetBlob(4, name, 0))
    with pytest.raises(PeerError, match="does not read"):
        bench.library.take(bench.session, m.GetBlob(4, name, 0))


@pytest.mark.asyncio
async def test_a_question_over_a_twin_is_answered_over_the_session_that_stays(bench: Bench, unwired: Any) -> None:
    name = await bench.keep(b"abc")
    twin = unwired(PEER)
    assert bench.library.take(twin, m.GetBlob(4, name, 0))
    assert (len(twin.sent), len(bench.session.sent)) == (0, 1)
    stranger = unwired(OTHER)  # it has no session at all (any more)
    assert bench.library.take(stranger, m.GetBlob(4, name, 0))
    assert bench.library.take(stranger, m.GetBlob(4, b"\0" * 32, 0))
    assert stranger.sent == []


# --- beside the session --------------------------------------------------------------------------------------------


class Sealable:
    """Stands for a blob, as plaintext does."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self.made = 0

    def __len__(self) -> int:
        return len(self.blob)

    def sealed(self) -> bytes:
        self.made += 1
        return self.blob

    def seal_into(self, out: memoryview) -> None:
        out[:] = self.blob


@pytest.fixture
def ring(bench: Bench) -> Iterator[Taking]:
    """A ring that the library puts parts into, as its taker has it."""
    giving, place = Giving(), Place()
    assert giving.hand(place.name, place.token)
    taking = place.take()
    assert taking is not None
    bench.rings.ring = giving
    yield taking
    taking.close()
    giving.close()


def read(ring: Taking, sent: list[Any]) -> bytes:
    assert all(part.ring_bytes and not part.data for part in sent)
    return b"".join(ring.read(part.ring_at, part.ring_bytes) for part in sent)


@pytest.mark.asyncio
async def test_parts_go_through_the_ring_where_there_is_one(bench: Bench, ring: Taking) -> None:
    name = await bench.keep(LARGE)
    (part,) = bench.take(m.GetBlob(4, name, 0))
    assert (part.request, part.offset, part.size_bytes) == (4, 0, len(LARGE))
    assert read(ring, [part]) == LARGE
    small = await bench.keep(b"small")
    assert bench.take(m.GetBlob(4, small, 0))[0].data == b"small"


@pytest.mark.asyncio
async def test_what_is_on_disk_is_read_for_the_ring_and_what_is_not_ends(
    bench: Bench, ring: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await bench.keep(LARGE)
    monkeypatch.setattr(bench.shelf, "held", lambda _: None)
    assert read(ring, bench.take(m.GetBlob(4, name, 7))) == LARGE[7:]
    monkeypatch.setattr(bench.shelf, "read", lambda *_: None)
    assert bench.take(m.GetBlob(4, name, 0)) == []
    assert bench.counters["blobs missing"] == 1


@pytest.mark.asyncio
async def test_plaintext_is_closed_into_the_ring_itself_and_once_where_it_is_more_than_a_part(
    bench: Bench, ring: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RING_PART_BYTES", len(LARGE))
    monkeypatch.setattr(bench.shelf, "_volatile", True)  # nothing is written
    box = bench.sessions.outbox(PEER.id)
    assert box is not None
    for blob, made in ((LARGE, 0), (LARGE + LARGE, 1)):
        stand_in = Sealable(blob)
        bench.shelf.put(digest(blob), stand_in, JOB, 60.0)
        before = len(bench.session.sent)
        bench.library.send_blob(box, TransmitBlob(PEER.id, 8, digest(blob), JOB, 60.0))
        sent = bench.session.sent[before:]
        assert read(ring, sent) == blob
        assert [part.request for part in sent] == [0] * (len(sent) - 1) + [8]
        assert stand_in.made == made


@pytest.mark.asyncio
async def test_a_full_ring_waits_until_its_taker_took_something(bench: Bench, ring: Taking) -> None:
    data = bytes(limits.RING_PART_BYTES)
    name = await bench.keep(data)
    box = bench.sessions.outbox(PEER.id)
    assert box is not None
    for _ in range(5):
        bench.library.send_blob(box, TransmitBlob(PEER.id, 8, name, JOB, 60.0))
    assert (len(bench.session.sent), len(box)) == (4, 1)
    bench.take(m.GetBlob(5, name, 0))
    assert len(bench.session.sent) == 4
    bench.rings.ring.taken(2)
    bench.sessions.writable(bench.session)
    assert [type(part) for part in bench.session.sent[4:]] == [m.PutBlob, m.BlobData]
    bench.rings.ring = None  # it went: what is left goes within the session
    assert bench.take(m.GetBlob(5, name, 0))[0].ring_bytes == 0


# --- blobs we ask for ----------------------------------------------------------------------------------------------


def blob(data: bytes) -> m.BlobData:
    return m.BlobData(9, digest(data), len(data), 0, memoryview(data))


@pytest.mark.asyncio
async def test_a_blob_that_is_here_is_asked_of_nobody(bench: Bench) -> None:
    name = await bench.keep(b"abc")
    assert await bench.library.fetch_blob(name, [contact(OTHER.id, ("127.0.0.1", 1))], 3) == b"abc"
    assert bench.asked == []


@pytest.mark.asyncio
async def test_a_blob_comes_from_the_first_holder_that_gives_the_right_bytes(bench: Bench) -> None:
    holders = [contact(bytes([number]) * 20, ("127.0.0.1", 1)) for number in range(5)]
    bench.answers = {
        holders[1].id: blob(b"abX"),
        holders[2].id: m.Answer(9, AnswerCode.UNKNOWN, "has no such blob"),
        holders[3].id: blob(b"abc"),
        holders[4].id: blob(b"abc"),
    }
    assert await bench.library.fetch_blob(digest(b"abc"), holders, 77) == b"abc"
    assert [to for to, *_ in bench.asked] == [holder.id for holder in holders[:4]]
    assert bench.asked[0][1:] == (m.GetBlob(9, digest(b"abc"), 0), PART_WAIT_S, 77)
    with pytest.raises(PeerError, match="no peer that answers has the blob"):
        await bench.library.fetch_blob(digest(b"abc"), holders[:3], 77)
    with pytest.raises(PeerError):
        await bench.library.fetch_blob(digest(b"abc"), [], 77)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer",
    [
        m.Answer(7, 0, "done"),
        m.Jobs(7, [JOB]),
        m.LogData(7, Made().spec, b"body"),
        m.Extend(7, Made().segment(1).segment, [b"page"], False),
    ],
)
async def test_answers_to_our_own_questions_reach_whoever_asked(answer: Any, bench: Bench) -> None:
    begun = asyncio.Event()
    task = asyncio.ensure_future(bench.questions.request(PEER.id, 7, begun.set, 30.0))
    await begun.wait()
    assert bench.take(answer) == []
    assert await asyncio.wait_for(task, 5) == answer


@pytest.mark.asyncio
async def test_the_parts_of_a_blob_we_asked_for_are_put_together(bench: Bench) -> None:
    begun = asyncio.Event()
    task = asyncio.ensure_future(bench.questions.request(PEER.id, 7, begun.set, 30.0, 100))
    await begun.wait()
    for offset, part in ((0, b"ab"), (2, b"c")):
        bench.take(m.BlobData(7, digest(b"abc"), 3, offset, memoryview(part)))
    answer: Any = await asyncio.wait_for(task, 5)
    assert answer.data == b"abc"


@pytest.mark.asyncio
async def test_what_is_for_the_machines_is_left_to_them(bench: Bench) -> None:
    for message in (m.Ask(1, JOB), m.Answer(7, 0, ""), Made().segment(1), m.Settled(JOB, [])):
        assert bench.library.take(bench.session, message) is False


@pytest.mark.asyncio
async def test_a_goodbye_ends_the_session(bench: Bench) -> None:
    bench.take(m.Goodbye("leaving"))
    assert bench.session.why == "goodbye"


# --- gathering ------------------------------------------------------------------------------------------------------


def parts_of(data: bytes, step: int) -> list[m.BlobData]:
    return [
        m.BlobData(9, digest(data), len(data), at, memoryview(data)[at : at + step]) for at in range(0, len(data), step)
    ]


@pytest.mark.asyncio
async def test_what_is_gathered_is_on_disk_whether_it_was_here_or_was_brought(bench: Bench) -> None:
    bench.take(put(b"passing", 0, b"passing", request=0))
    assert not bench.shelf.is_on_disk(digest(b"passing"))
    bench.answers = {OTHER.id: parts_of(b"abcdef", 4)}
    names = [digest(b"passing"), digest(b"abcdef")]
    await asyncio.wait_for(bench.library.gather(names, contact(OTHER.id, ("127.0.0.1", 1)), JOB, 60.0), 10)
    assert all(map(bench.shelf.is_on_disk, names))
    assert bench.asked[0][1] == m.GetBlob(9, names[1], 0, True)


@pytest.mark.asyncio
async def test_what_cannot_be_gathered_is_told(bench: Bench) -> None:
    other = contact(OTHER.id, ("127.0.0.1", 1))
    wrong = [m.BlobData(9, digest(b"abc"), 3, 0, memoryview(b"abX"))]
    for answer in (None, wrong, m.Answer(9, AnswerCode.UNKNOWN, "has no such blob")):
        bench.answers = {OTHER.id: answer}
        with pytest.raises(PeerError):
            await asyncio.wait_for(bench.library.gather([digest(b"abc")], other, JOB, 60.0), 10)


@pytest.mark.asyncio
async def test_a_blob_larger_than_was_said_is_not_fetched(bench: Bench) -> None:
    name = await bench.keep(b"abc")
    with pytest.raises(PeerError, match="larger than was said"):
        await bench.library.fetch_blob(name, [], 2)


# --- jobs ----------------------------------------------------------------------------------------------------------


def log_row(grantor: Keypair) -> tuple[m.Append, Write]:
    header = signed(LogHeader(JOB, 2, grantor.id, 0, bytes(32), digest(b"body"), 1, [(0, 1)]), grantor)
    row = Write("logs", (JOB, grantor.id, 2, 0), (pages.SIGNED.encode(header), b"body"))
    return m.Append(8, header, b"body"), row


def segment_row() -> tuple[bytes, m.Extend, Write]:
    made = Made()
    extend = made.segment(2, 1)
    row = (0, 3, pages.SIGNED.encode(extend.segment), pages.PAGES.encode(extend.pages))
    return made.job, extend, Write("segments", (made.job, 0), row)


@pytest.mark.asyncio
async def test_a_log_segment_is_shown_to_whoever_asks(bench: Bench) -> None:
    append, row = log_row(OTHER)
    bench.write(row)
    assert bench.take(m.ReadLog(3, JOB, OTHER.id, 2, 0)) == [m.LogData(3, append.header, b"body")]
    for missing in (
        m.ReadLog(3, JOB, OTHER.id, 2, 1),
        m.ReadLog(3, JOB, PEER.id, 2, 0),
        m.ReadLog(3, JOB, OTHER.id, 1, 0),
    ):
        assert bench.take(missing) == [m.Answer(3, AnswerCode.UNKNOWN, "has no such log segment")]


@pytest.mark.asyncio
async def test_a_segment_of_tasks_is_shown_with_its_pages(bench: Bench) -> None:
    job, extend, row = segment_row()
    bench.write(row)
    assert bench.take(m.ReadSegment(3, job, 0)) == [m.Extend(3, extend.segment, extend.pages, False)]
    assert bench.take(m.ReadSegment(3, job, 1)) == [m.Answer(3, AnswerCode.UNKNOWN, "has no such segment")]


@pytest.mark.asyncio
async def test_our_own_log_goes_to_a_new_holder(bench: Bench) -> None:
    append, row = log_row(ME)
    bench.write(row)
    box = bench.sessions.outbox(PEER.id)
    assert box is not None
    bench.library.send_log(box, TransmitLog(PEER.id, 8, JOB, ME.id, 2, 0))
    assert bench.session.sent == [append]
    bench.library.send_log(box, TransmitLog(PEER.id, 8, JOB, ME.id, 2, 1))
    assert bench.session.sent == [append]
    assert bench.counters["log segments missing"] == 1


@pytest.mark.asyncio
async def test_a_segment_goes_to_a_peer_that_is_to_keep_it(bench: Bench) -> None:
    job, extend, row = segment_row()
    bench.write(row)
    box = bench.sessions.outbox(PEER.id)
    assert box is not None
    for number in (0, 1):
        bench.library.send_segment(box, TransmitSegment(PEER.id, 8, job, number))
    assert bench.session.sent == [m.Extend(8, extend.segment, extend.pages, True)]
    assert bench.counters["segments missing"] == 1


@pytest.mark.asyncio
async def test_a_log_segment_that_no_question_awaits_is_for_the_machines(bench: Bench) -> None:
    append, _ = log_row(ME)
    assert not bench.library.take(bench.session, m.LogData(77, append.header, append.body))  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_a_disk_that_refuses_a_read_is_told_to_whoever_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(table: str, key: Any) -> Any:
        raise StoreError(f"{table}: the disk does not answer")

    monkeypatch.setattr(bench.database, "get", refuse)
    assert bench.take(m.ReadLog(3, JOB, OTHER.id, 2, 0)) == [
        m.Answer(3, AnswerCode.FAILED, "logs: the disk does not answer")
    ]
    assert bench.take(m.ReadSegment(4, JOB, 0)) == [
        m.Answer(4, AnswerCode.FAILED, "segments: the disk does not answer")
    ]
    box = bench.sessions.outbox(PEER.id)
    assert box is not None
    before = len(bench.session.sent)
    bench.library.send_log(box, TransmitLog(PEER.id, 8, JOB, ME.id, 2, 0))
    bench.library.send_segment(box, TransmitSegment(PEER.id, 8, JOB, 0))
    assert len(bench.session.sent) == before
    assert bench.counters["log segments missing"] == bench.counters["segments missing"] == 1
