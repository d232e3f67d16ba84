"""A submission: one job of one program, from calls to futures.

Any thread calls :meth:`Submission.submit`; the event loop's thread cuts what came into sealed pages and signed
segments, hands them to the grantor machine, and resolves futures as results are delivered. While more waits for peers
or the disk than is good, nothing is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from p2pcpn import limits
from p2pcpn.client.arguments import Arguments
from p2pcpn.client.bundle import Bundle
from p2pcpn.client.capacity import slots_of
from p2pcpn.client.catching_up import caught_up
from p2pcpn.client.cutting import Blob, Call, Cutter
from p2pcpn.client.dividing import divide, peers_served
from p2pcpn.client.echo import Echo
from p2pcpn.client.exceptions import error_of
from p2pcpn.client.feeding import Feeding, callees
from p2pcpn.client.futures import TaskFuture
from p2pcpn.client.handover import handed_over
from p2pcpn.client.inputs import named
from p2pcpn.client.maps import Chunk, Map
from p2pcpn.client.opening import Opened, open_job
from p2pcpn.client.options import Options
from p2pcpn.client.pickling import Functions, without_frames
from p2pcpn.client.plaintext import Plaintext
from p2pcpn.client.progress import Progress
from p2pcpn.client.resuming import regained
from p2pcpn.client.room import Room
from p2pcpn.client.scattering import Scattered, keep
from p2pcpn.client.settling import Settling
from p2pcpn.client.stalling import Stalling
from p2pcpn.client.waiting import Waiting
from p2pcpn.errors import JobCancelled, JobError, Unreachable, WorkerDied
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol import events
from p2pcpn.protocol.authority import DISTRIBUTED
from p2pcpn.protocol.effects import Effect
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.wire.pages import spans_of
from p2pcpn.wire.sealing import JobKeys, job_id
from p2pcpn.wire.statements import BlobRef, Cancel, Close, Signed, signed

T = TypeVar("T")
log = logging.getLogger("p2pcpn.client")

AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"
# How soon to look again whether peers and the disk have caught up: at a gigabyte a second 10 MB later.
CATCH_UP_S = 0.01
# How soon to look again what the iterables of a map have given that are slow to give a whole block.
SLOW_S = 0.005


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
        self.arguments = Arguments(self.keys)
        self.progress = Progress(wanted=options.replicas, everybody=options.orchestration == DISTRIBUTED)
        self.by_peer: dict[bytes, int] = {}
        self.echo = Echo()
        self.on_printed: Callable[[int, int, bytes], None] | None = self._echo if options.output else None
        self.on_delivered: Callable[[list[int]], None] | None = None
        self.stalled: dict[bytes, str] = {}
        self._thread = threading.get_ident()
        self._lock = threading.RLock()  # re-entrant: a finaliser may cancel what another thread's call submitted
        self._room = Room(self._lock, options.queue_bytes, self._is_here, self._nobody_ends)
        self._over = threading.Condition(self._lock)
        self._stalling = Stalling()
        self._waiting = Waiting(self._lock)
        self._maps = Feeding(self._lock, self.keys, self._add)
        self._cancelled: deque[int] = deque()
        self._awake = False
        self._count = 0
        self._futures: dict[int, TaskFuture | Chunk] = {}
        self._settling = Settling(overlay, self._futures, self.progress, self._task_ended)
        self._withdrawn = self.withdraw  # one object for all futures
        self._keep: object = None
        self._cutter = Cutter(owner, self.job, self.keys, self._keep_blob)
        self._closed = False
        self.why_closed = AFTER_SHUTDOWN
        self._idle = asyncio.Event()
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
        gather: int = 1,
        wait_s: float = 10.0,
    ) -> Submission:
        """Begin a job: wait for storage peers, choose the stewards, sign the spec, introduce it.

        ``gather`` is how many storage peers are known to be there. Raises :class:`Unreachable` when none appears.
        """
        opened = await open_job(overlay, owner, options, bundle, gather=gather, wait_s=wait_s)
        self = cls(overlay, owner, options, bundle, opened.job_key, opened.spec)
        self._introduce(opened, granting)
        return self

    def _introduce(self, opened: Opened, granting: bool) -> None:
        overlay = self.overlay
        if opened.code is not None:
            self._keep_blob(opened.code, opened.sealed_code)
        overlay.listeners[self.job] = self._event
        grants, now = granting and not self.progress.everybody, overlay.loop.time()
        most = peers_served(self.options)
        overlay.follow(
            overlay.peer.open_job(opened.spec, self.job, opened.job_key, now, granting=grants, peers_max=most)
        )
        put = overlay.put_record(self.owner, self.job, opened.pointer, self.options.retention_s)
        self._pointer = overlay.spawn(put)
        if self.progress.everybody:
            overlay.spawn(caught_up(self))

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
        call = self._call(function, arguments, keywords)
        if isinstance(call, BaseException):
            return self._failed(call)
        with self._lock:
            data = call[1]
            size = limits.CALL_BYTES + (len(data) if type(data) is bytes else self._room.size_of(data))
            future = TaskFuture(self._lock, self._withdrawn, -1, size)
            if self._room.full:
                self._room.wait()
            if self._closed:
                raise RuntimeError(self.why_closed)
            self._room.used_bytes += size
            self._add(future, call)
            self._keep = keep
            wake, self._awake = not self._awake, True
        if wake:
            self._wake()
        return future

    def map(
        self,
        function: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        end: float | None,
        *,
        keep: object = None,
    ) -> Iterator[Any]:
        """``map(function, *iterables)`` in chunks; ``end`` is when waiting for a result ends, on ``time.monotonic``.

        Raises ``RuntimeError`` after :meth:`refuse_more`.
        """
        try:
            callee, alone = callees(self.functions, function)
        except Exception as error:
            futures = [self._failed(without_frames(error)) for _ in zip(*iterables, strict=False)]
            return (future.result() for future in futures)
        found = Map(self, self._lock, self._room, callee, alone, keep)
        with self._lock:
            if self._closed:
                raise RuntimeError(self.why_closed)
            self._maps.maps.append(found)
        found.take_in(iterables)
        return found.results(end)

    def _failed(self, error: BaseException) -> TaskFuture:
        if self._closed:
            raise RuntimeError(self.why_closed)
        future = TaskFuture()
        future.fail(error)
        return future

    def _add(self, task: TaskFuture | Chunk, call: Call) -> None:
        """One task, the next index. The caller holds the lock."""
        task.index = index = self._count
        self._count += 1
        self._futures[index] = task
        self._waiting.add(call)

    def scatter(self, value: T) -> Scattered[T]:
        """Place ``value`` ahead of the tasks that will name it. Raises what pickling raises, and :class:`StoreError`
        where this machine's disk refuses."""
        if self._is_here():
            raise RuntimeError("nothing can be scattered from the executor's own thread")
        blobs = self.arguments.place(value)
        asyncio.run_coroutine_threadsafe(self._place(blobs), self.overlay.loop).result()
        return Scattered(self.arguments, blobs)

    async def _place(self, blobs: Sequence[Blob]) -> None:
        await keep(self.overlay.shelf, blobs, self.job, self.options.retention_s)
        self._act(lambda grantor: grantor.place([blob.ref.digest for blob in blobs]))

    def _call(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Call | Exception:
        try:
            arguments, keywords = named(arguments, keywords, self._lock, self._count)
            callee, arguments = self.functions.prepare(function, arguments)
            return callee, self.arguments.pack(arguments, keywords)
        except Exception as error:
            without_frames(error)
            return error

    def _wake(self) -> None:
        try:
            self.overlay.loop.call_soon_threadsafe(self._flush)
        except RuntimeError as error:
            raise RuntimeError("the event loop of this executor has ended") from error

    def withdraw(self, index: int) -> None:
        """A task was cancelled: it is taken back soon. From any thread."""
        self._cancelled.append(index)
        self.wake()

    def wake(self) -> None:
        """Have the loop look soon for what is to be done. From any thread."""
        with self._lock:
            wake, self._awake = not self._awake, True
        if wake:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is leased anything any more
                self._wake()

    @property
    def closed(self) -> bool:
        """Whether no more may be submitted."""
        return self._closed

    def _is_here(self) -> bool:
        """Whether this is the loop's thread, which would wait for itself."""
        return threading.get_ident() == self._thread

    def _nobody_ends(self) -> None:
        """Somebody waits for room, and nothing has ended for a while: say why, where it is known."""
        if self.overlay.loop.is_closed() or not self.overlay.loop.is_running():
            raise RuntimeError("the event loop of this executor has ended")
        if not len(self.overlay.sessions):
            self._say_stalled({b"": "no peer answers"})

    def unfinished(self) -> list[TaskFuture | Chunk]:
        """The futures that have no result yet, and the chunks of maps that are out."""
        return [task for task in list(self._futures.values()) if not task.done()]

    @property
    def runs(self) -> bool:
        """Whether a peer has tasks of it, or has begun with some that nobody has called lost."""
        grantor = self.overlay.peer.grantors.get(self.job)
        if grantor is not None and grantor.granting and not grantor.superseded:
            return bool(grantor.leases)  # a future says that it runs also when its peer has died since
        return any(task.started if isinstance(task, Chunk) else task.running() for task in self.unfinished())

    def cancel_waiting(self) -> None:
        """Cancel what has not started. From any thread."""
        self._maps.cancel()
        for task in self.unfinished():
            task.cancel()

    @property
    def busy(self) -> bool:
        """Whether anything that was submitted has not ended."""
        return bool(self._futures) or self._maps.open

    def wait_over(self, wait_s: float) -> bool:
        """Wait until all that was submitted has ended; false when that took too long. Not from the loop's thread."""
        with self._over:
            return self._over.wait_for(lambda: not self.busy, wait_s)

    # --- on the loop: pages out ------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Cut what was submitted since the last turn into segments, as long as somebody takes them."""
        try:
            self._cut_waiting()
        except Exception as error:  # a mistake of ours must not leave futures that nobody resolves
            log.exception("job %s cannot go on", self.id[:8])
            self.end(JobError(f"job {self.id[:8]} cannot go on: {type(error).__name__}: {error}"))

    def _cut_waiting(self) -> None:
        with self._lock:
            self._awake = False
            cancelled = list(self._cancelled)
            self._cancelled.clear()
        if self._maps and not self.overlay.congested:
            self._feed()
        while (first := self._waiting.first()) is not None and not self.overlay.congested:
            cut = self._cutter.cut(*first)
            self._waiting.cut(cut.end)
            self.progress.total = self._cutter.first
            now = self.overlay.loop.time()
            self._act(lambda g, c=cut, now=now: g.extend(c.segment, c.sealed, c.blobs, now, c.needs))  # type: ignore[misc]
        if self._waiting or (self._maps and self.overlay.congested):
            self._again(CATCH_UP_S)
        else:
            self.progress.changed()
        if cancelled:
            self._cancel_now(cancelled)
        if self._maps:
            self._check_idle()

    def _again(self, after_s: float) -> None:
        with self._lock:
            self._awake = True
        self.overlay.loop.call_later(after_s, self._flush)

    def _feed(self) -> None:
        grantor = self.overlay.peer.grantors.get(self.job)
        keep, slow = self._maps.feed(slots_of(self.overlay, grantor))
        if keep is not None:
            self._keep = keep
        if slow:
            self.overlay.loop.call_later(SLOW_S, self.wake)

    def _cancel_now(self, cancelled: list[int]) -> None:
        first = self._cutter.first
        self._cancelled.extend(index for index in cancelled if index >= first)  # not even cut: after they were
        freed = 0
        for index in cancelled:
            task = self._futures.pop(index, None)
            freed += 0 if task is None else task.size_bytes
        self._room.give_back(freed)
        now = self.overlay.loop.time()
        spans = spans_of(sorted(index for index in cancelled if index < first))
        for at in range(0, len(spans), limits.BATCH_TASKS_MAX):
            some = spans[at : at + limits.BATCH_TASKS_MAX]
            self._act(lambda grantor, some=some: grantor.cancel(some, stop=False, now=now))  # type: ignore[misc]
        self._check_idle()

    def _keep_blob(self, ref: BlobRef, sealed: bytes | Plaintext) -> None:
        if sealed and not self.overlay.shelf.has(ref.digest):
            self.overlay.shelf.put(ref.digest, sealed, self.job, self.options.retention_s)

    def _act(self, act: Callable[[Grantor], list[Effect]]) -> None:
        self.overlay.act(self.job, act)

    # --- on the loop: results in -----------------------------------------------------------------------------------

    def _event(self, event: object) -> None:
        """What the machines report about this job."""
        if isinstance(event, events.Delivered):
            self._delivered(event)
        elif isinstance(event, events.Started):
            for index in event.indices:
                future = self._futures.get(index)
                if future is not None:
                    self.stalled = {}
                    future.start()  # one that was cancelled goes, and gives back what it takes, when it is withdrawn
            self._feed_soon()  # long tasks: there may be more slots by now than when the last one ended
        elif isinstance(event, events.Printed):
            if self.on_printed is not None:
                self.on_printed(event.index, event.stream, event.data)
        elif isinstance(event, events.GaveUp):
            for index in event.indices:
                error = WorkerDied(event.text, event.signal, event.exit_code) if event.died else JobError(event.text)
                self._fail(index, error)
            self._task_ended(0)
        elif isinstance(event, events.Cancelled):
            self._is_cancelled()
        elif isinstance(event, events.Lapsed):
            self.overlay.loop.call_soon(self._lapsed)
        elif isinstance(event, events.Stalled):
            self.stalled = dict(event.reasons)
            self._say_stalled(self.stalled)
        elif isinstance(event, events.Superseded):
            self.overlay.spawn(regained(self, event.epoch))
        elif isinstance(event, events.Outgrown):
            self.overlay.loop.call_soon(divide, self)
        elif isinstance(event, events.Kept | events.Replicated):
            self.progress.note(event)
            self._let_go()

    def _lapsed(self) -> None:
        """Nobody added to the job for its time to live. That somebody is just about to is known here alone: who waits
        for room is inside a call, and a map has items that are no tasks yet."""
        with self._lock:
            self._maps.forget_ended()
            goes_on = bool(self._waiting or self._maps) or self._room.awaited
            if not goes_on:
                self.refuse_more("cannot schedule new futures: there was none for the job's time to live (see ttl_s=)")
        if goes_on:
            self._act(lambda grantor: grantor.prolong(self.overlay.loop.time()))
        else:
            self.overlay.spawn(self.close())

    def _let_go(self) -> None:
        """Blobs of arguments that no task needs any more, nor a copy of them, go from memory."""
        grantor = self.overlay.peer.grantors.get(self.job)
        for name in grantor.spent() if grantor is not None else ():
            if self._cutter.let_go(name):
                self.overlay.shelf.let_go(name)

    def _say_stalled(self, reasons: Mapping[bytes, str]) -> None:
        for peer, why in self._stalling.news(reasons, time.monotonic()):
            who = f"peer {peer.hex()[:8]} says {why!r}" if peer else why
            log.warning("job %s waits: %s", self.id[:8], who)

    def _delivered(self, event: events.Delivered) -> None:
        self.stalled = {}
        self.by_peer[event.worker] = self.by_peer.get(event.worker, 0) + len(event.indices)
        self._settling.delivered(event)
        self.progress.delivered += len(event.indices)
        if self.on_delivered is not None:
            self.on_delivered(event.indices)

    def _task_ended(self, freed_bytes: int) -> None:
        """Tasks have ended: there is room for others, and for further chunks."""
        self._room.give_back(freed_bytes)
        self._check_idle()
        self._feed_soon()

    def _feed_soon(self) -> None:
        if self._maps and not self._awake:
            self._awake = True
            self.overlay.loop.call_soon(self._flush)

    def _fail(self, index: int, error: BaseException) -> None:
        task = self._futures.pop(index, None)
        if task is not None:
            self.progress.failed += 1
            task.fail(error)
            self._room.give_back(task.size_bytes)

    def _check_idle(self) -> None:
        with self._lock:
            if self._maps:
                self._maps.forget_ended()
            if not self.busy:
                self._keep = None
                self._idle.set()
                self._over.notify_all()

    def _echo(self, index: int, stream: int, data: bytes) -> None:
        self.echo.write(stream, data)

    # --- the end ---------------------------------------------------------------------------------------------------

    def refuse_more(self, why: str = AFTER_SHUTDOWN) -> None:
        """From now on :meth:`submit` raises ``RuntimeError``, with the first ``why``. From any thread."""
        with self._lock:
            if not self._closed:
                self._closed, self.why_closed = True, why
            self._room.shut()

    async def close(self) -> None:
        """State the total; the job is over when everything has ended."""
        self.refuse_more()
        self._flush()
        await self.progress.reach(lambda: not self._waiting, None)
        total, now = self._cutter.first, self.overlay.loop.time()
        statement = signed(Close(self.job, total, self._cutter.last), self.owner)
        self._act(lambda grantor: grantor.close(statement, total, now))

    async def replicated(self, wait_s: float) -> bool:
        """Wait until every settlement lies on enough holders; false when that took too long."""
        return await self.progress.reach(lambda: self.progress.done, wait_s)

    async def kept(self, wait_s: float) -> int:
        """Wait until spec and all tasks lie on as many stewards as the job wants replicas (or on all there are), and
        the record that leads to them lies in the DHT.

        Returns on how many they lie. Raises :class:`Unreachable` when that took too long.
        """
        end = self.overlay.loop.time() + wait_s
        if not await self.progress.reach(lambda: self.progress.is_kept, wait_s) or self.progress.kept is None:
            raise Unreachable("the stewards did not acknowledge the job in time; nothing is promised")
        if self._pointer is not None:
            await asyncio.wait([self._pointer], timeout=end - self.overlay.loop.time())
        return self.progress.kept.whole

    async def hand_over(self, wait_s: float = 10.0) -> bytes:
        """Make a steward the grantor; returns its node key once it has said yes. Raises :class:`Unreachable`."""
        grantor = self.overlay.peer.grantors[self.job]
        steward, take = await handed_over(self.overlay, self.owner, self.job, grantor.spec.stewards, wait_s)
        self._act(lambda g: g.hand_over(take, self.overlay.loop.time()))
        return steward.key

    async def cancel_job(self) -> None:
        """End the job: what has not run never will, what runs is stopped."""
        statement = signed(Cancel(self.job, time.time()), self.owner)
        self._act(lambda grantor: grantor.cancel_job(statement, self.overlay.loop.time()))
        self._is_cancelled()

    def _is_cancelled(self) -> None:
        self.end(JobCancelled(f"job {self.id[:8]} was cancelled"))

    def end(self, error: JobError) -> None:
        """Nothing of the job goes on: what is left fails with ``error``, and who submits more is told the same."""
        self.refuse_more(f"cannot schedule new futures: {error}")
        self._waiting.clear()
        self.abandon(error)

    def abandon(self, error: BaseException) -> None:
        """Fail whatever is left."""
        self._maps.abandon(error)
        for index in list(self._futures):
            self._fail(index, error)
        self._check_idle()

    def forget(self) -> None:
        """The program needs the job no more. What has not ended by now fails: nobody would resolve it."""
        self.abandon(JobError(f"job {self.id[:8]} was let go before this task had ended; fetch it by its id"))
        self.arguments.forget()
        self.overlay.listeners.pop(self.job, None)
        self.overlay.follow(self.overlay.peer.presiding.forget(self.job))
        if self._pointer is not None:
            self._pointer.cancel()


__all__ = ["Options", "Progress", "Submission", "error_of"]
