"""Ray behind the interface."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from p2pcpn.bench.systems.ray import RaySystem


def test_a_function_becomes_remote_once(module: Callable[..., ModuleType]) -> None:
    said: list[Any] = []

    def remote(function: Callable[[Any], Any]) -> Any:
        said.append(function.__name__)
        return SimpleNamespace(remote=function)

    module(
        "ray", init=lambda **options: said.append(options["num_cpus"]), remote=remote, get=list,
        shutdown=lambda: said.append("shutdown"),
    )  # fmt: skip
    system = RaySystem()
    system.stop()
    system.start()
    assert (
        list(system.map(abs, [-1, -2], 10)) == [1, 2] == system.gather([system.submit(abs, 1), system.submit(abs, 2)])
    )
    system.stop()
    system.stop()
    assert said == [2, "no_op", "abs", "shutdown"] and not system.chunks
