"""``ProcessPoolExecutor(2)`` of the standard library: no network at all, and what everybody has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from p2pcpn.bench.systems.system import WORKERS, FuturesSystem
from p2pcpn.bench.tasks import no_op


class PoolSystem(FuturesSystem):
    """See the module."""

    begins = True

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def start(self) -> None:
        self._pool = ProcessPoolExecutor(WORKERS)
        # The processes start with the first tasks.
        self.gather([self.submit(no_op, item) for item in range(2 * WORKERS)])

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    @property
    def pool(self) -> ProcessPoolExecutor:
        """The pool, once it was started."""
        assert self._pool is not None, "start() comes first"
        return self._pool

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        return self.pool.submit(function, argument)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], chunk: int | None) -> Iterable[Any]:
        return self.pool.map(function, items, chunksize=chunk or 1)

    def begin(self) -> None:
        self.stop()
        self._pool = ProcessPoolExecutor(WORKERS)
