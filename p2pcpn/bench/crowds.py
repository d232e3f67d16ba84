"""Crowds: a thousand peers of the hash table in one process, each with a key, a socket and signed greetings."""

from __future__ import annotations

import os
import random
import statistics
import time
from typing import Any, Final

from p2pcpn.bench.bench import Bench
from p2pcpn.bench.systems import OURS
from p2pcpn.client.crowd import Crowd
from p2pcpn.client.loops import LoopThread
from p2pcpn.identity.keys import Keypair

VALUE_BYTES: Final = 64
RETENTION_S: Final = 3600.0
LONGEST_S: Final = 600.0


def measure(peers: int, operations: int, seed: int = 1) -> dict[str, Any]:
    """Start ``peers`` peers, then store and get ``operations`` records one after the other, each through any peer."""
    loops = LoopThread("p2pcpn-bench")
    try:
        return loops.call(_measure(peers, operations, seed), LONGEST_S)
    finally:
        loops.stop()


async def _measure(peers: int, operations: int, seed: int) -> dict[str, Any]:
    rng, owner, cpu_s = random.Random(seed), Keypair(os.urandom(32)), time.process_time()
    async with Crowd(peers, seed=seed) as crowd:
        up_cpu_s = time.process_time() - cpu_s
        stored_ms, got_ms, wrong, copies = [], [], 0, []
        values = [os.urandom(VALUE_BYTES) for _ in range(operations)]
        keys = []
        for number, value in enumerate(values):
            began = time.perf_counter()
            put = await rng.choice(crowd.peers).put_record(owner, b"%d" % number, value, RETENTION_S)
            stored_ms.append((time.perf_counter() - began) * 1e3)
            keys.append(put.key)
            copies.append(put.copies)
        for key, value in zip(keys, values, strict=True):
            began = time.perf_counter()
            got = await rng.choice(crowd.peers).get_record(key)
            got_ms.append((time.perf_counter() - began) * 1e3)
            wrong += got.record is None or got.record.value != value
        return {
            "peers": peers, "operations": operations, "joined_s": crowd.joined_s, "up_s": crowd.settled_s,
            "up_cpu_s": up_cpu_s, "store_ms": statistics.median(stored_ms), "get_ms": statistics.median(got_ms),
            "wrong": wrong, "copies_min": min(copies),
        }  # fmt: skip


def crowd(bench: Bench) -> None:
    """A crowd of the scale's size."""
    peers, operations = bench.scale.crowd_peers, bench.scale.crowd_operations
    bench.stage.wait_quiet()
    found = bench.stage.once("crowd", peers=peers, operations=operations)
    bench.outcome.raw["crowd"] = found
    bench.say(f"{bench.name}: {peers} peers up in {found['up_s']:.1f} s, {found['up_cpu_s']:.1f} s of a core")
    of = f"{peers} peers in one process:"
    for name, title, unit, value in (
        ("crowd-up", f"{of} until all have joined and are at rest", "s", found["up_s"]),
        ("crowd-store", f"{of} a store, p50", "ms", found["store_ms"]),
        ("crowd-get", f"{of} a get, p50", "ms", found["get_ms"]),
        ("crowd-wrong", f"{of} wrong gets of {operations}", "gets", found["wrong"]),
    ):
        bench.figure(name, title, unit, {OURS: [value]}, more=False)
