"""loky behind the interface."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from p2pcpn.bench.systems.loky import LokySystem


def test_it_computes_maps_and_begins_anew(module: Callable[..., ModuleType]) -> None:
    said: list[Any] = []

    class Reusable(ThreadPoolExecutor):
        def map(self, fn: Any, *iterables: Any, timeout: float | None = None, chunksize: int = 1) -> Any:
            said.append(chunksize)
            return super().map(fn, *iterables)

        def shutdown(self, wait: bool = True, *, kill_workers: bool = False, **options: Any) -> None:
            said.append("killed" if kill_workers else "ended")
            super().shutdown(wait)

    module("loky", get_reusable_executor=lambda max_workers, timeout: Reusable(max_workers))
    system = LokySystem()
    system.start()
    assert system.gather([system.submit(abs, -1)]) == [1]
    assert list(system.map(abs, [-1], None)) == list(system.map(abs, [-1], 9)) == [1]
    system.begin()
    system.stop()
    system.stop()
    assert said == [1, 9, "killed", "killed"]
