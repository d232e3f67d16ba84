"""The smallest program: calls that run on peers, through the executor that Python already knows."""

from __future__ import annotations

import os

from p2pcpn import Executor


def greet(name: str) -> str:
    return f"hello {name}, from process {os.getpid()}"


if __name__ == "__main__":
    # No address given: a swarm of two peers comes along, and goes with the block.
    with Executor(max_workers=2) as executor:
        print(executor.submit(pow, 2, 10).result())
        for line in executor.map(greet, ["Ada", "Grace", "Edsger"]):
            print(line)
