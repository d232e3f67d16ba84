"""A run as a benchmark sees it: the systems that are there, turns, rounds; and no system by its workings.

``A B A B …``: each round asks every system once, after it was warmed up, and only when the others have become quiet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from p2pcpn.bench.figures import Figure, Outcome
from p2pcpn.bench.scale import Scale
from p2pcpn.bench.stage import DriverFailed
from p2pcpn.bench.systems import OURS

T = TypeVar("T")
Numbers = dict[str, Any]
# A warm-up of so many tasks, then of more, until it is half a round: what a system needs once, or waits for at the end
# of a job, would make a short warm-up look slow.
WARM_TASKS = 300
WARM_TRIES = 6
WARM_GROWTH = 10


class Asked(Protocol):
    """What a bench needs of a stage."""

    def start(self, system: str) -> float: ...
    def stop(self, system: str) -> None: ...
    def running(self, system: str) -> bool: ...
    def ask(
        self, system: str, load: str, watch: Callable[[], None] | None = None, **arguments: Any
    ) -> dict[str, Any]: ...
    def once(self, name: str, **arguments: Any) -> dict[str, Any]: ...
    def submitter(self, system: str) -> list[Any]: ...
    def everything(self, system: str) -> list[Any]: ...
    def wait_quiet(self) -> None: ...


@dataclass(slots=True)
class Bench:
    """One benchmark's run. ``systems`` are those to measure, p2pcpn first; one that fails is left out from then on."""

    name: str
    stage: Asked
    scale: Scale
    systems: list[str]
    say: Callable[[str], None]
    rounds: int
    outcome: Outcome = field(init=False)

    def __post_init__(self) -> None:
        self.outcome = Outcome(self.name)

    def start(self) -> None:
        """Start the systems that do not run yet, and begin anew on those that do."""
        for system in list(self.systems):
            self.say(f"{self.name}: {system} {'begins anew' if self.stage.running(system) else 'starts'}")
            self.attempt(system, self._begin, system)

    def _begin(self, system: str) -> None:
        if not self.stage.running(system):
            self.stage.start(system)
        self.stage.ask(system, "begin")

    def ask(self, system: str, load: str, **words: Any) -> Numbers | None:
        """A measurement; ``None`` where the system failed."""
        return self.attempt(system, self.stage.ask, system, load, **words)

    def attempt(self, system: str, work: Callable[..., T], *arguments: Any, **words: Any) -> T | None:
        """Do ``work``. A system that fails is noted and left out; without p2pcpn there is nothing to compare."""
        try:
            return work(*arguments, **words)
        except DriverFailed as error:
            self.outcome.failed[system] = str(error)
            self.stage.stop(system)
            if system in self.systems:
                self.systems.remove(system)
            self.say(f"{self.name}: {system} failed: {error}")
            if system == OURS:
                raise
            return None

    def turns(
        self, load: str, arguments: Callable[[str], Numbers], shown: str, unit: str, rounds: int | None = None
    ) -> dict[str, list[Numbers]]:
        """Ask each system once a round. ``arguments`` are those of the load, by system."""
        found: dict[str, list[Numbers]] = {system: [] for system in self.systems}
        count = rounds or self.rounds
        for number in range(1, count + 1):
            said = []
            for system in list(self.systems):
                self.stage.wait_quiet()
                measured = self.ask(system, load, **arguments(system))
                if measured is not None:
                    found[system].append(measured)
                    said.append(f"{system} {figure_text(measured[shown])} {unit}")
            self.say(f"{self.name}: round {number} of {count}: {', '.join(said)}")
        return {system: measured for system, measured in found.items() if measured}

    def counts(self, load: str, round_s: float, least: int, most: int, **arguments: Any) -> dict[str, int]:
        """How many tasks of a load take each system ``round_s``; finding that out is its warm-up."""
        found: dict[str, int] = {}
        for system in list(self.systems):
            count = self.attempt(system, self._count, system, load, round_s, least, most, arguments)
            if count is not None:
                found[system] = count
        return found

    def _count(self, system: str, load: str, round_s: float, least: int, most: int, arguments: Numbers) -> int:
        def seconds_of(count: int) -> float:
            return float(self.stage.ask(system, load, count=count, **arguments)["seconds"])

        return fitting(seconds_of, round_s, WARM_TASKS, least, most)

    def figure(
        self, name: str, title: str, unit: str, values: Mapping[str, Sequence[float]], *, more: bool = True
    ) -> None:
        """Note a figure."""
        self.outcome.figures.append(Figure(name, title, unit, values, more))


def fitting(seconds_of: Callable[[int], float], round_s: float, first: int, least: int, most: int) -> int:
    """How many tasks take ``round_s``, from ``least`` to ``most``, found by trying ``first`` of them, then more."""
    count = fits = min(first, most)
    for _ in range(WARM_TRIES):
        seconds = seconds_of(count)
        fits = max(least, min(most, round(count / seconds * round_s)))
        if seconds >= round_s / 2 or fits <= count:
            break
        count = min(fits, count * WARM_GROWTH)
    return fits


def figure_text(value: float) -> str:
    """A measured number with four places, and no powers of ten."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def column(found: dict[str, list[Numbers]], key: str, factor: float = 1.0) -> dict[str, Sequence[float]]:
    """One number of each measurement, by system."""
    return {system: [measured[key] * factor for measured in rounds] for system, rounds in found.items()}
