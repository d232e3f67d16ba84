"""What a worker tells its peer, and when: results in columns, sent early enough, and what tasks print.

A report costs the peer some 20 µs, and all that is said, signed and stored because of it a millisecond; a no-op task
costs 3 µs. So results are gathered while the next one, if its task takes as long as the last, comes within ``FLUSH_S``
of the first; otherwise, and after the last of a batch, all leave at once. Batches are small where few tasks are left,
so nobody waits then. A thread flushes what a sudden long task would hold back. It sleeps on an event while nothing
waits, so that long tasks never pay for it; it cannot help against a long task that also keeps the interpreter lock.
"""

from __future__ import annotations

import io
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final, TextIO

from p2pcpn.limits import CHECKPOINT_S, INLINE_BYTES_MAX, LANDING_BYTES, TASK_OUTPUT_BYTES_MAX
from p2pcpn.runtime.function.landing import LANDED_BYTES, Berth, Pieces, Placed
from p2pcpn.runtime.function.messages import STDERR, STDOUT, Finished, FromWorker, Output, State, frame

FLUSH_S: Final = 0.04
# After a task as long as this what C code printed is flushed, too.
LONG_S: Final = 0.0005
FLUSH_BYTES: Final = 256 << 10
# What was put in memory that the peer lent: half of that, so that the peer takes one half while the other is filled.
FLUSH_LANDED_BYTES: Final = LANDING_BYTES // 2
OUTPUT_S: Final = 0.1
OUTPUT_FLUSH_BYTES: Final = 64 << 10
# The thread looks this often while results wait, and goes to sleep on its event after so many looks that found none.
_LOOK_S: Final = 0.01
_LOOKS_IN_VAIN: Final = 6
_NO_DIGEST: Final = bytes(16)
CUT: Final = b"\n[... output cut]\n"


class Reporter:
    """Gathers results and output of the running batch and sends them. ``position`` is set by whoever runs the tasks."""

    def __init__(self, peer: socket.socket, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._peer = peer
        self._clock = clock
        # Re-entrant: a finaliser or signal handler may print while a result is being added.
        self._lock = threading.RLock()
        self._sending = False
        self._pid = os.getpid()
        self._gate = threading.Event()
        self._parked = True
        self._thread: threading.Thread | None = None
        self.position = 0
        self._batch_id = 0
        self._count = 0
        self._digest_key = b""
        self._first = 0
        self._since = 0.0
        self._bytes = 0
        self._landed_bytes = 0
        self._outcomes = bytearray()
        self._values: list[bytes] = []
        self._digests: list[bytes] = []
        self._ran_s: list[float] = []
        self._renderings: list[str] = []
        self._placed: list[Placed] = []
        self._given: list[int] = []
        self._berth: Berth | None = None
        self._printed: list[tuple[int, int, int, bytearray]] = []
        self._printed_bytes = 0
        self._printed_since = 0.0
        self._printing = (0, 0)
        self._room = TASK_OUTPUT_BYTES_MAX
        self._state: State | None = None  # what the running task left last, while it waits
        self._state_at = float("-inf")  # when one left the process

    def begin(self, batch_id: int, count: int, digest_key: bytes) -> None:
        """A batch of ``count`` tasks starts; the results that follow are its."""
        with self._lock:
            self._batch_id, self._count, self._digest_key = batch_id, count, digest_key
            self._first = self.position = 0

    def add(
        self, outcome: int, value: bytes | Pieces, ran_s: float, now: float, rendering: str | None,
        at_once: bool = False,
    ) -> bool:  # fmt: skip
        """The next position of the batch is over. True when a report was sent, which takes time.

        ``at_once``: it wrote to the descriptors, which the peer books on the last task that was reported.
        """
        size = value.size_bytes if isinstance(value, Pieces) else len(value)
        if size <= INLINE_BYTES_MAX:
            value = b"".join(value) if isinstance(value, Pieces) else value
            digest = blake2b(value, digest_size=16, key=self._digest_key).digest()
        else:
            digest = _NO_DIGEST
        with self._lock:
            if size >= LANDED_BYTES and self._berth is not None:
                value = self._land(self._berth, value, size)
            if isinstance(value, Pieces):
                value = b"".join(value)
            self._state = None  # nobody runs it again
            values = self._values
            if not values:
                self._since = now
            values.append(value)
            self._outcomes.append(outcome)
            self._digests.append(digest)
            self._ran_s.append(ran_s)
            if rendering is not None:
                self._renderings.append(rendering)
            if value or not size:
                self._bytes += size
            else:
                self._landed_bytes += size
            if (
                at_once
                or self._first + len(values) == self._count
                or now + ran_s - self._since >= FLUSH_S
                or self._bytes >= FLUSH_BYTES
                or self._landed_bytes >= FLUSH_LANDED_BYTES
            ):
                self._flush()
                return True
            if self._parked:
                self._unpark()
            return False

    def gave(self, slab: int) -> None:
        """A task was given the memory of a slab itself: the peer hears of it with the next results at the latest."""
        with self._lock:
            self._given.append(slab)

    def lend(self, descriptor: int) -> None:
        """The peer lent memory for large results."""
        self._berth = Berth(descriptor)

    def _land(self, berth: Berth, value: bytes | Pieces, size: int) -> bytes | Pieces:
        """Put a result into that memory; what remains to be said of it in its column."""
        offset = berth.put(value, wait=False)
        if offset is None:
            self._flush()  # what the peer has not heard of it cannot take
            offset = berth.put(value, wait=True)
        if offset is None:
            return value
        self._placed.append((len(self._values), offset, size))
        return b""

    def keep(self, state: bytes) -> None:
        """The running task leaves a state for the next run of it. The newest counts, and leaves when one may."""
        with self._lock:
            self._state = State(self._batch_id, self.position, state)
            if self._clock() - self._state_at >= CHECKPOINT_S:
                self._flush()
            elif self._parked:
                self._unpark()

    def write(self, stream: int, data: bytes) -> None:
        """The running task printed ``data``. What exceeds its share is dropped behind a line that says so."""
        with self._lock:
            if (self._batch_id, self.position) != self._printing:
                self._printing, self._room = (self._batch_id, self.position), TASK_OUTPUT_BYTES_MAX
            if not data or self._room < 0:
                return
            taken = data[: self._room]
            self._room -= len(data)
            if self._room < 0:
                taken = bytes(taken) + CUT
            last = self._printed[-1] if self._printed else None
            if last is not None and last[:3] == (*self._printing, stream):
                last[3].extend(taken)
            else:
                if last is None:
                    self._printed_since = self._clock()
                self._printed.append((*self._printing, stream, bytearray(taken)))
            self._printed_bytes += len(taken)
            if self._printed_bytes >= OUTPUT_FLUSH_BYTES:
                self._flush()
            elif self._parked:
                self._unpark()

    def send(self, message: FromWorker) -> None:
        """Send one message of another kind, behind what waits."""
        with self._lock:
            self._flush(bytes(frame(message)))

    def look(self, now: float) -> bool:
        """Send what has waited long enough; True when anything waits or waited. The thread's step."""
        with self._lock:
            results, printed = bool(self._values), bool(self._printed)
            state = self._state is not None
            if (
                (results and now - self._since >= FLUSH_S)
                or (printed and now - self._printed_since >= OUTPUT_S)
                or (state and now - self._state_at >= CHECKPOINT_S)
            ):
                self._flush()
            return results or printed or state

    def _flush(self, tail: bytes = b"") -> None:
        if self._pid != os.getpid():
            os._exit(0)  # a task forked and let the child run into our loop: the socket is its parent's
        if self._sending:
            return
        data = bytearray()
        for batch_id, position, stream, text in self._printed:
            data += frame(Output(batch_id, position, stream, bytes(text)))
        if self._values:
            data += frame(
                Finished(
                    self._batch_id,
                    self._first,
                    bytes(self._outcomes),
                    self._values,
                    b"".join(self._digests),
                    self._ran_s,
                    self._renderings,
                    self._placed,
                    0 if self._berth is None else self._berth.until,
                    self._given,
                )
            )
            self._first += len(self._values)
            self._outcomes, self._values, self._digests = bytearray(), [], []
            self._ran_s, self._renderings, self._placed = [], [], []
            self._given, self._bytes, self._landed_bytes = [], 0, 0
        self._printed, self._printed_bytes = [], 0
        if self._state is not None and self._clock() - self._state_at >= CHECKPOINT_S:
            data += frame(self._state)
            self._state, self._state_at = None, self._clock()
        self._sending = True
        try:
            self._peer.sendall(data + tail)
        except OSError:
            os._exit(0)  # the peer is gone: so is every reason to be here
        finally:
            self._sending = False

    def _unpark(self) -> None:
        self._parked = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="p2pcpn-report", daemon=True)
            self._thread.start()
        self._gate.set()

    def _watch(self) -> None:
        vain = 0
        while True:
            vain = 0 if self.look(self._clock()) else vain + 1
            if vain >= _LOOKS_IN_VAIN:
                with self._lock:
                    self._gate.clear()
                    self._parked = not (self._values or self._printed or self._state)
                    parked = self._parked
                if parked:
                    self._gate.wait()
                vain = 0
            time.sleep(_LOOK_S)

    def leave_child(self) -> None:
        """In a process that a task forked: print to the descriptors, never to the socket of our parent."""
        self._lock = threading.RLock()
        sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


class _Sink(io.RawIOBase):
    """The binary side of a task's stdout or stderr. It cannot be closed: the next task prints too."""

    def __init__(self, reporter: Reporter, stream: int) -> None:
        super().__init__()
        self._reporter = reporter
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream

    def write(self, data: object) -> int:
        taken = bytes(memoryview(data).cast("B"))  # type: ignore[arg-type]
        self._reporter.write(self._stream, taken)
        return len(taken)

    def close(self) -> None:
        return


def streams(reporter: Reporter) -> tuple[TextIO, TextIO]:
    """The ``sys.stdout`` and ``sys.stderr`` of tasks: text files in full whose bytes go to ``reporter``."""

    def stream(number: int) -> TextIO:
        sink: Any = _Sink(reporter, number)
        return io.TextIOWrapper(sink, "utf-8", "backslashreplace", newline="\n", write_through=True)

    return stream(STDOUT), stream(STDERR)
