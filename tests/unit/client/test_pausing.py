"""A job that runs elsewhere pauses and goes on by its owner's newest word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from p2pcpn.client import pausing
from p2pcpn.client.job import Fetched, Job, Submitted
from p2pcpn.client.options import Options
from p2pcpn.client.pausing import pause_kept, pause_statement
from p2pcpn.client.reader import Reader
from p2pcpn.client.submission import Submission
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.wire.statements import Pause, opened

Peers = Callable[..., Awaitable[Overlay]]
OWNER = Keypair(b"\3" * 32)


def test_a_later_word_has_a_higher_number_also_where_clocks_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pausing.time, "time", lambda: 5.0)
    first = opened(pause_statement(bytes(20), OWNER, 0, paused=True), Pause)
    assert first == Pause(bytes(20), 5000, True)
    assert opened(pause_statement(bytes(20), OWNER, 9000, paused=False), Pause) == Pause(bytes(20), 9001, False)


@pytest.mark.asyncio
async def test_the_word_lies_on_the_stewards_reaches_the_grantor_and_readers_see_it(peer: Peers) -> None:
    keeper = await peer(roles=("storage",))
    client = await peer(keeper)
    submission = await Submission.open(client, OWNER, Options(replicas=1), None)
    submission.submit(pow, (2, 2), {})
    await submission.kept(10)
    reader = Reader(await peer(keeper), OWNER, submission.job)
    await reader.find()
    grantor = client.peer.grantors[submission.job]
    assert not reader.paused and await pause_kept(reader, paused=True) == 1
    await reader.refresh()
    assert reader.paused
    while not grantor.paused:
        await client.request(keeper.peer.contact, _ping(submission.job))
    first = reader.pause_number
    job = Job(Submitted(submission, []))
    await job.resume()
    assert not grantor.paused
    while reader.paused:
        await reader.refresh()
    assert reader.pause_number > first
    fetched = Job(Fetched(reader))
    await fetched.pause()
    while not grantor.paused:
        await client.request(keeper.peer.contact, _ping(submission.job))
    await fetched.resume()
    while grantor.paused:
        await client.request(keeper.peer.contact, _ping(submission.job))


def _ping(job: bytes) -> Callable[[int], object]:
    """Something to wait for while messages travel."""
    from p2pcpn.wire.messages import Ask

    return lambda request: Ask(request, job)
