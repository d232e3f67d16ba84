"""dask.distributed: a LocalCluster of two workers with a thread each, no dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from p2pcpn.bench.systems.system import WORKERS, System
from p2pcpn.bench.tasks import no_op


class DaskSystem(System):
    """See the module. ``pure=False``: otherwise equal calls would be answered from memory.

    The ``batch_size`` of its map bounds messages; every item is a task of its own all the same.
    """

    chunks = False

    def __init__(self) -> None:
        self._cluster: Any = None
        self._client: Any = None

    def start(self) -> None:
        from distributed import Client, LocalCluster

        self._cluster = LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs="ERROR"
        )
        self._client = Client(self._cluster)
        self._client.wait_for_workers(WORKERS)
        self.gather([self.submit(no_op, item) for item in range(10 * WORKERS)])

    def stop(self) -> None:
        client, self._client = self._client, None
        cluster, self._cluster = self._cluster, None
        if client is not None:
            client.close()
        if cluster is not None:
            cluster.close()

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        return self._client.submit(function, argument, pure=False)

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        found: list[Any] = self._client.gather(list(handles))
        return found

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], chunk: int | None) -> Iterable[Any]:
        return self.gather(self._client.map(function, list(items), pure=False))
