"""Silence: half of a hundred peers stop without a word; others store and get at once, as if nothing had happened."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any, Final

from p2pcpn.bench.bench import Bench
from p2pcpn.bench.dhts.falling_silent import ASKERS, SilentKademlia, SilentSwarm
from p2pcpn.bench.systems import INSTALL, OURS, is_installed

PEERS, SILENT = 100, 50
VALUE_BYTES: Final = 64
# A store of ``kademlia`` takes half a minute then: it gets fewer.
COUNTS: Final = {OURS: (100, 100), "kademlia": (20, 3)}
TABLES: Final[dict[str, Callable[[], Any]]] = {OURS: SilentSwarm, "kademlia": SilentKademlia}


def measure(
    table: str, peers: int, silent: int, gets: int, stores: int, seed: int = 1,
    tables: dict[str, Callable[[], Any]] = TABLES,
) -> dict[str, Any]:  # fmt: skip
    """Store ``gets`` values, silence ``silent`` of ``peers``, then get each through another peer, then store more."""
    chosen, rng = tables[table](), random.Random(seed)
    try:
        chosen.start(peers)
        values = {f"{number}-{seed}": os.urandom(VALUE_BYTES) for number in range(gets)}
        for number, (key, value) in enumerate(values.items()):
            chosen.store(number % ASKERS, key, value)
        chosen.silence(silent, rng)
        got_s, found = [], 0
        for number, (key, value) in enumerate(values.items()):
            began = time.perf_counter()
            found += chosen.get((number + 1) % ASKERS, key) == value
            got_s.append(time.perf_counter() - began)
        stored_s, kept = [], 0
        for number in range(stores):
            began = time.perf_counter()
            kept += chosen.store(number % ASKERS, f"late {number}-{seed}", os.urandom(VALUE_BYTES))
            stored_s.append(time.perf_counter() - began)
    finally:
        chosen.stop()
    return {
        "peers": peers, "silent": silent, "get_s": got_s, "store_s": stored_s, "found_share": found / gets,
        "kept_share": kept / stores,
    }  # fmt: skip


def silence(bench: Bench) -> None:
    """p2pcpn, then ``kademlia`` where it is installed."""
    got: dict[str, list[float]] = {}
    stored: dict[str, list[float]] = {}
    found: dict[str, list[float]] = {}
    for table in TABLES:
        if table != OURS and not is_installed(table):
            bench.outcome.failed[table] = f"{table} is not installed: {INSTALL}"
            continue
        gets, stores = COUNTS[table]
        bench.stage.wait_quiet()
        words = {"table": table, "peers": PEERS, "silent": SILENT, "gets": gets, "stores": stores}
        measured = bench.attempt(table, bench.stage.once, "silence", **words)
        if measured is not None:
            bench.outcome.raw[table] = measured
            got[table] = [p95(measured["get_s"])]
            stored[table] = [p95(measured["store_s"])]
            found[table] = [measured["found_share"]]
            bench.say(f"{bench.name}: {table}: get p95 {got[table][0]:.2f} s, store p95 {stored[table][0]:.2f} s")
    of = f"{SILENT} of {PEERS} peers silent:"
    bench.figure("silence-get", f"{of} a get, p95", "s", got, more=False)
    bench.figure("silence-store", f"{of} a store, p95", "s", stored, more=False)
    bench.figure("silence-found", f"{of} gets that found the value", "of all", found)


def p95(values: list[float]) -> float:
    """The value that 95 in 100 do not exceed."""
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]
