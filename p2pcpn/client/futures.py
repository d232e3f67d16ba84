"""The future of one task: a ``concurrent.futures.Future`` that tells its job when it is cancelled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class TaskFuture(Future[Any]):
    """Cancelling it takes the task back from whoever was leased it and has not started it."""

    _on_cancel: Callable[[int], None] | None = None
    index: int = -1

    def cancel(self) -> bool:
        """See :meth:`concurrent.futures.Future.cancel`. A task counts as running from when its peer says so."""
        told = self.cancelled()
        done = super().cancel()
        if done and not told and self._on_cancel is not None:
            self._on_cancel(self.index)
        return done

    def bind(self, index: int, on_cancel: Callable[[int], None]) -> None:
        """The task's index in its job."""
        self.index = index
        self._on_cancel = on_cancel

    def start(self) -> bool:
        """The task runs, or has ended; false when it was cancelled first."""
        return self.running() or (not self.done() and self.set_running_or_notify_cancel())

    def resolve(self, value: Any) -> None:
        """Set the result, unless the future was cancelled."""
        self._on_cancel = None
        if self.start():
            self.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Set the exception, unless the future was cancelled."""
        self._on_cancel = None
        if self.start():
            self.set_exception(error)
