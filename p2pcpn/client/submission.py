"""A submission: one job of one program, from calls to futures.

Any thread calls :meth:`Submission.submit`; the event loop's thread cuts what came into sealed pages and signed segments, hands
them to the grantor machine, and resolves futures as results are delivered. Columns all the way: one object a page, none a task
but its future.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from p2pcpn import limits
from p2pcpn.client.bundle import Bundle
from p2pcpn.client.exceptions import rebuild
from p2pcpn.client.futures import TaskFuture
from p2pcpn.client.pickling import Functions, dumps
from p2pcpn.errors import JobCancelled, JobError, Unreachable, UsageError, WorkerDied
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol import events
from p2pcpn.protocol.custody import CONTACT
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.wire import pages
from p2pcpn.wire.pages import JobPointer, TaskPage, spans_of
from p2pcpn.wire.sealing import JobKeys, digest, job_id, seal, swarm_proof, unseal, wrap
from p2pcpn.wire.statements import (
    BlobRef,
    Cancel,
    Close,
    Handover,
    Outcome,
    Segment,
    Signed,
    Spec,
    Steward,
    signed,
)  # fmt: skip

log = logging.getLogger("p2pcpn.client")

# How long the adverts of further storage peers are awaited once one is known: they come by push-pull within a round trip.
GATHER_S = 0.15
CLOSE_WAIT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a job asks for; the words of DESIGN's contract. Raises :class:`UsageError` for what cannot be."""

    name: str = ""
    runtime: str = "function"
    orchestration: str = "hybrid"
    routing: str = "nearest_idle"
    privacy: str = "stewards"
    replicas: int = 2
    quorum: int = 1
    max_workers: int | None = None
    memory_bytes: int = 0
    requires: tuple[str, ...] = ()
    retention_s: float = limits.RETENTION_S
    retries: int = 10
    output: bool = True
    render: bool = False  # workers send a short text of each result, for those who do not unpickle it

    def __post_init__(self) -> None:
        choices = {
            "runtime": ("function",), "orchestration": ("hybrid", "centralised"), "routing": ("nearest_idle",),
            "privacy": ("stewards", "owner"),
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name} is {' or '.join(map(repr, allowed))}, not {getattr(self, name)!r}")
        if not 1 <= self.replicas <= limits.REPLICAS_MAX:
            raise UsageError(f"replicas is 1 to {limits.REPLICAS_MAX}, not {self.replicas}")
        if self.quorum != 1:
            raise UsageError("quorum is 1: results are not voted on")
        if self.max_workers is not None and self.max_workers < 1:
            raise UsageError(f"max_workers must be at least 1, not {self.max_workers}")
        if self.privacy == "owner" and self.orchestration != "centralised":
            raise UsageError('privacy="owner" keeps the job key from stewards; it needs orchestration="centralised"')
        if self.retries < 0 or not 1 <= self.retention_s <= limits.RETENTION_S_MAX:
            raise UsageError("retries is 0 or more, and retention at most a year")
        if len(self.requires) > limits.REQUIREMENTS_MAX:
            raise UsageError(f"at most {limits.REQUIREMENTS_MAX} required packages can be named")


@dataclass(slots=True)
class Progress:
    """How far a job is, for progress bars. ``by_peer`` counts results a worker brought."""

    total: int = 0
    delivered: int = 0
    failed: int = 0
    replicated: int = 0
    copies: int = 0
    wanted: int = 0
    done: bool = False


class Submission:
    """See the module. Made by :meth:`open` on the loop; ``submit``, ``cancel`` and ``close`` may come from any thread."""

    def __init__(
        self, overlay: Overlay, owner: Keypair, options: Options, bundle: Bundle | None, job_key: bytes, spec: Signed
    ) -> None:
        self.overlay = overlay
        self.owner = owner
        self.options = options
        self.keys = JobKeys(job_key)
        self.spec = spec
        self.job = job_id(owner.public, spec.body)
        self.functions = Functions(bundle)
        self.progress = Progress(wanted=options.replicas)
        self.by_peer: dict[bytes, int] = {}
        self.on_printed: Callable[[int, int, bytes], None] | None = _to_standard_streams if options.output else None
        self.on_delivered: Callable[[list[int]], None] | None = None
        self.stalled: dict[bytes, str] = {}
        self.error: JobError | None = None
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, bytes | tuple[BlobRef, bytes]]] = []
        self._cancelled: list[int] = []
        self._awake = False
        self._count = 0
        self._futures: dict[int, TaskFuture] = {}
        self._numbers = 0  # segments
        self._last = NOTHING
        self._first = 0
        self._granting = True
        self._closed = False
        self._idle = asyncio.Event()
        self._kept: events.Kept | None = None
        self._changed = asyncio.Event()
        self._pointer: asyncio.Task[Any] | None = None

    # --- opening -----------------------------------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        overlay: Overlay,
        owner: Keypair,
        options: Options,
        bundle: Bundle | None,
        *,
        granting: bool = True,
        stewards: int = limits.STEWARDS,
        gather: int = 0,
        wait_s: float = 10.0,
    ) -> Submission:
        """Begin a job: wait for storage peers, choose the stewards, sign the spec, introduce it.

        ``gather`` is how many storage peers are known to be there. Raises :class:`Unreachable` when none appears.
        """
        await overlay.wait_known(wait_s)
        dice = random.SystemRandom()
        nonce = dice.randbytes(16)
        near = await cls._stewards_near(overlay, owner, nonce, max(gather, 1), wait_s)
        job_key = dice.randbytes(32)
        named = [
            Steward(
                listed.signed.key,
                listed.advert.contact,
                b"" if options.privacy == "owner" else wrap(owner, listed.signed.key, nonce, job_key),
            )
            for listed in near[:stewards]
        ]
        keys = JobKeys(job_key)
        sealed = seal(keys.code, 0, bundle.data) if bundle is not None else None
        code = BlobRef(digest(sealed), len(sealed), b"") if sealed is not None else None
        spec = signed(
            Spec(
                nonce=nonce, name=options.name[: limits.REASON_CHARS_MAX], created_s=time.time(), runtime=options.runtime,
                python=f"{sys.version_info.major}.{sys.version_info.minor}", code=code, requires=list(options.requires),
                memory_bytes=options.memory_bytes, replicas=options.replicas, quorum=(1, 1),
                max_workers=options.max_workers or 0, orchestration=options.orchestration, routing=options.routing,
                privacy=options.privacy, retention_s=options.retention_s, retries=options.retries,
                grantor=overlay.keypair.public, stewards=named, wrapped=wrap(owner, owner.public, nonce, job_key),
                swarm_proof=swarm_proof(overlay.swarm_key, owner.public), output=options.output,
                render=options.render,
            ),
            owner,
        )  # fmt: skip
        self = cls(overlay, owner, options, bundle, job_key, spec)
        self._granting = granting
        if code is not None and sealed is not None:
            overlay.shelf.put(code.digest, sealed, self.job, options.retention_s)
        overlay.listeners[self.job] = self._event
        now = overlay.loop.time()
        overlay.follow(overlay.peer.open_job(spec, self.job, job_key, now, granting=granting))
        pointer = JobPointer(
            digest(spec.body), [CONTACT.encode(steward.contact) for steward in named[: limits.STEWARDS]]
        )
        value = pages.JOB_POINTER.encode(pointer)
        self._pointer = overlay.loop.create_task(
            overlay.put_record(owner, self.job, value, options.retention_s)
        )
        return self

    @staticmethod
    async def _stewards_near(overlay: Overlay, owner: Keypair, nonce: bytes, gather: int, wait_s: float) -> list[Any]:
        target = job_id(owner.public, nonce)
        end = overlay.loop.time() + wait_s
        settle: float | None = None
        while True:
            now = overlay.loop.time()
            near = overlay.peer.stewards_near(target, now)
            if len(near) >= limits.STEWARDS or (gather > 1 and len(near) >= gather):
                return near
            if near:
                settle = settle or now + GATHER_S
                if now >= settle:
                    return near
            elif now >= end:
                raise Unreachable("no storage peer that may keep the job's state was found; is one running?")
            await asyncio.sleep(0.005)

    @property
    def id(self) -> str:
        """The job's id, as text."""
        return self.job.hex()

    # --- from any thread -----------------------------------------------------------------------------------------------

    def submit(self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> TaskFuture:
        """One task. What cannot be pickled fails its own future."""
        future = TaskFuture()
        try:
            number = self.functions.number(function)
            pickled = dumps((arguments, keywords))
            data = self._blob(pickled) if len(pickled) > limits.INLINE_BYTES_MAX else pickled
        except Exception as error:
            future.fail(error)
            return future
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            index = self._count
            self._count += 1
            future.bind(index, self._cancel)
            self._futures[index] = future
            self._waiting.append((number, data))
            wake, self._awake = not self._awake, True
        if wake:
            self._wake()
        return future

    def _blob(self, data: bytes) -> tuple[BlobRef, bytes]:
        key = self.keys.blob(data)
        sealed = seal(key, 0, data)
        return BlobRef(digest(sealed), len(sealed), key), sealed

    def _wake(self) -> None:
        try:
            self.overlay.loop.call_soon_threadsafe(self._flush)
        except RuntimeError as error:
            raise RuntimeError("the event loop of this executor has ended") from error

    def _cancel(self, index: int) -> None:
        with self._lock:
            self._cancelled.append(index)
            wake, self._awake = not self._awake, True
        if wake:
            self._wake()

    def unfinished(self) -> list[TaskFuture]:
        """The futures that have no result yet."""
        with self._lock:
            return [future for future in self._futures.values() if not future.done()]

    # --- on the loop: pages out ------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Cut what was submitted since the last turn into segments."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            cancelled, self._cancelled = self._cancelled, []
            self._awake = False
        now = self.overlay.loop.time()
        at = 0
        while at < len(waiting):
            at = self._segment(waiting, at, now)
        if cancelled:
            for index in cancelled:
                self._futures.pop(index, None)
            spans = spans_of(sorted(cancelled))
            self._act(lambda grantor: grantor.cancel(spans, stop=False, now=now))
            self._check_idle()

    def _segment(self, waiting: list[tuple[int, bytes | tuple[BlobRef, bytes]]], at: int, now: float) -> int:
        """One segment of tasks from position ``at`` on; returns where the next begins."""
        sealed: list[bytes] = []
        listed: list[tuple[int, bytes]] = []
        blobs: list[list[bytes]] = []
        needs: set[str] = set()
        count = size = 0
        first = self._first
        while at < len(waiting) and count < limits.SEGMENT_TASKS_MAX and size < limits.SEGMENT_BYTES_MAX // 2:
            page, names, end = self._page(waiting, at, min(limits.PAGE_TASKS_MAX, limits.SEGMENT_TASKS_MAX - count), needs)
            tasks = end - at
            data = seal(self.keys.page(first + count), 0, pages.TASKS.encode(page))
            sealed.append(data)
            listed.append((tasks, digest(data)))
            blobs.append(names)
            count, size, at = count + tasks, size + len(data), end
        segment = signed(
            Segment(
                self.job, self._numbers, first, self._last, listed, sorted(needs)[: limits.REQUIREMENTS_MAX],
                list(dict.fromkeys(name for names in blobs for name in names)),
            ),
            self.owner,
        )  # fmt: skip
        self._numbers += 1
        self._first += count
        self._last = digest(segment.body)
        self.progress.total = self._first
        self._act(lambda grantor: grantor.extend(segment, sealed, blobs, now))
        return at

    def _page(
        self, waiting: list[tuple[int, bytes | tuple[BlobRef, bytes]]], at: int, most: int, needs: set[str]
    ) -> tuple[TaskPage, list[bytes], int]:
        """As many tasks as one page takes: (page, blobs it names, end)."""
        functions: list[bytes | BlobRef] = []
        local: dict[int, int] = {}
        numbers: list[int] = []
        arguments: list[bytes | BlobRef] = []
        names: list[bytes] = []
        size = 0
        end = at
        while end < len(waiting) and end - at < most and size < limits.PAGE_BYTES:
            number, data = waiting[end]
            place = local.get(number)
            if place is None:
                place = local[number] = len(functions)
                pickled = self.functions.pickles[number]
                functions.append(self._named(pickled, names) if len(pickled) > limits.INLINE_BYTES_MAX else pickled)
                size += min(len(pickled), limits.INLINE_BYTES_MAX)
                needs.update(self.functions.needs[number])
            numbers.append(place)
            if isinstance(data, bytes):
                arguments.append(data)
                size += len(data) + 3
            else:
                ref, sealed = data
                self.overlay.shelf.put(ref.digest, sealed, self.job, self.options.retention_s)
                arguments.append(ref)
                names.append(ref.digest)
                size += 80
            end += 1
        return TaskPage(functions, numbers if len(functions) > 1 else None, arguments), names, end

    def _named(self, data: bytes, names: list[bytes]) -> BlobRef:
        ref, sealed = self._blob(data)
        if not self.overlay.shelf.has(ref.digest):
            self.overlay.shelf.put(ref.digest, sealed, self.job, self.options.retention_s)
        names.append(ref.digest)
        return ref

    def _act(self, act: Callable[[Any], list[Any]]) -> None:
        overlay = self.overlay
        overlay.follow(overlay.peer.with_grantor(self.job, act, overlay.loop.time()))

    # --- on the loop: results in -----------------------------------------------------------------------------------------

    def _event(self, event: object) -> None:
        """What the machines report about this job."""
        if isinstance(event, events.Delivered):
            self._delivered(event)
        elif isinstance(event, events.Started):
            for index in event.indices:
                future = self._futures.get(index)
                if future is not None and not future.start():
                    self._futures.pop(index, None)
        elif isinstance(event, events.Printed):
            if self.on_printed is not None:
                self.on_printed(event.index, event.stream, event.data)
        elif isinstance(event, events.GaveUp):
            for index in event.indices:
                error = WorkerDied(event.text, event.signal, event.exit_code) if event.died else JobError(event.text)
                self._fail(index, error)
            self._check_idle()
        elif isinstance(event, events.Stalled):
            self.stalled = dict(event.reasons)
            for peer, why in event.reasons:
                log.warning("job %s waits: peer %s %s", self.id[:8], peer.hex()[:8], why)
        elif isinstance(event, events.Kept):
            self._kept = event
            self._changed.set()
        elif isinstance(event, events.Replicated):
            self.progress.replicated, self.progress.copies = event.replicated, event.copies
            self.progress.done = event.done
            self._changed.set()

    def _delivered(self, event: events.Delivered) -> None:
        self.by_peer[event.worker] = self.by_peer.get(event.worker, 0) + len(event.indices)
        pop = self._futures.pop
        loads = pickle.loads
        for index, outcome, value in zip(event.indices, event.outcomes, event.values, strict=True):
            future = pop(index, None)
            if isinstance(value, BlobRef):
                data = self.overlay.shelf.get(value.digest)
                if data is None:
                    self.overlay._spawn(self._fetch(future, outcome, value, event.worker))
                    continue
                value = unseal(value.key, 0, data)
            if future is None:
                continue
            if outcome == Outcome.OK:
                try:
                    result = loads(value)
                except Exception as error:  # whatever loading raises is the task's outcome here
                    future.fail(error)
                    continue
                future.resolve(result)
            else:
                self.progress.failed += 1
                future.fail(error_of(outcome, value))
        self.progress.delivered += len(event.indices)
        if self.on_delivered is not None:
            self.on_delivered(event.indices)
        self._check_idle()

    async def _fetch(self, future: TaskFuture | None, outcome: int, ref: BlobRef, worker: bytes) -> None:
        """A large result whose bytes are not here (yet): ask the worker for them."""
        if future is None:
            return
        listed = self.overlay.peer.directory.get(worker)
        holders = [listed.advert.contact] if listed is not None else []
        try:
            data = unseal(ref.key, 0, await self.overlay.library.fetch_blob(ref.digest, holders))
            if outcome == Outcome.OK:
                future.resolve(pickle.loads(data))
            else:
                future.fail(error_of(outcome, data))
        except Exception as error:  # the future carries whatever went wrong
            future.fail(error)

    def _fail(self, index: int, error: BaseException) -> None:
        future = self._futures.pop(index, None)
        if future is not None:
            self.progress.failed += 1
            future.fail(error)

    def _check_idle(self) -> None:
        if not self._futures:
            self._idle.set()

    # --- the end ---------------------------------------------------------------------------------------------------------

    def refuse_more(self) -> None:
        """From now on :meth:`submit` raises ``RuntimeError``. From any thread."""
        with self._lock:
            self._closed = True

    async def close(self) -> None:
        """State the total; the job is over when everything has ended."""
        self.refuse_more()
        self._flush()
        statement = signed(Close(self.job, self._first, self._last), self.owner)
        total, now = self._first, self.overlay.loop.time()
        self._act(lambda grantor: grantor.close(statement, total, now))

    async def replicated(self, wait_s: float) -> bool:
        """Wait until every settlement lies on enough holders; false when that took too long."""
        return await self._until(lambda: self.progress.done, wait_s)

    async def kept(self, wait_s: float) -> int:
        """Wait until spec and all tasks lie on as many stewards as the job wants replicas (or on all there are).

        Returns on how many they lie. Raises :class:`Unreachable` when that took too long.
        """

        def enough() -> bool:
            kept = self._kept
            if kept is None or kept.tasks < self._first:
                return False
            return kept.whole >= min(self.options.replicas, kept.stewards) and kept.stewards > 0

        if not await self._until(enough, wait_s) or self._kept is None:
            raise Unreachable("the stewards did not acknowledge the job in time; nothing is promised")
        return self._kept.whole

    async def _until(self, reached: Callable[[], bool], wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                while not reached():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return reached()
        return True

    async def hand_over(self, wait_s: float = 10.0) -> bytes:
        """Make a steward the grantor; returns its node key once it has said yes. Raises :class:`Unreachable`."""
        from p2pcpn.wire.messages import Answer, AnswerCode, Take

        grantor = self.overlay.peer.grantors[self.job]
        refusals: list[str] = []
        for epoch, steward in enumerate(grantor.spec.stewards, start=1):
            take = signed(Handover(self.job, epoch, steward.key), self.owner)
            try:
                answer = await self.overlay.request(steward.contact, lambda r: Take(r, take), wait_s)
            except Unreachable as error:
                refusals.append(str(error))
                continue
            if isinstance(answer, Answer) and answer.code == AnswerCode.DONE:
                self._act(lambda g: g.custody.hand_over(take))
                return steward.key
            refusals.append(answer.text if isinstance(answer, Answer) else "an unexpected answer")
        raise Unreachable("no steward took the job over: " + "; ".join(refusals))

    async def cancel_job(self) -> None:
        """End the job: what has not run never will, what runs is stopped."""
        self.refuse_more()
        statement = signed(Cancel(self.job, time.time()), self.owner)
        now = self.overlay.loop.time()
        self._act(lambda grantor: grantor.cancel_job(statement, now))
        for index in list(self._futures):
            self._fail(index, JobCancelled(f"job {self.id[:8]} was cancelled"))
        self._check_idle()

    def abandon(self, error: BaseException) -> None:
        """Fail whatever is left: the overlay is gone."""
        for index in list(self._futures):
            self._fail(index, error)

    def forget(self) -> None:
        """The program needs the job no more."""
        self.overlay.listeners.pop(self.job, None)
        self.overlay.peer.grantors.pop(self.job, None)
        if self._pointer is not None:
            self._pointer.cancel()


def error_of(outcome: int, value: bytes) -> BaseException:
    """The exception of a task that raised, or whose worker died."""
    if outcome == Outcome.DIED:
        death = pages.DEATH.decode(value)
        return WorkerDied(pages.death_text(death.signal, death.exit_code), death.signal, death.exit_code)
    return rebuild(value)


def _to_standard_streams(index: int, stream: int, data: bytes) -> None:
    """What a task prints appears where the program's own words do, as with a process pool."""
    to = sys.stdout if stream == 1 else sys.stderr
    try:
        to.write(data.decode("utf-8", "replace"))
        to.flush()
    except (OSError, ValueError):
        pass  # the program closed the stream


__all__ = ["Options", "Progress", "Submission", "error_of"]
