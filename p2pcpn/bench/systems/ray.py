"""Ray on one machine: two CPUs, no dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from p2pcpn.bench.systems.system import WORKERS, System
from p2pcpn.bench.tasks import no_op


class RaySystem(System):
    """See the module. It has no map for tasks: a list of calls is what its users write, and what is measured."""

    chunks = False

    def __init__(self) -> None:
        self._ray: Any = None
        self._remote: dict[Callable[[Any], Any], Any] = {}

    def start(self) -> None:
        import ray

        self._ray = ray
        ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        self.gather([self.submit(no_op, item) for item in range(10 * WORKERS)])

    def stop(self) -> None:
        if self._ray is not None:
            self._remote = {}
            self._ray.shutdown()
            self._ray = None

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        remote = self._remote.get(function)
        if remote is None:
            remote = self._remote[function] = self._ray.remote(function)
        return remote.remote(argument)

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        found: list[Any] = self._ray.get(list(handles))
        return found

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], chunk: int | None) -> Iterable[Any]:
        return self.gather([self.submit(function, item) for item in items])
