"""Parsl behind the interface."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from p2pcpn.bench.systems.parsl import ParslSystem


def test_a_function_becomes_an_app_once_and_the_kernel_is_cleaned_up(module: Callable[..., ModuleType]) -> None:
    said: list[Any] = []
    folders: list[str] = []

    def app(function: Callable[[Any], Any], data_flow_kernel: Any) -> Callable[[Any], Future[Any]]:
        said.append(function.__name__)

        def call(argument: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(function(argument))
            return future

        return call

    def load(config: Any) -> Any:
        folders.append(config.run_dir)
        assert config.executors[0].max_workers_per_node == 2
        return SimpleNamespace(cleanup=lambda: said.append("cleanup"))

    module("parsl", load=load, python_app=app, clear=lambda: said.append("clear"))
    module("parsl.config", Config=SimpleNamespace)
    module("parsl.executors", HighThroughputExecutor=SimpleNamespace)
    module("parsl.providers", LocalProvider=SimpleNamespace)
    system = ParslSystem()
    system.start()
    assert (
        list(system.map(abs, [-1, -2], None)) == [1, 2] == system.gather([system.submit(abs, 1), system.submit(abs, 2)])
    )
    system.stop()
    system.stop()
    assert said == ["no_op", "abs", "cleanup", "clear"] and not Path(folders[0]).exists()
