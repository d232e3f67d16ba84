"""Parsl's HighThroughputExecutor with two workers on this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

from p2pcpn.bench.systems.system import WORKERS, FuturesSystem
from p2pcpn.bench.tasks import no_op


class ParslSystem(FuturesSystem):
    """See the module. It has no map: a list of calls is what its users write, and what is measured."""

    chunks = False

    def __init__(self) -> None:
        self._kernel: Any = None
        self._parsl: Any = None
        self._apps: dict[Callable[[Any], Any], Any] = {}
        self._folder = ""

    def start(self) -> None:
        import parsl
        from parsl.config import Config
        from parsl.executors import HighThroughputExecutor
        from parsl.providers import LocalProvider

        self._parsl = parsl
        self._folder = tempfile.mkdtemp(prefix="p2pcpn-bench-parsl-")
        executor = HighThroughputExecutor(
            label="bench", address="127.0.0.1", max_workers_per_node=WORKERS, cores_per_worker=1,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )  # fmt: skip
        config = Config(executors=[executor], run_dir=self._folder, strategy="none", initialize_logging=False)
        self._kernel = parsl.load(config)
        self.gather([self.submit(no_op, item) for item in range(2 * WORKERS)])

    def stop(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            kernel.cleanup()
            self._parsl.clear()
        self._apps = {}
        shutil.rmtree(self._folder, ignore_errors=True)

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        app = self._apps.get(function)
        if app is None:
            app = self._apps[function] = self._parsl.python_app(function, data_flow_kernel=self._kernel)
        return app(argument)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], chunk: int | None) -> Iterable[Any]:
        return self.gather([self.submit(function, item) for item in items])
