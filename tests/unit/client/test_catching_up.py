"""Catching up: what nobody told the submitter of a distributed job it reads; what was given up it does not await."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from p2pcpn.client import catching_up
from p2pcpn.client.options import Options
from p2pcpn.client.submission import Submission
from p2pcpn.errors import JobError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol.relaying import Relaying

Peers = Callable[..., Awaitable[Overlay]]
OWNER = Keypair(b"\3" * 32)
BOTH = ("compute", "storage")


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody tells the submitter anything, and it soon looks for itself."""
    monkeypatch.setattr(Relaying, "relayed", lambda self, effects, kept, own, now: [])
    monkeypatch.setattr(catching_up, "SILENT_S", 0.05)
    monkeypatch.setattr(catching_up, "SILENT_S_MAX", 0.1)


async def opened(client: Overlay, **options: Any) -> Submission:
    return await Submission.open(client, OWNER, Options(replicas=1, orchestration="distributed", **options), None)


async def value(future: Any) -> Any:
    async with asyncio.timeout(20):
        while not future.done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return future.result()


@pytest.mark.asyncio
async def test_the_submitter_of_a_distributed_job_grants_nothing_and_is_told_of_results(peer: Peers) -> None:
    keeper = await peer(roles=BOTH)
    client = await peer(keeper)
    submission = await opened(client)
    assert [await value(submission.submit(pow, (2, index), {})) for index in range(4)] == [1, 2, 4, 8]
    assert not client.peer.grantors[submission.job].granting
    assert [grantor.epoch for grantor in keeper.peer.jobs.granted.of(submission.job)] == [1]
    await submission.close()
    assert await submission.replicated(10) and await submission.kept(10) == 1
    submission.forget()


@pytest.mark.asyncio
async def test_large_results_lie_on_the_disk_of_whoever_granted_them(peer: Peers) -> None:
    keeper = await peer(roles=("storage",))
    await peer(keeper, roles=("compute",))
    client = await peer(keeper)
    submission = await opened(client)
    assert len(await value(submission.submit(bytes, (300_000,), {}))) == 300_000
    await submission.close()
    assert await submission.replicated(10)
    await keeper.shelf.flush()
    keeper.database.drop_expired(0.0)  # waits for what was queued
    sizes = [size for _, (size, *_) in keeper.database.scan("blobs")]
    assert any(isinstance(size, int) and size > 300_000 for size in sizes), "its own copy was counted"
    submission.forget()


@pytest.mark.asyncio
@pytest.mark.usefixtures("untold")
async def test_what_it_is_not_told_it_reads(peer: Peers) -> None:
    keeper = await peer(roles=BOTH)
    client = await peer(keeper)
    submission = await opened(client)
    assert await value(submission.submit(pow, (3, 2), {})) == 9
    assert await value(submission.submit(len, ("x" * 100_000,), {})) == 100_000
    assert not client.peer.grantors[submission.job].ledger.open
    submission.forget()


@pytest.mark.asyncio
@pytest.mark.usefixtures("untold")
async def test_what_was_given_up_and_not_told_fails(peer: Peers) -> None:
    keeper = await peer(roles=("storage",))
    client = await peer(keeper)
    submission = await opened(client, deadline_s=0.3)
    future = submission.submit(pow, (3, 2), {})  # and nobody is there to run it
    await submission.close()
    with pytest.raises(JobError, match="gave it up"):
        await value(future)
    submission.forget()


@pytest.mark.asyncio
async def test_a_swarm_that_cannot_be_reached_is_asked_again(peer: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "SILENT_S", 0.01)
    monkeypatch.setattr(catching_up, "SILENT_S_MAX", 0.02)
    asked: list[bytes] = []

    async def look(submission: Submission, reader: object) -> None:
        asked.append(submission.job)
        raise JobError("nobody answers")

    monkeypatch.setattr(catching_up, "_look", look)
    keeper = await peer(roles=("storage",))
    client = await peer(keeper)
    submission = await opened(client)
    submission.submit(pow, (3, 2), {})
    async with asyncio.timeout(10):
        while len(asked) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    submission.forget()
