"""Peers that lose each other and meet again, as real processes: parts become one, and who asks in vain is told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from p2pcpn import Executor, Swarm
from p2pcpn.errors import P2pcpnError, Unreachable
from p2pcpn.node.control import ask, control_path

# Bounds are those of a machine that is busy with something else; each wait ends when what it waits for is there.
pytestmark = pytest.mark.timeout(400)

KEY = "ab" * 32


class Peers:
    """Peers as `p2pcpn node` starts them, each with a folder of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, listen: str, *bootstrap: str) -> None:
        words = [sys.executable, "-m", "p2pcpn", "node", "--listen", listen, "--swarm-key", KEY, "--cpus", "1"]
        words += ["--data", str(self.folder / name), "--quiet"]
        for each in bootstrap:
            words += ["--bootstrap", each]
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("P2PCPN_B", "XDG_"))}
        environment["HOME"] = str(self.folder)
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._stack.callback(self._end, process)
        self.running[name] = process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()

    def known(self, name: str) -> int:
        try:
            return int(ask(control_path(self.folder / name), "status", timeout_s=5)["known_peers"])
        except P2pcpnError:
            return -1


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with ExitStack() as stack:
        yield Peers(tmp_path, stack)


def free_ports(count: int) -> list[str]:
    """Addresses that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{sock.getsockname()[1]}" for sock in sockets]


def until(wait_s: float, reached: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + wait_s
    while not reached():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def test_two_swarms_that_started_apart_from_one_list_become_one(peers: Peers) -> None:
    one, two = free_ports(2)
    peers.start("one", one, one, two)
    peers.start("one's", "127.0.0.1:0", one, two)
    until(90, lambda: peers.known("one") == peers.known("one's") == 1, "the first swarm does not form")
    for name in ("one", "one's"):  # nothing answers there while the second swarm forms
        peers.running[name].send_signal(signal.SIGSTOP)
    peers.start("two", two, one, two)
    peers.start("two's", "127.0.0.1:0", one, two)
    until(90, lambda: peers.known("two") == peers.known("two's") == 1, "the second swarm does not form")
    for name in ("one", "one's"):
        peers.running[name].send_signal(signal.SIGCONT)
    until(120, lambda: min(map(peers.known, peers.running)) == 3, "the swarms stay apart")


def test_a_peer_that_stood_still_for_longer_than_it_is_missed_comes_back(peers: Peers) -> None:
    (address,) = free_ports(1)
    peers.start("one", address)
    for name in ("two", "three", "four"):
        peers.start(name, "127.0.0.1:0", address)
    until(90, lambda: min(map(peers.known, peers.running)) == 3, "the swarm does not form")
    peers.running["four"].send_signal(signal.SIGSTOP)
    until(150, lambda: max(map(peers.known, ("one", "two", "three"))) == 2, "nobody misses it")
    peers.running["four"].send_signal(signal.SIGCONT)
    until(120, lambda: min(map(peers.known, peers.running)) == 3, "it does not come back")


def test_peers_that_are_added_when_all_have_died_are_found_by_who_was_connected() -> None:
    with Swarm(2) as swarm, swarm.executor() as ex:
        assert ex.submit(pow, 2, 5).result(90) == 32
        before = swarm.bootstrap
        for index in (0, 1):
            swarm.kill(index)
        added = swarm.add(2)
        assert added[0].address in before, "it listens where one listened that died"
        assert ex.submit(pow, 2, 6).result(120) == 64


def test_a_bootstrap_where_nobody_listens_is_said_within_seconds() -> None:
    (closed,) = free_ports(1)
    began = time.monotonic()
    with pytest.raises(Unreachable, match=f"nobody listens at {closed}"):
        Executor(bootstrap=[closed], swarm_key=KEY)
    assert time.monotonic() - began < 30


def test_a_node_whose_bootstrap_is_dead_says_so_and_goes_on(tmp_path: Path) -> None:
    (closed,) = free_ports(1)
    words = [sys.executable, "-m", "p2pcpn", "node", "--listen", "127.0.0.1:0", "--data", str(tmp_path)]
    words += ["--swarm-key", KEY, "--bootstrap", closed]
    node = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert node.stderr is not None
        line = node.stderr.readline()
        assert f"no peer answers at {closed}" in line and node.poll() is None
    finally:
        node.terminate()
        node.communicate(timeout=60)
    assert node.returncode == 0
