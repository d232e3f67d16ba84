"""A job is opened: its stewards are found, its spec is signed, and each of them can open the job's key."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest

from p2pcpn.client import opening
from p2pcpn.client.bundle import Bundle
from p2pcpn.client.opening import open_job, stewards_near
from p2pcpn.client.options import Options
from p2pcpn.errors import Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol.admission import OPEN_SWARM
from p2pcpn.wire.sealing import JobKeys, digest, job_id, unseal, unwrap
from p2pcpn.wire.statements import Spec, opened

Peers = Callable[..., Awaitable[Overlay]]
OWNER = Keypair(b"\3" * 32)


@pytest.mark.asyncio
async def test_the_spec_says_what_was_asked_for_and_wraps_the_key_for_owner_and_stewards(peer: Peers) -> None:
    keeper = await peer(roles=("storage",))
    client = await peer(keeper)
    options = Options(name="x" * 300, replicas=3, max_workers=4, requires=("numpy",), output=False, render=True)
    made = await open_job(client, OWNER, options, Bundle(b"zip", b"", {}, {}))
    spec = opened(made.spec, Spec)
    assert made.job == job_id(OWNER.public, made.spec.body) and len(spec.name) == 200
    assert (spec.replicas, spec.max_workers, spec.requires, spec.output, spec.render) == (3, 4, ["numpy"], False, True)
    assert spec.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert [steward.key for steward in spec.stewards] == [keeper.keypair.public]
    assert spec.grantor == client.keypair.public
    assert unwrap(OWNER, OWNER.public, spec.nonce, spec.wrapped) == made.job_key
    assert unwrap(keeper.keypair, OWNER.public, spec.nonce, spec.stewards[0].wrapped) == made.job_key
    assert spec.code is not None and spec.code.digest == digest(made.sealed_code) and not spec.code.key
    assert unseal(JobKeys(made.job_key).code, 0, made.sealed_code) == b"zip"


@pytest.mark.asyncio
async def test_the_owners_privacy_keeps_the_key_from_the_stewards(peer: Peers) -> None:
    keeper = await peer(roles=("storage",))
    client = await peer(keeper)
    options = Options(privacy="owner", orchestration="centralised", stewards=1)
    made = await open_job(client, OWNER, options, None)
    assert [steward.wrapped for steward in made.stewards] == [b""] and made.code is None


@pytest.mark.asyncio
async def test_more_stewards_are_awaited_where_they_are_known_to_be_there(peer: Peers) -> None:
    keepers = [await peer(roles=("storage",))]
    keepers += [await peer(keepers[0], roles=("storage",)) for _ in range(2)]
    client = await peer(keepers[0])
    near = await stewards_near(client, b"t" * 20, 3, 10.0)
    assert {listed.signed.key for listed in near} == {keeper.keypair.public for keeper in keepers}
    assert len(await stewards_near(client, b"t" * 20, 9, 10.0, 3)) == 3, "no more are wanted"
    made = await open_job(client, OWNER, Options(stewards=2), None, gather=3)
    assert len(made.stewards) == 2


@pytest.mark.asyncio
async def test_where_nobody_keeps_anything_no_job_is_opened(peer: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LOOK_S", 0.001)
    other = await peer()
    client = await peer(other)
    for key, advice in ((b"k" * 32, "is one running"), (OPEN_SWARM, "p2pcpn key trust")):
        monkeypatch.setattr(client, "swarm_key", key)
        with pytest.raises(Unreachable, match=f"no storage peer .*{advice}"):
            await open_job(client, OWNER, Options(), None, wait_s=0.02)
    alone = await peer()
    with pytest.raises(Unreachable, match="no address"):
        await open_job(alone, OWNER, Options(), None, wait_s=0.01)
    await asyncio.sleep(0)
