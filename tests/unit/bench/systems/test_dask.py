"""dask.distributed behind the interface."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from p2pcpn.bench.systems.dask import DaskSystem


def test_equal_calls_are_computed_each_time_and_all_is_closed(module: Callable[..., ModuleType]) -> None:
    said: list[Any] = []

    class Cluster:
        def __init__(self, **options: Any) -> None:
            said.append((options["n_workers"], options["threads_per_worker"], options["dashboard_address"]))

        def close(self) -> None:
            said.append("cluster closed")

    class Client:
        def __init__(self, cluster: Cluster) -> None: ...
        def wait_for_workers(self, count: int) -> None:
            said.append(count)

        def submit(self, function: Callable[[Any], Any], argument: Any, pure: bool) -> Any:
            assert not pure
            return function(argument)

        def map(self, function: Callable[[Any], Any], items: list[Any], pure: bool) -> list[Any]:
            assert not pure
            return [function(item) for item in items]

        def gather(self, handles: list[Any]) -> list[Any]:
            return handles

        def close(self) -> None:
            said.append("client closed")

    module("distributed", LocalCluster=Cluster, Client=Client)
    system = DaskSystem()
    system.stop()
    system.start()
    assert system.gather([system.submit(abs, -3)]) == [3] and list(system.map(abs, iter([-1, -2]), None)) == [1, 2]
    system.stop()
    system.stop()
    assert said == [(2, 1, None), 2, "client closed", "cluster closed"]
