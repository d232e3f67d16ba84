"""Records stored and got by several threads at a time: the load of hivemind's own benchmark of its DHT.

Of each thread's rounds each stores so many records, every one through another peer chosen by chance, and then gets
them, again through others.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from p2pcpn.bench.dhts import make
from p2pcpn.bench.dhts.table import Table

VALUE_BYTES: Final = 64


def measure(
    table: str,
    peers: int,
    threads: int,
    rounds: int,
    stores: int,
    gets: int,
    seed: int = 1,
    make: Callable[[str], Table] = make,
) -> dict[str, Any]:
    """Start ``peers`` peers of a kind, do the load, end them: operations a second, medians, shares that succeeded."""
    chosen = make(table)
    begun = time.perf_counter()
    try:
        chosen.start(peers)
        start_s = time.perf_counter() - begun
        load = _Load(chosen, peers, rounds, stores, gets)
        load.run(1, seed, rounds=1)  # a warm-up
        load.forget()
        begun = time.perf_counter()
        load.run(threads, seed + 1, rounds)
        return load.found(time.perf_counter() - begun) | {"start_s": start_s, "peers": peers}
    finally:
        chosen.stop()


class _Load:
    """What the threads share."""

    def __init__(self, table: Table, peers: int, rounds: int, stores: int, gets: int) -> None:
        self._table = table
        self._peers = peers
        self._stores = stores
        self._gets = gets
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Count from the beginning."""
        self._stored_ms: list[float] = []
        self._got_ms: list[float] = []
        self._kept = self._right = 0

    def run(self, threads: int, seed: int, rounds: int) -> None:
        """Do it; raises what a thread raised."""
        with ThreadPoolExecutor(threads) as pool:
            for future in [pool.submit(self._thread, random.Random(seed * 1000 + n), rounds) for n in range(threads)]:
                future.result()

    def _thread(self, rng: random.Random, rounds: int) -> None:
        for _ in range(rounds):
            kept: dict[str, bytes] = {}
            for _ in range(self._stores):
                key, value = f"{rng.getrandbits(128):032x}", os.urandom(VALUE_BYTES)
                began = time.perf_counter()
                stored = self._table.store(rng.randrange(self._peers), key, value)
                took_ms = (time.perf_counter() - began) * 1e3
                kept[key] = value
                with self._lock:
                    self._stored_ms.append(took_ms)
                    self._kept += stored
            keys = sorted(kept)
            for n in range(self._gets):
                key = keys[n % len(keys)]
                began = time.perf_counter()
                found = self._table.get(rng.randrange(self._peers), key)
                took_ms = (time.perf_counter() - began) * 1e3
                with self._lock:
                    self._got_ms.append(took_ms)
                    self._right += found == kept[key]

    def found(self, seconds: float) -> dict[str, Any]:
        """What came of it in so many seconds."""
        stores, gets = len(self._stored_ms), len(self._got_ms)
        return {
            "rate": (stores + gets) / seconds, "operations": stores + gets, "seconds": seconds,
            "store_ms": statistics.median(self._stored_ms), "get_ms": statistics.median(self._got_ms),
            "stored_share": self._kept / stores, "got_share": self._right / gets,
        }  # fmt: skip
