"""Dividing: a program whose job has outgrown it gives the rest to the stewards; which jobs are never divided."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.client.dividing import divide, peers_served
from p2pcpn.client.options import Options
from p2pcpn.client.submission import Submission
from p2pcpn.errors import UsageError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol import events
from p2pcpn.protocol.lots import DIVIDED_EPOCH

Peers = Callable[..., Awaitable[Overlay]]
OWNER = Keypair(b"\3" * 32)
BOTH = ("compute", "storage")


@pytest.mark.parametrize(
    ("options", "peers"),
    [
        ({}, limits.GRANTOR_PEERS),
        ({"divide_at": 7}, 7),
        ({"divide_at": None}, 0),
        ({"divide_at": 7, "max_workers": 4}, 0),
        ({"divide_at": 7, "orchestration": "centralised"}, 0),
        ({"divide_at": 7, "orchestration": "distributed"}, 0),
    ],
)
def test_hybrid_jobs_of_any_width_are_divided(options: dict[str, Any], peers: int) -> None:
    assert peers_served(Options(**options)) == peers


@pytest.mark.parametrize("divide_at", [0, limits.SESSIONS_MAX + 1, "many"])
def test_a_number_of_peers_that_cannot_be_is_an_error(divide_at: Any) -> None:
    with pytest.raises(UsageError, match="divide_at"):
        Options(divide_at=divide_at)


async def value(future: Any) -> Any:
    async with asyncio.timeout(30):
        while not future.done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return future.result()


@pytest.mark.asyncio
async def test_a_divided_job_goes_on_as_ever_for_its_program(peer: Peers) -> None:
    keepers = [await peer(roles=BOTH)]
    keepers.append(await peer(keepers[0], roles=BOTH))
    client = await peer(keepers[0])
    submission = await Submission.open(client, OWNER, Options(replicas=1), None, gather=2)
    assert await value(submission.submit(pow, (2, 3), {})) == 8
    submission._event(events.Outgrown(submission.job))
    await asyncio.sleep(0)
    grantor = client.peer.grantors[submission.job]
    assert grantor.division is not None and grantor.granting
    divide(submission)  # again is nothing
    futures = [submission.submit(pow, (2, index), {}) for index in range(40)]
    assert [await value(future) for future in futures] == [2**index for index in range(40)]
    epochs = [g.epoch for keeper in keepers for g in keeper.peer.jobs.granted.of(submission.job)]
    assert sorted(epochs) == [DIVIDED_EPOCH, DIVIDED_EPOCH + 1]
    await submission.close()
    assert await submission.replicated(20) and await submission.kept(20) == 2
    submission.forget()


@pytest.mark.asyncio
async def test_what_another_grants_is_not_divided_here(peer: Peers) -> None:
    keeper = await peer(roles=BOTH)
    client = await peer(keeper)
    submission = await Submission.open(client, OWNER, Options(replicas=1), None)
    grantor = client.peer.grantors[submission.job]
    client.follow(grantor.step_down(client.loop.time()))
    divide(submission)
    assert grantor.division is None
    submission.forget()
    divide(submission)
