"""What p2pcpn costs beside its tasks: memory of what waits, start-up of swarms, peers that idle."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from p2pcpn.bench import usage
from p2pcpn.bench.bench import Bench, Numbers
from p2pcpn.bench.figures import MB
from p2pcpn.bench.systems import OURS

KB = 1e3


def queued(bench: Bench) -> None:
    """Memory of a task that waits while all workers are busy, in a process started for that."""
    submitter: dict[str, Sequence[float]] = {}
    everything: dict[str, Sequence[float]] = {}
    for system in list(bench.systems):
        bench.say(f"{bench.name}: {bench.scale.queued:,} tasks wait in {system}")
        found = bench.attempt(system, _queued, bench, system)
        if found is not None:
            bench.outcome.raw[system] = found
            submitter[system] = [found["submitter_bytes"]]
            everything[system] = [found["all_bytes"]]
        bench.stage.stop(system)
    bench.figure("queued", "memory of the submitter's processes a queued task", "bytes", submitter, more=False)
    bench.figure("queued-all", "memory of all processes a queued task", "bytes", everything, more=False)


def _queued(bench: Bench, system: str) -> Numbers:
    stage, count = bench.stage, bench.scale.queued
    stage.stop(system)
    stage.start(system)
    stage.ask(system, "deliver", count=200)
    stage.wait_quiet()
    parts = (stage.submitter(system), stage.everything(system))
    before = [usage.memory_bytes(part) for part in parts]
    with tempfile.TemporaryDirectory(prefix="p2pcpn-bench-") as folder:
        gate = Path(folder) / "gate"
        try:
            stage.ask(system, "fill", count=count, path=str(gate))
            stage.wait_quiet()
            after = [usage.memory_bytes(part) for part in parts]
        finally:
            gate.touch()  # otherwise the workers would wait for it for ever
        stage.ask(system, "drain")
    mine, all_ = ((last - first) / count for first, last in zip(before, after, strict=True))
    return {"tasks": count, "submitter_bytes": mine, "all_bytes": all_, "before": before, "after": after}


def startup(bench: Bench) -> None:
    """Until every peer of a local swarm answers."""
    for peers, rounds in bench.scale.startups:
        found = []
        for number in range(1, rounds + 1):
            bench.stage.wait_quiet()
            found.append(bench.stage.once("ready", peers=peers))
            bench.say(f"{bench.name}: {peers} peers, round {number} of {rounds}: {found[-1]['ready_s']:.2f} s")
        bench.outcome.raw[f"startup-{peers}"] = found
        name, title = f"startup-{peers}", f"{peers} peers: until every one answers"
        bench.figure(name, title, "s", {OURS: [one["ready_s"] for one in found]}, more=False)
        met = [one["met_s"] for one in found if one["met_s"] is not None]
        if met:
            knows = f"{peers} peers: until every one knows all others"
            bench.figure(f"{name}-met", knows, "s", {OURS: met}, more=False)


def idle(bench: Bench) -> None:
    """A swarm that nobody asks anything: what a peer sends, computes and holds."""
    scale = bench.scale
    waits_s = scale.idle_settle_s + scale.idle_s
    bench.say(f"{bench.name}: {scale.idle_peers} peers do nothing for {waits_s:.0f} s")
    found = bench.stage.once("idle", peers=scale.idle_peers, settle_s=scale.idle_settle_s, idle_s=scale.idle_s)
    bench.outcome.raw["idle"] = found
    of = f"idle peer of {scale.idle_peers}, mean of {scale.idle_s:.0f} s:"
    for name, title, unit, value in (
        ("idle-sent", f"{of} sent, headers included", "KB/s", found["sent_bytes_per_s"] / KB),
        ("idle-core", f"{of} of a core", "%", found["core_percent"]),
        ("idle-memory", f"{of} memory with all its processes", "MB", found["memory_bytes"] / MB),
    ):
        bench.figure(name, title, unit, {OURS: [value]}, more=False)
