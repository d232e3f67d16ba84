"""A virtual runtime: worker processes whose tasks take virtual time and give programmatic values.

A task's argument states what it does (:class:`Deed`); its value follows from the argument alone, so that the checker
knows every right value without running anything. What a worker machine sees is what the `function` runtime reports:
positions in order, dropped ones as such, and deaths.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Run, StopRun
from p2pcpn.protocol.outcomes import DROPPED, SIGKILL
from p2pcpn.protocol.worker import Worker
from p2pcpn.sim.clock import Timekeeper
from p2pcpn.wire.sealing import RESULT_DIGEST_BYTES, result_digest
from p2pcpn.wire.statements import BlobRef, Outcome

LARGE_BYTES = limits.INLINE_BYTES_MAX + 512
SIGSEGV = 11
# As the `function` runtime's reporter has it: results of short tasks are gathered.
FLUSH_S = 0.04


class Deed(msgspec.Struct, array_like=True, frozen=True):
    """What a task does: it takes ``takes_s`` and ends as ``how`` says.

    It gives a "value", a "large" one or one of those named below, it "raises", or it is "poison" to its process.
    """

    index: int
    takes_s: float
    how: str = "value"
    takes: tuple[int, ...] = ()  # tasks before it whose results it takes

    VARIES = "varies"  # another value wherever it runs
    MADE = "made"  # a value that follows from the results it takes


_DEED = msgspec.msgpack.Decoder(Deed)
_PACK = msgspec.msgpack.Encoder().encode


def argument_of(deed: Deed) -> bytes:
    """The argument that states a deed."""
    return _PACK(deed)


def value_of(argument: bytes, where: bytes = b"", taken: Sequence[bytes | BlobRef] = ()) -> bytes:
    """The one right value of a task; of one that varies, what it is in the place ``where``, and of one that is made of
    others' results, what it is of those."""
    deed = _DEED.decode(argument)
    if deed.how == Deed.VARIES:
        return blake2b(argument + where, digest_size=32, person=b"p2pcpn varies").digest()
    if deed.how == Deed.MADE:
        assert all(isinstance(part, bytes) for part in taken)
        return blake2b(argument + b"".join(taken), digest_size=32, person=b"p2pcpn made").digest()  # type: ignore[arg-type]
    size = LARGE_BYTES if deed.how == "large" else 32
    word = blake2b(argument, digest_size=32, person=b"p2pcpn value").digest()
    return (word * (size // 32 + 1))[:size]


@dataclass(slots=True)
class _Batch:
    """A batch: the position that is next or runs, and the columns of those that are over and not yet reported."""

    run: Run
    count: int
    at: int = 0
    dropped: set[int] = field(default_factory=set)
    running: bool = False
    since: float = 0.0
    first: int = 0
    outcomes: bytearray = field(default_factory=bytearray)
    values: list[bytes] = field(default_factory=list)
    digests: bytearray = field(default_factory=bytearray)
    ran_s: float = 0.0


class Runtime:
    """The worker processes of one life of a host. ``perform`` takes the effects that follow from what they report."""

    def __init__(
        self,
        clock: Timekeeper,
        worker: Worker,
        slots: int,
        perform: Callable[[list[Effect]], None],
        slowness: Callable[[], float],
        dies: Callable[[int], bool] = lambda index: False,
        ran: Callable[[bytes, int, float], None] = lambda owner, index, began: None,
        where: bytes = b"",
    ) -> None:
        self._clock = clock
        self._worker = worker
        self._slots = slots
        self._perform = perform
        self._slowness = slowness
        self._dies = dies
        self._ran = ran
        self._where = where
        self._batches: OrderedDict[int, _Batch] = OrderedDict()
        self._alive = True
        self.lies = False  # a canary: every value is wrong

    def running(self) -> dict[int, int]:
        """The position that each batch in a process is at."""
        return {number: batch.at for number, batch in self._batches.items() if batch.running}

    def end(self) -> None:
        """The host died: no process reports anything any more."""
        self._alive = False

    def start(self, run: Run) -> None:
        """Run a batch, now or when a process is free."""
        if any(isinstance(value, BlobRef) for value in (*run.functions, *run.arguments)):
            self._perform(
                self._worker.refused(run.batch, "unreachable", "the blob of a task is not here", self._clock.now)
            )
            return
        self._batches[run.batch] = _Batch(run, len(run.arguments))
        self._fill()

    def _fill(self) -> None:
        free = self._slots - sum(batch.running for batch in self._batches.values())
        for batch in [batch for batch in self._batches.values() if not batch.running][: max(free, 0)]:
            batch.running = True
            self._next(batch)

    def _next(self, batch: _Batch) -> None:
        """Run the next position; those that were dropped are over at once."""
        while batch.at < batch.count and batch.at in batch.dropped:
            self._over(batch, DROPPED, b"", bytes(RESULT_DIGEST_BYTES), 0.0)
        if batch.at == batch.count:
            self._fill()
            return
        began, at = self._clock.now, batch.at
        self._clock.after(self._deed(batch).takes_s * self._slowness(), lambda: self._ended(batch, at, began))

    @staticmethod
    def _deed(batch: _Batch) -> Deed:
        argument = batch.run.arguments[batch.at]
        assert isinstance(argument, bytes)
        return _DEED.decode(argument)

    def _ended(self, batch: _Batch, at: int, began: float) -> None:
        if not self._alive or self._batches.get(batch.run.batch) is not batch or batch.at != at:
            return
        deed = self._deed(batch)
        self._ran(batch.run.owner, deed.index, began)
        if deed.how == "poison" or self._dies(deed.index):
            self._die(batch, SIGSEGV)
            return
        argument = batch.run.arguments[at]
        assert isinstance(argument, bytes)
        taken = () if batch.run.parts is None else batch.run.parts[at]
        value = value_of(argument, self._where, taken)
        value = value[::-1] if self.lies else value
        outcome = Outcome.RAISED if deed.how == "raises" else Outcome.OK
        digest = result_digest(batch.run.digest_key, value)
        assert len(digest) == RESULT_DIGEST_BYTES
        self._over(batch, outcome, value, digest, self._clock.now - began)
        if batch.at == batch.count:
            self._fill()
        elif self._batches.get(batch.run.batch) is batch:
            self._next(batch)

    def _over(self, batch: _Batch, outcome: int, value: bytes, digest: bytes, took_s: float) -> None:
        """The next position is over. It is reported with others of its batch, as long as that costs nobody anything."""
        now = self._clock.now
        if not batch.values:
            batch.since, batch.first = now, batch.at
            self._clock.after(FLUSH_S, lambda: self._overdue(batch, now))
        batch.at += 1
        batch.outcomes.append(outcome)
        batch.values.append(value)
        batch.digests += digest
        batch.ran_s += took_s
        if batch.at == batch.count:
            del self._batches[batch.run.batch]
        elif now + took_s < batch.since + FLUSH_S:
            return
        self._report(batch)

    def _overdue(self, batch: _Batch, since: float) -> None:
        """What a sudden long task would hold back is reported."""
        if self._alive and batch.values and batch.since == since and self._batches.get(batch.run.batch) is batch:
            self._report(batch)

    def _report(self, batch: _Batch) -> None:
        outcomes, values, digests, ran_s = bytes(batch.outcomes), batch.values, bytes(batch.digests), batch.ran_s
        batch.outcomes, batch.values, batch.digests, batch.ran_s = bytearray(), [], bytearray(), 0.0
        number, now = batch.run.batch, self._clock.now
        self._perform(self._worker.ran(number, batch.first, outcomes, values, digests, ran_s, now))

    def _die(self, batch: _Batch, signal: int) -> None:
        del self._batches[batch.run.batch]
        self._perform(self._worker.died(batch.run.batch, batch.at, signal, None, self._clock.now))
        self._fill()

    def stop(self, stop: StopRun) -> None:
        """Drop what has not started; with ``kill`` end the process where it runs one of the positions."""
        batch = self._batches.get(stop.batch)
        if batch is None:
            return
        running = batch.at if batch.running else -1
        batch.dropped.update(position for position in stop.positions if position > running)
        if not batch.running and len(batch.dropped) == batch.count:
            while batch.at < batch.count:
                self._over(batch, DROPPED, b"", bytes(RESULT_DIGEST_BYTES), 0.0)
        elif stop.kill and running in stop.positions:
            self._die(batch, SIGKILL)

    def cut(self, number: int) -> None:
        """End a batch behind the task that runs, or before its first, and say where it ends now."""
        batch = self._batches.get(number)
        if batch is None:
            return
        batch.count = batch.at + 1 if batch.running else 0
        if not batch.count:
            del self._batches[number]
        self._perform(self._worker.cut(number, batch.count, self._clock.now))
