"""Performing: effects become bytes, sessions, writes and events, in order; one that fails costs nobody else's."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from p2pcpn.errors import PeerError, StoreError, Unreachable
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.net.session import Session
from p2pcpn.node.mishaps import Mishaps
from p2pcpn.node.overlay import Overlay
from p2pcpn.node.performing import REFUSED, Performer
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.effects import Write
from p2pcpn.protocol.peer import ROUTED
from p2pcpn.store.blobs import BlobStore
from p2pcpn.wire import datagrams as d
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import LogHeader, signed
from tests.unit.protocol.leased import GRANTOR, Made, settling

Start = Callable[..., Awaitable[Overlay]]
JOB = b"\1" * 20
STRANGER = Keypair(b"\5" * 32)


class Told:
    """What an overlay tells the program above."""

    def __init__(self, overlay: Overlay) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        overlay.watchers.append(self.note)

    def note(self, event: object) -> None:
        if isinstance(event, str):
            self.events.put_nowait(event)

    async def next(self) -> Any:
        return await asyncio.wait_for(self.events.get(), 10)


def say(*words: str) -> tuple[fx.Effect, ...]:
    return tuple(fx.Notify(word) for word in words)


async def joined(one: Overlay, other: Overlay) -> Session:
    """A session between two, as ``one`` has it; both have the same."""
    await one.request(other.peer.contact, lambda request: m.Ask(request, JOB))
    session = one.sessions.get(other.id)
    assert session is not None
    return session


# --- order and mishaps ---------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_an_effect_that_fails_is_a_mishap_and_those_behind_it_are_performed(
    peer: Start, caplog: pytest.LogCaptureFixture
) -> None:
    one = await peer()
    told = Told(one)
    one.performer.perform([*say("first"), fx.Probe(one.peer.contact), *say("second")])  # a Probe is for machines alone
    assert [await told.next(), await told.next()] == ["first", "second"]
    assert one.counters["mishap an effect Probe"] == 1
    assert "an effect Probe failed" in caplog.text


@pytest.mark.asyncio
async def test_the_program_is_told_last_in_order_and_what_it_makes_of_it_costs_no_other_news(peer: Start) -> None:
    one = await peer()
    heard: list[object] = []

    def watch(event: object) -> None:
        heard.append((event, one.counters["mishap an effect Probe"]))
        if event == "first":
            raise ValueError("the program's mistake")

    one.watchers.append(watch)
    one.performer.perform([*say("first", "second"), fx.Probe(one.peer.contact)])
    assert heard == [("first", 1), ("second", 1)] and one.counters["mishap an effect Notify"] == 1


@pytest.mark.asyncio
async def test_every_effect_that_is_for_a_driver_is_performed(peer: Start) -> None:
    one = await peer()
    effects = {getattr(fx, each.__name__) for each in fx.Effect.__subclasses__()}
    assert set(one.performer._verbs) == effects - ROUTED - {fx.Write}


# --- the network ---------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_is_for_a_peer_without_a_session_is_dropped(peer: Start) -> None:
    one = await peer()
    one.performer.perform([
        fx.Transmit(STRANGER.id, m.Goodbye("")), fx.TransmitBlob(STRANGER.id, 1, bytes(32), JOB, 1.0),
        fx.TransmitLog(STRANGER.id, 1, JOB, STRANGER.id, 0, 0), fx.Hangup(STRANGER.id, "why"),
    ])  # fmt: skip
    assert not one.counters


@pytest.mark.asyncio
async def test_what_is_urgent_has_left_before_anything_else_is_performed_and_what_is_patient_has_not(
    peer: Start,
) -> None:
    one, two = await peer(), None
    two = await peer(one)
    session = await joined(one, two)
    one.performer.perform([fx.Transmit(two.id, m.Goodbye("later"), urgent=False)])
    await asyncio.sleep(0)
    before, seen = session.bytes_out, []
    one.watchers.append(lambda event: seen.append(session.bytes_out))
    one.performer.perform([fx.Transmit(two.id, m.Goodbye("a")), fx.Transmit(two.id, m.Goodbye("b")), *say("performed")])
    assert seen and seen[0] > before and session.bytes_out == seen[0]


@pytest.mark.asyncio
async def test_bytes_leave_over_the_udp_socket(peer: Start) -> None:
    one = await peer()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.setblocking(False)
        one.performer.perform([fx.SendBytes(b"hello", heard.getsockname())])
        data = await asyncio.wait_for(one.loop.sock_recv(heard, 100), 10)
    assert data == b"hello"


@pytest.mark.asyncio
async def test_a_peer_is_knocked_at_from_another_port_and_told_whether_it_takes_connections(peer: Start) -> None:
    one = await peer()
    two = await peer(one)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.setblocking(False)
        one.performer.perform([fx.SendAside(b"knock", heard.getsockname())])
        data, source = await asyncio.wait_for(one.loop.sock_recvfrom(heard, 100), 10)
    assert data == b"knock" and source != one.address
    told: asyncio.Queue[object] = asyncio.Queue()
    two.peer.reachability.receive = lambda sender, message, now: told.put_nowait(message) or []  # type: ignore[assignment, func-returns-value, method-assign]
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        for nonce, address in ((1, two.address), (2, taken.getsockname())):
            one.performer.perform([fx.Connect(contact(two.id, address), nonce)])
            assert await asyncio.wait_for(told.get(), 10) == d.DialedBack(nonce, nonce)


@pytest.mark.asyncio
async def test_a_blob_and_a_log_segment_are_sent_over_the_session(peer: Start) -> None:
    one = await peer()
    two = await peer(one)
    await joined(one, two)
    heard: asyncio.Queue[Any] = asyncio.Queue()
    take, received = two.library.take, two.peer.message_received

    def taken(session: Session, message: m.Message) -> bool:
        heard.put_nowait(message)
        return take(session, message)

    def noted(node: NodeId, message: m.Message, now: float) -> list[fx.Effect]:
        if isinstance(message, m.Append):
            heard.put_nowait(message)
        return received(node, message, now)

    two.library.take = taken  # type: ignore[method-assign]
    two.peer.message_received = noted  # type: ignore[assignment, method-assign]
    header = signed(LogHeader(JOB, 0, one.id, 0, bytes(32), digest(b"body"), 1, [(0, 1)]), one.keypair)
    one.database.commit([Write("logs", (JOB, one.id, 0, 0), (pages.SIGNED.encode(header), b"body"))])
    one.database.drop_expired(0.0)  # waits for what was queued before
    one.performer.perform([
        fx.KeepBlob(digest(b"blob"), b"blob", JOB, 60.0),
        fx.TransmitBlob(two.id, 0, digest(b"blob"), JOB, 60.0),  # it is not on disk yet
        fx.TransmitLog(two.id, 0, JOB, one.id, 0, 0),
    ])  # fmt: skip
    blob, append = [await asyncio.wait_for(heard.get(), 10) for _ in range(2)]
    assert (blob.digest, blob.data, blob.job) == (digest(b"blob"), b"blob", JOB)
    assert append == m.Append(0, header, b"body")
    await one.shelf.flush()


@pytest.mark.asyncio
async def test_a_dial_that_fails_is_told_to_whoever_waits_for_that_peer(peer: Start) -> None:
    one = await peer()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        nobody = contact(STRANGER.id, taken.getsockname()[:2])
        with pytest.raises(Unreachable, match="is gone: no peer answers at"):
            await one.request(nobody, lambda request: m.Ask(request, JOB), 30.0)
    with pytest.raises(Unreachable, match="is gone: nobody can listen there"):
        await one.request(Contact(STRANGER.id, bytes(4), 1), lambda request: m.Ask(request, JOB), 30.0)
    assert one.counters["dials failed"] == 2
    assert one.peer.lines.held_bytes == 0


@pytest.mark.asyncio
async def test_another_peer_than_was_dialled_is_nobody(peer: Start) -> None:
    one = await peer()
    two = await peer(one)
    with pytest.raises(Unreachable, match="is gone"):
        await one.request(contact(STRANGER.id, two.address), lambda request: m.Ask(request, JOB), 30.0)
    assert STRANGER.id not in one.sessions


@pytest.mark.asyncio
async def test_a_dial_that_fails_ends_no_session_that_is_there(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await peer()
    two = await peer(one)
    session = await joined(one, two)
    monkeypatch.setattr(one.peer, "session_closed", lambda *_: pytest.fail("the machines have it still"))
    await one.performer._dialing(Contact(two.id, bytes(4), 1))
    assert one.counters["dials failed"] == 1
    assert one.sessions.get(two.id) is session
    assert not session.ended


@pytest.mark.asyncio
async def test_a_peer_that_says_what_cannot_be_right_is_hung_up_on_in_a_fixed_word(peer: Start) -> None:
    one = await peer()
    two = await peer(one)
    session = await joined(one, two)
    one.performer.perform([fx.Hangup(two.id, "words of the peer's choosing")])
    assert session.ended
    assert one.server.statistics()[f"dropped {REFUSED}"] == 1


# --- the disk ------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_follows_a_commit_is_performed_once_it_is_on_disk(peer: Start) -> None:
    one = await peer()
    told = Told(one)
    one.performer.perform(
        [fx.Commit((Write("meta", ("a",), (b"1",)),), say("then"), say("otherwise")), *say("at once")]
    )
    assert [await told.next(), await told.next()] == ["at once", "then"]
    assert one.database.get("meta", ("a",)) == (b"1",)
    one.performer.perform([fx.Commit((Write("meta", ("b",), (b"2",)),)), fx.Commit((), say("last"))])
    assert await told.next() == "last"
    assert one.database.get("meta", ("b",)) == (b"2",)


@pytest.mark.asyncio
async def test_a_disk_that_refuses_a_commit_is_counted_and_the_alternative_performed(
    peer: Start, caplog: pytest.LogCaptureFixture
) -> None:
    one = await peer()
    told = Told(one)
    bad = Write("meta", ("a",), (object(),))  # type: ignore[arg-type]  # sqlite has no such type
    with caplog.at_level(logging.ERROR):
        one.performer.perform([fx.Commit((bad,), say("then"), say("otherwise")), fx.Commit((bad,)), *say("next")])
        assert await told.next() == "next"
        assert await told.next() == "otherwise"
        one.performer.perform([fx.Commit((), say("last"))])
        assert await told.next() == "last"
    assert one.counters["disk refused"] == 2
    assert one.database.get("meta", ("a",)) is None


@pytest.mark.asyncio
async def test_nothing_follows_a_commit_of_a_peer_that_has_left(peer: Start) -> None:
    one = await peer()
    told = Told(one)
    one.performer.perform([fx.Commit((), say("then"))])
    await one.close()
    await asyncio.sleep(0)
    assert told.events.empty()


class Host:
    """An overlay whose disk and loop are lists: what is committed, and what the loop is to call."""

    def __init__(self) -> None:
        self.answers: list[Callable[[StoreError | None], None]] = []
        self.soon: list[Callable[[], None]] = []
        self.followed: list[Any] = []
        self.counters: Counter[str] = Counter()
        self.mishaps = Mishaps(self.counters)
        self.chronicle = None
        self.runs = Anything()
        self.loop = self.database = self
        self.closed = False
        self.performer = Performer(cast(Any, self))

    def commit(self, writes: tuple[Write, ...], answer: Callable[[StoreError | None], None], *, patient: bool) -> None:
        self.answers.append(answer)

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.soon.append(callback)

    def follow(self, effects: tuple[fx.Effect, ...], touched: int) -> None:
        self.followed += [effect.event for effect in effects if isinstance(effect, fx.Notify)]
        if "broken" in self.followed[-1:]:
            raise RuntimeError("a mistake of ours")

    def turn(self) -> int:
        """A turn of the loop: how many calls it made."""
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()
        return len(soon)


class Anything:
    """Has whatever it is asked for."""

    def __getattr__(self, name: str) -> None:
        return None


def test_what_follows_from_the_commits_of_one_transaction_wakes_the_loop_once() -> None:
    host = Host()
    host.performer.perform([fx.Commit((), say(word), say(f"no {word}")) for word in "abc"])
    host.performer.perform([fx.Commit(())])  # nothing follows from it
    for answer, error in zip(host.answers, (None, StoreError("full"), None, None), strict=True):
        answer(error)
    assert host.followed == []
    assert host.turn() == 1
    assert host.followed == ["a", "no b", "c"]
    assert host.counters["disk refused"] == 1
    host.performer.perform([fx.Commit((), say("d"))])
    host.answers[-1](None)
    assert host.turn() == 1
    assert host.followed[-1] == "d"


def test_a_commit_that_ends_while_others_are_followed_is_followed_in_the_same_turn_or_the_next() -> None:
    host = Host()
    host.performer.perform([fx.Commit((), say("a")), fx.Commit((), say("b"))])
    first, second = host.answers
    followed = host.follow

    def meanwhile(effects: tuple[fx.Effect, ...], touched: int) -> None:
        followed(effects, touched)
        if host.followed == ["a"]:
            second(None)

    host.follow = meanwhile  # type: ignore[method-assign]
    first(None)
    host.turn()
    assert host.followed == ["a", "b"]
    while host.turn():  # it was woken again, for nothing
        pass
    assert host.followed == ["a", "b"]


def test_a_mistake_in_what_follows_a_commit_costs_nothing_that_follows_from_others() -> None:
    host = Host()
    host.performer.perform([fx.Commit((), say(word)) for word in ("broken", "b")])
    for answer in host.answers:
        answer(None)
    host.turn()
    assert host.followed == ["broken", "b"]
    assert host.counters["mishap what follows a commit"] == 1
    host.performer.perform([fx.Commit((), say("c"))])
    host.answers[-1](None)
    host.turn()
    assert host.followed[-1] == "c"


def test_a_commit_that_outlives_its_loop_is_told_to_nobody() -> None:
    host = Host()
    host.performer.perform([fx.Commit((), say("then")), fx.Commit((), say("then"))])
    host.closed = True
    for answer in host.answers:
        answer(None)  # in the store's thread: an exception here would end it
    assert host.soon == host.followed == []


@pytest.mark.asyncio
async def test_blobs_are_gathered_from_the_sender_and_on_disk_before_what_follows(peer: Start) -> None:
    one = await peer()
    two = await peer(one)
    told = Told(one)
    mine, theirs = b"mine", b"theirs" * 100_000
    one.shelf.put(digest(mine), mine, JOB, 60.0)
    two.shelf.put(digest(theirs), theirs, JOB, 60.0)
    wanted = (digest(mine), digest(theirs))
    one.performer.perform([fx.Gather(two.peer.contact, wanted, JOB, 60.0, say("then"), say("otherwise"))])
    assert await told.next() == "then"
    store = BlobStore(one.data_dir / "blobs")
    assert [store.size(name) for name in wanted] == [len(mine), len(theirs)]
    assert one.counters["blobs not had"] == 0


@pytest.mark.asyncio
async def test_a_blob_that_cannot_be_had_leads_to_the_alternative(peer: Start) -> None:
    one = await peer()
    two = await peer(one)
    told = Told(one)
    there = digest(b"there")
    two.shelf.put(there, b"there", JOB, 60.0)
    gather = fx.Gather(two.peer.contact, (there, bytes(32)), JOB, 60.0, say("then"), say("otherwise"))
    one.performer.perform([gather])
    assert await told.next() == "otherwise"
    assert one.counters["blobs not had"] == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("at_hand", [True, False])
async def test_blobs_that_the_disk_refuses_are_not_gathered(
    at_hand: bool, peer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await peer()
    two = await peer(one)
    told = Told(one)
    two.shelf.put(digest(b"blob"), b"blob", JOB, 60.0)
    await two.shelf.flush()

    def full(*_: Any) -> bool:
        raise StoreError("the disk is full")

    for name in ("put_part", "put_all"):
        monkeypatch.setattr(one.shelf._store, name, full)
    if at_hand:
        one.shelf.put(digest(b"blob"), b"blob", JOB, 60.0)
        await one.shelf.flush()
    one.performer.perform([
        fx.Gather(two.peer.contact, (digest(b"blob"),), JOB, 60.0, say("then"), say("otherwise"))
    ])  # fmt: skip
    assert await told.next() == "otherwise"  # it is in memory, and would not outlive this peer
    assert one.counters["blobs not had"] == 1


@pytest.mark.asyncio
async def test_a_job_is_loaded_from_disk_and_given_to_the_machine(peer: Start, monkeypatch: Any) -> None:
    one = await peer()
    told, made = Told(one), Made()
    extend = made.segment(2, 1)
    body = settling(made.job, [(0, 2)])
    header = signed(LogHeader(made.job, 0, GRANTOR.id, 0, bytes(32), digest(body), 2, [(0, 2)]), GRANTOR)
    row = (0, 3, pages.SIGNED.encode(extend.segment), pages.PAGES.encode(extend.pages))
    one.database.commit([
        Write("segments", (made.job, 0), row),
        Write("logs", (made.job, GRANTOR.id, 0, 0), (pages.SIGNED.encode(header), body)),
    ])  # fmt: skip
    one.database.drop_expired(0.0)
    adopted: list[Any] = []

    def adopt(*arguments: Any) -> list[fx.Effect]:
        adopted.append(arguments[:3])
        return list(say("adopted"))

    one.peer.adopt = adopt  # type: ignore[method-assign]
    one.performer.perform([fx.Load(made.job)])
    assert adopted == [], "nothing is known of such a job (any more)"
    monkeypatch.setattr(one.peer.presiding, "authority", lambda job: Authority(made.spec))
    one.performer.perform([fx.Load(made.job)])
    assert await told.next() == "adopted"
    assert adopted == [(made.job, [(extend.segment, extend.pages)], [(0, 2)])]


@pytest.mark.asyncio
async def test_a_job_that_cannot_be_taken_over_is_counted(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await peer()

    def refuse(error: Exception) -> Any:
        def raising(*_: Any) -> Any:
            raise error

        return raising

    monkeypatch.setattr(one.peer, "adopt", refuse(PeerError("the job key does not open")))
    monkeypatch.setattr(one.peer.presiding, "authority", lambda job: Authority(Made().spec))
    one.performer.perform([fx.Load(JOB)])
    assert one.counters["jobs not taken over"] == 1
    monkeypatch.setattr(one.database, "scan", refuse(StoreError("the disk does not answer")))
    one.performer.perform([fx.Load(JOB)])
    assert one.counters["disk refused"] == 1
    assert not [name for name in one.counters if name.startswith("mishap")]


@pytest.mark.asyncio
async def test_of_a_job_that_is_known_no_more_nothing_is_read(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one, made = await peer(), Made()
    body = settling(made.job, [(0, 2)])
    header = signed(LogHeader(made.job, 0, GRANTOR.id, 0, bytes(32), digest(body), 2, [(0, 2)]), GRANTOR)
    one.database.commit([Write("logs", (made.job, GRANTOR.id, 0, 0), (pages.SIGNED.encode(header), body))])
    one.database.drop_expired(0.0)
    found: list[Any] = []
    monkeypatch.setattr(one.peer, "reviewed", lambda job, stale, now: found.append(stale) or [])
    monkeypatch.setattr(one.peer, "inputs_loaded", lambda job, indices, log, now: found.append(len(log)) or [])
    asked = [fx.Review(made.job), fx.LoadInputs(made.job, (1,))]
    one.performer.perform(asked)
    monkeypatch.setattr(one.peer.presiding, "authority", lambda job: Authority(made.spec))
    one.performer.perform(asked)
    assert found == [[], 0, [], 1]
    monkeypatch.setattr(one.database, "scan", _refusing)
    one.performer.perform(asked)
    assert found[4:] == [0] and one.counters["disk refused"] == 2


def _refusing(*_: object) -> None:
    raise StoreError("the disk does not answer")


# --- the program ---------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_words_on_a_job_reach_the_question_and_all_else_the_program(peer: Start) -> None:
    one = await peer()
    heard: list[Any] = []
    one.listeners[JOB] = heard.append
    started = events.Started(JOB, [1, 2])
    one.performer.perform([fx.Notify(started), fx.Notify(events.Started(b"\2" * 20, [1]))])
    assert heard == [started]

    def ask(ticket: int) -> int:
        explained = events.Explained(ticket, one.peer.contact, "runs", "")
        one.performer.perform([fx.Notify(explained)])
        return 1

    (answer,) = await asyncio.wait_for(one.questions.poll(ask, 30.0), 10)
    assert answer.code == "runs"
