"""A task that goes on where it was when its peer died: it leaves its state as it works, the next run finds it."""

from __future__ import annotations

import os
import signal
import time

import p2pcpn
from p2pcpn import Swarm


def count_primes(until: int, may_die: bool) -> str:
    """Count primes by trial division, slowly; half way its peer dies, the first time."""
    number, found, runs = p2pcpn.restored((2, 0, 0))
    began, runs = number, runs + 1
    while number < until:
        found += all(number % divisor for divisor in range(2, int(number**0.5) + 1))
        number += 1
        if number % 100 == 0:
            p2pcpn.checkpoint((number, found, runs))
            time.sleep(0.02)
        if may_die and runs == 1 and number == until // 2:
            time.sleep(1.0)  # the newest state leaves within half a second
            os.kill(peer_of_this_process(), signal.SIGKILL)
            time.sleep(60)
    return f"{found} primes below {until}, in {runs} runs; the last began at {'the start' if began == 2 else began}"


def peer_of_this_process() -> int:
    """The process above the one that makes worker processes: the peer."""
    with open(f"/proc/{os.getppid()}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


if __name__ == "__main__":
    with Swarm(peers=3) as swarm, swarm.executor() as executor:
        print(executor.submit(count_primes, 10_000, True).result(timeout=60))
