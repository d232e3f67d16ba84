"""A worker process: takes batches from its socket, runs one task after the other, reports.

It is the one place beside the submitting program that loads pickles. It serves one owner and one project in its life,
so what a task leaves behind in modules and globals is met by the same owner's tasks only.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import pickle
import signal
import socket
import sys
import termios
import time
import traceback
import types
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import cloudpickle

from p2pcpn.limits import TASK_RESULT_BYTES_MAX
from p2pcpn.runtime.function import bundles, checkpoints, failures, lifetime
from p2pcpn.runtime.function.landing import Pieces, pickled
from p2pcpn.runtime.function.messages import DROPPED, OK, RAISED, Cancel, Frames, Lend, Run, Share, Skipped
from p2pcpn.runtime.function.parts import Files
from p2pcpn.runtime.function.progress import END, Page
from p2pcpn.runtime.function.renderings import rendering, shortened
from p2pcpn.runtime.function.reporter import LONG_S, Reporter, streams

# Between tasks the socket is read at most this often: a cancellation is heard within it, for 1 µs a time.
POLL_S: Final = 0.001
_RECEIVE_BYTES: Final = 256 << 10
# Only a task that wrote to the descriptors themselves waits, as a rule once. What a peer on a busy machine has not read
# within half a second is booked on the task after it.
_PIPE_LOOK_S: Final = 0.0002
_PIPE_LOOKS: Final = 2500
_NONE: Final = bytes(4)
# Of these no pickle has large pieces that need no copy.
_SHORT: Final = frozenset({int, float, complex, bool, str, type(None)})
# The zygote has a dozen descriptors; none but the worker's own is a task's business.
_DESCRIPTORS_MAX: Final = 256
# Those that come with one message, at most (link.DESCRIPTORS_MAX).
_PASSED_BYTES: Final = socket.CMSG_SPACE(64 * 4)
_CLOEXEC: Final = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))  # the enumeration's own "or" takes microseconds
_DONTWAIT: Final = int(socket.MSG_DONTWAIT)


class Worker:
    """Runs batches that arrive on ``peer`` until it closes."""

    def __init__(self, peer: socket.socket, page: Page, folder: Path) -> None:
        self._peer = peer
        self._page = page
        self._folder = folder
        self._frames = Frames(from_worker=False)
        self._scratch = memoryview(bytearray(_RECEIVE_BYTES))  # read to: fresh memory costs as much as the reading
        self._reporter = Reporter(peer)
        self._streams = streams(self._reporter)
        checkpoints.attach(self._reporter)
        self._waiting: deque[Run] = deque()
        self._dropped: dict[int, set[int]] = {}
        self._current: int | None = None
        self._polled = 0.0
        self._pickles: dict[int, bytes] = {}
        self._loaded: dict[int, Callable[..., Any]] = {}
        self._files = Files(self._reporter.gave)
        self._passed: list[int] = []  # descriptors that came ahead of the message they belong to
        self._bundle: str | None = None
        self._home = False  # the working directory is our folder
        self._flush_c = ctypes.CDLL(None).fflush

    def leave_child(self) -> None:
        """In a process that a task forked: nothing of it is ours to report."""
        checkpoints.attach(None)
        self._reporter.leave_child()

    def serve(self) -> None:
        """Run batches; return when the peer has closed the socket."""
        while True:
            while self._waiting:
                self._run(self._waiting.popleft())
            if not self._receive(flags=0):
                return

    def _receive(self, flags: int) -> bool:
        try:
            size, passed, _, _ = self._peer.recvmsg_into((self._scratch,), _PASSED_BYTES, flags | _CLOEXEC)
        except BlockingIOError:
            self._polled = time.perf_counter()
            return True
        except ConnectionError:
            return False
        for _, _, content in passed:
            self._passed += array.array("i", content)
        for message in self._frames.feed(self._scratch[:size]):
            if isinstance(message, Run):
                self._waiting.append(message)
                self._files.again(message.again)
                if message.dropped:
                    self._dropped.setdefault(message.batch_id, set()).update(message.dropped)
            elif isinstance(message, Share):
                count = len(message.numbers)
                self._files.add(message.numbers, message.sizes, self._passed[:count], message.slabs)
                del self._passed[:count]
                self._files.forget(message.forget, message.forget_slabs)
            elif isinstance(message, Lend):
                self._reporter.lend(self._passed.pop(0))
            elif message.batch_id == self._current or any(run.batch_id == message.batch_id for run in self._waiting):
                assert isinstance(message, Cancel)
                self._dropped.setdefault(message.batch_id, set()).update(message.positions)
        self._polled = time.perf_counter()
        return size > 0

    def _run(self, run: Run) -> None:
        if run.forget:
            self._pickles.clear()
            self._loaded.clear()
        self._pickles.update(run.loads)
        # Started before anything of the owner's is touched: a function that crashes while it loads is blamed on task 0.
        if not self._page.start(run.dispatch):
            # It was taken back; when it was sent again since, what is cancelled of it still is.
            if not any(waiting.batch_id == run.batch_id for waiting in self._waiting):
                self._dropped.pop(run.batch_id, None)
            self._reporter.send(Skipped(run.dispatch))
            return
        self._current = run.batch_id
        self._reporter.begin(run.batch_id, len(run.arguments), run.digest_key)
        sys.stdout, sys.stderr = self._streams
        functions = self._functions(run)
        self._tasks(run, functions, run.function_numbers or bytes(len(run.arguments)))
        self._current = None
        self._dropped.pop(run.batch_id, None)
        self._page.end()
        self._go_home()

    def _go_home(self) -> None:
        """The next batch begins in our folder. All of this one is reported: nobody waits for it now."""
        try:
            os.chdir(self._folder)
            self._home = True
        except OSError:
            pass  # a task has removed it: the next batch says so

    def _functions(self, run: Run) -> list[Callable[..., Any]]:
        """The batch's functions. One that cannot be had raises the reason in each task that calls it."""
        try:
            if not self._home:
                os.chdir(self._folder)
            self._home = False
            if run.bundle is not None and run.bundle != self._bundle:
                sys.path.insert(0, str(bundles.unpack(Path(run.bundle))))
                self._bundle = run.bundle
        except BaseException as error:
            return [_raiser(error)] * len(run.functions)
        loaded = self._loaded
        return [loaded[number] if number in loaded else self._load(number) for number in run.functions]

    def _load(self, number: int) -> Callable[..., Any]:
        try:
            function: Callable[..., Any] = pickle.loads(self._pickles[number])
        except BaseException as error:
            function = _raiser(error)
        self._loaded[number] = function
        self._pickles.pop(number, None)
        return function

    def _tasks(self, run: Run, functions: list[Callable[..., Any]], numbers: Sequence[int]) -> None:
        """The hot loop: about 3 µs a task of our own."""
        clock, loads, dumps = time.perf_counter, pickle.loads, pickle.dumps
        parts, with_parts = run.parts, self._files.loads
        states, begin = run.states, checkpoints.begin
        reporter, cells, last = self._reporter, self._page.cells, len(run.arguments) - 1
        args: Any
        kwargs: Any
        result: Any
        value: bytes | Pieces
        started = clock()
        for position, packed in enumerate(run.arguments):
            cells[1] = position
            reporter.position = position
            if started - self._polled >= POLL_S and not self._receive(_DONTWAIT):
                os._exit(0)
            dropped = self._dropped
            if cells[END] <= position or (dropped and position in dropped.get(run.batch_id, ())):
                reporter.add(DROPPED, b"", 0.0, started, "" if run.render else None)
                continue
            begin(None if states is None else states[position])
            outcome, text = OK, None
            try:
                args, kwargs = loads(packed) if parts is None else with_parts(packed, parts[position])
                result = functions[numbers[position]](*args, **kwargs)
            except BaseException as error:
                outcome, value = RAISED, failures.encode(error, skip=1)
                if run.render:
                    text = _failure_rendering(error)
            else:
                try:
                    value = dumps(result, 5) if type(result) in _SHORT else pickled(result)
                    size_bytes = value.size_bytes if isinstance(value, Pieces) else len(value)
                    if size_bytes > TASK_RESULT_BYTES_MAX:
                        raise _TooLarge(size_bytes)
                except BaseException as error:
                    outcome, value = _pickled_otherwise(result, error)
                if run.render:
                    text = rendering(result)
            args = kwargs = result = None
            ended = clock()
            ran_s = ended - started
            wrote = False
            if ran_s >= LONG_S or position == last:
                self._flush_c(None)
                wrote = not _pipes_are_empty()
            if reporter.add(outcome, value, ran_s, ended, text, wrote):
                _let_pipes_empty()
                ended = clock()
            started = ended


class _TooLarge(ValueError):
    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the result has {size_bytes} bytes pickled, at most {TASK_RESULT_BYTES_MAX} are allowed")

    def __reduce__(self) -> tuple[object, ...]:
        return (ValueError, self.args)


def _pickled_otherwise(result: object, error: BaseException) -> tuple[int, bytes]:
    """A result that plain pickle refuses: by cloudpickle, or an error of this task alone."""
    if not isinstance(error, _TooLarge):
        try:
            value: bytes = cloudpickle.dumps(result, protocol=5)
            if len(value) <= TASK_RESULT_BYTES_MAX:
                return OK, value
            error = _TooLarge(len(value))
        except BaseException as second:
            error = second
    return RAISED, failures.encode(error, skip=1)


def _failure_rendering(error: BaseException) -> str:
    try:
        return shortened(f"{failures.type_name(error)}: {error}")
    except Exception:
        return shortened(failures.type_name(error))


def _let_pipes_empty() -> None:
    """The peer books what it finds in the pipes on the last task reported: wait for that before the next one writes."""
    for _ in range(_PIPE_LOOKS):
        if _pipes_are_empty():
            return
        time.sleep(_PIPE_LOOK_S)


def _pipes_are_empty() -> bool:
    try:
        return fcntl.ioctl(1, termios.FIONREAD, _NONE) == fcntl.ioctl(2, termios.FIONREAD, _NONE) == _NONE
    except OSError:
        return True  # a task closed the descriptor: nothing is written to it


def _raiser(error: BaseException) -> Callable[..., Any]:
    trace = error.__traceback__

    def broken(*_: Any, **__: Any) -> NoReturn:
        raise error.with_traceback(trace)

    return broken


def main(descriptors: Sequence[int], folder: Path, parent: int, memory_bytes_max: int | None) -> NoReturn:
    """Become a worker: what a freshly forked child of the zygote calls. Never returns.

    ``descriptors`` are the socket, the shared page and the ends to write of the pipes for stdout and stderr.
    """
    os.setsid()  # a terminal's Ctrl-C is not for us, and one signal reaches us and all that tasks start
    lifetime.die_with(parent)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    peer, page, out, err = descriptors
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
        os.close(source)
    low, high = sorted((peer, page))
    for first, end in ((3, low), (low + 1, high), (high + 1, _DESCRIPTORS_MAX)):
        os.closerange(first, end)
    os.set_inheritable(peer, False)
    code = 1
    try:
        folder.mkdir(mode=0o700)
        os.environ["TMPDIR"] = str(folder)
        os.environ["PWD"] = str(folder)
        lifetime.limit_memory(memory_bytes_max)
        lifetime.keep_memory()
        # What tasks define in __main__ was pickled by value; ours holds nothing that a name could wrongly resolve to.
        sys.modules["__main__"] = types.ModuleType("__main__")
        shared = Page(page)
        os.close(page)
        with socket.socket(fileno=peer) as connection:
            worker = Worker(connection, shared, folder)
            os.register_at_fork(after_in_child=worker.leave_child)
            worker.serve()
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)
