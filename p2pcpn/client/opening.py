"""Opening a job: storage peers are awaited, stewards chosen, and the spec signed."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.client.bundle import Bundle
from p2pcpn.client.options import Options
from p2pcpn.errors import Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.node.surroundings import python_version
from p2pcpn.protocol.admission import OPEN_SWARM
from p2pcpn.protocol.authority import DISTRIBUTED
from p2pcpn.protocol.custody import CONTACT
from p2pcpn.protocol.directory import Listed
from p2pcpn.wire import pages
from p2pcpn.wire.pages import JobPointer
from p2pcpn.wire.sealing import JobKeys, digest, job_id, seal, swarm_proof, wrap
from p2pcpn.wire.statements import BlobRef, Signed, Spec, Steward, signed

# How long the adverts of further storage peers are awaited once one is known: they come by push-pull in a round trip.
GATHER_S = 0.15
LOOK_S = 0.005


@dataclass(frozen=True, slots=True)
class Opened:
    """A job's identity: its signed spec, its key, and the sealed code that the spec names."""

    spec: Signed
    job: bytes
    job_key: bytes
    stewards: list[Steward]
    code: BlobRef | None
    sealed_code: bytes

    @property
    def pointer(self) -> bytes:
        """The record that leads to it."""
        stewards = [CONTACT.encode(steward.contact) for steward in self.stewards]
        return pages.JOB_POINTER.encode(JobPointer(digest(self.spec.body), stewards))


async def stewards_near(
    overlay: Overlay, target: bytes, gather: int, wait_s: float, wanted: int = limits.STEWARDS
) -> list[Listed]:
    """Storage peers near ``target``: ``wanted`` at least, fewer once ``gather`` are known or no more come for a moment.

    Raises :class:`Unreachable` when none is found within ``wait_s``.
    """
    end = overlay.loop.time() + wait_s
    settle: float | None = None
    while True:
        now = overlay.loop.time()
        near = overlay.peer.stewards_near(target, now)
        if len(near) >= wanted or (gather > 1 and len(near) >= gather):
            return near
        if near:
            settle = settle or now + GATHER_S
            if now >= settle:
                return near
        elif now >= end:
            raise Unreachable(f"no storage peer that may keep the job's state was found; {_advice(overlay)}")
        await asyncio.sleep(LOOK_S)


def _advice(overlay: Overlay) -> str:
    """What to look at, where no peer may keep the state of a job."""
    if overlay.swarm_key == OPEN_SWARM:
        return "in an open swarm those may whose keys p2pcpn key trust knows here; p2pcpn node prints its own"
    return "is one running?"


async def open_job(
    overlay: Overlay,
    owner: Keypair,
    options: Options,
    bundle: Bundle | None,
    *,
    gather: int = 1,
    wait_s: float = 10.0,
) -> Opened:
    """Sign the spec of a new job. ``gather`` is how many storage peers are known to be there."""
    await overlay.wait_known(wait_s)
    dice = random.SystemRandom()
    nonce, job_key = dice.randbytes(16), dice.randbytes(32)
    stewards = options.stewards
    if options.orchestration == DISTRIBUTED and options.max_workers is not None:
        stewards = min(stewards, options.max_workers)  # each grants, and needs a slot to grant
    near = await stewards_near(overlay, job_id(owner.public, nonce), gather, wait_s, stewards)
    keeps_key = options.privacy != "owner"
    named = [
        Steward(
            listed.signed.key, listed.advert.contact,
            wrap(owner, listed.signed.key, nonce, job_key) if keeps_key else b"",
        )
        for listed in near[:stewards]
    ]  # fmt: skip
    sealed = seal(JobKeys(job_key).code, 0, bundle.data) if bundle is not None else b""
    code = BlobRef(digest(sealed), len(sealed), b"") if bundle is not None else None
    spec = signed(
        Spec(
            nonce=nonce, name=options.name[: limits.REASON_CHARS_MAX], created_s=time.time(), runtime=options.runtime,
            python=python_version(), code=code, requires=list(options.requires), memory_bytes=options.memory_bytes,
            replicas=options.replicas, quorum=(1, 1), max_workers=options.max_workers or 0,
            orchestration=options.orchestration, routing=options.routing, privacy=options.privacy,
            retention_s=options.retention_s, retries=options.retries, grantor=overlay.keypair.public, stewards=named,
            wrapped=wrap(owner, owner.public, nonce, job_key),
            swarm_proof=swarm_proof(overlay.swarm_key, owner.public), output=options.output, render=options.render,
            priority=options.priority, deadline_s=options.deadline_s or 0.0, ttl_s=options.ttl_s or 0.0,
            hedge=options.hedge,
        ),
        owner,
    )  # fmt: skip
    return Opened(spec, job_id(owner.public, spec.body), job_key, named, code, sealed)
