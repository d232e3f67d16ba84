"""The stage with the real p2pcpn and the real pool, on next to nothing."""

from __future__ import annotations

import dataclasses

from p2pcpn.bench.catalogue import chosen
from p2pcpn.bench.run import run
from p2pcpn.bench.scale import SHORT

TINY = dataclasses.replace(
    SHORT, rounds=1, round_s=0.01, tasks_min=50, tasks_max=200, map_items=2000, trips=20, blobs=4, burn_round_s=0.05,
    burn_s=(1e-3,), metg_s=(1e-4, 1e-2), metg_round_s=0.05, queued=200, firsts=1, startups=((2, 1),), idle_peers=2,
    idle_settle_s=0.1, idle_s=0.5,
)  # fmt: skip
NAMES = ["delivery", "done", "map", "roundtrip", "echo", "burn", "metg", "queued", "first", "startup", "idle"]


def test_every_benchmark_finds_something_and_no_process_stays() -> None:
    said: list[str] = []
    told: list[str] = []
    report = run(
        chosen(NAMES, short=True), ["pool"], TINY, say=said.append, found=lambda outcome: told.append(outcome.name)
    )
    assert told == NAMES and report.broken == {} and not [line for line in said if "left behind" in line]
    figures = {figure.name: figure for figure in report.figures}
    for name in ("delivery", "done", "map", "roundtrip", "echo", "burn-1ms", "burn-1ms-cpu", "queued", "first"):
        assert figures[name].median("p2pcpn") is not None and figures[name].median("pool") is not None, name
    done = next(outcome for outcome in report.outcomes if outcome.name == "done").raw["done"]["p2pcpn"][0]
    assert done["copies"] == 2 and done["replicated"] >= done["tasks"]
    assert (figures["startup-2"].median("p2pcpn") or 0) > 0
    assert (figures["idle-sent"].median("p2pcpn") or 0) > 0 and (figures["idle-memory"].median("p2pcpn") or 0) > 1
