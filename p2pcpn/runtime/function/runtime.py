"""The peer's side of the `function` runtime: which batch runs in which worker process, and what became of it.

It schedules as little as it can: a batch goes to an idle worker of its group while fewer than ``slots`` work; while
batches are short, one more may wait inside each worker to hide the pipe's latency, and is taken back when another
worker falls idle. Which batch of whose job comes next, and which is cut short, is the caller's decision.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from p2pcpn.errors import StoreError, UsageError
from p2pcpn.limits import BUNDLES_MAX, WORKER_IDLE_S
from p2pcpn.runtime.function import launch, lifetime, zygote
from p2pcpn.runtime.function.batches import Batch, Died, Event, GroupKey, Unstarted
from p2pcpn.runtime.function.link import RECEIVE_BYTES, Assignment, WorkerLink
from p2pcpn.runtime.function.messages import DROPPED, Finished, Output, State
from p2pcpn.runtime.function.sharing import SharedFile, SharedFiles
from p2pcpn.runtime.function.slabs import Slab, given

# A second batch waits in a worker while batches of its group take less than this: on busy cores the way to the peer and
# back takes 2 ms, and what takes 150 ms gains nothing from hiding it.
PREFETCH_S: Final = 0.15
# A worker that dies before it starts a batch is no task's fault; a batch that this happens to thrice gets the blame.
_UNSTARTED_DEATHS_MAX: Final = 3
_DIGEST_KEY_BYTES_MAX: Final = 64  # of BLAKE2b
_CLOSE_S: Final = 0.1
# A zygote that still removes folders when we are closed ends within two seconds.
_REAP_S: Final = 5.0
_SWEEP_S: Final = WORKER_IDLE_S / 4


class _Group:
    __slots__ = ("batch_s", "idle", "members")

    def __init__(self) -> None:
        self.idle: list[WorkerLink] = []
        self.members: list[WorkerLink] = []
        self.batch_s: float | None = None


class FunctionRuntime:
    """Runs batches in ``slots`` worker processes at a time and reports through ``on_event``.

    ``on_event`` is called from the event loop, in the order of what happened: for each batch ``Output`` before the
    ``Finished`` of the same position, ``Finished`` without gaps, and at the end either the ``Finished`` of the last
    position or one ``Died``. ``memory_bytes_max`` bounds what each worker may allocate. ``zygote_process`` is a zygote
    started early by :func:`launch.forked`; by default :meth:`start` starts one by exec.
    """

    def __init__(
        self,
        *,
        slots: int,
        on_event: Callable[[Event], None],
        memory_bytes_max: int | None = None,
        zygote_process: launch.ZygoteProcess | None = None,
    ) -> None:
        assert slots >= 1, "a runtime without slots runs nothing"
        self._slots = slots
        self._on_event = on_event
        self._memory_bytes_max = memory_bytes_max
        self._zygote = zygote_process
        self._root = zygote_process.root if zygote_process is not None else None
        self._loop: asyncio.AbstractEventLoop
        self._sweeper: asyncio.TimerHandle | None = None
        self._links: dict[int, WorkerLink] = {}
        self._numbers = 0
        self._blank: list[WorkerLink] = []
        self._groups: dict[GroupKey, _Group] = {}
        self._busy = 0
        self._behind = 0
        self._pending: deque[Assignment] = deque()
        self._bundles: dict[bytes, int] = {}
        self._bundle_numbers = 0
        self._vain_starts = 0
        self._answers = bytearray()
        self._scratch = memoryview(bytearray(RECEIVE_BYTES))
        self._closing: asyncio.Future[None] | None = None
        self.files = SharedFiles(self._file_dropped, self._slab_dropped)

    # --- what the caller asks ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the zygote and ``slots`` workers, and return while they come up: batches may be submitted at once."""
        self._loop = asyncio.get_running_loop()
        self._open_zygote()
        for _ in range(self._slots):
            self._blank.append(self._new_link())
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def submit(self, group: GroupKey, batch: Batch) -> None:
        """Run ``batch`` in a worker of ``group``, now or as soon as one is free.

        What waits here waits in order; the caller bounds it by looking at :meth:`room` first.
        Raises :class:`UsageError` for a group whose bundle was not set, and for a batch without tasks or functions
        or with too long a digest key.
        """
        if group.bundle is not None and group.bundle not in self._bundles:
            raise UsageError("the project bundle of this group is not here; set_bundle() comes first")
        if not batch.arguments or not batch.functions:
            raise UsageError("a batch has at least one task and one function")
        if len(batch.digest_key) > _DIGEST_KEY_BYTES_MAX:
            raise UsageError(f"a digest key has at most {_DIGEST_KEY_BYTES_MAX} bytes")
        if self._zygote is None and self._closing is None:
            self._vain_starts = 0
            self._open_zygote()
        assignment = Assignment(group, batch)
        self.files.use(assignment.files)
        self._pending.append(assignment)
        self._pump()

    def resize(self, slots: int) -> None:
        """Run so many at a time from now on. Where they are fewer, processes that idle end; what runs goes on."""
        assert slots >= 1, "a runtime without slots runs nothing"
        self._slots = slots
        while len(self._links) > slots + 1 and self._blank:
            self._dismiss(self._blank[-1])
        while len(self._links) > slots + 1 and any(group.idle for group in self._groups.values()):
            self._dismiss_longest_idle()
        self._pump()

    def room(self) -> int:
        """How many batches may be submitted so that each worker has one to run and one behind it."""
        return max(0, 2 * self._slots - self._busy - self._behind - len(self._pending))

    def running(self) -> dict[int, int]:
        """The position that runs now, of each batch that has started."""
        found = {}
        for link in self._links.values():
            position = link.position()
            if position is not None:
                found[link.assignments[0].batch.batch_id] = position
        return found

    def has_bundle(self, digest: bytes) -> bool:
        """Whether the modules with this digest are here."""
        return digest in self._bundles

    def set_bundle(self, digest: bytes, data: bytes) -> None:
        """Keep a project's modules (a zip archive) for groups that name its digest, which the caller has checked.

        Raises :class:`StoreError` where the disk refuses.
        """
        number = self._bundles.pop(digest, None)
        if number is None:
            self._forget_bundles()
            assert self._root is not None, "start() comes first"
            self._bundle_numbers += 1
            number = self._bundle_numbers
            try:
                (self._root / f"bundle-{number}.zip").write_bytes(data)
            except OSError as error:
                raise StoreError(f"the project bundle cannot be kept: {error.strerror or error}") from error
        self._bundles[digest] = number

    def cancel(self, batch_id: int, positions: Iterable[int]) -> None:
        """Drop what has not started: it is reported as ``DROPPED``, in its place. What runs goes on."""
        link, assignment = self._find(batch_id)
        if assignment is None:
            return
        assignment.dropped.update(positions)
        if link is not None and (assignment is link.assignments[0] or not self._take_back(link, assignment)):
            link.cancel(batch_id, assignment.dropped)
            return
        count = len(assignment.batch.arguments)
        if len(assignment.dropped) >= count:
            self._pending.remove(assignment)
            self.files.release(assignment.files)
            dropped = Finished(
                batch_id, 0, bytes([DROPPED]) * count, [b""] * count, bytes(16 * count), [0.0] * count, []
            )
            self._on_event(dropped)
        self._pump()

    def cut(self, batch_id: int) -> int | None:
        """End a batch behind the task that runs, or before its first; returns how many of its tasks are left.

        All of them where it cannot be told what runs. Where none is left, nothing of it is reported any more.
        ``None``: it is over already.
        """
        link, assignment = self._find(batch_id)
        if assignment is None:
            return None
        if link is not None:
            if assignment is link.assignments[0]:
                return link.cut(assignment)
            if not self._take_back(link, assignment):
                return assignment.count
        self._pending.remove(assignment)
        self.files.release(assignment.files)
        return 0

    def kill(self, batch_id: int) -> None:
        """SIGKILL the worker that runs this batch: it ends with ``Died``. One that has not started is dropped."""
        link, assignment = self._find(batch_id)
        if link is not None and assignment is link.assignments[0]:
            assignment.killed = True
            self._order(zygote.KILL, link.number)
        elif assignment is not None:
            self.cancel(batch_id, range(len(assignment.batch.arguments)))

    async def close(self) -> None:
        """Kill all workers and the zygote, and wait for them for ``_CLOSE_S``. No event comes any more."""
        if self._closing is not None:
            return
        self._closing = self._loop.create_future()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._pending.clear()
        for link in self._links.values():
            link.close()
        self._links.clear()
        self.files.close()
        process = self._zygote
        if process is None:
            return
        try:
            process.control.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(self._closing, _CLOSE_S)
        except (OSError, TimeoutError):
            pass  # it is busy removing folders, and ends within two seconds by itself
        self._loop.remove_reader(process.control.fileno())
        process.control.close()
        for _ in range(10):
            if process.reap(0.0):
                shutil.rmtree(process.root, ignore_errors=True)
                break
            await asyncio.sleep(0.001)
        else:  # somebody has to collect it, or the program that embeds us keeps a zombie
            threading.Thread(target=process.reap, args=(_REAP_S,), name="p2pcpn-reap", daemon=True).start()

    # --- which worker -----------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        while self._pending and self._zygote is not None and self._closing is None:
            assignment = self._pending[0]
            link = self._link_for(assignment.group)
            if link is None:
                break
            self._pending.popleft()
            if link.assignments:
                self._behind += 1
            else:
                self._busy += 1
            link.send(assignment, self._bundle_path(assignment.group))
        if self._behind and not self._pending and self._busy < self._slots:
            self._balance()

    def _link_for(self, key: GroupKey) -> WorkerLink | None:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
        if self._busy < self._slots:
            if group.idle:
                return group.idle.pop()
            link = self._blank.pop(0) if self._blank else self._new_link()
            link.group = key
            group.members.append(link)
            self._loop.call_soon(self._refill)
            return link
        if group.batch_s is not None and group.batch_s < PREFETCH_S:
            for link in group.members:
                if len(link.assignments) == 1 and link.revoked is None:
                    return link
        return None

    def _balance(self) -> None:
        """A slot is free while a batch waits behind another one: take it back and run it now."""
        for link in self._links.values():
            if len(link.assignments) == 2 and link.revoked is None and self._take_back(link, link.assignments[-1]):
                self._pump()
                return

    def _take_back(self, link: WorkerLink, assignment: Assignment) -> bool:
        assert link.assignments[-1] is assignment
        if link.revoked is not None or link.revoke_last() is None:
            return False
        self._behind -= 1
        self._pending.appendleft(assignment)
        return True

    def _find(self, batch_id: int) -> tuple[WorkerLink | None, Assignment | None]:
        for link in self._links.values():
            for assignment in link.assignments:
                if assignment.batch.batch_id == batch_id:
                    return link, assignment
        for assignment in self._pending:
            if assignment.batch.batch_id == batch_id:
                return None, assignment
        return None, None

    def _bundle_path(self, key: GroupKey) -> str | None:
        if key.bundle is None:
            return None
        assert self._root is not None
        return str(self._root / f"bundle-{self._bundles[key.bundle]}.zip")

    # --- what workers say -------------------------------------------------------------------------------------------

    def _on_message(self, link: WorkerLink, message: Finished | Output | State) -> None:
        if self._closing is not None:
            return
        if isinstance(message, Finished):
            head = link.assignments[0]
            head.reported += len(message.values)
            head.ran_s += sum(message.ran_s)
            if head.reported == head.count:
                self._over(link, head)
                self._on_event(message)
                self._pump()
                return
        self._on_event(message)

    def _over(self, link: WorkerLink, head: Assignment) -> None:
        link.assignments.popleft()
        if head.files:
            self.files.release(head.files)
        group = self._groups[head.group]
        group.batch_s = head.ran_s if group.batch_s is None else 0.7 * group.batch_s + 0.3 * head.ran_s
        if link.assignments:
            self._behind -= 1
        else:
            self._busy -= 1
            link.idle_since = self._loop.time()
            group.idle.append(link)

    def _on_skipped(self, link: WorkerLink, dispatch: int) -> None:
        """The worker left a batch alone. We know, unless both sides stored before either looked: then run it again."""
        for assignment in list(link.assignments):
            if assignment.dispatch == dispatch:
                self._unassign(link, assignment)
                self._pending.appendleft(assignment)
        self._pump()

    def _unassign(self, link: WorkerLink, assignment: Assignment) -> None:
        link.assignments.remove(assignment)
        if link.assignments:
            self._behind -= 1
        else:
            self._busy -= 1
            link.idle_since = self._loop.time()
            self._groups[assignment.group].idle.append(link)

    def _on_fault(self, link: WorkerLink) -> None:
        if link.assignments:
            link.assignments[0].killed = True  # it has begun, whatever stands in the page that its code may write to
        self._order(zygote.KILL, link.number)

    # --- birth and death --------------------------------------------------------------------------------------------

    def _new_link(self) -> WorkerLink:
        if len(self._links) > 2 * self._slots:
            self._dismiss_longest_idle()
        self._numbers += 1
        link = WorkerLink(self._numbers, self._loop, self._on_message, self._on_skipped, self._on_fault, self._scratch)
        self._links[link.number] = link
        if self._zygote is not None:
            try:
                link.hand_over(self._zygote.control, zygote.ORDER.pack(zygote.FORK, link.number))
            except OSError:
                self._loop.call_soon(self._zygote_lost)
        return link

    def _refill(self) -> None:
        if not self._blank and self._zygote is not None and self._closing is None:
            self._blank.append(self._new_link())

    def _dismiss_longest_idle(self) -> None:
        idle = [link for group in self._groups.values() for link in group.idle]
        if idle:
            self._dismiss(min(idle, key=lambda link: link.idle_since))

    def _dismiss(self, link: WorkerLink) -> None:
        self._leave_group(link)
        del self._links[link.number]
        link.close()
        self._order(zygote.KILL, link.number)

    def _leave_group(self, link: WorkerLink) -> None:
        if link in self._blank:
            self._blank.remove(link)
        if link.group is not None:
            group = self._groups[link.group]
            group.members.remove(link)
            if link in group.idle:
                group.idle.remove(link)

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)
        until = self._loop.time() - WORKER_IDLE_S
        for group in self._groups.values():
            for link in [link for link in group.idle if link.idle_since <= until]:
                self._dismiss(link)
        if not self._busy and not self._pending:
            self.files.forget_unused()
        waiting = {assignment.group for assignment in self._pending}
        for key in [key for key, group in self._groups.items() if not group.members and key not in waiting]:
            del self._groups[key]

    def _file_dropped(self, file: SharedFile) -> None:
        for link in self._links.values():
            link.dropped(file)

    def _slab_dropped(self, slab: Slab) -> None:
        for link in self._links.values():
            link.dropped_slab(slab.number)

    def _forget_bundles(self) -> None:
        used = {key.bundle for key, group in self._groups.items() if group.members}
        used.update(assignment.group.bundle for assignment in self._pending)
        for digest in [digest for digest in self._bundles if digest not in used]:
            if len(self._bundles) < BUNDLES_MAX:
                return
            self._order(zygote.REMOVE, self._bundles.pop(digest))

    def _died(self, link: WorkerLink, number: int | None, exit_code: int | None) -> None:
        """A worker is gone: its first batch is over with it, the one behind runs elsewhere."""
        link.drain()
        self._leave_group(link)
        assignments = list(link.assignments)
        given(file.slab for each in assignments for file in each.files)  # what its tasks had was not said
        event: Event | None = None
        if assignments:
            self._busy -= 1
            self._behind -= len(assignments) - 1
            head = assignments[0]
            position = link.position()
            head.deaths += self._zygote is not None
            if position is not None or head.reported or head.killed or head.deaths >= _UNSTARTED_DEATHS_MAX:
                if position is None and not head.reported and not head.killed:
                    event = Unstarted(head.batch.batch_id, number, exit_code)
                else:
                    event = Died(head.batch.batch_id, max(position or 0, head.reported), number, exit_code)
                del assignments[0]
                self.files.release(head.files)
        self._pending.extendleft(reversed(assignments))
        link.assignments.clear()
        link.close()
        self._loop.call_soon(self._refill)
        if event is not None:
            self._on_event(event)

    # --- the zygote -------------------------------------------------------------------------------------------------

    def _open_zygote(self) -> None:
        if self._zygote is None:
            if self._root is None or not self._root.is_dir():
                self._root = launch.working_folder()
            self._zygote = launch.executed(self._root, self._memory_bytes_max)
        self._answers.clear()
        self._zygote.control.setblocking(False)
        self._loop.add_reader(self._zygote.control.fileno(), self._on_answer)

    def _order(self, what: int, number: int) -> None:
        if self._zygote is not None:
            try:
                self._zygote.control.send(zygote.ORDER.pack(what, number))
            except OSError:
                self._loop.call_soon(self._zygote_lost)

    def _on_answer(self) -> None:
        assert self._zygote is not None
        try:
            chunk = self._zygote.control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            if self._closing is None:
                self._zygote_lost()
            else:
                self._loop.remove_reader(self._zygote.control.fileno())
                if not self._closing.done():
                    self._closing.set_result(None)
            return
        self._answers += chunk
        size = zygote.ANSWER.size
        while len(self._answers) >= size:
            what, number, first, second = zygote.ANSWER.unpack_from(self._answers)
            del self._answers[:size]
            self._answer(what, number, first, second)
        self._pump()

    def _answer(self, what: int, number: int, first: int, second: int) -> None:
        if what == zygote.FORKED:
            self._vain_starts = 0
            if number in self._links:
                self._links[number].pid = first
        elif number in self._links:
            self._died(self._links.pop(number), second or None, None if second else first)

    def _zygote_lost(self) -> None:
        """The zygote was killed, and the kernel kills its workers after it: start anew. What ran is lost with them."""
        process, self._zygote = self._zygote, None
        if process is None or self._closing is not None:
            return
        self._loop.remove_reader(process.control.fileno())
        process.control.close()
        lifetime.kill_group(process.pid)
        process.reap(_CLOSE_S)
        links, self._links = list(self._links.values()), {}
        for link in links:
            if link.pid is not None:
                lifetime.kill_group(link.pid)
            self._died(link, signal.SIGKILL, None)
        self._vain_starts += 1
        if self._vain_starts < _UNSTARTED_DEATHS_MAX:
            self._open_zygote()
            self._pump()
            return
        while self._pending:  # it does not come up at all: say so for each batch; the next submit() tries once more
            assignment = self._pending.popleft()
            self.files.release(assignment.files)
            self._on_event(Unstarted(assignment.batch.batch_id, None, os.EX_UNAVAILABLE))
