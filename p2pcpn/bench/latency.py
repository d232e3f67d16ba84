"""One task: there and back, the first of a new job, the first of a program that just began."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from p2pcpn.bench.bench import Bench, Numbers, column
from p2pcpn.bench.cold import in_fresh_interpreter
from p2pcpn.bench.systems import OURS

BEGINNERS = (OURS, "pool", "loky")
COLD = (OURS, "pool")


def roundtrip(bench: Bench) -> None:
    """No-op tasks one after the other."""
    bench.start()
    count = bench.scale.trips
    for system in list(bench.systems):
        bench.ask(system, "trips", count=max(20, count // 5))
    found = bench.turns("trips", lambda system: {"count": count}, "p50_ms", "ms")
    bench.outcome.raw["roundtrip"] = found
    bench.figure("roundtrip", "sequential round trip, p50", "ms", column(found, "p50_ms"), more=False)
    bench.figure("roundtrip-p99", "sequential round trip, p99", "ms", column(found, "p99_ms"), more=False)


def first(bench: Bench) -> None:
    """From submit to the first result of something new: a job, a pool."""
    bench.systems = [system for system in bench.systems if system in BEGINNERS]
    bench.start()
    found = bench.turns("first", lambda system: {}, "first_ms", "ms", rounds=bench.scale.firsts)
    bench.outcome.raw["first"] = found
    bench.figure("first", "submit to first result, fresh job or pool", "ms", column(found, "first_ms"), more=False)
    both = {system: [one["begin_ms"] + one["first_ms"] for one in rounds] for system, rounds in found.items()}
    bench.figure("first-begin", "the same and making the executor", "ms", both, more=False)


def cold(bench: Bench, measure: Callable[[str], Numbers] = in_fresh_interpreter) -> None:
    """A program that begins: import, an executor with five workers, its first result, its end."""
    systems = [system for system in bench.systems if system in COLD]
    found: dict[str, list[Any]] = {system: [] for system in systems}
    for number in range(bench.rounds + 1):
        for system in systems:
            bench.stage.wait_quiet()
            measured = bench.attempt(system, measure, system)
            if measured is not None and number:  # the first fills the system's caches of files
                found[system].append(measured)
        if number:
            said = ", ".join(f"{system} {rounds[-1]['first_s']:.3f} s" for system, rounds in found.items() if rounds)
            bench.say(f"{bench.name}: round {number} of {bench.rounds}: {said}")
    bench.outcome.raw["cold"] = found
    for key, title in (("first", "import to first result of five workers"), ("shutdown", "their shutdown")):
        values: dict[str, Sequence[float]] = {s: [one[f"{key}_s"] for one in rounds] for s, rounds in found.items()}
        bench.figure(f"cold-{key}", title, "s", values, more=False)
