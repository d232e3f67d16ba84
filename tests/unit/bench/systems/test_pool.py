"""The standard library's pool behind the interface."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from p2pcpn.bench.systems import pool
from p2pcpn.bench.systems.pool import PoolSystem


class Threads(ThreadPoolExecutor):
    """A pool of threads that remembers how its map was cut."""

    chunks: ClassVar[list[int]] = []

    def map(self, fn: Any, *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1) -> Any:
        self.chunks.append(chunksize)
        return super().map(fn, *iterables)


def test_it_computes_maps_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "ProcessPoolExecutor", Threads)
    system = PoolSystem()
    system.start()
    first = system.pool
    assert system.gather([system.submit(abs, -1)]) == [1]
    assert list(system.map(abs, [-1, -2], None)) == list(system.map(abs, [-1, -2], 50)) == [1, 2]
    assert Threads.chunks == [1, 50]
    system.begin()
    assert system.pool is not first
    system.stop()
    system.stop()
