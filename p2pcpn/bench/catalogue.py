"""The catalogue: every benchmark's name, what it measures, whom it compares, and which make up the short look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from p2pcpn.bench import burning, crowds, footprint, keeping, large, latency, payload, silence, throughput
from p2pcpn.bench.bench import Bench
from p2pcpn.errors import UsageError


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark. ``compares``: it measures other systems too."""

    name: str
    idea: str
    run: Callable[[Bench], None]
    compares: bool = True


BENCHMARKS: Final = (
    Benchmark("delivery", "no-op tasks a second to delivery, a future each", throughput.delivery),
    Benchmark("done", "no-op tasks a second until two peers have them on disk", throughput.done),
    Benchmark("map", "map over a million no-op items; memory of the submitter", throughput.map_items),
    Benchmark("roundtrip", "one task after the other, p50 and p99", latency.roundtrip),
    Benchmark("echo", "1 MiB of bytes there and back", payload.echo),
    Benchmark("arrays", "1 MiB NumPy arrays there and back", payload.arrays),
    Benchmark("burn", "tasks of 10 ms and 1 ms: the share of ideal", burning.burn),
    Benchmark("metg", "efficiency by task length; the shortest task at 50 %", burning.metg),
    Benchmark("queued", "memory of a task that waits", footprint.queued),
    Benchmark("first", "submit to first result of a fresh job", latency.first),
    Benchmark("cold", "a fresh interpreter: import to first result, and shutdown", latency.cold),
    Benchmark("records", "hash tables: stores and gets over 16 peers", keeping.records, compares=False),
    Benchmark("silence", "half of 100 peers silent: a get and a store", silence.silence, compares=False),
    Benchmark("crowd", "1,000 peers in one process: up, a store, a get", crowds.crowd, compares=False),
    Benchmark("blob", "a file of 1 GiB put into 3 peers and brought back; memory", large.blob, compares=False),
    Benchmark("startup", "swarms of 2, 8, 32 peers until all answer", footprint.startup, compares=False),
    Benchmark("idle", "100 peers that do nothing: bytes, processor, memory", footprint.idle, compares=False),
)
SHORT: Final = ("delivery", "done", "map", "roundtrip", "echo", "burn")


def chosen(names: Sequence[str], *, short: bool) -> list[Benchmark]:
    """The benchmarks of these names, in the order of the catalogue; all of them, or those of the short look, for none.

    Raises :class:`UsageError` for a name nobody has.
    """
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    for name in names:
        if name not in known:
            raise UsageError(f"there is no benchmark {name!r}; there are {', '.join(known)}")
    wanted = set(names or (SHORT if short else known))
    return [benchmark for benchmark in BENCHMARKS if benchmark.name in wanted]
