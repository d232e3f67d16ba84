"""A submission: one job of one program, from calls to futures.

Any thread calls :meth:`Submission.submit`; the event loop's thread cuts what came into sealed pages and signed
segments, hands them to the grantor machine, and resolves futures as results are delivered. While more waits for peers
or the disk than is good, nothing is cut.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from p2pcpn import limits
from p2pcpn.client.bundle import Bundle
from p2pcpn.client.cutting import Call, Cutter, make_blob
from p2pcpn.client.echo import Echo
from p2pcpn.client.exceptions import rebuild
from p2pcpn.client.futures import TaskFuture
from p2pcpn.client.opening import Opened, open_job
from p2pcpn.client.options import Options
from p2pcpn.client.pickling import Functions, dumps, without_frames
from p2pcpn.errors import JobCancelled, JobError, PeerError, Unreachable, UsageError, WorkerDied
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol import events
from p2pcpn.protocol.custody import CONTACT
from p2pcpn.protocol.effects import Effect
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.wire import pages
from p2pcpn.wire.messages import Answer, AnswerCode, Take
from p2pcpn.wire.pages import JobPointer, spans_of
from p2pcpn.wire.sealing import JobKeys, digest, job_id, unseal
from p2pcpn.wire.statements import BlobRef, Cancel, Close, Handover, Outcome, Signed, signed

log = logging.getLogger("p2pcpn.client")

# How soon to look again whether peers and the disk have caught up: at a gigabyte a second 10 MB later.
CATCH_UP_S = 0.01


@dataclass(slots=True)
class Progress:
    """How far a job is, for progress bars: ``replicated`` tasks lie on ``copies`` peers of the ``wanted``."""

    total: int = 0
    delivered: int = 0
    failed: int = 0
    replicated: int = 0
    copies: int = 0
    wanted: int = 0
    done: bool = False


class Submission:
    """See the module. Made by :meth:`open` on the loop; ``submit``, ``cancel`` and ``close`` may come from any thread.

    ``by_peer`` counts results by the node id of the worker that brought them; ``stalled`` is what peers last said when
    none of them may run what waits.
    """

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
        self.echo = Echo()
        self.on_printed: Callable[[int, int, bytes], None] | None = self._echo if options.output else None
        self.on_delivered: Callable[[list[int]], None] | None = None
        self.stalled: dict[bytes, str] = {}
        self._lock = threading.Lock()
        self._waiting: deque[Call] = deque()
        self._cancelled: list[int] = []
        self._awake = False
        self._count = 0
        self._futures: dict[int, TaskFuture] = {}
        self._keep: object = None
        self._cutter = Cutter(owner, self.job, self.keys, self._keep_blob)
        self._closed = False
        self._idle = asyncio.Event()
        self._kept: events.Kept | None = None
        self._changed = asyncio.Event()
        self._pointer: asyncio.Task[Any] | None = None

    # --- opening ---------------------------------------------------------------------------------------------------

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
        gather: int = 1,
        wait_s: float = 10.0,
    ) -> Submission:
        """Begin a job: wait for storage peers, choose the stewards, sign the spec, introduce it.

        ``gather`` is how many storage peers are known to be there. Raises :class:`Unreachable` when none appears.
        """
        opened = await open_job(overlay, owner, options, bundle, stewards=stewards, gather=gather, wait_s=wait_s)
        self = cls(overlay, owner, options, bundle, opened.job_key, opened.spec)
        self._introduce(opened, granting)
        return self

    def _introduce(self, opened: Opened, granting: bool) -> None:
        overlay = self.overlay
        if opened.code is not None:
            self._keep_blob(opened.code, opened.sealed_code)
        overlay.listeners[self.job] = self._event
        now = overlay.loop.time()
        overlay.follow(overlay.peer.open_job(opened.spec, self.job, opened.job_key, now, granting=granting))
        pointer = JobPointer(digest(opened.spec.body), [CONTACT.encode(steward.contact) for steward in opened.stewards])
        value = pages.JOB_POINTER.encode(pointer)
        self._pointer = overlay.spawn(overlay.put_record(self.owner, self.job, value, self.options.retention_s))

    @property
    def id(self) -> str:
        """The job's id, as text."""
        return self.job.hex()

    # --- from any thread -------------------------------------------------------------------------------------------

    def submit(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        *,
        keep: object = None,
    ) -> TaskFuture:
        """One task. What cannot be pickled fails its own future. ``keep`` lives on until no task is open.

        Raises ``RuntimeError`` after :meth:`refuse_more`.
        """
        future = TaskFuture()
        call = self._call(function, arguments, keywords)
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if isinstance(call, BaseException):
                future.set_exception(call)
                return future
            index = self._count
            self._count += 1
            future.bind(index, self._cancel)
            self._futures[index] = future
            self._waiting.append(call)
            self._keep = keep
            wake, self._awake = not self._awake, True
        if wake:
            self._wake()
        return future

    def _call(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Call | Exception:
        try:
            callee, arguments = self.functions.prepare(function, arguments)
            data = dumps((arguments, keywords))
            if len(data) <= limits.INLINE_BYTES_MAX:
                return callee, data
            if len(data) + 16 > limits.BLOB_BYTES_MAX:
                raise UsageError(f"the arguments have {len(data)} bytes pickled; {limits.BLOB_BYTES_MAX} can travel")
            return callee, make_blob(self.keys, data)
        except Exception as error:
            without_frames(error)
            return error

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
            try:
                self._wake()
            except RuntimeError:
                pass  # the loop has ended: nobody is leased anything any more

    def unfinished(self) -> list[TaskFuture]:
        """The futures that have no result yet."""
        return [future for future in list(self._futures.values()) if not future.done()]

    # --- on the loop: pages out ------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Cut what was submitted since the last turn into segments, as long as somebody takes them."""
        try:
            self._cut_waiting()
        except Exception as error:  # a mistake of ours must not leave futures that nobody resolves
            log.exception("job %s cannot go on", self.id[:8])
            self.refuse_more()
            self.abandon(JobError(f"job {self.id[:8]} cannot go on: {type(error).__name__}: {error}"))

    def _cut_waiting(self) -> None:
        with self._lock:
            calls = list(self._waiting)
            self._waiting.clear()
            cancelled, self._cancelled = self._cancelled, []
            self._awake = False
        at = 0
        while at < len(calls) and not self.overlay.congested:
            cut = self._cutter.cut(calls, at)
            at = cut.end
            self.progress.total = self._cutter.first
            now = self.overlay.loop.time()
            self._act(lambda grantor, cut=cut, now=now: grantor.extend(cut.segment, cut.sealed, cut.blobs, now))  # type: ignore[misc]
        if at < len(calls):
            with self._lock:
                self._waiting.extendleft(reversed(calls[at:]))
                self._awake = True
            self.overlay.loop.call_later(CATCH_UP_S, self._flush)
        else:
            self._changed.set()
        if cancelled:
            self._cancel_now(cancelled)

    def _cancel_now(self, cancelled: list[int]) -> None:
        first = self._cutter.first
        early = [index for index in cancelled if index >= first]  # not even cut: after they were
        if early:
            with self._lock:
                self._cancelled += early
        for index in cancelled:
            self._futures.pop(index, None)
        now = self.overlay.loop.time()
        spans = spans_of(sorted(index for index in cancelled if index < first))
        for at in range(0, len(spans), limits.BATCH_TASKS_MAX):
            some = spans[at : at + limits.BATCH_TASKS_MAX]
            self._act(lambda grantor, some=some: grantor.cancel(some, stop=False, now=now))  # type: ignore[misc]
        self._check_idle()

    def _keep_blob(self, ref: BlobRef, sealed: bytes) -> None:
        if not self.overlay.shelf.has(ref.digest):
            self.overlay.shelf.put(ref.digest, sealed, self.job, self.options.retention_s)

    def _act(self, act: Callable[[Grantor], list[Effect]]) -> None:
        overlay = self.overlay
        overlay.follow(overlay.peer.with_grantor(self.job, act, overlay.loop.time()))

    # --- on the loop: results in -----------------------------------------------------------------------------------

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
                log.warning("job %s waits: peer %s says %r", self.id[:8], peer.hex()[:8], why)
        elif isinstance(event, events.Kept):
            self._kept = event
            self._changed.set()
        elif isinstance(event, events.Replicated):
            self.progress.replicated, self.progress.copies = event.replicated, event.copies
            self.progress.done = event.done
            self._changed.set()

    def _delivered(self, event: events.Delivered) -> None:
        self.stalled = {}
        self.by_peer[event.worker] = self.by_peer.get(event.worker, 0) + len(event.indices)
        pop = self._futures.pop
        for index, outcome, value in zip(event.indices, event.outcomes, event.values, strict=True):
            future = pop(index, None)
            if isinstance(value, BlobRef):
                data = self.overlay.shelf.get(value.digest)
                if data is None:
                    if future is not None:
                        self._futures[index] = future
                        self.overlay.spawn(self._fetch(index, outcome, value, event.worker))
                    continue
                if future is not None:
                    self._settle(future, outcome, unseal(value.key, 0, data))
            elif future is not None:
                self._settle(future, outcome, value)
        self.progress.delivered += len(event.indices)
        if self.on_delivered is not None:
            self.on_delivered(event.indices)
        self._check_idle()

    def _settle(self, future: TaskFuture, outcome: int, value: bytes) -> None:
        if outcome == Outcome.OK:
            resolve(future, value)
        else:
            self.progress.failed += 1
            future.fail(error_of(outcome, value))

    async def _fetch(self, index: int, outcome: int, ref: BlobRef, worker: bytes) -> None:
        """A large result whose bytes are not here (yet): wait for them, or ask the worker."""
        listed = self.overlay.peer.directory.get(worker)
        holders = [listed.advert.contact] if listed is not None else []
        try:
            data = unseal(ref.key, 0, await self.overlay.library.fetch_blob(ref.digest, holders))
        except PeerError as error:
            self._fail(index, JobError(f"the result of task {index} is lost: {error}"))
        else:
            future = self._futures.pop(index, None)
            if future is not None:
                self._settle(future, outcome, data)
        self._check_idle()

    def _fail(self, index: int, error: BaseException) -> None:
        future = self._futures.pop(index, None)
        if future is not None:
            self.progress.failed += 1
            future.fail(error)

    def _check_idle(self) -> None:
        with self._lock:
            if not self._futures:
                self._keep = None
                self._idle.set()

    def _echo(self, index: int, stream: int, data: bytes) -> None:
        self.echo.write(stream, data)

    # --- the end ---------------------------------------------------------------------------------------------------

    def refuse_more(self) -> None:
        """From now on :meth:`submit` raises ``RuntimeError``. From any thread."""
        with self._lock:
            self._closed = True

    async def close(self) -> None:
        """State the total; the job is over when everything has ended."""
        self.refuse_more()
        self._flush()
        await self._until(lambda: not self._waiting, None)
        total, now = self._cutter.first, self.overlay.loop.time()
        statement = signed(Close(self.job, total, self._cutter.last), self.owner)
        self._act(lambda grantor: grantor.close(statement, total, now))

    async def replicated(self, wait_s: float) -> bool:
        """Wait until every settlement lies on enough holders; false when that took too long."""
        return await self._until(lambda: self.progress.done, wait_s)

    async def kept(self, wait_s: float) -> int:
        """Wait until spec and all tasks lie on as many stewards as the job wants replicas (or on all there are), and
        the record that leads to them lies in the DHT.

        Returns on how many they lie. Raises :class:`Unreachable` when that took too long.
        """
        end = self.overlay.loop.time() + wait_s

        def enough() -> bool:
            kept = self._kept
            if kept is None or kept.tasks < self._cutter.first:
                return False
            return kept.whole >= min(self.options.replicas, kept.stewards) and kept.stewards > 0

        if not await self._until(enough, wait_s) or self._kept is None:
            raise Unreachable("the stewards did not acknowledge the job in time; nothing is promised")
        if self._pointer is not None:
            await asyncio.wait([self._pointer], timeout=end - self.overlay.loop.time())
        return self._kept.whole

    async def _until(self, reached: Callable[[], bool], wait_s: float | None) -> bool:
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
        grantor = self.overlay.peer.grantors[self.job]
        refusals: list[str] = []
        for epoch, steward in enumerate(grantor.spec.stewards, start=1):
            take = signed(Handover(self.job, epoch, steward.key), self.owner)
            try:
                answer = await self.overlay.request(steward.contact, lambda r, take=take: Take(r, take), wait_s)  # type: ignore[misc]
            except Unreachable as error:
                refusals.append(str(error))
                continue
            if isinstance(answer, Answer) and answer.code == AnswerCode.DONE:
                self._act(lambda g, take=take: g.custody.hand_over(take))  # type: ignore[misc]
                return steward.key
            refusals.append(answer.text if isinstance(answer, Answer) else "an unexpected answer")
        raise Unreachable("no steward took the job over: " + "; ".join(refusals))

    async def cancel_job(self) -> None:
        """End the job: what has not run never will, what runs is stopped."""
        self.refuse_more()
        with self._lock:
            self._waiting.clear()
        statement = signed(Cancel(self.job, time.time()), self.owner)
        now = self.overlay.loop.time()
        self._act(lambda grantor: grantor.cancel_job(statement, now))
        self.abandon(JobCancelled(f"job {self.id[:8]} was cancelled"))

    def abandon(self, error: BaseException) -> None:
        """Fail whatever is left."""
        for index in list(self._futures):
            self._fail(index, error)
        self._check_idle()

    def forget(self) -> None:
        """The program needs the job no more. What has not ended by now fails: nobody would resolve it."""
        self.abandon(JobError(f"job {self.id[:8]} was let go before this task had ended; fetch it by its id"))
        self.overlay.listeners.pop(self.job, None)
        self.overlay.peer.grantors.pop(self.job, None)
        if self._pointer is not None:
            self._pointer.cancel()


def resolve(future: TaskFuture, value: bytes) -> None:
    """Resolve ``future`` with what ``value`` unpickles to, or with the exception that doing so raises."""
    try:
        future.resolve(pickle.loads(value))
    except Exception as error:  # whatever loading raises is the task's outcome here
        future.fail(without_frames(error))


def error_of(outcome: int, value: bytes) -> BaseException:
    """The exception of a task that raised, or whose worker died."""
    if outcome == Outcome.DIED:
        try:
            death = pages.DEATH.decode(value)
        except PeerError as error:
            return WorkerDied(f"the worker process died; what the peer says of it cannot be read: {error}")
        return WorkerDied(pages.death_text(death.signal, death.exit_code), death.signal, death.exit_code)
    return rebuild(value)


__all__ = ["Options", "Progress", "Submission", "error_of"]
