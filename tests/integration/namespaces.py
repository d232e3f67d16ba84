"""Computers of one small internet, each a network namespace of its own with a public address; some behind a firewall.

Every computer is in another network (/24). Nothing in it reaches a real network. Needs root, Linux and ``ip``;
:func:`why_not` says what is missing.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_numbers = itertools.count()
WAIT_S = 60.0


def _ip(*words: str) -> None:
    ended = subprocess.run(("ip", *words), capture_output=True, text=True, timeout=WAIT_S)
    if ended.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {ended.stderr.strip()}")


def why_not() -> str:
    """Why there can be no such internet here; empty where there can."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        return "network namespaces need Linux and ip(8)"
    try:
        with Internet() as internet:
            internet.computer(1, firewall=True)
    except (RuntimeError, OSError) as error:
        return f"no network namespaces here: {error}"
    return ""


class Program:
    """A process on one of the computers that takes and gives a line of JSON at a time."""

    def __init__(self, namespace: str, *command: str) -> None:
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(HERE.parent.parent)},
        )  # fmt: skip

    def line(self) -> str:
        """What it says next; empty when it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self, *words: Any) -> Any:
        """Its answer to one line."""
        assert self._process.stdin is not None
        print(json.dumps(words), file=self._process.stdin, flush=True)
        return json.loads(self.line() or "null")

    def end(self) -> None:
        """Close its input, and kill it if that is not enough."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Internet:
    """``with Internet() as internet``: everything that was made is removed at the end, whatever happened."""

    def __init__(self) -> None:
        self._name = f"p2p{os.getpid()}x{next(_numbers)}"
        self._undo = ExitStack()

    def __enter__(self) -> Internet:
        try:
            self._namespace("net")
            self._ip("net", "link add br0 type bridge")
            self._ip("net", "addr add 5.5.0.1/16 dev br0")
            self._ip("net", "link set br0 up")
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def computer(self, number: int, *, firewall: bool = False) -> str:
        """A computer at the address that is returned."""
        name, address = f"c{number}", f"5.5.{number}.1"
        self._namespace(name)
        if firewall:
            wall = f"w{number}"
            self._namespace(wall)
            self._cable(name, "eth0", wall, "lan")
            self._cable("net", f"v{number}", wall, "wan")
            for end in ("lan", "wan"):
                self._ip(wall, f"link set dev {end} up promisc on")
        else:
            self._cable(name, "eth0", "net", f"v{number}")
        self._ip("net", f"link set v{number} master br0 up")
        self._ip(name, f"addr add {address}/16 dev eth0")
        self._ip(name, "link set eth0 up")
        self._ip(name, "route add default via 5.5.0.1")
        if firewall:
            for end in (name, wall, "net"):
                self.program(end, str(HERE / "firewall.py"), "checksums").end()
            filtering = self.program(wall, str(HERE / "firewall.py"))
            if filtering.line() != "ready":
                raise RuntimeError("frames cannot be read here")
        return address

    def program(self, computer: int | str, *command: str) -> Program:
        """Run Python with these arguments there, until the end."""
        name = f"c{computer}" if isinstance(computer, int) else computer
        program = Program(f"{self._name}{name}", *command)
        self._undo.callback(program.end)
        return program

    def _namespace(self, name: str) -> None:
        _ip("netns", "add", self._name + name)
        self._undo.callback(_ip, "netns", "del", self._name + name)
        self._ip(name, "link set lo up")

    def _cable(self, one: str, end: str, other: str, other_end: str) -> None:
        ends = ("netns", self._name + one, "type", "veth", "peer", "name", other_end, "netns", self._name + other)
        _ip("link", "add", end, *ends)

    def _ip(self, name: str, words: str) -> None:
        _ip("-n", self._name + name, *words.split())
