"""Tasks that need time: how much of two workers is left for them, and how short they may be."""

from __future__ import annotations

from collections.abc import Sequence

from p2pcpn.bench.bench import Bench, Numbers, column, fitting
from p2pcpn.bench.granularity import metg_s
from p2pcpn.bench.systems.system import WORKERS

US_PER_S = 1e6
# Fewer would be a lottery of who gets the last; more takes minutes where a task costs milliseconds.
TASKS_MIN, TASKS_MAX = 20, 20_000
KINDS = ((False, "", "spinning"), (True, "-cpu", "of processor time"))


def burn(bench: Bench) -> None:
    """Tasks of 10 ms and of 1 ms, spinning and burning processor time: the share of what is ideal."""
    bench.start()
    scale = bench.scale
    for task_s in scale.burn_s:
        count = round(scale.burn_round_s * WORKERS / task_s)
        for cpu, suffix, words in KINDS:
            for system in list(bench.systems):
                bench.attempt(system, _burn, bench, system, task_s, count // 8, cpu)
            found = _turns(bench, task_s, dict.fromkeys(bench.systems, count), cpu, bench.rounds)
            length = f"{task_s * 1e3:g}ms"
            bench.outcome.raw[f"burn-{length}{suffix}"] = found
            title = f"tasks of {task_s * 1e3:g} ms {words}"
            bench.figure(f"burn-{length}{suffix}", title, "of ideal", column(found, "efficiency"))


def metg(bench: Bench) -> None:
    """Efficiency by the length of a task, and where it falls to half."""
    bench.start()
    for cpu, suffix, words in KINDS:
        curves = _curves(bench, cpu)
        bench.outcome.raw[f"metg{suffix}"] = {
            system: [[task_s, efficiency] for task_s, efficiency in curve] for system, curve in curves.items()
        }
        values: dict[str, Sequence[float]] = {}
        for system, curve in curves.items():
            found = metg_s(curve)
            if found is None:
                bench.outcome.failed[system] = f"METG{suffix}: even the longest tasks do not reach half"
            else:
                values[system] = [found * US_PER_S]
        bench.figure(f"metg{suffix}", f"METG: shortest task at 50 %, {words}", "us", values, more=False)


def _curves(bench: Bench, cpu: bool) -> dict[str, list[tuple[float, float]]]:
    """The median efficiency at each length, from the longest to the shortest, by system."""
    scale = bench.scale
    curves: dict[str, list[tuple[float, float]]] = {}
    for task_s in sorted(scale.metg_s, reverse=True):
        bench.say(f"{bench.name}: tasks of {task_s * US_PER_S:g} us")
        counts: dict[str, int] = {}
        for system in list(bench.systems):
            count = bench.attempt(system, _fitting, bench, system, task_s, cpu)
            if count is not None:
                counts[system] = count
        for system, rounds in _turns(bench, task_s, counts, cpu, scale.metg_rounds).items():
            values = sorted(one["efficiency"] for one in rounds)
            curves.setdefault(system, []).append((task_s, values[len(values) // 2]))
    return curves


def _turns(bench: Bench, task_s: float, counts: dict[str, int], cpu: bool, rounds: int) -> dict[str, list[Numbers]]:
    def words(system: str) -> Numbers:
        return {"task_s": task_s, "count": counts[system], "cpu": cpu}

    return bench.turns("burn", words, "efficiency", "of ideal", rounds)


def _fitting(bench: Bench, system: str, task_s: float, cpu: bool) -> int:
    """How many tasks of a length take a system one round; finding out is its warm-up."""

    def seconds_of(count: int) -> float:
        return float(_burn(bench, system, task_s, count, cpu)["seconds"])

    round_s = bench.scale.metg_round_s
    first = max(TASKS_MIN, min(200, round(round_s * WORKERS / task_s / 4)))
    return fitting(seconds_of, round_s, first, TASKS_MIN, TASKS_MAX)


def _burn(bench: Bench, system: str, task_s: float, count: int, cpu: bool) -> Numbers:
    return bench.stage.ask(system, "burn", task_s=task_s, count=max(1, count), cpu=cpu)
