"""A whole run: the chosen benchmarks on one stage, one after the other, and what they found."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pcpn.bench import machine, stored
from p2pcpn.bench.bench import Bench
from p2pcpn.bench.catalogue import Benchmark
from p2pcpn.bench.figures import Figure, Outcome
from p2pcpn.bench.scale import Scale
from p2pcpn.bench.stage import DriverFailed, Stage
from p2pcpn.bench.systems import OTHERS, OURS, SYSTEMS, absent
from p2pcpn.errors import UsageError

RETRY_ROUNDS = 3


@dataclass(slots=True)
class Report:
    """What a run found, and on what machine. ``broken``: benchmarks in which p2pcpn itself failed."""

    machine: dict[str, Any]
    scale: str
    outcomes: list[Outcome] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    drops: list[stored.Drop] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def figures(self) -> list[Figure]:
        """All figures."""
        return [figure for outcome in self.outcomes for figure in outcome.figures]

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "machine": self.machine, "scale": self.scale, "absent": self.absent, "broken": self.broken,
            "benchmarks": [outcome.to_json() for outcome in self.outcomes],
            "worse_than_stored": [str(drop) for drop in self.drops],
        }  # fmt: skip


def systems_of(text: str | None, *, short: bool) -> list[str]:
    """The systems to compare with, by their names with commas between, or ``all``, or ``none``.

    By default all, for a short look the standard library's pool alone. Raises :class:`UsageError`.
    """
    if text is None:
        text = "pool" if short else "all"
    if text in ("all", "none"):
        return list(OTHERS) if text == "all" else []
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in OTHERS:
            known = ", ".join((*OTHERS, "all", "none"))
            raise UsageError(f"there is no system {name!r} to compare with; there are {known}")
    return [name for name in SYSTEMS if name in names]


def require(systems: Sequence[str]) -> None:
    """Raises :class:`UsageError` for a system that is not installed."""
    for system in systems:
        why = absent(system)
        if why is not None:
            raise UsageError(f"{system} cannot be measured: {why}")


def run(
    benchmarks: Sequence[Benchmark],
    others: Sequence[str],
    scale: Scale,
    *,
    rounds: int | None = None,
    check: stored.Ratios | None = None,
    say: Callable[[str], None],
    found: Callable[[Outcome], None],
    stage: Callable[[Callable[[str], None]], Any] = Stage,
) -> Report:
    """Run benchmarks; ``say`` gets lines of progress, ``found`` each outcome as it comes.

    With ``check`` a benchmark whose ratios fell is repeated once, alone and with more rounds, before that counts.
    """
    report = Report(machine.facts() | {"load_before": machine.load(), "began_s": time.time()}, scale.name)
    present = [OURS]
    for system in others if any(benchmark.compares for benchmark in benchmarks) else ():
        why = absent(system)
        if why is None:
            present.append(system)
        else:
            report.absent[system] = why
            say(f"{system} is left out: {why}")
    with stage(say) as place:
        for benchmark in benchmarks:
            outcome = _one(benchmark, place, present, scale, rounds, say, report)
            if check is not None and stored.drops(outcome.figures, check):
                say(f"{benchmark.name}: worse than stored; once more, with more rounds")
                again = (rounds or scale.rounds) * RETRY_ROUNDS
                outcome = _one(benchmark, place, present, scale, again, say, report)
                report.drops += stored.drops(outcome.figures, check)
            if check is not None:
                _require_ratios(benchmark, outcome, others, check, report)
            report.outcomes.append(outcome)
            found(outcome)
    report.machine["load_after"] = machine.load()
    return report


def _require_ratios(
    benchmark: Benchmark, outcome: Outcome, others: Sequence[str], check: stored.Ratios, report: Report
) -> None:
    """What is stored and was not measured has not passed."""
    ratios = {figure.name: figure for figure in outcome.figures}
    lost = [
        f"{name} to {system}"
        for name, system in stored.compared([benchmark], others, check)
        if name not in ratios or ratios[name].ratio(system) is None
    ]
    if lost:
        report.broken.setdefault(benchmark.name, f"a ratio is stored, and none was found: {', '.join(lost)}")


def _one(
    benchmark: Benchmark,
    place: Any,
    present: list[str],
    scale: Scale,
    rounds: int | None,
    say: Callable[[str], None],
    report: Report,
) -> Outcome:
    began = time.perf_counter()
    systems = list(present) if benchmark.compares else [OURS]
    bench = Bench(benchmark.name, place, scale, systems, say, rounds or scale.rounds)
    try:
        benchmark.run(bench)
    except DriverFailed as error:
        report.broken[benchmark.name] = str(error)
    bench.outcome.seconds = time.perf_counter() - began
    return bench.outcome
