"""How a job stands, as the peers that keep it tell: plain rows for windows, made from signed statements and counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from p2pcpn.client.history import Submitted
from p2pcpn.client.reader import Reader
from p2pcpn.errors import JobError, Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Jobs, ListJobs
from p2pcpn.wire.statements import Role

# Each is asked one short question; the listing says from how many peers it is.
ASKED_MAX: Final = 64
AT_A_TIME: Final = 16
ASK_S: Final = 2.0
FIND_S: Final = 0.5
# States after which nothing of a job is run.
OVER: Final = ("cancelled", "deadline passed", "done")


def standing(reader: Reader) -> dict[str, Any]:
    """What is known of a job that was found: its spec, how far it is, who grants it and who keeps it."""
    assert reader.authority is not None and reader.state is not None, "find() comes first"
    spec, state = reader.authority.spec, reader.state
    total = reader.total
    settled = settled_of(reader)
    return {
        "id": reader.job.hex(),
        "name": spec.name,
        "state": _state(reader, settled),
        "created_s": spec.created_s,
        "tasks": state.tasks if total is None else total,
        "closed": total is not None,
        "settled": settled,
        "running": state.running,
        "waiting": state.waiting,
        "granted": state.granting,
        "runtime": spec.runtime,
        "python": spec.python,
        "requires": list(spec.requires),
        "replicas": spec.replicas,
        "orchestration": spec.orchestration,
        "routing": spec.routing,
        "privacy": spec.privacy,
        "retention_s": spec.retention_s,
        "priority": spec.priority,
        "deadline_s": spec.deadline_s or None,
        "ttl_s": spec.ttl_s or None,
        "stewards": [_contact(steward.contact) for steward in spec.stewards],
        "holders": [_contact(contact) for contact in holders(reader)],
        "handed_over": any(not reader.authority.is_first(t.epoch) and t.epoch for t in reader.authority.tenures),
        "epoch": reader.authority.epoch,
        "conflicts": reader.conflicts,
        "shut_out": [
            {"peer": each.peer.hex(), "failures": each.failures, "left_s": each.left_s, "text": each.text}
            for each in state.shut_out
        ],
    }


def settled_of(reader: Reader) -> int:
    """How many tasks have a result. A grantor counts what was cancelled, too: it has nothing left to do."""
    assert reader.state is not None
    told = 0 if reader.cancelled and reader.state.granting else reader.state.settled
    return max(told, len(reader.results))


def _state(reader: Reader, settled: int) -> str:
    done = reader.complete or (reader.total is not None and settled >= reader.total)
    if reader.cancelled and not done:
        return "cancelled"
    if reader.overdue and not reader.complete:
        return "deadline passed"
    if done:
        return "done"
    assert reader.state is not None
    if reader.paused:
        return "paused"
    if reader.state.granting:
        return "running" if reader.state.running else "waiting"
    return "with its submitter" if reader.authority and reader.authority.epoch == 0 else "no grantor answers"


def holders(reader: Reader) -> list[Contact]:
    """Who keeps results of the job, by id."""
    found = {contact.id: contact for log in reader.logs for contact in log.holders.values()}
    return [found[node] for node in sorted(found)]


def _contact(contact: Contact) -> dict[str, str]:
    host, port = contact.address
    return {"id": contact.id.hex(), "address": f"[{host}]:{port}" if ":" in host else f"{host}:{port}"}


# --- All jobs of an owner ---------------------------------------------------------------------------------------------


async def kept_jobs(overlay: Overlay, owner: Keypair) -> list[bytes]:
    """The ids of the owner's jobs that peers keep, as far as the peers known here tell."""
    now = overlay.loop.time()
    stewards = [
        listed.advert.contact for listed in overlay.peer.directory.listed(now) if listed.advert.roles & Role.STORAGE
    ]
    answers = await asyncio.gather(*(_ask(overlay, contact, owner) for contact in stewards[:ASKED_MAX]))
    return sorted({job for answer in answers for job in answer})


async def _ask(overlay: Overlay, contact: Contact, owner: Keypair) -> list[bytes]:
    try:
        answer = await overlay.request(contact, lambda r: ListJobs(r, owner.public), ASK_S)
    except Unreachable:
        return []
    return list(answer.jobs) if isinstance(answer, Jobs) else []


async def listing(overlay: Overlay, owner: Keypair, history: Sequence[Submitted]) -> list[dict[str, Any]]:
    """The owner's jobs, newest first: those that peers keep, and those that were submitted here and nobody knows."""
    kept = await kept_jobs(overlay, owner)
    gate = asyncio.Semaphore(AT_A_TIME)

    async def look(job: bytes) -> dict[str, Any] | None:
        async with gate:
            reader = Reader(overlay, owner, job)
            try:
                await reader.find(FIND_S)
            except JobError:
                return None
            return standing(reader)

    found = {row["id"]: row for row in await asyncio.gather(*(look(job) for job in kept)) if row is not None}
    for job in history:
        if job.owner == owner.public.hex() and job.id not in found:
            found[job.id] = {
                "id": job.id, "name": job.name, "state": "not found", "created_s": job.at_s, "tasks": job.tasks,
                "settled": None, "running": None, "waiting": None,
            }  # fmt: skip
    return sorted(found.values(), key=lambda row: (-row["created_s"], row["id"]))
