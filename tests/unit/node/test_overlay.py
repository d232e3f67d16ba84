"""An overlay joins, talks, keeps what it knows over a restart, and leaves nothing behind, whatever went wrong."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.config import Config
from p2pcpn.errors import PeerError, StoreError, Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.net.session import BAD_MESSAGE
from p2pcpn.node.mishaps import MESSAGES_MAX
from p2pcpn.node.overlay import AT_ONCE, Faults, Overlay
from p2pcpn.protocol import events
from p2pcpn.protocol.dht import BootstrapFailed, Joined
from p2pcpn.protocol.items import record_key
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import contact
from tests.unit.protocol.leased import Made

Start = Callable[..., Awaitable[Overlay]]
OWNER = Keypair(b"\3" * 32)
JOB = b"\1" * 20


async def turns(reached: Callable[[], Any], wait_s: float = 10.0) -> None:
    async with asyncio.timeout(wait_s):
        while not reached():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def talk(one: Overlay, other: Overlay) -> m.Message:
    return await one.request(other.peer.contact, lambda request: m.Ask(request, JOB))


@pytest.mark.asyncio
async def test_peers_find_each_other_and_talk(peer: Start) -> None:
    first = await peer()
    second = await peer(first)
    await asyncio.wait_for(second.joined.wait(), 10)
    await asyncio.wait_for(first.known.wait(), 10)
    await second.wait_known(1.0)
    answer = await talk(second, first)
    assert isinstance(answer, m.Answer) and first.id in second.sessions and second.id in first.sessions
    assert not second.congested and second.statistics()["sessions"]["sessions"] == 1
    assert set(first.statistics()) >= {"pairs", "udp", "sessions", "dht", "gossip", "peer", "node"}


@pytest.mark.asyncio
async def test_records_are_put_by_one_and_got_by_another(peer: Start) -> None:
    first = await peer()
    second, third = await peer(first), await peer(first)
    await second.put_record(OWNER, b"salt", b"value", 60.0)
    found = await third.get_record(record_key(OWNER.public, b"salt"))
    assert found.record is not None and found.record.value == b"value"
    assert (await third.get_record(record_key(OWNER.public, b"nothing"))).record is None


@pytest.mark.asyncio
async def test_peers_explain_what_they_do_not_run(peer: Start) -> None:
    first = await peer()
    second = await peer(first)
    assert [(each.peer.id, each.code) for each in await second.explain(JOB)] == [(first.id, "unseen")]
    alone = await peer()
    assert await alone.explain(JOB, 0.01) == []


@pytest.mark.asyncio
async def test_who_does_not_answer_is_unreachable(peer: Start) -> None:
    first = await peer()
    second = await peer(first)
    with socket.socket() as unused, pytest.raises(Unreachable, match="is gone"):
        unused.bind(("127.0.0.1", 0))
        nobody = contact(b"n" * 20, unused.getsockname())
        await second.request(nobody, lambda request: m.Ask(request, JOB))
    alone = await peer()
    with pytest.raises(Unreachable, match="no peer came within 0 s"):
        await alone.wait_known(0.0)


@pytest.mark.asyncio
async def test_the_end_of_a_session_ends_what_was_asked_over_it(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await peer()
    second = await peer(first)
    await talk(second, first)
    monkeypatch.setattr(first.library, "take", lambda session, _: session.close("closed") or True)
    with pytest.raises(Unreachable, match="is gone"):
        await talk(second, first)
    await turns(lambda: first.id not in second.sessions and second.id not in first.sessions)


@pytest.mark.asyncio
async def test_what_a_message_breaks_costs_that_message_alone(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await peer()
    second = await peer(first)
    await talk(second, first)
    with monkeypatch.context() as patch:
        patch.setattr(first.library, "take", lambda *_: 1 / 0)
        with pytest.raises(Unreachable):
            await second.request(first.peer.contact, lambda request: m.Ask(request, JOB), 0.02)
        patch.setattr(first.peer, "datagram_received", lambda *_: 1 / 0)
        first._datagrams([(b"x", ("127.0.0.1", 1))])
    assert first.counters["mishap a message Ask"] == 1 and first.counters["mishap a datagram"] == 1
    await talk(second, first)
    session = first.sessions.get(second.id)
    assert session is not None
    with pytest.raises(PeerError):
        first._message(session, b"\xc1")


@pytest.mark.asyncio
async def test_who_goes_on_saying_what_breaks_us_loses_its_session_and_begins_anew(
    peer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await peer()
    second = await peer(first)
    await talk(second, first)
    session = first.sessions.get(second.id)
    assert session is not None
    asked = m.CODEC.encode(m.Ask(1, JOB))
    with monkeypatch.context() as patch:
        patch.setattr(first.library, "take", lambda *_: 1 / 0)
        for _ in range(MESSAGES_MAX - 1):
            first._message(session, asked)
        with pytest.raises(PeerError, match="64 messages"):
            first._message(session, asked)
    session.abort("bad message")
    await turns(lambda: first.sessions.get(second.id) is not session)
    await talk(second, first)
    assert not first.mishaps.of


@pytest.mark.asyncio
async def test_what_goes_to_the_machines_at_once_is_nothing_that_the_library_deals_with(
    peer: Start, unwired: Any
) -> None:
    one = await peer()
    made = Made()
    made.segment(1)
    messages = [
        made.grant((0, 1)), m.Results(made.spec, b"", True), m.Settled(made.job, [(1, 0)]),
        m.Append(1, made.spec, b""), m.Further(made.job, 0, 1, []),
    ]  # fmt: skip
    assert {type(message) for message in messages} == AT_ONCE
    assert not any(one.library.take(unwired(OWNER), message) for message in messages)


@pytest.mark.asyncio
async def test_a_session_that_work_depends_on_makes_no_room(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await peer()
    second = await peer(first)
    await talk(second, first)
    session = second.sessions.get(first.id)
    assert session is not None and not second._keeps(session)
    monkeypatch.setattr(second.peer, "works_with", lambda _: True)
    assert second._keeps(session)


@pytest.mark.asyncio
async def test_the_program_above_hears_of_its_jobs_and_of_everything(peer: Start) -> None:
    overlay = await peer()
    mine: list[object] = []
    all_of_it: list[object] = []
    overlay.listeners[JOB] = mine.append
    overlay.watchers.append(all_of_it.append)
    of_job, other = events.Started(JOB, [1]), events.Started(b"x" * 20, [1])
    for event in (of_job, other, BootstrapFailed((), 1.0)):
        overlay.tell(event)
    assert mine == [of_job] and all_of_it[:2] == [of_job, other] and not overlay.joined.is_set()
    overlay.tell(Joined(1))
    assert overlay.joined.is_set()


@pytest.mark.asyncio
async def test_a_node_that_restarts_knows_its_key_its_peers_and_its_records(peer: Start, tmp_path: Path) -> None:
    other = await peer()
    first = await peer(other, data_dir=tmp_path, durable=False)
    await asyncio.wait_for(first.joined.wait(), 10)
    await other.put_record(OWNER, b"salt", b"value", 600.0)
    await turns(lambda: first.database.count("records") > 0)
    identity, boot = first.id, first.boot
    await first.close()
    await first.close()
    again = await peer(data_dir=tmp_path, durable=False)
    assert again.id == identity and again.boot > boot
    await asyncio.wait_for(again.known.wait(), 10)  # of whom no address was given
    found = await again.get_record(record_key(OWNER.public, b"salt"))
    assert found.record is not None


@pytest.mark.asyncio
async def test_nothing_temporary_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Overlay(Config(profile="local", roles=())) as overlay:
        assert overlay.data_dir.parent == tmp_path and overlay.data_dir.stat().st_mode & 0o077 == 0
    Overlay(Config(profile="local", roles=()))
    assert os.listdir(tmp_path) == []


@pytest.mark.asyncio
async def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    overlay = Overlay(Config(profile="local", roles=()))

    async def refuse(*_: Any, **__: Any) -> Any:
        raise StoreError("no")

    with monkeypatch.context() as patch:
        patch.setattr("p2pcpn.node.overlay.UdpEndpoint.open", refuse)
        with pytest.raises(StoreError):
            await overlay.start()
    assert os.listdir(tmp_path) == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(overlay.address)  # the port is given back


@pytest.mark.asyncio
async def test_what_cannot_be_closed_does_not_keep_the_rest_open(peer: Start) -> None:
    overlay = await peer()
    overlay._undo.append(lambda: 1 / 0)
    await overlay.close()
    assert overlay.counters["mishap closing"] == 1
    overlay.follow([])  # nothing any more


@pytest.mark.asyncio
async def test_a_background_task_that_fails_is_counted(peer: Start) -> None:
    overlay = await peer()

    async def fail() -> None:
        raise ArithmeticError

    task = overlay.spawn(fail())
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert overlay.counters["tasks failed"] == 1


@pytest.mark.asyncio
async def test_with_a_tenth_of_all_datagrams_lost_peers_still_find_each_other(peer: Start) -> None:
    lossy = Faults(datagram_loss=0.1)
    first = await peer(faults=lossy, seed=1)
    second = await peer(first, faults=lossy, seed=2)
    await second.put_record(OWNER, b"salt", random.Random(1).randbytes(100), 60.0)
    assert (await first.get_record(record_key(OWNER.public, b"salt"))).record is not None


@pytest.mark.asyncio
async def test_a_peer_that_computes_runs_batches(peer: Start) -> None:
    overlay = await peer(roles=("compute",))
    assert overlay.runs.runtime is not None and overlay.slots == 1


@pytest.mark.asyncio
async def test_congestion_counts_what_waits_for_sessions_and_disk(peer: Start) -> None:
    overlay = await peer()
    overlay.shelf.unwritten_bytes += limits.CONGESTED_BYTES + 1
    assert not overlay.congested  # the disk lets others go first, and memory has room
    overlay.shelf.unwritten_bytes += limits.HELD_BYTES_MAX
    assert overlay.congested
    overlay.shelf.unwritten_bytes = 0


@pytest.mark.asyncio
async def test_peers_of_another_swarm_never_know_each_other(peer: Start) -> None:
    first = await peer()
    stranger = await peer(swarm_key=b"\x08" * 32)
    stranger.follow(stranger.peer.dht.bootstrap([contact(bytes(20), first.address)], stranger.loop.time()))
    friend = await peer(first)  # by then the stranger had its chance
    with pytest.raises(Unreachable, match="is gone"):
        await talk(stranger, first)
    assert not stranger.known.is_set()
    await first.wait_known(10.0)
    assert {row.advert.contact.id for row in first.peer.directory.listed(first.loop.time())} == {first.id, friend.id}


@pytest.mark.asyncio
async def test_of_sessions_dialled_by_both_at_once_both_keep_the_same(peer: Start) -> None:
    first = await peer()
    second = await peer(first)
    answers = await asyncio.gather(*(talk(one, other) for one, other in ((first, second), (second, first)) * 3))
    assert len(answers) == 6  # what was asked over the one that lost is answered
    assert [each.statistics()["sessions"]["dials"] for each in (first, second)] == [1, 1]
    kept = [first.sessions.get(second.id), second.sessions.get(first.id)]
    assert kept[0] is not None and kept[1] is not None
    assert kept[0].transcript == kept[1].transcript
    assert [len(each.sessions) for each in (first, second)] == [1, 1]


@pytest.mark.asyncio
async def test_a_peer_that_was_restarted_is_a_new_one_to_the_machines(
    peer: Start, unwired: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = await peer()
    told: list[str] = []
    monkeypatch.setattr(overlay.peer, "session_opened", lambda *_: told.append("opened") or [])
    monkeypatch.setattr(overlay.peer, "session_closed", lambda *_: told.append("closed") or [])
    before, after, late = (unwired(OWNER, boot=boot) for boot in (1, 2, 1))
    begun = asyncio.Event()
    waiting = asyncio.ensure_future(overlay.questions.request(OWNER.id, 1, begun.set, 60.0))
    await begun.wait()
    for session in (before, after, late):
        overlay._opened(session)
    with pytest.raises(Unreachable, match="it opened another session"):
        await asyncio.wait_for(waiting, 10)
    assert told == ["opened", "closed", "opened"]
    assert overlay.sessions.get(OWNER.id) is after
    for session in (before, late):
        overlay._closed(session, "lost")  # the end of these is no end of anything
    assert told == ["opened", "closed", "opened"]
    overlay._closed(after, "lost")
    assert told == ["opened", "closed", "opened", "closed"]


@pytest.mark.asyncio
async def test_a_session_from_no_address_is_closed(peer: Start, unwired: Any) -> None:
    overlay = await peer()
    session = unwired(OWNER)
    session.remote = replace(session.remote, address=("no number", 1), listen=None)
    overlay._opened(session)
    assert session.why == "address"
    assert len(overlay.sessions) == 0


@pytest.mark.asyncio
async def test_what_a_peer_leaves_unfinished_goes_with_its_session(peer: Start) -> None:
    first = await peer()
    second = await peer(first)
    await talk(second, first)
    first.shelf.arrive(second.id, b"d" * 32, 4, 0, b"ab", JOB, 60.0, lambda _: None)
    session = first.sessions.get(second.id)
    assert session is not None
    session.abort("lost")
    await turns(lambda: not first.shelf.arriving(b"d" * 32))


@pytest.mark.asyncio
async def test_what_the_protocol_does_not_allow_ends_the_session(peer: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await peer()
    second = await peer(first)
    await talk(second, first)

    def refuse(*_: Any) -> bool:
        raise PeerError("it asks and asks")

    monkeypatch.setattr(first.library, "take", refuse)
    with pytest.raises(Unreachable, match="is gone"):
        await talk(second, first)
    assert first.statistics()["sessions"][f"dropped {BAD_MESSAGE}"] == 1
    assert not [name for name in first.counters if name.startswith("mishap")]


@pytest.mark.asyncio
async def test_garbage_ends_the_session_it_came_over_and_no_other(peer: Start) -> None:
    first = await peer()
    second, third = await peer(first), await peer(first)
    for each in (second, third):
        await talk(each, first)
    session, other = second.sessions.get(first.id), third.sessions.get(first.id)
    assert session is not None and other is not None
    session.send(b"\xc1 is no message")
    await turns(lambda: second.id not in first.sessions)
    assert first.statistics()["sessions"][f"dropped {BAD_MESSAGE}"] == 1
    assert await talk(third, first)
    assert third.sessions.get(first.id) is other


@pytest.mark.asyncio
async def test_a_deadline_that_meets_a_mistake_is_counted_and_the_peer_goes_on(
    peer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await peer()
    second = await peer(first)
    with monkeypatch.context() as patch:
        patch.setattr(first.peer, "expire", lambda _: 1 / 0)
        patch.setattr(first.peer, "deadline", lambda: 0.0)
        first.timer.arm()
        await turns(lambda: first.counters["mishap a deadline"] == 1)
    assert await talk(second, first)


@pytest.mark.asyncio
async def test_a_peer_that_strangers_do_not_reach_takes_no_sections_and_says_what_to_do(
    peer: Start, caplog: pytest.LogCaptureFixture
) -> None:
    one = await peer()
    one.tell(events.Exposed(hidden=True, storing=False))
    assert not one.depot.ledger.storing
    assert "open its port for TCP and UDP" in caplog.text
    one.tell(events.Exposed(hidden=False, storing=True))
    assert one.depot.ledger.storing


@pytest.mark.asyncio
async def test_only_public_peers_with_a_role_ask_whether_strangers_reach_them(peer: Start) -> None:
    local, client = await peer(), await peer(profile="public", roles=())
    public = await peer(profile="public", listen="127.0.0.1:0")
    due = [one.peer.reachability.deadline() for one in (local, client, public)]
    assert due[:2] == [None, None] and due[2] is not None
