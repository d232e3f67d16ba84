"""What the tests of the benchmarks share: a system in this very process, and a stage of such systems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from p2pcpn.bench.bench import Bench
from p2pcpn.bench.loads import Loads
from p2pcpn.bench.scale import SHORT, Scale
from p2pcpn.bench.stage import DriverFailed
from p2pcpn.bench.systems.system import System


class Here(System):
    """A system that runs each task when it is gathered, in this process."""

    begins = True

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self) -> None:
        self.said.append("start")

    def stop(self) -> None:
        self.said.append("stop")

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        return function, argument

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        return [function(argument) for function, argument in handles]

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], chunk: int | None) -> Iterable[Any]:
        return map(function, items)

    def begin(self) -> None:
        self.said.append("begin")

    def settle(self) -> None:
        self.said.append("settle")


class Stage:
    """A stage without processes. ``failing`` systems fail whatever they are asked; ``once`` answers as scripted."""

    def __init__(self) -> None:
        self.systems: dict[str, Here] = {}
        self._loads: dict[str, Loads] = {}
        self.failing: set[str] = set()
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        self.memory: list[Any] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        for system in list(self.systems):
            self.stop(system)

    def start(self, system: str) -> float:
        if system in self.failing:
            raise DriverFailed(f"{system} does not start")
        self.systems[system] = Here()
        self.systems[system].start()
        # A clock that advances by a millisecond whenever it is read: what is measured is the same every time.
        ticks = iter(range(1 << 30))
        self._loads[system] = Loads(self.systems[system], lambda: next(ticks) / 1e3)
        return 0.1

    def running(self, system: str) -> bool:
        return system in self.systems

    def stop(self, system: str) -> None:
        if system in self.systems:
            self.systems.pop(system).stop()

    def ask(self, system: str, load: str, watch: Callable[[], None] | None = None, **words: Any) -> dict[str, Any]:
        self.asked.append((system, load, words))
        if system in self.failing:
            raise DriverFailed(f"{system} cannot {load}")
        if watch is not None:
            watch()
        return getattr(self._loads[system], load)(**words) | {"cpu_s": 0.25}

    def once(self, name: str, **words: Any) -> dict[str, Any]:
        self.asked.append(("", name, words))
        if words.get("table") in self.failing:
            raise DriverFailed("it does not start")
        found: dict[str, Any] = self.answers[name]
        return found

    def submitter(self, system: str) -> list[Any]:
        return self.memory

    def everything(self, system: str) -> list[Any]:
        return self.memory

    def wait_quiet(self) -> None:
        self.asked.append(("", "quiet", {}))


@pytest.fixture
def here() -> Here:
    return Here()


@pytest.fixture
def stage() -> Stage:
    return Stage()


TINY = {
    "rounds": 2, "tasks_min": 5, "tasks_max": 20, "map_items": 50, "whole": True, "trips": 5, "blobs": 2,
    "burn_s": (1e-6,), "burn_round_s": 4e-6, "metg_s": (1e-6, 1e-5), "metg_round_s": 1e-5, "metg_rounds": 1,
    "queued": 7, "firsts": 2, "startups": ((2, 2),), "idle_peers": 3, "idle_settle_s": 0.0, "idle_s": 0.0,
    "record_rounds": 1,
}  # fmt: skip


def tiny(**changes: Any) -> Scale:
    """A scale of next to nothing."""
    fields = {name: getattr(SHORT, name) for name in Scale.__dataclass_fields__}
    return Scale(**(fields | TINY | changes))


@pytest.fixture
def new_bench(stage: Stage) -> Callable[..., Bench]:
    """``new_bench("delivery", "pool")``: p2pcpn and these systems on the stage; what is said is in ``said``."""

    def make(name: str, *others: str, **changes: Any) -> Bench:
        said: list[str] = []
        bench = Bench(name, stage, tiny(**changes), ["p2pcpn", *others], said.append, 2)
        return bench

    return make
