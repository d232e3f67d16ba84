"""Questions: each resolves with its own answer, a silent peer is not waited for, and a node that stops frees all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from p2pcpn.errors import PeerError, Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.questions import Questions
from p2pcpn.protocol.events import Explained
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import contact

PEER, OTHER = Keypair(b"\1" * 32).id, Keypair(b"\2" * 32).id
DIGEST = b"\3" * 32


@pytest_asyncio.fixture
async def questions() -> AsyncIterator[Questions]:
    questions = Questions(asyncio.get_running_loop())
    yield questions
    questions.close()


def part(offset: int, data: bytes, size: int = 6) -> m.BlobData:
    return m.BlobData(1, DIGEST, size, offset, data)


async def asked(questions: Questions, wait_s: float = 30.0, blob_bytes_max: int = 100) -> asyncio.Task[m.Message]:
    """Request 1 to the peer, under way."""
    sent = asyncio.Event()
    task = asyncio.ensure_future(questions.request(PEER, 1, sent.set, wait_s, blob_bytes_max))
    await sent.wait()
    return task


@pytest.mark.asyncio
async def test_an_operation_ends_with_the_event_of_its_own_ticket(questions: Questions) -> None:
    begun: asyncio.Queue[int] = asyncio.Queue()
    tasks = [asyncio.ensure_future(questions.operation(begun.put_nowait)) for _ in range(2)]
    tickets = [await begun.get() for _ in tasks]
    assert len(set(tickets)) == len(questions) == 2
    for ticket in reversed(tickets):
        questions.ended(ticket, f"end of {ticket}")
        questions.ended(ticket, "a second end")
    questions.ended(99, "nobody's")
    assert await asyncio.gather(*tasks) == [f"end of {ticket}" for ticket in tickets]
    assert len(questions) == 0


@pytest.mark.asyncio
async def test_an_operation_that_ends_while_it_begins_is_not_missed(questions: Questions) -> None:
    assert await questions.operation(lambda ticket: questions.ended(ticket, "at once")) == "at once"


@pytest.mark.asyncio
async def test_a_request_is_answered_by_the_peer_and_number_it_was_put_to(questions: Questions) -> None:
    task = await asked(questions)
    assert questions.waits_for(PEER)
    assert not questions.waits_for(OTHER)
    answer = m.Answer(1, 0, "yes")
    assert questions.answered(OTHER, 1, answer) is False
    assert questions.answered(PEER, 2, answer) is False
    assert questions.answered(PEER, 1, answer) is True
    assert questions.answered(PEER, 1, m.Answer(1, 0, "again")) is True
    assert await task == answer
    assert not questions.waits_for(PEER)
    assert questions.answered(PEER, 1, answer) is False


@pytest.mark.asyncio
async def test_a_peer_that_says_nothing_is_not_waited_for_longer(questions: Questions) -> None:
    with pytest.raises(Unreachable, match=r"did not answer within 0\.01 s"):
        await questions.request(PEER, 1, lambda: None, 0.01)
    assert len(questions) == 0


@pytest.mark.asyncio
async def test_a_peer_that_is_gone_will_answer_nothing(questions: Questions) -> None:
    task = await asked(questions)
    questions.gone(OTHER, "lost")
    assert not task.done()
    questions.gone(PEER, "its session was lost")
    with pytest.raises(Unreachable, match="is gone: its session was lost"):
        await task


@pytest.mark.asyncio
async def test_the_parts_of_a_blob_become_one_answer(questions: Questions) -> None:
    task = await asked(questions)
    for each in (part(0, b"ab"), part(2, b"cd"), part(4, b"ef")):
        questions.part(PEER, each)
    assert await task == m.BlobData(1, DIGEST, 6, 0, b"abcdef")
    questions.part(PEER, part(7, b"late"))  # to a question that is over


@pytest.mark.asyncio
async def test_an_empty_blob_is_a_blob(questions: Questions) -> None:
    task = await asked(questions)
    questions.part(PEER, part(0, b"", size=0))
    assert await task == m.BlobData(1, DIGEST, 0, 0, b"")


@pytest.mark.asyncio
@pytest.mark.parametrize("comes", [3, 2])
async def test_each_part_renews_the_wait(comes: int, questions: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def wait(_: Any, timeout: float) -> None:
        """All of the wait passes, and one part has come in it."""
        if len(waits) < comes:
            questions.part(PEER, part(len(waits), b"x", size=3))
        waits.append(timeout)

    monkeypatch.setattr(asyncio, "wait", wait)
    request = questions.request(PEER, 1, lambda: None, 10.0, 100)
    if comes == 3:
        answer: Any = await request
        assert answer.data == b"xxx"
    else:
        with pytest.raises(Unreachable, match="did not answer within 10 s"):
            await request
    assert waits == [10.0] * 3


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "bad",
    [
        part(1, b"b"),  # a gap before it
        part(0, b"abcdefg"),  # more than was promised
        part(0, b""),  # it would never end
        part(0, b"ab", size=101),  # more than was asked for
    ],
)
async def test_a_part_that_does_not_fit_is_the_peers_fault(bad: m.BlobData, questions: Questions) -> None:
    task = await asked(questions)
    with pytest.raises(PeerError, match="part of a blob"):
        questions.part(PEER, bad)
    assert not task.done()
    questions.part(OTHER, bad)  # who was not asked is not listened to
    task.cancel()


@pytest.mark.asyncio
async def test_no_blob_is_taken_for_an_answer_where_none_was_asked_for(questions: Questions) -> None:
    task = asyncio.ensure_future(questions.request(PEER, 1, lambda: None, 30.0))
    await asyncio.sleep(0)
    with pytest.raises(PeerError):
        questions.part(PEER, part(0, b"ab"))
    task.cancel()


@pytest.mark.asyncio
async def test_a_poll_ends_when_all_that_were_asked_have_answered(questions: Questions) -> None:
    begun: asyncio.Queue[int] = asyncio.Queue()

    def ask(ticket: int) -> int:
        begun.put_nowait(ticket)
        return 2

    task = asyncio.ensure_future(questions.poll(ask, 30.0))
    ticket = await begun.get()
    words = [
        Explained(ticket, contact(peer, ("127.0.0.1", 1)), code, "") for peer, code in ((PEER, "runs"), (OTHER, "busy"))
    ]
    questions.explained(Explained(ticket + 1, words[0].peer, "unseen", "of another question"))
    for each in words:
        questions.explained(each)
    assert await asyncio.wait_for(task, 5) == words
    assert len(questions) == 0


@pytest.mark.asyncio
async def test_a_poll_of_nobody_ends_at_once_and_silence_ends_any(questions: Questions) -> None:
    assert await asyncio.wait_for(questions.poll(lambda ticket: 0, 30.0), 5) == []

    def ask(ticket: int) -> int:
        questions.explained(Explained(ticket, contact(PEER, ("127.0.0.1", 1)), "runs", "already"))
        return 2

    (heard,) = await questions.poll(ask, 0.01)
    assert heard.text == "already"


@pytest.mark.asyncio
async def test_a_node_that_stops_leaves_nobody_waiting(questions: Questions) -> None:
    request = await asked(questions)
    begun: asyncio.Queue[int] = asyncio.Queue()
    operation = asyncio.ensure_future(questions.operation(begun.put_nowait))
    poll = asyncio.ensure_future(questions.poll(lambda ticket: begun.put_nowait(ticket) or 1, 30.0))
    for _ in range(2):
        await begun.get()
    assert len(questions) == 3
    questions.close()
    _, pending = await asyncio.wait([request, operation, poll], timeout=5)
    assert not pending
    assert request.cancelled()
    assert operation.cancelled()
    assert poll.result() == []
    assert len(questions) == 0
