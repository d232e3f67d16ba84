"""Who did what: which peer brought which results of an executor, as they arrive."""

from __future__ import annotations

import threading

from p2pcpn.client.executor import Executor
from p2pcpn.protocol import events


class Attribution:
    """Which peer (node id, as text) brought each task, by its index in the order of ``submit``. From any thread."""

    def __init__(self, executor: Executor) -> None:
        self._lock = threading.Lock()
        self._worker: dict[int, str] = {}
        executor.watch(self._event)

    def _event(self, event: object) -> None:
        if isinstance(event, events.Delivered):
            worker = event.worker.hex()
            with self._lock:
                self._worker.update((index, worker) for index in event.indices)

    def workers(self) -> dict[int, str]:
        """By task, so far."""
        with self._lock:
            return dict(self._worker)
