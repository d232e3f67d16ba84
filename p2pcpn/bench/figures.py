"""Figures: what was measured of each system, medians and ratios, and what the project promises of them.

A ratio is always p2pcpn's median by the other's. A target has a floor, below which we owe work, and a goal.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from p2pcpn.bench.systems import OURS

MEETS_GOAL: Final = "meets goal"
MEETS_FLOOR: Final = "meets floor"
BELOW_FLOOR: Final = "below floor"
MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: a value of each round, by system. ``more``: a larger one is better."""

    name: str
    title: str
    unit: str
    values: Mapping[str, Sequence[float]]
    more: bool = True

    def median(self, system: str) -> float | None:
        """The median of a system's rounds; ``None`` where it has none."""
        found = self.values.get(system)
        return statistics.median(found) if found else None

    def ratio(self, system: str) -> float | None:
        """p2pcpn's median by that of ``system``."""
        ours, theirs = self.median(OURS), self.median(system)
        return ours / theirs if ours is not None and theirs else None

    def to_json(self) -> dict[str, Any]:
        """The figure as plain values, with its verdicts."""
        others = [system for system in self.values if system != OURS]
        return {
            "name": self.name, "title": self.title, "unit": self.unit, "better": "more" if self.more else "less",
            "values": {system: list(values) for system, values in self.values.items()},
            "medians": {system: self.median(system) for system in self.values},
            "ratios": {system: ratio for system in others if (ratio := self.ratio(system)) is not None},
            "verdicts": [judgement.to_json() for judgement in judge(self)],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure has to reach: as a ratio to the median of ``against``, or, where that is ``None``, as it is."""

    against: str | None
    floor: float
    goal: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """A target, what was found, and what that makes of it."""

    target: Target
    found: float
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        target = self.target
        return {
            "against": target.against, "found": self.found, "floor": target.floor, "goal": target.goal,
            "verdict": self.verdict,
        }  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What a benchmark found: its figures, each measurement as it came, and what could not be measured and why."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain values."""
        return {
            "name": self.name, "seconds": self.seconds, "figures": [figure.to_json() for figure in self.figures],
            "failed": self.failed, "raw": self.raw,
        }  # fmt: skip


# What must be shown on two cores. By figure.
TARGETS: Final[Mapping[str, tuple[Target, ...]]] = {
    "delivery": (Target("pool", 3, 5), Target("ray", 15, 25), Target("dask", 50, 80)),
    "done": (Target("pool", 2, 4),),
    "map": (Target(None, 150_000, 300_000),),
    # A goal for memory was never set: the floor is both.
    "map-memory": (Target(None, 1000, 1000),),
    "map-memory-futures": (Target(None, 2500, 2500),),
    "roundtrip": (Target("pool", 3, 2), Target("ray", 1 / 2, 1 / 4)),
    "echo": (Target("pool", 0.5, 0.8), Target("ray", 1.5, 2)),
    "burn-10ms": (Target("pool", 0.95, 0.98),),
    "burn-10ms-cpu": (Target("pool", 0.95, 0.98),),
    "metg": (Target(None, 330, 150),),
    "records": (Target("hivemind", 10, 20),),
    "records-found": (Target(None, 1, 1),),
    "silence-get": (Target(None, 1, 0.5),),
    "silence-store": (Target(None, 2, 1),),
    "crowd-up": (Target(None, 30, 20),),
    "crowd-store": (Target(None, 25, 15),),
    "crowd-get": (Target(None, 10, 7),),
    "crowd-wrong": (Target(None, 0, 0),),
    "blob-put": (Target(None, 100, 200),),
    "blob-get": (Target(None, 100, 200),),
    "blob-memory": (Target(None, 200, 200),),
    "cold-first": (Target(None, 0.7, 0.7),),
    "cold-shutdown": (Target(None, 0.3, 0.3),),
    "startup-2": (Target(None, 1.5, 1.0),),
    "startup-32": (Target(None, 15, 10),),
    "idle-sent": (Target(None, 2, 1),),
    "idle-core": (Target(None, 1, 0.5),),
    "idle-memory": (Target(None, 80, 60),),
}


def judge(figure: Figure) -> list[Judgement]:
    """What each target says of a figure; one whose system was not measured says nothing."""
    found = []
    for target in TARGETS.get(figure.name, ()):
        value = figure.median(OURS) if target.against is None else figure.ratio(target.against)
        if value is not None:
            found.append(Judgement(target, value, _verdict(value, target, figure.more)))
    return found


def _verdict(value: float, target: Target, more: bool) -> str:
    sign = 1 if more else -1
    if sign * value >= sign * target.goal:
        return MEETS_GOAL
    return MEETS_FLOOR if sign * value >= sign * target.floor else BELOW_FLOOR
