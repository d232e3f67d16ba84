"""Many small tasks: to delivery, until done, and by map."""

from __future__ import annotations

from collections.abc import Sequence

from p2pcpn.bench import usage
from p2pcpn.bench.bench import Bench, Numbers, column, fitting
from p2pcpn.bench.figures import MB
from p2pcpn.bench.stage import DriverFailed
from p2pcpn.bench.systems import OURS

US_PER_S = 1e6
# Where a map goes task by task a million items would take some systems half an hour.
MAP_TRY = 2000


def delivery(bench: Bench) -> None:
    """No-op tasks with a future each, until the last result is here."""
    _no_ops(bench, "deliver", "delivery", "no-op tasks to delivery, a future each")


def done(bench: Bench) -> None:
    """The same until all lie on the disks of two peers, the submitter not counted; the others keep nothing."""
    _no_ops(bench, "finish", "done", "no-op tasks until done: on two peers' disks, not the submitter's")


def _no_ops(bench: Bench, load: str, name: str, title: str) -> None:
    bench.start()
    scale = bench.scale
    counts = bench.counts(load, scale.round_s, scale.tasks_min, scale.tasks_max)
    found = bench.turns(load, lambda system: {"count": counts[system]}, "rate", "tasks/s")
    bench.outcome.raw[name] = found
    bench.figure(name, title, "tasks/s", column(found, "rate"))
    cpu = {system: [one["cpu_s"] / one["tasks"] * US_PER_S for one in rounds] for system, rounds in found.items()}
    bench.figure(f"{name}-cpu", "processor time of all processes a task", "us", cpu, more=False)


def map_items(bench: Bench) -> None:
    """The systems' own maps over no-op items, as they are by default and with the best chunk size by hand."""
    bench.start()
    plain = _map_turns(bench, dict.fromkeys(bench.systems))
    chunks: dict[str, int | None] = {}
    for system in list(bench.systems):
        if system == OURS:
            continue  # its chunks are its own business
        best = bench.ask(system, "best_chunk", count=bench.scale.tasks_max)
        if best is not None and best["chunk"] is not None:
            chunks[system] = best["chunk"]
    by_hand = _map_turns(bench, {OURS: None, **chunks}) if chunks else {}
    bench.outcome.raw["map"] = {"default": plain, "chunk by hand": by_hand}
    values = dict(column(plain, "rate"))
    values[OURS] = [*values[OURS], *(one["rate"] for one in by_hand.get(OURS, []))]
    for system, rates in column(by_hand, "rate").items():
        if system != OURS:
            values[f"{system}, chunks of {chunks[system]}"] = rates
    bench.figure("map", "map over no-op items", "items/s", values)
    if bench.scale.whole:
        _memory(bench, chunks)


def _map_turns(bench: Bench, chunks: dict[str, int | None]) -> dict[str, list[Numbers]]:
    """Turns over maps of as many items as fit a round; p2pcpn, in a full run, over all there are."""
    scale, every = bench.scale, bench.systems
    bench.systems = [system for system in every if system in chunks]
    counts: dict[str, int] = {}
    for system in list(bench.systems):
        count = bench.attempt(system, _map_count, bench, system, chunks[system])
        if count is not None:
            counts[system] = scale.map_items if system == OURS and scale.whole else count
    found = bench.turns("map", lambda system: {"count": counts[system], "chunk": chunks[system]}, "rate", "items/s")
    failed = set(bench.outcome.failed)
    bench.systems = [system for system in every if system not in failed]
    return found


def _map_count(bench: Bench, system: str, chunk: int | None) -> int:
    def seconds_of(count: int) -> float:
        return float(bench.stage.ask(system, "map", count=count, chunk=chunk)["seconds"])

    return fitting(seconds_of, bench.scale.round_s, MAP_TRY, MAP_TRY, bench.scale.map_items)


def _memory(bench: Bench, chunks: dict[str, int | None]) -> None:
    """The submitter's memory at its highest, in a fresh process: without a future an item, then with one each."""
    scale = bench.scale
    systems = [system for system in (OURS, "pool") if system in bench.systems]
    peaks: dict[str, Sequence[float]] = {}
    for system in systems:
        peak = bench.attempt(system, peak_bytes, bench, system, "map", scale.map_items, chunks.get(system))
        if peak is not None:
            peaks[system] = [peak / MB]
    items = f"{scale.map_items:,} items"
    title = "highest memory of the submitter's processes"
    bench.figure("map-memory", f"{title}, map over {items}", "MB", peaks, more=False)
    peak = peak_bytes(bench, OURS, "deliver", scale.map_items)
    futures = f"{title}, {scale.map_items:,} tasks with a future each"
    bench.figure("map-memory-futures", futures, "MB", {OURS: [peak / MB]}, more=False)


def peak_bytes(bench: Bench, system: str, load: str, count: int, chunk: int | None = None) -> int:
    """The highest memory of a system's submitter while it does a load, in a process started for that."""
    bench.say(f"{bench.name}: memory of {system}, {count:,} items")
    stage = bench.stage
    stage.stop(system)
    stage.start(system)
    processes = stage.submitter(system)
    highest = [usage.memory_bytes(processes)]
    words = {} if chunk is None else {"chunk": chunk}
    stage.ask(system, load, lambda: highest.append(usage.memory_bytes(processes)), count=count, **words)
    highest.append(usage.memory_bytes(processes))
    if not highest[-1]:
        raise DriverFailed("its memory cannot be read")
    return max(highest)
