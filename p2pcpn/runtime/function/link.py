"""The peer's end of one worker: socket, shared page, the pipes of its stdout and stderr, and its one or two batches.

Python-level output arrives as messages. What C code and child processes write to the descriptors arrives through pipes
that the peer itself reads: a reader inside the worker would wait for the interpreter lock that a full pipe's writer
may hold.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from p2pcpn.errors import PeerError
from p2pcpn.limits import (
    CHECKPOINT_BYTES_MAX,
    FUNCTIONS_KEPT_BYTES_MAX,
    FUNCTIONS_KEPT_MAX,
    TASK_OUTPUT_BYTES_MAX,
    WORKER_PARTS_BYTES_MAX,
)
from p2pcpn.runtime.function.batches import Batch, GroupKey
from p2pcpn.runtime.function.landing import LANDED_BYTES, Landing
from p2pcpn.runtime.function.messages import (
    STDERR,
    STDOUT,
    Cancel,
    Finished,
    Frames,
    Lend,
    Output,
    Run,
    Share,
    Skipped,
    State,
    frame,
)
from p2pcpn.runtime.function.progress import Page, shared_file
from p2pcpn.runtime.function.sharing import SharedFile
from p2pcpn.runtime.function.slabs import given

RECEIVE_BYTES: Final = 256 << 10
# A pipe is read at most this often, at most this much: a task that floods it waits for us, not we for it.
_PIPE_PAUSE_S: Final = 0.02
_PIPE_BYTES: Final = 1 << 20
_PIPE_CAPACITY: Final = 256 << 10
_CUT: Final = b"\n[... output cut]\n"
# What lay in a slab is forgotten with the next that lies there; where none does, after this time.
_FORGET_S: Final = 0.05
# Linux passes 253 descriptors at a time.
DESCRIPTORS_MAX: Final = 64


class Assignment:
    """A batch on its way: whose it is, how far it is reported, what of it was cancelled."""

    __slots__ = ("batch", "count", "deaths", "dispatch", "dropped", "files", "group", "killed", "ran_s", "reported")

    def __init__(self, group: GroupKey, batch: Batch) -> None:
        self.group = group
        self.batch = batch
        # The shared files it needs, each once.
        self.files: tuple[SharedFile, ...] = ()
        if batch.parts is not None:
            found = (part for parts in batch.parts for part in parts if isinstance(part, SharedFile))
            self.files = tuple(dict.fromkeys(found))
        self.count = len(batch.arguments)  # less, once it was cut
        self.dispatch = 0
        self.reported = 0
        self.ran_s = 0.0
        self.deaths = 0
        self.killed = False
        self.dropped: set[int] = set()


class WorkerLink:
    """One worker. ``on_message(link, message)`` gets what it says; ``on_fault(link)``: it said what no worker says.

    ``scratch`` is where all of them read to: memory of its own for each read costs ten times the reading.
    """

    def __init__(
        self,
        number: int,
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[WorkerLink, Finished | Output | State], None],
        on_skipped: Callable[[WorkerLink, int], None],
        on_fault: Callable[[WorkerLink], None],
        scratch: memoryview,
    ) -> None:
        self.number = number
        self.pid: int | None = None
        self.group: GroupKey | None = None
        self.assignments: deque[Assignment] = deque()
        self.revoked: int | None = None
        self.idle_since = 0.0
        self._loop = loop
        self._on_message = on_message
        self._on_skipped = on_skipped
        self._on_fault = on_fault
        self._scratch = scratch
        self._frames = Frames(from_worker=True)
        self._dispatches = 0
        self._known: dict[bytes, int] = {}
        self._known_bytes = 0
        self._files: dict[int, int] = {}  # shared files that the worker has, oldest first, and their sizes
        self._files_bytes = 0
        self._slabs: dict[int, SharedFile] = {}  # that the worker has, and what lies there as it knows
        self._gone: dict[int, None] = {}  # files, and below slabs, that it is to forget
        self._gone_slabs: list[int] = []
        self._forget_later: asyncio.TimerHandle | None = None
        self._landing: Landing | None = None
        self._unsent: deque[tuple[bytearray, list[int]]] = deque()
        self._printed_at = (0, 0)
        self._room = TASK_OUTPUT_BYTES_MAX
        self._open = True
        self._pauses: dict[int, asyncio.TimerHandle] = {}
        self._sock, self._theirs = socket.socketpair()
        self._sock.setblocking(False)
        page = shared_file()
        self.page = Page(page)
        self._pipes: dict[int, int] = {}
        self._given = [self._theirs.detach(), page]
        self._pipe_poll = select.poll()
        for stream in (STDOUT, STDERR):
            end, given = os.pipe()
            os.set_blocking(end, False)
            _widen(end)
            self._pipes[end] = stream
            self._pipe_poll.register(end, select.POLLIN)
            self._given.append(given)
            loop.add_reader(end, self._pipe_readable, end)
        loop.add_reader(self._sock.fileno(), self._readable)

    def hand_over(self, control: socket.socket, order: bytes) -> None:
        """Send ``order`` with the worker's descriptors through ``control``, and forget them here."""
        try:
            socket.send_fds(control, [order], self._given)
        finally:
            for descriptor in self._given:
                os.close(descriptor)
            self._given = []

    def send(self, assignment: Assignment, bundle: str | None) -> None:
        """Give the worker a batch, and the functions of it that it does not have yet."""
        batch, known = assignment.batch, self._known
        forget = len(known) + len(batch.functions) > FUNCTIONS_KEPT_MAX or self._known_bytes > FUNCTIONS_KEPT_BYTES_MAX
        if forget:
            known.clear()
            self._known_bytes = 0
        numbers, loads = [], []
        for function in batch.functions:
            number = known.get(function)
            if number is None:
                number = known[function] = len(known)
                self._known_bytes += len(function)
                loads.append((number, function))
            numbers.append(number)
        self._dispatches += 1
        assignment.dispatch = self._dispatches
        self.assignments.append(assignment)
        run = Run(
            self._dispatches,
            batch.batch_id,
            bundle,
            forget,
            loads,
            numbers,
            batch.function_numbers,
            batch.arguments,
            batch.digest_key,
            batch.render,
            sorted(assignment.dropped),
            None,
            batch.states,
        )
        if batch.parts is not None:
            again = self._share(assignment.files)
            named = [[_named(part) for part in parts] for parts in batch.parts]
            run = msgspec.structs.replace(run, parts=named, again=again)
        self._write(frame(run))

    def _share(self, files: Sequence[SharedFile]) -> list[tuple[int, int, int]]:
        """Give the worker the files that it lacks; what it has beyond a bound, and no batch of its needs, may go.

        What lies in a slab that it has is returned, to be told with the batch.
        """
        for file in files:
            size_bytes = self._files.pop(file.number, None)
            if size_bytes is not None:
                self._files[file.number] = size_bytes  # last of all now
        again: list[tuple[int, int, int]] = []
        lacking: list[SharedFile] = []
        for file in files:
            if file.number in self._files:
                continue
            self._files[file.number] = file.size_bytes
            self._files_bytes += file.size_bytes
            slab = file.slab
            before = None if slab is None else self._slabs.get(slab.number)
            if slab is not None:
                self._slabs[slab.number] = file
            if slab is None or before is None:
                lacking.append(file)
            else:
                self._gone.pop(before.number, None)  # the worker forgets it by itself
                again.append((file.number, slab.number, file.size_bytes))
        for at in range(0, len(lacking), DESCRIPTORS_MAX):
            some = lacking[at : at + DESCRIPTORS_MAX]
            slabs = [0 if file.slab is None else file.slab.number for file in some]
            share = Share(
                [file.number for file in some],
                [file.size_bytes for file in some],
                [],
                slabs if any(slabs) else [],
            )
            self._write(frame(share), [file.descriptor for file in some])
        if self._files_bytes > WORKER_PARTS_BYTES_MAX:
            needed = {file.number for assignment in self.assignments for file in assignment.files}
            self.forget_files([number for number in self._files if number not in needed], WORKER_PARTS_BYTES_MAX)
        return again

    def forget_files(self, numbers: Sequence[int], bytes_max: int = 0) -> None:
        """Have the worker forget these, in order, until what it has is no more than ``bytes_max``."""
        gone: list[int] = []
        for number in numbers:
            if bytes_max and self._files_bytes <= bytes_max:
                break
            if self._drop_file(number):
                gone.append(number)
        if gone and self._open:
            self._write(frame(Share([], [], gone)))

    def _drop_file(self, number: int) -> bool:
        size_bytes = self._files.pop(number, None)
        if size_bytes is not None:
            self._files_bytes -= size_bytes
        return size_bytes is not None

    def dropped(self, file: SharedFile) -> None:
        """The file is no more. In a slab something else will lie soon, and it is forgotten then."""
        if file.slab is None:
            self.forget_files([file.number])
        elif self._drop_file(file.number):
            self._gone[file.number] = None
            self._forget_soon()

    def dropped_slab(self, number: int) -> None:
        """Nothing lies in that slab any more, nor ever will."""
        if self._slabs.pop(number, None) is not None:
            self._gone_slabs.append(number)
            self._forget_soon()

    def _forget_soon(self) -> None:
        if self._forget_later is None and self._open:
            self._forget_later = self._loop.call_later(_FORGET_S, self._forget_now)

    def _forget_now(self) -> None:
        self._forget_later = None
        if self._gone or self._gone_slabs:
            share = Share([], [], list(self._gone), [], self._gone_slabs)
            self._gone, self._gone_slabs = {}, []
            self._write(frame(share))

    def _lend(self) -> None:
        """Lend the worker memory for its next large results."""
        try:
            self._landing = Landing()
        except OSError:
            return  # no memory or no descriptor left: the socket does
        self._write(frame(Lend()), [self._landing.descriptor])

    def cancel(self, batch_id: int, positions: set[int]) -> None:
        """Ask the worker not to start these positions."""
        self._write(frame(Cancel(batch_id, sorted(positions))))

    def revoke_last(self) -> Assignment | None:
        """Take back the batch that waits behind the running one, unless the worker has started it just now."""
        last = self.assignments[-1]
        if not self.page.revoke(last.dispatch):
            return None
        self.revoked = last.dispatch
        # Where both sides stored before either looked, it runs all the same, and what it has of them must not change.
        given(file.slab for file in last.files)
        return self.assignments.pop()

    def cut(self, assignment: Assignment) -> int:
        """End a batch that runs here behind its current task; returns how many of its tasks are left."""
        end = self.page.cut(assignment.dispatch, assignment.count)
        if end is not None and assignment.reported < end < assignment.count:
            assignment.count = end
        return assignment.count

    def position(self) -> int | None:
        """The position that runs now; ``None`` when the worker has not started its first batch, or has none."""
        if not self.assignments:
            return None
        head = self.assignments[0]
        position = self.page.position(head.dispatch)
        return (
            None if position is None else min(position, len(head.batch.arguments) - 1)
        )  # others' code may write there

    def _write(self, data: bytearray, descriptors: Sequence[int] = ()) -> None:
        """Send ``data``, the descriptors with its first byte, behind what waits."""
        sent = 0
        if not self._unsent:
            try:
                sent = self._give(data, descriptors)
            except BlockingIOError:
                pass
            except ConnectionError:
                return  # it died; its exit is on the way and returns what it had
            except OSError:
                self._cannot_say()
                return
            if sent == len(data):
                return
            self._loop.add_writer(self._sock.fileno(), self._writable)
        if sent:
            del data[:sent]
            descriptors = ()
        try:
            # What waits keeps descriptors of its own: the files may be dropped before it is sent.
            self._unsent.append((data, [os.dup(descriptor) for descriptor in descriptors]))
        except OSError:
            self._cannot_say()

    def _cannot_say(self) -> None:
        """The system refused a message (no descriptor was left, say): a worker that missed one is of no use."""
        self._loop.call_soon(self._on_fault, self)

    def _give(self, data: bytearray, descriptors: Sequence[int]) -> int:
        return socket.send_fds(self._sock, [data], list(descriptors)) if descriptors else self._sock.send(data)

    def _writable(self) -> None:
        while self._unsent:
            data, descriptors = self._unsent[0]
            try:
                sent = self._give(data, descriptors)
            except BlockingIOError:
                return
            except ConnectionError:
                sent = len(data)
            except OSError:
                sent = len(data)
                self._cannot_say()
            while descriptors:
                os.close(descriptors.pop())
            if sent < len(data):
                del data[:sent]
                return
            self._unsent.popleft()
        self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> bool:
        """Read once. False when there is nothing more to come, or nothing now."""
        try:
            size = self._sock.recv_into(self._scratch)
        except BlockingIOError:
            return False
        except OSError:
            size = 0
        if not size:
            self._loop.remove_reader(self._sock.fileno())
            return False
        try:
            for message in self._frames.feed(self._scratch[:size]):
                self._message(message)
        except PeerError:
            self._loop.remove_reader(self._sock.fileno())
            self._on_fault(self)
            return False
        return self._open

    def _message(self, message: Any) -> None:
        if isinstance(message, Skipped):
            if message.dispatch == self.revoked:
                self.revoked = None
            self._on_skipped(self, message.dispatch)
            return
        if isinstance(message, Finished) and message.given:
            given(found.slab for number in message.given if (found := self._slabs.get(number)) is not None)
        head = self.assignments[0] if self.assignments else None
        if head is None or message.batch_id != head.batch.batch_id:
            if isinstance(message, Finished) and self._landing is not None:
                self._landing.taken(message.until)
            return  # a batch that we took back while it was being started: it is run elsewhere
        count = len(head.batch.arguments)
        if isinstance(message, Output):
            if message.position >= count or message.stream not in (STDOUT, STDERR):
                raise PeerError("output of a task that there is not")
        elif isinstance(message, State):
            if message.position >= count or len(message.data) > CHECKPOINT_BYTES_MAX:
                raise PeerError("a state of a task that there is not, or too large a one")
        else:
            size = len(message.values)
            if (
                not 0 < size <= count - head.reported
                or message.first != head.reported
                or len(message.outcomes) != size
                or len(message.digests) != 16 * size
                or len(message.ran_s) != size
                or len(message.renderings) not in (0, size)
            ):
                raise PeerError("columns of results that do not fit the batch")
            if size > head.count - head.reported:
                message = _ended(message, head.count - head.reported)  # it was cut: the rest was left out
                size = len(message.values)
            if message.placed:
                if self._landing is None:
                    raise PeerError("a result lies in memory that was never lent")
                values = self._landing.take(message.values, message.placed, message.until)
                message = msgspec.structs.replace(message, values=values, placed=[])
            elif self._landing is None and len(message.values[-1]) >= LANDED_BYTES:
                self._lend()
            # What these tasks wrote to the descriptors is in the pipes already: it goes first, under their name.
            if self._pipe_poll.poll(0):
                self._drain_pipes(head.reported + size - 1)
        self._on_message(self, message)

    def _pipe_readable(self, end: int) -> None:
        self._loop.remove_reader(end)
        if self._read_pipe(end, None):
            self._pauses[end] = self._loop.call_later(_PIPE_PAUSE_S, self._resume, end)
        else:
            self._pipe_poll.unregister(end)
            del self._pipes[end]
            os.close(end)

    def _resume(self, end: int) -> None:
        self._pauses.pop(end, None)
        if self._open and end in self._pipes:
            self._loop.add_reader(end, self._pipe_readable, end)

    def _drain_pipes(self, position: int | None) -> None:
        for end in list(self._pipes):
            self._read_pipe(end, position)

    def _read_pipe(self, end: int, position: int | None) -> bool:
        """Take what is in a pipe as output of ``position`` (default: what runs). False when its writers are gone."""
        taken, more = bytearray(), True
        while len(taken) < _PIPE_BYTES:
            try:
                chunk = os.read(end, 64 << 10)
            except BlockingIOError:
                break
            if not chunk:
                more = False
                break
            taken += chunk
        if taken and self.assignments:
            head = self.assignments[0]
            if position is None:
                position = self.position()
            self._printed(head, head.reported if position is None else position, self._pipes[end], bytes(taken))
        return more

    def _printed(self, head: Assignment, position: int, stream: int, text: bytes) -> None:
        if (head.dispatch, position) != self._printed_at:
            self._printed_at, self._room = (head.dispatch, position), TASK_OUTPUT_BYTES_MAX
        if self._room < 0:
            return
        self._room -= len(text)
        if self._room < 0:
            text = text[: self._room] + _CUT
        self._on_message(self, Output(head.batch.batch_id, position, stream, text))

    def drain(self) -> None:
        """Take in everything that a dead worker has left in its socket and pipes."""
        while self._readable():
            continue
        self._drain_pipes(None)

    def close(self) -> None:
        """Close everything. A worker that waits for a batch ends by it."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for _, descriptors in self._unsent:
            for descriptor in descriptors:
                os.close(descriptor)
        self._unsent.clear()
        if self._landing is not None:
            self._landing.close()
        if self._forget_later is not None:
            self._forget_later.cancel()
        for pause in self._pauses.values():
            pause.cancel()
        for end in self._pipes:
            self._loop.remove_reader(end)
            os.close(end)
        self._pipes.clear()
        for descriptor in self._given:
            os.close(descriptor)
        self._given = []
        self.page.close()


def _ended(message: Finished, size: int) -> Finished:
    """The first ``size`` columns of a report."""
    return msgspec.structs.replace(
        message,
        outcomes=message.outcomes[:size],
        values=message.values[:size],
        digests=message.digests[: 16 * size],
        ran_s=message.ran_s[:size],
        renderings=message.renderings[:size],
        placed=[placed for placed in message.placed if placed[0] < size],
    )


def _named(part: SharedFile | bytes) -> int | bytes:
    return part if isinstance(part, bytes) else part.number


def _widen(pipe: int) -> None:
    """More room in a pipe, where the system grants it: its writer waits less for us."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_CAPACITY)
        except OSError:
            return
