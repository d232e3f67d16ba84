"""p2pcpn as its users have it: ``Swarm(peers=2)`` and ``swarm.executor(replicas=2)``, and nothing turned off.

*Done* is what the executor's own peer is told by the grantor: so many settled tasks lie on the disks of so many
holders. The submitter has no storage role and is none of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import psutil

from p2pcpn.bench.systems.system import WORKERS, FuturesSystem
from p2pcpn.bench.tasks import no_op
from p2pcpn.client.executor import Executor
from p2pcpn.client.swarm import Swarm

REPLICAS: Final = 2
SETTLE_S: Final = 120.0


class SwarmSystem(FuturesSystem):
    """See the module."""

    begins = True

    def __init__(self) -> None:
        self._swarm: Swarm | None = None
        self._executor: Executor | None = None
        self._submitted = 0
        self._changed = threading.Condition()
        self._replicated = 0
        self._copies = 0

    def start(self) -> None:
        self._swarm = Swarm(peers=WORKERS)
        self.begin()
        self.gather([self.submit(no_op, item) for item in range(10 * WORKERS)])

    def stop(self) -> None:
        executor, self._executor = self._executor, None
        swarm, self._swarm = self._swarm, None
        try:
            if executor is not None:
                executor.shutdown(cancel_futures=True)
        finally:
            if swarm is not None:
                swarm.close()

    @property
    def executor(self) -> Executor:
        """The executor, once the system was started."""
        assert self._executor is not None, "start() comes first"
        return self._executor

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        self._submitted += 1
        return self.executor.submit(function, argument)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], chunk: int | None) -> Iterable[Any]:
        if chunk is None:
            return self.executor.map(function, items)
        return self.executor.map(function, items, chunksize=chunk)

    def begin(self) -> None:
        assert self._swarm is not None, "start() comes first"
        if self._executor is not None:
            self._executor.shutdown()
        self._submitted = self._replicated = self._copies = 0
        self._executor = self._swarm.executor(replicas=REPLICAS)
        self._executor.watch(partial(self._heard, self._executor))

    def settle(self) -> None:
        """Wait until every task that :meth:`submit` was given since :meth:`begin` lies on two disks."""
        with self._changed:
            if not self._changed.wait_for(self._is_done, SETTLE_S):
                raise TimeoutError(
                    f"{self._replicated} of {self._submitted} tasks lie on {self._copies} holders after {SETTLE_S:g} s"
                )

    def _is_done(self) -> bool:
        return self._replicated >= self._submitted and self._copies >= REPLICAS

    def _heard(self, executor: Executor, event: Any) -> None:
        """In the loop's thread: an event of an executor's peer; of interest is ``Replicated``."""
        if type(event).__name__ == "Replicated" and executor is self._executor:
            with self._changed:
                self._replicated, self._copies = event.replicated, event.copies
                self._changed.notify_all()

    def outsiders(self) -> list[int]:
        """The launcher of the swarm's peers, which are below it."""
        assert self._swarm is not None, "start() comes first"
        return sorted({psutil.Process(peer.pid).ppid() for peer in self._swarm.peers if peer.alive})

    def facts(self) -> dict[str, Any]:
        return {"replicated": self._replicated, "copies": self._copies}
