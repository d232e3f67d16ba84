"""What it costs a job that whoever grants it dies: 8 peers, 400 tasks of 50 to 200 ms, ``replicas=4``.

Undisturbed, and with SIGKILL of the submitting program at a third and of three peers at two thirds, in turn in one run;
the results are read through another peer each time. ``python benchmarks/takeover.py [ROUNDS]
[MODE]`` prints a line a run.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from p2pcpn import Config, Node, Swarm
from p2pcpn.identity.keys import Keypair

PEERS, KILLED = 8, 3
TASKS = 400
REPLICAS = 4
WAIT_S = 180.0


def task(what: tuple[int, float, str]) -> int:
    """Sleep, and note the run."""
    index, takes_s, runs = what
    with open(runs, "a") as file:
        file.write(f"{index}\n")
    time.sleep(takes_s)
    return index


def config(order: dict[str, Any]) -> Config:
    return Config(profile="local", bootstrap=order["bootstrap"], swarm_key=order["swarm_key"], roles=(), durable=False)


async def submit(order: dict[str, Any]) -> None:
    """The program that is killed, or not: the job's id, then a line for each result."""
    async with Node(config(order), owner=Keypair(bytes.fromhex(order["owner"]))) as node:
        chance = random.Random(1)
        calls = [(index, chance.uniform(0.05, 0.2), order["runs"]) for index in range(TASKS)]
        job = await node.submit(task, calls, replicas=REPLICAS, orchestration=order["orchestration"])
        print(job.id, flush=True)
        async for result in job.results():
            print(result.unwrap(), flush=True)


async def read(order: dict[str, Any], job_id: str, swarm: Swarm, kill: bool) -> int:
    """All results through another peer; peers are killed when two thirds are there."""
    async with Node(config(order), owner=Keypair(bytes.fromhex(order["owner"]))) as node:
        job, found = await node.fetch(job_id), 0
        async for result in job.results(WAIT_S):
            result.unwrap()
            found += 1
            if kill and found == TASKS * 2 // 3:
                for victim in range(KILLED):
                    swarm.kill(victim)
        return found


def measured(kill: bool, orchestration: str) -> dict[str, Any]:
    """One run, from the job's id to its last result at another peer."""
    with tempfile.TemporaryDirectory() as directory, Swarm(peers=PEERS) as swarm:
        runs = Path(directory, "runs")
        runs.touch()
        order = {
            "bootstrap": swarm.bootstrap[KILLED:], "swarm_key": swarm.key, "owner": os.urandom(32).hex(),
            "runs": str(runs), "orchestration": orchestration,
        }  # fmt: skip
        command = [sys.executable, __file__, "submit", json.dumps(order)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            try:
                assert program.stdout is not None
                job_id = program.stdout.readline().strip()
                began = time.monotonic()
                if kill:
                    for _ in range(TASKS // 3):
                        program.stdout.readline()
                    program.kill()
                found = asyncio.run(read(order, job_id, swarm, kill))
                took_s = time.monotonic() - began
            finally:
                program.kill()
        count = Counter(runs.read_text().split())
        return {"took_s": round(took_s, 2), "results": found, "runs": sum(count.values())}


def main(rounds: int, orchestration: str) -> None:
    took: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for kill in (False, True):
            found = measured(kill, orchestration)
            took[kill].append(found["took_s"])
            print("disturbed  " if kill else "undisturbed", json.dumps(found), flush=True)
    print(f"least of each: {min(took[True]) / min(took[False]):.2f} times the undisturbed time")


if __name__ == "__main__":
    if sys.argv[1:2] == ["submit"]:
        asyncio.run(submit(json.loads(sys.argv[2])))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 2, sys.argv[2] if sys.argv[2:] else "hybrid")
