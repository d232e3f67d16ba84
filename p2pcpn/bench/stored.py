"""Stored ratios: what a change must not make worse by more than a third.

A ratio, not a rate: both sides ran on the same machine in the same minutes, so it says something on any machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from p2pcpn.bench.figures import Figure
from p2pcpn.bench.systems import OURS
from p2pcpn.errors import UsageError

# Medians of many tasks. Tails and single events differ by more than a third from one minute to the next.
STORED: Final = ("delivery", "done", "map", "roundtrip", "echo", "burn-10ms")
# A third worse: below two thirds of what it was, or above one and a half of it.
WORSE_MAX: Final = 2 / 3


class Named(Protocol):
    """A benchmark. Its figures bear its name, or begin with it and a dash."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Drop:
    """A ratio that got worse by more than is allowed."""

    figure: str
    against: str
    stored: float
    found: float
    more: bool

    @property
    def worse_by(self) -> float:
        """The share that was lost: 0.5 is half as good."""
        return 1 - (self.found / self.stored if self.more else self.stored / self.found)

    def __str__(self) -> str:
        sign = "below" if self.more else "above"
        return (
            f"{self.figure}: {self.found:.3g} x {self.against}, {sign} the stored {self.stored:.3g}: "
            f"{self.worse_by:.0%} worse"
        )


Ratios = dict[str, dict[str, float]]


def load(path: Path) -> Ratios:
    """The ratios in a file, by figure and system. Raises :class:`UsageError`."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return {
            figure: {system: _positive(ratio) for system, ratio in ratios.items()}
            for figure, ratios in found["ratios"].items()
        }
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} holds no stored ratios: p2pcpn bench --store writes them") from error


def _positive(ratio: float) -> float:
    """A ratio that something can be worse than. Raises ``ValueError``."""
    found = float(ratio)
    if not 0.0 < found < math.inf:
        raise ValueError("nothing is worse than that")
    return found


def ratios_of(figures: Iterable[Figure]) -> Ratios:
    """The ratios of those of ``figures`` that are stored, to systems under their plain names."""
    found: Ratios = {}
    for figure in figures:
        if figure.name not in STORED:
            continue
        ratios = {system: figure.ratio(system) for system in figure.values if "," not in system}
        kept = {system: round(ratio, 4) for system, ratio in ratios.items() if ratio is not None and system != OURS}
        if kept:
            found[figure.name] = kept
    return found


def store(path: Path, figures: Iterable[Figure], machine: dict[str, Any]) -> Ratios:
    """Write the ratios of ``figures``; those of figures that were not measured stay. Raises :class:`UsageError`."""
    ratios = load(path) if path.exists() else {}
    ratios |= ratios_of(figures)
    document = {"machine": machine, "ratios": dict(sorted(ratios.items()))}
    try:
        path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    return ratios


def compared(benchmarks: Iterable[Named], systems: Collection[str], stored: Ratios) -> list[tuple[str, str]]:
    """Figures and systems whose ratios are stored and which these benchmarks measure."""
    names = [benchmark.name for benchmark in benchmarks]
    return [
        (figure, system)
        for figure, ratios in stored.items()
        if any(figure == name or figure.startswith(f"{name}-") for name in names)
        for system in ratios
        if system in systems
    ]


def drops(figures: Iterable[Figure], stored: Ratios) -> list[Drop]:
    """What got worse by more than a third, of what is stored and was measured."""
    found = []
    for figure in figures:
        for system, before in stored.get(figure.name, {}).items():
            now = figure.ratio(system)
            if now is not None and (now / before if figure.more else before / now) < WORSE_MAX:
                found.append(Drop(figure.name, system, before, now, figure.more))
    return found
