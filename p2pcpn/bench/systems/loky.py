"""loky: the reusable process pool under joblib."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from p2pcpn.bench.systems.system import WORKERS, FuturesSystem
from p2pcpn.bench.tasks import no_op


class LokySystem(FuturesSystem):
    """See the module."""

    begins = True

    def __init__(self) -> None:
        self._executor: Any = None

    def start(self) -> None:
        self.begin()
        self.gather([self.submit(no_op, item) for item in range(2 * WORKERS)])

    def stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
            self._executor = None

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        return self._executor.submit(function, argument)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], chunk: int | None) -> Iterable[Any]:
        found: Iterable[Any] = self._executor.map(function, items, chunksize=chunk or 1)
        return found

    def begin(self) -> None:
        import loky

        self.stop()
        # Without a timeout: idle workers would end after 10 s, and start again within a measurement.
        self._executor = loky.get_reusable_executor(max_workers=WORKERS, timeout=None)
