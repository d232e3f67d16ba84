"""The future of one task: a ``concurrent.futures.Future`` that costs a tenth of one until somebody waits for it.

A million tasks have a million futures, and most are only asked once they are done. So the condition, the list of
waiters and the list of callbacks, which make up nearly all of a future's kilobyte, are made when they are first used.
Until then a future's state is guarded by one lock that it shares with the other futures of its job; from then on by
its condition. Which of the two holds is decided under the shared lock, so no change of state passes a waiter by.
A thread that calls :meth:`TaskFuture.result` of such a one needs no condition: it hangs its bell up and sleeps.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from typing import Any, Final

from p2pcpn.client.bells import Bell, own_bell

log = logging.getLogger("p2pcpn.client")

_CANCELLED: Final = (CANCELLED_AND_NOTIFIED, CANCELLED)
_OPEN: Final = (PENDING, RUNNING)
_alone = threading.RLock()


class _Waited(threading.Condition):
    """What a future has once somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiters: list[Any] = []
        self.callbacks: list[Callable[[Any], object]] = []


class TaskFuture(Future[Any]):
    """See the module. Cancelling it takes the task back from whoever was leased it and has not started it.

    ``lock`` is shared by the futures of a job (and re-entrant: a finaliser may cancel one while another is changed),
    ``on_cancel`` is told the ``index`` of a task that was cancelled.
    ``size_bytes`` is what the task keeps in memory until it has ended.
    """

    __slots__ = ("_state", "_result", "_exception", "_waited", "_bells", "_lock", "_on_cancel", "index", "size_bytes")

    def __init__(
        self,
        lock: threading.RLock = _alone,
        on_cancel: Callable[[int], None] | None = None,
        index: int = -1,
        size_bytes: int = 0,
    ) -> None:
        self._state = PENDING
        self._result: Any = None
        self._exception: BaseException | None = None
        self._waited: _Waited | None = None
        self._bells: tuple[Bell, ...] = ()
        self._lock = lock
        self._on_cancel = on_cancel
        self.index = index
        self.size_bytes = size_bytes

    def of(self, lock: threading.RLock) -> bool:
        """Whether it is a future of the job whose lock this is."""
        return self._lock is lock

    # --- what the base class keeps in attributes -------------------------------------------------------------------

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        return self._made()

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        return self._made().waiters

    @property
    def _done_callbacks(self) -> list[Callable[[Any], object]]:
        return self._made().callbacks

    def _made(self) -> _Waited:
        """The condition; from its making on the state changes under it alone."""
        waited = self._waited
        if waited is None:
            fresh = _Waited()  # outside of the lock: what allocates may run finalisers, and those may ask for it too
            with self._lock:
                if self._waited is None:
                    self._waited = fresh
                waited = self._waited
        return waited

    # --- asking: a state that is final, and a glance at one that is not, need no lock -------------------------------

    def cancelled(self) -> bool:
        """See :meth:`concurrent.futures.Future.cancelled`."""
        return self._state in _CANCELLED

    def running(self) -> bool:
        """See :meth:`concurrent.futures.Future.running`. A task runs from when its peer says so."""
        return self._state == RUNNING

    def done(self) -> bool:
        """See :meth:`concurrent.futures.Future.done`."""
        return self._state not in _OPEN

    def result(self, timeout: float | None = None) -> Any:
        """See :meth:`concurrent.futures.Future.result`."""
        try:
            if self._state in _OPEN:
                timeout = self._sleep(timeout)
            if self._state != FINISHED:
                return Future.result(self, timeout)
            if self._exception is None:
                return self._result
            raise self._exception
        finally:
            del self  # the exception's traceback refers to this frame, and the future to the exception

    def _sleep(self, timeout: float | None) -> float | None:
        """Wait for the end by this thread's bell, where it can have one; returns for how long to wait after that.

        Where there are callbacks the condition does: who was woken by it comes, as a rule, behind them.
        """
        bell = own_bell() if self._waited is None else None
        if bell is None:
            return timeout
        end = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            self._bells += (bell,)
        try:
            while self._state in _OPEN and bell.wait(end):
                continue
        finally:
            if self._state in _OPEN:
                with self._lock:
                    self._bells = tuple(each for each in self._bells if each is not bell)
        return 0.0

    def _ring(self) -> None:
        """The state is final: whoever sleeps wakes up."""
        with self._lock:
            bells, self._bells = self._bells, ()
        for bell in bells:
            bell.ring()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See :meth:`concurrent.futures.Future.exception`."""
        return self._exception if self._state == FINISHED else Future.exception(self, timeout)

    # --- changing ----------------------------------------------------------------------------------------------------

    def cancel(self) -> bool:
        """See :meth:`concurrent.futures.Future.cancel`."""
        with self._lock:
            waited = self._waited  # one that is made behind our back finds the future cancelled
            if waited is None:
                if self._state != PENDING:
                    return self._state in _CANCELLED
                self._state = CANCELLED_AND_NOTIFIED
                on_cancel, self._on_cancel = self._on_cancel, None
        if waited is not None:
            with waited:
                if self._state != PENDING:
                    return self._state in _CANCELLED
                self._state = CANCELLED_AND_NOTIFIED
                on_cancel, self._on_cancel = self._on_cancel, None
                for waiter in waited.waiters:
                    waiter.add_cancelled(self)
                waited.notify_all()
            self._invoke_callbacks()  # type: ignore[attr-defined]
        if self._bells:
            self._ring()
        if on_cancel is not None:
            on_cancel(self.index)
        return True

    def start(self) -> bool:
        """The task runs, or has ended; false when it was cancelled first."""
        with self._lock:
            if self._waited is None:
                if self._state == PENDING:
                    self._state = RUNNING
                return self._state not in _CANCELLED
        with self._waited:
            if self._state == PENDING:
                self._state = RUNNING
            return self._state not in _CANCELLED

    def resolve(self, value: Any) -> bool:
        """Set the result, unless the future has ended; whether it had not."""
        return self._end(value, None)

    def fail(self, error: BaseException) -> bool:
        """Set the exception, unless the future has ended; whether it had not."""
        return self._end(None, error)

    def set_result(self, result: Any) -> None:
        """See :meth:`concurrent.futures.Future.set_result`."""
        if not self._end(result, None):
            raise InvalidStateError(f"{self._state}: {self!r}")

    def set_exception(self, exception: BaseException | None) -> None:
        """See :meth:`concurrent.futures.Future.set_exception`."""
        if not self._end(None, exception):
            raise InvalidStateError(f"{self._state}: {self!r}")

    def _end(self, result: Any, error: BaseException | None) -> bool:
        with self._lock:
            waited = self._waited
            ended = waited is None and self._set(result, error)
        if waited is None:
            if self._bells:
                self._ring()
            return ended
        with waited:
            if not self._set(result, error):
                return False
            for waiter in waited.waiters:
                if error is None:
                    waiter.add_result(self)
                else:
                    waiter.add_exception(self)
            waited.notify_all()
        if self._bells:
            self._ring()
        self._call_back(waited)
        return True

    def _call_back(self, waited: _Waited) -> None:
        """The base class lets ``SystemExit`` through: here it would end the loop's thread, and all that is open."""
        for callback in waited.callbacks:
            try:
                callback(self)
            except BaseException:
                log.exception("exception calling callback for %r", self)

    def _set(self, result: Any, error: BaseException | None) -> bool:
        """Set the outcome; the state last, because who asks takes no lock."""
        if self._state not in _OPEN:
            return False
        self._result, self._exception = result, error
        self._on_cancel = None
        self._state = FINISHED
        return True


def resolve_all(futures: Sequence[TaskFuture], values: Sequence[Any]) -> None:
    """Resolve futures of one job, those that have not ended, with these values: the shared lock is taken once."""
    waited: list[tuple[TaskFuture, Any]] = []
    slept: list[TaskFuture] = []
    if not futures:
        return
    with futures[0]._lock:
        for future, value in zip(futures, values, strict=True):
            if future._waited is not None:
                waited.append((future, value))
            elif future._state in _OPEN:
                future._result = value
                future._on_cancel = None
                future._state = FINISHED
                if future._bells:
                    slept.append(future)
    for future, value in waited:
        future.resolve(value)
    for future in slept:
        future._ring()
