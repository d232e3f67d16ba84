"""Jobs fetched by their id from any peer: whole, large, failed, cancelled, empty, and after deaths."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from p2pcpn import Config, JobCancelled, JobError, Node, Swarm, UsageError, WorkerDied
from p2pcpn.client import opening
from p2pcpn.client.project import project
from p2pcpn.client.submission import Options, Submission
from p2pcpn.identity.keys import Keypair

WAIT_S = 30.0


def odd(x: int) -> int:
    if x == 3:
        raise ValueError("three", x)
    if x == 4:
        os._exit(7)
    return x * 2


def slow(x: int) -> int:
    time.sleep(0.03)
    return x


def large(x: int) -> bytes:
    return bytes([x]) * (1 << 20)


@asynccontextmanager
async def client(swarm: Swarm, owner: Keypair) -> AsyncIterator[Node]:
    config = Config(profile="local", bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), durable=False)
    async with Node(config, owner=owner) as node:
        yield node


async def detached(node: Node, function: Any, count: int, **options: Any) -> str:
    """A job that was handed over to a steward; its submitter has left it."""
    submission = await Submission.open(node.overlay, node.owner, Options(**options), project(odd), granting=False)
    for i in range(count):
        submission.submit(function, (i,), {})
    await submission.close()
    await submission.kept(WAIT_S)
    await submission.hand_over()
    submission.forget()
    return submission.id


@pytest.mark.asyncio
async def test_a_job_is_fetched_by_id_while_it_runs_and_after_it_ended() -> None:
    owner = Keypair(os.urandom(32))
    with Swarm(peers=3) as swarm:
        async with client(swarm, owner) as submitter:
            job = await submitter.submit(slow, range(60))
            async with client(swarm, owner) as other:
                fetched = await other.fetch(job.id)
                seen = [result.index async for result in fetched.results(WAIT_S)]
                assert sorted(seen) == list(range(60)) and len(set(seen)) == 60
            assert await job.gather(WAIT_S) == list(range(60))
        async with client(swarm, owner) as later:
            assert await (await later.fetch(job.id)).gather(WAIT_S) == list(range(60))
        async with client(swarm, Keypair(os.urandom(32))) as stranger:
            with pytest.raises(JobError, match="no peer that answers keeps job"):
                await stranger.fetch(job.id, wait_s=1.0)
            with pytest.raises(UsageError):
                await stranger.fetch("xyz")


@pytest.mark.asyncio
async def test_a_detached_job_runs_on_and_its_failures_are_fetched_too() -> None:
    owner = Keypair(os.urandom(32))
    with Swarm(peers=3) as swarm:
        async with client(swarm, owner) as submitter:
            job_id = await detached(submitter, odd, 8)
        async with client(swarm, owner) as other:
            job = await other.fetch(job_id)
            results = {result.index: result async for result in job.results(WAIT_S)}
    assert [results[i].value for i in (0, 1, 2, 5, 6, 7)] == [0, 2, 4, 10, 12, 14]
    assert isinstance(results[3].error, ValueError) and results[3].error.args == ("three", 3)
    assert isinstance(results[4].error, (WorkerDied, JobError))


@pytest.mark.asyncio
async def test_a_detached_job_of_which_only_its_grantor_is_left_is_fetched() -> None:
    owner = Keypair(os.urandom(32))
    with Swarm(peers=1) as swarm:
        async with client(swarm, owner) as submitter:
            job_id = await detached(submitter, slow, 5)
        async with client(swarm, owner) as other:
            assert await (await other.fetch(job_id)).gather(WAIT_S) == list(range(5))


@pytest.mark.asyncio
async def test_a_job_without_tasks_is_done() -> None:
    owner = Keypair(os.urandom(32))
    with Swarm(peers=2) as swarm:
        async with client(swarm, owner) as node:
            job = await node.submit(slow, [])
            assert await job.gather(WAIT_S) == []
            assert await (await node.fetch(job.id)).gather(WAIT_S) == []
            job_id = await detached(node, slow, 0)
            assert await (await node.fetch(job_id)).gather(WAIT_S) == []


@pytest.mark.asyncio
async def test_a_detached_job_is_cancelled_by_its_owner_from_anywhere() -> None:
    owner = Keypair(os.urandom(32))
    with Swarm(peers=2) as swarm:
        async with client(swarm, owner) as submitter:
            job_id = await detached(submitter, slow, 5000)
        async with client(swarm, owner) as other:
            job = await other.fetch(job_id)
            await job.cancel()
            began = time.monotonic()
            job = await other.fetch(job_id)
            results = [result async for result in job.results(WAIT_S)]
            assert time.monotonic() - began < 20 and len(results) == 5000
            assert any(isinstance(result.error, JobCancelled) for result in results)


@pytest.mark.asyncio
async def test_large_results_outlive_their_worker_and_their_grantor() -> None:
    owner = Keypair(os.urandom(32))
    with Swarm(peers=4) as swarm:
        async with client(swarm, owner) as submitter:
            submission = await Submission.open(submitter.overlay, owner, Options(replicas=3), project(odd))
            futures = [submission.submit(large, (i,), {}) for i in range(8)]
            await asyncio.gather(*(asyncio.wrap_future(future) for future in futures))
            await submission.close()
            assert await submission.replicated(WAIT_S)
            busiest = max(submission.by_peer, key=lambda key: submission.by_peer[key])
        # The grantor has left; the peer that ran most of it dies.
        victim = next(peer for peer in swarm.peers if peer.id == busiest.hex())
        swarm.kill(victim.index)
        async with client(swarm, owner) as other:
            job = await other.fetch(submission.id)
            assert await job.gather(WAIT_S) == [large(i) for i in range(8)]


@pytest.mark.asyncio
@pytest.mark.parametrize("why", ["package", "python"])
async def test_what_no_peer_may_run_is_declined_with_a_reason_that_explain_shows(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Keypair(os.urandom(32))
    requires: tuple[str, ...] = ()
    if why == "package":
        requires, words = ("a_package_nobody_has",), "lacks the package a_package_nobody_has"
    else:
        monkeypatch.setattr(opening, "python_version", lambda: "3.99")
        words = "the job needs Python 3.99"
    with Swarm(peers=2) as swarm:
        async with client(swarm, owner) as node:
            submission = await Submission.open(node.overlay, owner, Options(requires=requires), None)
            future = submission.submit(pow, (2, 2), {})
            async with asyncio.timeout(WAIT_S):
                said: list[Any] = []
                while sum(each.code == "declined" for each in said) < 2:
                    said = await node.overlay.explain(submission.job)
                    await asyncio.sleep(0.05)
            assert all(words in each.text for each in said if each.code == "declined")
            assert not future.done()
            await submission.cancel_job()
            assert isinstance(future.exception(0), JobCancelled)
            submission.forget()
