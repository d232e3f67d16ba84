"""A working peer under a hundred thousand hostile messages: it lives, stays small, counts every drop, and works on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from p2pcpn.client.swarm import Swarm
from p2pcpn.node.control import ask, control_path

HERE = Path(__file__).parent
MESSAGES = {"noise": 44_000, "strangers": 6_000, "pairs": 25_000, "sessions": 25_000}
HALF_OPEN = 40
WITHIN_S = 55.0
GROWTH_BYTES_MAX = 64 << 20
P99_S_MAX = 1.0
# The client's own datagrams, which the attacker does not count.
MARGIN = 0.001


def square(number: int) -> int:
    return number * number


class Client:
    """An honest client: one task after the other, each one's time taken."""

    def __init__(self, executor: Any) -> None:
        self.executor = executor
        self.seconds: list[float] = []
        self.wrong = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            began = time.perf_counter()
            try:
                self.wrong += self.executor.submit(square, number).result(timeout=10) != number * number
            except Exception:
                self.wrong += 1
            self.seconds.append(time.perf_counter() - began)
            self._ended.wait(0.005)

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[min(int(len(self.seconds) * share), len(self.seconds) - 1)]


class Watch:
    """The largest resident size of a process while it is watched."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.peak = max(self.peak, self.process.memory_info().rss)


def attack(swarm: Swarm, job: str) -> dict[str, int]:
    """Run the attacker against the first peer; what it says it has sent."""
    peer = swarm.peers[0]
    host, _, port = peer.address.rpartition(":")
    order = {
        "host": host, "port": int(port), "id": peer.id, "swarm_key": swarm.key, "job": job, "half_open": HALF_OPEN,
        **MESSAGES,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(HERE / "hostile_attacker.py")], input=json.dumps(order) + "\n", text=True,
        capture_output=True, timeout=WITHIN_S + 3, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    sent: dict[str, int] = json.loads(done.stdout)
    return sent


def dropped(counts: dict[str, int]) -> int:
    return sum(count for name, count in counts.items() if name.startswith("dropped_"))


def test_a_hundred_thousand_hostile_messages_cost_a_peer_neither_its_life_nor_its_work() -> None:
    with Swarm(peers=1) as swarm, swarm.executor(replicas=1) as executor:
        assert list(executor.map(square, range(300))) == [number * number for number in range(300)]
        peer = swarm.peers[0]
        process = psutil.Process(peer.pid)
        control = control_path(peer.data_dir)
        before, size = ask(control, "status")["statistics"], process.memory_info().rss
        began = time.monotonic()
        with Client(executor) as client, Watch(process) as watch:
            assert executor.job_id is not None
            sent = attack(swarm, executor.job_id)
            took_s = time.monotonic() - began
        status = ask(control, "status", timeout_s=10)
        after, growth = status["statistics"], watch.peak - size

        udp, pairs, sessions = after["udp"], after["pairs"], after["sessions"]
        report(sent, took_s, growth, client, after)

        assert sum(sent[name] for name in MESSAGES) >= 100_000
        assert peer.alive and status["pid"] == peer.pid
        assert growth <= GROWTH_BYTES_MAX
        # Every datagram that came is received, or dropped for a reason; each received one has one fate.
        arrived = udp["received"] + dropped(udp) + udp["waiting"] - before["udp"]["received"]
        assert arrived >= sent["datagrams"] * (1 - MARGIN)
        assert udp["received"] == pairs["heard"] + pairs["greeted"] + dropped(pairs)
        # So has each connection, and each message of a session.
        ends = sum(count for name, count in sessions.items() if name.startswith("dropped "))
        assert sessions["accepted"] <= sessions["opened"] + ends + sessions["half_open"]
        assert after["inlet"]["handled"] + after["inlet"]["dropped"] >= sent["sessions"] * 0.5
        assert not [name for name in after["node"] if name.startswith("mishap")], after["node"]
        # And meanwhile it worked.
        assert client.wrong == 0 and len(client.seconds) > 100
        assert client.percentile(0.99) <= P99_S_MAX
        assert executor.submit(square, 12).result(timeout=10) == 144


def report(sent: dict[str, int], took_s: float, growth: int, client: Client, after: dict[str, Any]) -> None:
    print(f"\nhostile messages {sum(sent[name] for name in MESSAGES):,} in {took_s:.1f} s: {sent}")
    print(f"memory grew by {growth / 2**20:.1f} MiB at most")
    print(
        f"honest tasks {len(client.seconds)}, wrong {client.wrong}, p50 {client.percentile(0.5) * 1e3:.1f} ms, "
        f"p99 {client.percentile(0.99) * 1e3:.1f} ms, slowest {max(client.seconds) * 1e3:.0f} ms"
    )
    for part in ("udp", "pairs", "sessions", "inlet", "peer", "node"):
        print(f"{part}: {after[part]}")
