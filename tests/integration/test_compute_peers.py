"""Peers that only compute, as real processes: they refuse whatever others would have them keep."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from p2pcpn import Config, Executor, Node, Swarm, Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.manifests import CODEC, Manifest
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.sealing import digest, swarm_proof
from p2pcpn.wire.statements import Deposit, LogHeader, Role, signed

OWNER = Keypair(b"roles" * 6 + b"--")
CHUNK = b"sealed" * 1000
RECORDS = 20


def refused(answer: m.Message) -> bool:
    words = "keeps nothing for others"
    return isinstance(answer, m.Answer) and (answer.code, answer.text) == (AnswerCode.REFUSED, words)


def files(swarm: Path, folder: str) -> list[Path]:
    """What the peers of a swarm have on disk there."""
    return [path for path in swarm.glob(f"peer-*/{folder}/**/*") if path.is_file()]


async def computing(node: Node, count: int) -> list[Contact]:
    """The peers without storage, once so many are heard of."""
    while True:
        listed = node.overlay.peer.directory.listed(node.overlay.loop.time())
        found = [each.advert.contact for each in listed if each.advert.roles == Role.COMPUTE]
        if len(found) == count:
            return found
        await asyncio.sleep(0.02)


def section(swarm_key: bytes) -> m.Keep:
    """The order to keep a section, right in all points."""
    manifest = CODEC.encode(Manifest(0, len(CHUNK) - 16, len(CHUNK), 1 << 18, digest(CHUNK)))
    deposit = Deposit(
        name=digest(manifest), blob=bytes(20), is_root=True, parts=0, size_bytes=len(CHUNK), created_s=time.time(),
        retention_s=3600.0, replicas=1, note=b"", proof=swarm_proof(swarm_key, OWNER.public),
    )  # fmt: skip
    return m.Keep(0, signed(deposit, OWNER), manifest, [])


@pytest.mark.asyncio
async def test_who_only_computes_keeps_no_records_sections_or_logs_of_others(tmp_path: Path) -> None:
    with Swarm(peers=2, roles=("compute",), data_dir=tmp_path) as swarm:
        config = Config(bootstrap=swarm.bootstrap, swarm_key=swarm.key, profile="local", roles=("storage",))
        async with asyncio.timeout(60), Node(config, owner=OWNER) as node:
            overlay = node.overlay
            peers = await computing(node, 2)
            for number in range(RECORDS):
                done = await overlay.put_record(OWNER, b"%d" % number, b"value", 3600.0)
                assert done.own_copy and not done.holders
            keep = section(overlay.swarm_key)
            said = LogHeader(bytes(20), 0, overlay.id, 0, bytes(32), digest(b"log"), 1, [(0, 1)])
            header = signed(said, overlay.keypair)
            async with Node(replace(config, roles=()), owner=OWNER) as client:
                taken = await client.overlay.request(
                    overlay.peer.contact, lambda n: m.Keep(n, keep.deposit, keep.manifest, [])
                )
                assert isinstance(taken, m.Holding), "who stores takes it"
            for to in peers:
                assert refused(await overlay.request(to, lambda n: m.Keep(n, keep.deposit, keep.manifest, [])))
                assert refused(await overlay.request(to, lambda n: m.Append(n, header, b"log")))
            with pytest.raises(Unreachable, match="none here keeps blobs for others"):
                await node.put_blob(b"large" * 100_000, replicas=1)

            def compute() -> list[int]:
                with Executor(bootstrap=swarm.bootstrap, swarm_key=swarm.key) as executor:
                    return list(executor.map(abs, range(-10, 0)))

            assert await asyncio.to_thread(compute) == list(range(10, 0, -1)), "and they compute"
        assert files(tmp_path, "sections") == []
