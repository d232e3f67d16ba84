"""The future of one task: a ``concurrent.futures.Future`` that tells its job when it is cancelled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any


class TaskFuture(Future[Any]):
    """Cancelling it takes the task back from whoever was leased it and has not started it."""

    index: int = -1

    def bind(self, index: int, on_cancel: Callable[[int], None]) -> None:
        """The task's index in its job, and whom to tell when it is cancelled."""
        self.index = index
        self._on_cancel = on_cancel

    def cancel(self) -> bool:
        """See :meth:`concurrent.futures.Future.cancel`. A task counts as running from when its peer says so."""
        cancelled = super().cancel()
        if cancelled:
            # Popping is atomic: of several threads that cancel one goes on.
            on_cancel = self.__dict__.pop("_on_cancel", None)
            if on_cancel is not None:
                self.set_running_or_notify_cancel()  # wait() and as_completed() wait for this
                on_cancel(self.index)
        return cancelled

    def start(self) -> bool:
        """The task runs, or has ended; false when it was cancelled first."""
        with self._condition:
            if self.cancelled():
                return False
            return self.running() or self.done() or self.set_running_or_notify_cancel()

    def resolve(self, value: Any) -> None:
        """Set the result, unless the future was cancelled."""
        self.__dict__.pop("_on_cancel", None)
        try:
            self.set_result(value)
        except InvalidStateError:
            pass

    def fail(self, error: BaseException) -> None:
        """Set the exception, unless the future was cancelled."""
        self.__dict__.pop("_on_cancel", None)
        try:
            self.set_exception(error)
        except InvalidStateError:
            pass
