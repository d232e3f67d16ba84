"""Records of hash tables, in turn: p2pcpn, raw ``kademlia``, hivemind; sixteen peers, hivemind's own load."""

from __future__ import annotations

from typing import Any

from p2pcpn.bench.bench import Bench, column
from p2pcpn.bench.dhts import TABLES
from p2pcpn.bench.systems import INSTALL, OURS, is_installed

PEERS, THREADS, STORES, GETS = 16, 10, 8, 8
ROUNDS = 3


def records(bench: Bench) -> None:
    """Ten threads store and get eight records a round, through peers chosen by chance."""
    tables = []
    for name, (_, package) in TABLES.items():
        if is_installed(package):
            tables.append(name)
        else:
            bench.outcome.failed[name] = f"{package} is not installed: {INSTALL}"
    found: dict[str, list[Any]] = {name: [] for name in tables}
    rounds = min(ROUNDS, bench.rounds)
    for number in range(1, rounds + 1):
        said = []
        for name in tables:
            if name in bench.outcome.failed:
                continue
            bench.stage.wait_quiet()
            words = {
                "table": name, "peers": PEERS, "threads": THREADS, "rounds": bench.scale.record_rounds,
                "stores": STORES, "gets": GETS, "seed": number,
            }  # fmt: skip
            measured = bench.attempt(name, bench.stage.once, "records", **words)
            if measured is not None:
                found[name].append(measured)
                said.append(f"{name} {measured['rate']:.0f}/s")
        bench.say(f"{bench.name}: round {number} of {rounds}: {', '.join(said)}")
    found = {name: measured for name, measured in found.items() if measured}
    assert OURS in found, "a failure of ours ends the benchmark"
    bench.outcome.raw["records"] = found
    bench.figure("records", "records: stores and gets", "operations/s", column(found, "rate"))
    bench.figure("records-store", "records: a store, p50", "ms", column(found, "store_ms"), more=False)
    bench.figure("records-get", "records: a get, p50", "ms", column(found, "get_ms"), more=False)
    bench.figure("records-found", "records: gets that found the value", "of all", column(found, "got_share"))
