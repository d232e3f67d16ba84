"""A large file through a swarm: three peers, two replicas, every byte hashed, sealed and encrypted twice on its way."""

from __future__ import annotations

from p2pcpn.bench.bench import Bench, column
from p2pcpn.bench.hauls import MB
from p2pcpn.bench.systems import OURS

PEERS, REPLICAS, ROUNDS = 3, 2, 3


def blob(bench: Bench) -> None:
    """Put and get, each round with a fresh file and a fresh swarm; the process that grows most."""
    found = []
    for number in range(1, min(ROUNDS, bench.rounds) + 1):
        bench.stage.wait_quiet()
        measured = bench.stage.once("blob", peers=PEERS, mib=bench.scale.blob_mib, replicas=REPLICAS)
        found.append(measured)
        bench.say(
            f"{bench.name}: round {number}: put {measured['put_rate']:.0f} MB/s, get {measured['get_rate']:.0f} MB/s"
        )
    bench.outcome.raw["blob"] = found
    title = f"blob of {bench.scale.blob_mib} MiB, {PEERS} peers, {REPLICAS} replicas:"
    bench.figure("blob-put", f"{title} put", "MB/s", column({OURS: found}, "put_rate"))
    bench.figure("blob-get", f"{title} get", "MB/s", column({OURS: found}, "get_rate"))
    most = [max(measured["above_bytes"]) / MB for measured in found]
    bench.figure("blob-memory", f"{title} the process that grew most", "MB", {OURS: most}, more=False)
