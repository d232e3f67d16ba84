"""A fleet: the peers that one launcher has forked, as the program that started it sees them.

Blocking, thread-safe, and without an event loop. Orders go out under a lock; a daemon thread reads the reports.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from p2pcpn.config import Config
from p2pcpn.errors import P2pcpnError, StoreError, Unreachable, UsageError

ROOT: Final = Path(__file__).resolve().parents[2]
# `-P` keeps the working folder off sys.path; the package's own goes last. Not `-m`: then `__main__` stays small.
_CODE: Final = (
    "import sys; sys.path.append(sys.argv.pop(1))\n"
    "from p2pcpn.client.launcher import main\n"
    "main(int(sys.argv[1]), sys.argv[2])\n"
)
_SECRETS: Final = ("P2PCPN_KEY", "P2PCPN_SWARM_KEY")
LOG_NAME: Final = "peer.log"  # node/daemon.py's; importing it would cost every program 0.2 s
_OF_A_NODE: Final = "; name another folder with --data"  # which a swarm is not told: its peers have theirs from it
CLOSE_S: Final = 1.5
KILL_S: Final = 2.0
TAIL_LINES: Final = 12
_ERRORS: Final[Mapping[str, type[P2pcpnError]]] = {
    "usage": UsageError, "unreachable": Unreachable, "store": StoreError,
}  # fmt: skip


def free_place(addresses: Sequence[str]) -> str:
    """The first of those addresses whose port is free, ``""`` where none is.

    For a swarm of which all peers died: programs that were connected go on asking there.
    """
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tcp.bind((host, int(port)))
                udp.bind((host, int(port)))
        except OSError:
            continue
        return address
    return ""


def order(
    config: Config,
    *,
    work: Path | None = None,
    owner_pids: Sequence[int] = (),
    datagram_loss: float = 0.0,
    detached: bool = False,
) -> dict[str, Any]:
    """What the launcher needs to know of one peer, as plain JSON values.

    ``work`` is the folder for its workers' folders, ``owner_pids`` the programs whose load counts as ours (by default
    this one); a ``detached`` peer does not end with the launcher.
    """
    found = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    for name, value in found.items():
        if isinstance(value, Path):
            found[name] = str(value)
        elif isinstance(value, bytes):
            found[name] = value.hex()
    return {
        "config": found,
        "work": None if work is None else str(work),
        "owner_pids": list(owner_pids) or ([] if detached else [os.getpid()]),
        "faults": {"datagram_loss": datagram_loss},
        "detached": detached,
    }


@dataclass(slots=True)
class Member:
    """One peer: what was reported of it. ``exited`` is its exit code, or minus the signal that ended it."""

    n: int
    log: Path
    pid: int | None = None
    address: str = ""
    id: str = ""
    failed: str | None = None
    kind: str = "fault"
    exited: int | None = None

    @property
    def settled(self) -> bool:
        """Whether it listens or never will."""
        return self.pid is not None or self.failed is not None or self.exited is not None


class Fleet:
    """Starts a launcher, which imports meanwhile. ``log`` is where its own last words go; it removes ``temporary``."""

    def __init__(self, log: Path, temporary: Path | None = None) -> None:
        if not hasattr(os, "fork"):
            raise UsageError("this system cannot fork processes, which local swarms need; run `p2pcpn node` instead")
        self._log = log
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._members: dict[int, Member] = {}
        self._gone = False
        self._closed = False
        ours, theirs = socket.socketpair()
        environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
        words = [sys.executable, "-P", "-c", _CODE, str(ROOT), str(theirs.fileno()), str(temporary or "")]
        with theirs, log.open("ab") as errors:
            self._process = subprocess.Popen(
                words,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        self._socket = ours
        self._reader = threading.Thread(target=self._read, name="p2pcpn-fleet", daemon=True)
        self._reader.start()

    @property
    def launcher_pid(self) -> int:
        """The process id of the launcher."""
        return self._process.pid

    # --- orders ----------------------------------------------------------------------------------------------------

    def spawn(self, n: int, order: Mapping[str, Any], log: Path) -> None:
        """Order peer ``n``; :meth:`wait` tells what became of it."""
        with self._changed:
            self._members[n] = Member(n, log)
        self._tell({"op": "spawn", "n": n, **order})

    def wait(self, numbers: Sequence[int], wait_s: float) -> list[Member]:
        """Wait until these peers listen, and return them.

        Raises the error of the first that cannot start, or says that it did not within ``wait_s``, with the end of its
        log.
        """
        until = time.monotonic() + wait_s
        with self._changed:
            members = [self._members[n] for n in numbers]
            while not self._gone and not all(member.settled for member in members):
                if any(member.failed is not None or member.exited is not None for member in members):
                    break
                if not self._changed.wait(until - time.monotonic()):
                    break
            gone = self._gone
        for member in members:
            if member.failed is not None:
                raise _ERRORS.get(member.kind, P2pcpnError)(
                    f"peer {member.n} of the swarm cannot start: {member.failed.removesuffix(_OF_A_NODE)}"
                )
            if member.exited is not None:
                raise P2pcpnError(f"peer {member.n} of the swarm ended at once ({member.exited}){tail(member.log)}")
        if gone:
            raise P2pcpnError(f"the process that starts the swarm's peers ended{tail(self._log)}")
        for member in members:
            if member.pid is None:
                raise P2pcpnError(f"peer {member.n} of the swarm is not up after {wait_s:g} s{tail(member.log)}")
        return members

    def kill(self, n: int) -> None:
        """SIGKILL peer ``n`` and wait until it is gone. One that is gone already is no error."""
        until = time.monotonic() + KILL_S
        self._tell({"op": "kill", "n": n})
        with self._changed:
            member = self._members[n]
            while member.exited is None and not self._gone and self._changed.wait(until - time.monotonic()):
                pass

    def gone(self, n: int) -> None:
        """Peer ``n`` has left by itself: return when that was reported."""
        with self._changed:
            member = self._members[n]
            self._changed.wait_for(lambda: member.exited is not None or self._gone, KILL_S)

    def is_alive(self, n: int) -> bool:
        """Whether peer ``n`` listens, as far as has been reported."""
        with self._changed:
            member = self._members[n]
            return member.pid is not None and member.exited is None and not self._gone

    def release(self) -> None:
        """Let the peers live on by themselves. The launcher ends, and this object is of no more use."""
        self._end("release")

    def close(self) -> None:
        """Kill every peer and its workers, and wait for it. In a fork of the program it does nothing."""
        self._end("close")

    def _end(self, op: str) -> None:
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._send({"op": op})
        with self._changed:
            self._changed.wait_for(lambda: self._gone, CLOSE_S)
        if not self._gone:
            self._process.kill()  # its peers die with it
        self._process.wait()
        self._reader.join(CLOSE_S)
        self._socket.close()

    def _tell(self, order: Mapping[str, Any]) -> None:
        if self._closed or os.getpid() != self._pid:
            raise UsageError("the swarm is closed")
        self._send(order)

    def _send(self, order: Mapping[str, Any]) -> None:
        with self._lock:
            try:
                self._socket.sendall(json.dumps(order).encode() + b"\n")
            except OSError:
                return  # the launcher is gone: the reader says so

    # --- reports ---------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        received = bytearray()
        while True:
            try:
                chunk = self._socket.recv(1 << 16)
            except OSError:
                chunk = b""
            received += chunk
            with self._changed:
                while (end := received.find(b"\n")) >= 0:
                    self._note(json.loads(received[:end]))
                    del received[: end + 1]
                if not chunk:
                    self._gone = True
                self._changed.notify_all()
            if not chunk:
                return

    def _note(self, report: dict[str, Any]) -> None:
        member = self._members[report["n"]]
        if "exited" in report:
            member.exited = report["exited"]
        elif "failed" in report:
            member.failed, member.kind = report["failed"], report["kind"]
        else:
            member.pid, member.address, member.id = report["pid"], report["address"], report["id"]


def tail(log: Path) -> str:
    """The last lines of a log, to follow a message; nothing where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
    except OSError:
        return ""
    return f"; its log {log} ends:\n  " + "\n  ".join(lines) if lines else ""
