"""A program that submits and waits: ``submitter_program.py ORDER``, where the order is JSON; it is there to be killed.

Prints the job's id, and then, in a line each, how many results have come. Each run of a task adds its index to a file.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from p2pcpn import Config, Node
from p2pcpn.identity.keys import Keypair


def task(what: tuple[int, float, str]) -> int:
    """Sleep, and note the run; the index times three."""
    index, takes_s, runs = what
    with open(runs, "a") as file:
        file.write(f"{index}\n")
    time.sleep(takes_s)
    return index * 3


async def main(order: dict[str, Any]) -> None:
    config = Config(
        profile="local", bootstrap=order["bootstrap"], swarm_key=order["swarm_key"], roles=(), durable=False
    )  # fmt: skip
    async with Node(config, owner=Keypair(bytes.fromhex(order["owner"]))) as node:
        calls = [(index, takes_s, order["runs"]) for index, takes_s in enumerate(order["takes_s"])]
        job = await node.submit(task, calls, **order["options"])
        print(job.id, flush=True)
        count = 0
        async for result in job.results():
            assert result.unwrap() == result.index * 3
            count += 1
            print(count, flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
