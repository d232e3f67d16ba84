"""Records of p2pcpn, whose peers are spread over as many programs as there are processors.

A real peer has a process for itself, and hivemind's have two each here. In one program they would all wait for one
processor; in sixteen, two processors would wake another program for nearly every datagram.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

import msgspec

from p2pcpn.bench.dhts.overlay import START_S, WAIT_S, WELL_KNOWN
from p2pcpn.bench.dhts.program import SIZE_BYTES, frame
from p2pcpn.bench.dhts.table import Table

_CODE: Final = "import sys\nfrom p2pcpn.bench.dhts.program import main\nmain(sys.argv[1:])\n"
THREADS_MAX: Final = 64
STOP_S: Final = 10.0


class ProgramFailed(RuntimeError):
    """A program ended, or could not do what it was asked; the text says which, and why."""


class ProgramsTable(Table):
    """See the module. Peer ``n`` lives in program ``n % programs``."""

    def __init__(self, programs: int | None = None) -> None:
        self._count = programs or os.cpu_count() or 1
        self._processes: list[subprocess.Popen[bytes]] = []
        self._addresses: list[str] = []
        self._control: list[socket.socket] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lines = threading.local()
        self._open: list[socket.socket] = []

    def start(self, peers: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="p2pcpn-bench-")
        count = min(self._count, peers)
        for number in range(count):
            self._spawn(str(Path(self._folder.name) / f"{number}.sock"))
        self._control = [self._connected(number, START_S) for number in range(count)]
        swarm_key, seed = secrets.token_hex(32), os.urandom(32)
        known: list[str] = []
        for number, line in enumerate(self._control):
            begun = self._ask(line, "start", swarm_key, seed, len(range(number, peers, count)), known)
            known = (known + begun)[:WELL_KNOWN]
        for line in self._control:
            self._ask(line, "meet")

    def _spawn(self, path: str) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(THREADS_MAX)
            self._addresses.append(path)
            words = [sys.executable, "-P", "-c", _CODE, str(listener.fileno())]
            self._processes.append(subprocess.Popen(words, pass_fds=(listener.fileno(),), stdin=subprocess.PIPE))

    def stop(self) -> None:
        lines, self._control, self._open = self._open, [], []
        for line in lines:
            line.close()
        processes, self._processes, self._addresses = self._processes, [], []
        self._lines = threading.local()
        for process in processes:
            assert process.stdin is not None, "a pipe"
            process.stdin.close()
        for process in processes:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def store(self, peer: int, key: str, value: bytes) -> bool:
        return bool(self._of_peer("store", peer, key, value))

    def get(self, peer: int, key: str) -> bytes | None:
        found: bytes | None = self._of_peer("get", peer, key)
        return found

    def _of_peer(self, verb: str, peer: int, *words: Any) -> Any:
        index, number = divmod(peer, len(self._processes))
        lines: dict[int, socket.socket] = self._lines.__dict__.setdefault("of", {})
        if number not in lines:
            lines[number] = self._connected(number, WAIT_S)
        return self._ask(lines[number], verb, index, *words)

    def _connected(self, number: int, wait_s: float) -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        self._open.append(line)
        line.settimeout(wait_s)
        line.connect(self._addresses[number])
        return line

    def _ask(self, line: socket.socket, *words: Any) -> Any:
        try:
            line.sendall(frame(words))
            answer = bytearray()
            while len(answer) < SIZE_BYTES or len(answer) < SIZE_BYTES + int.from_bytes(answer[:SIZE_BYTES], "big"):
                chunk = line.recv(1 << 16)
                if not chunk:
                    raise ProgramFailed("a program with peers ended")
                answer += chunk
        except OSError as error:
            raise ProgramFailed(f"a program with peers does not answer: {error}") from error
        result, failed = msgspec.msgpack.decode(answer[SIZE_BYTES:])
        if failed is not None:
            raise ProgramFailed(failed)
        return result
