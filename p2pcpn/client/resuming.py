"""Resuming: the owner's own node goes on with a job, on the owner's signed word, with what others settled meanwhile.

Either this program submitted it, and a steward took it over while this machine slept or was cut off; or the program is
gone, and any machine with the owner's key takes it up from what the stewards keep.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from p2pcpn import limits
from p2pcpn.client.reader import ASK_WAIT_S, Reader, Stored
from p2pcpn.errors import JobError, PeerError, StoreError, Unreachable
from p2pcpn.identity.keys import node_id
from p2pcpn.node import restoring
from p2pcpn.node.damage import DamagedRow
from p2pcpn.protocol import events, regaining
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.dependencies import Known
from p2pcpn.protocol.jobs import Held
from p2pcpn.protocol.opened_pages import blobs_named
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.pages import spans_of
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import BlobRef, Segment, Signed, opened

if TYPE_CHECKING:
    from p2pcpn.client.submission import Submission
    from p2pcpn.node.overlay import Overlay

log = logging.getLogger("p2pcpn.client")

_IN_LOTS: Final = "the job's stewards grant it in lots, and go on by themselves"
FIND_S: Final = 5.0
SEGMENT_WAIT_S: Final = 10.0


# --- A job of this program --------------------------------------------------------------------------------------------


async def regained(submission: Submission, epoch: int) -> None:
    """A steward granted the job of this program in ``epoch``: what was settled is delivered, and this node goes on, as
    :mod:`p2pcpn.protocol.regaining` says.

    Where another machine of the owner took it up, it stays there: what it settles is delivered here, and nothing more
    may be submitted. One that was divided its stewards grant to the end, and tell us.
    """
    overlay, job = submission.overlay, submission.job
    reader = Reader(overlay, submission.owner, job)
    while not reader.authority and job in overlay.listeners:
        try:
            await reader.find(FIND_S)
        except JobError as error:  # who keeps it cannot be reached now; it may come back as we did
            log.info("%s", error)
    if reader.authority is None or reader.authority.is_split:
        return
    before = overlay.peer.grantors.get(job)
    takes = before is not None and before.book.dependencies.used
    machine = _machine(reader, since=epoch, takes=takes)
    steps = deque(machine.begin())
    while job in overlay.listeners:
        if steps:
            steps += await _performed(submission, reader, machine, steps.popleft())
        elif (due_s := machine.deadline()) is not None:
            await asyncio.sleep(max(0.0, due_s - overlay.loop.time()))
            steps += machine.expire(max(due_s, overlay.loop.time()))
        else:
            return


async def _performed(
    submission: Submission, reader: Reader, machine: regaining.Regaining, step: regaining.Step
) -> list[regaining.Step]:
    """What follows on a step that was performed."""
    overlay, loop = reader.overlay, reader.overlay.loop
    match step:
        case regaining.Read():
            if step.again:
                await reader.refresh()
            deliver(submission, await values(reader, await reader.read()))
            return machine.read()
        case regaining.Keep():
            return machine.kept(loop.time(), ok=await _kept(overlay, step))
        case regaining.Stop():
            await asyncio.gather(*(_tell(reader, contact, step.handover) for contact in reader.stewards))
        case regaining.ReadToEnd():
            await reader.refresh()
            tasks = submission.overlay.peer.grantors[reader.job].ledger.total
            reader.take(restoring.settlements(overlay.database, machine.authority, range(tasks)))
            deliver(submission, await values(reader, await reader.read()))
            return machine.read()
        case regaining.Grant():
            held = Held([], spans_of(sorted(reader.results)), result=_results(reader))
            _grant(reader, submission.keys.job_key, held, step)
            submission.wake()
        case regaining.Follow():
            # That machine has what the stewards had; what is submitted here now nobody would bring it.
            why = f"another machine of its owner goes on with job {submission.id[:8]}"
            submission.refuse_more(f"cannot schedule new futures: {why}")
            async for fresh in reader.follow(None):
                deliver(submission, await values(reader, fresh))
                if reader.job not in overlay.listeners:
                    break
    return []


def _machine(reader: Reader, *, since: int = 0, takes: bool = False, insists: bool = False) -> regaining.Regaining:
    """What decides by which handover this node grants, with what its disk holds of earlier ones."""
    assert reader.authority is not None
    overlay, spec = reader.overlay, reader.authority.spec
    expires_s = time.time() + min(spec.retention_s, limits.RETENTION_S_MAX)
    kept: Signed | None = None
    row = overlay.database.get(regaining.KEPT_IN, (reader.job,))
    if row is not None:
        with suppress(DamagedRow):
            kept = restoring.signed_of(row[1])
    return regaining.Regaining(
        reader.authority, reader.owner, overlay.keypair.public, expires_s,
        kept=kept, since=since, takes=takes, insists=insists,
    )  # fmt: skip


async def _kept(overlay: Overlay, step: regaining.Keep) -> bool:
    """Whether a handover is on our disk."""
    written: asyncio.Future[bool] = overlay.loop.create_future()

    def done(error: StoreError | None) -> None:  # in the store's thread
        if error is not None:
            log.warning("nothing is granted by a handover that could not be written: %s", error)
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            overlay.loop.call_soon_threadsafe(_set, written, error is None)

    overlay.database.commit((step.write,), done)
    return await written


def _set(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)


async def _tell(reader: Reader, contact: Contact, handover: Signed) -> None:
    try:
        await reader.overlay.request(contact, lambda request: m.Take(request, handover), ASK_WAIT_S)
    except Unreachable as error:
        log.info("a steward was not told who grants job %s: %s", reader.job.hex()[:8], error)


def deliver(submission: Submission, fresh: Sequence[tuple[Stored, bytes | BlobRef]]) -> None:
    """Results that were read, as if this node had settled them."""
    hear, awaited = submission.overlay.listeners.get(submission.job), {task.index for task in submission.unfinished()}
    for stored, value in fresh:
        if hear is not None and stored.index in awaited:
            hear(
                events.Delivered(
                    submission.job, [stored.index], bytes([stored.outcome]), [value], node_id(stored.worker),
                    list(stored.output), [stored.rendering] if stored.rendering else [], stored.digest,
                )
            )  # fmt: skip


async def values(reader: Reader, fresh: Sequence[Stored]) -> list[tuple[Stored, bytes | BlobRef]]:
    """Large results are brought from whoever holds them; one that nobody has is asked of its worker later."""
    found: list[tuple[Stored, bytes | BlobRef]] = []
    for stored in fresh:
        try:
            found.append((stored, bytes(await reader.value(stored))))
        except PeerError:
            found.append((stored, stored.value))
    return found


# --- A job of any program ---------------------------------------------------------------------------------------------


async def resume(reader: Reader) -> None:
    """Become the grantor of a job that was found. Returns once this node grants it, or there is nothing left to grant.

    Raises :class:`JobError` where the stewards that answer do not show all of it, or it was cancelled, and
    :class:`StoreError` where the disk refuses to note it.
    """
    assert reader.authority is not None and reader.keys is not None and reader.state is not None, "find() comes first"
    if reader.authority.is_split:
        raise JobError(_IN_LOTS)
    await reader.read()
    if reader.cancelled:
        raise JobError("the job was cancelled; there is nothing to resume")
    if reader.complete:
        return
    segments = await _segments(reader)
    await _gather(reader, segments)
    spec, state = reader.authority.spec, reader.state
    close = state.close if reader.total is not None else None
    age_s = max(0.0, time.time() - spec.created_s)
    held = Held(segments, spans_of(sorted(reader.results)), close, reader.total, age_s, _results(reader))
    machine = _machine(reader, insists=True)
    steps = machine.read()
    while steps and isinstance(step := steps[0], regaining.Keep):
        steps = machine.kept(reader.overlay.loop.time(), ok=await _kept(reader.overlay, step))
    if reader.authority.is_split:
        raise JobError(_IN_LOTS)
    if not (steps and isinstance(step := steps[0], regaining.Grant)):
        raise StoreError("the disk refuses to note by what right this node would grant the job; make room on it")
    _grant(reader, reader.keys.job_key, held, step)


def _grant(reader: Reader, job_key: bytes, held: Held, step: regaining.Grant) -> None:
    overlay, authority = reader.overlay, reader.authority
    assert authority is not None
    now = overlay.loop.time()
    overlay.follow(overlay.peer.presiding.resume(authority.signed_spec, job_key, list(step.words), held, now))


def _results(reader: Reader) -> Callable[[int], Known | None]:
    """What was read of each task, for those that take it."""
    results = reader.results

    def result(index: int) -> Known | None:
        stored = results.get(index)
        return None if stored is None else Known(stored.digest, stored.value, stored.worker)

    return result


async def _segments(reader: Reader) -> list[tuple[Signed, list[bytes]]]:
    """All segments, each from the first steward that shows a right one. Raises :class:`JobError` for a gap."""
    authority, state = reader.authority, reader.state
    assert authority is not None and state is not None
    found: list[tuple[Signed, list[bytes]]] = []
    last, first = NOTHING, 0
    while first < max(state.tasks, reader.total or 0):
        segment = await _segment(reader, authority, len(found), last, first)
        if segment is None:
            raise JobError(
                f"no steward that answers shows segment {len(found)} of the job; {first} of its tasks could be read"
            )
        found.append(segment)
        last, first = digest(segment[0].body), first + opened(segment[0], Segment).count
    return found


async def _segment(
    reader: Reader, authority: Authority, number: int, last: bytes, first: int
) -> tuple[Signed, list[bytes]] | None:
    for contact in reader.stewards:
        try:
            answer = await reader.overlay.request(
                contact, lambda request: m.ReadSegment(request, reader.job, number), SEGMENT_WAIT_S
            )
            if not isinstance(answer, m.Extend):
                continue
            said = opened(answer.segment, Segment)
            authority.require_owner(answer.segment)
        except (PeerError, Unreachable):  # it has gone; another may have come in its place
            continue
        follows = (said.job, said.number, said.previous, said.first) == (reader.job, number, last, first)
        if follows and [digest(page) for page in answer.pages] == [name for _, name in said.pages]:
            return answer.segment, list(answer.pages)
    return None


async def _gather(reader: Reader, segments: Sequence[tuple[Signed, list[bytes]]]) -> None:
    """Bring what the project and the tasks need from the stewards: from here it goes to workers.

    What none of them has stays away; its tasks will say so.
    """
    assert reader.authority is not None and reader.keys is not None
    keys, spec, overlay = reader.keys, reader.authority.spec, reader.overlay
    names = [] if spec.code is None else [spec.code.digest]
    names += [name for segment, sealed in segments for page in blobs_named(keys, segment, sealed) for name in page]
    for name in dict.fromkeys(names):
        for contact in reader.stewards:
            try:
                await overlay.library.gather([name], contact, reader.job, spec.retention_s)
                break
            except (PeerError, StoreError, Unreachable) as error:
                log.info("blob %s of job %s: %s", name.hex()[:8], reader.job.hex()[:8], error)
            await asyncio.sleep(0)
