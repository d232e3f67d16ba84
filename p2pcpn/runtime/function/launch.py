"""Two ways to start a zygote: by exec from any process, and by fork from one that still has a single thread.

Exec costs the start of an interpreter and its imports (60-100 ms) and inherits nothing. A fork costs 2 ms, and serves a
process that starts peers in a row: it must be made before threads, event loops and sockets exist.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final, NoReturn

from p2pcpn.errors import UsageError

# A task may read its environment; these two let it into the swarm as us.
_SECRETS: Final = ("P2PCPN_KEY", "P2PCPN_SWARM_KEY")
_ROOT: Final = Path(__file__).resolve().parents[3]
# `-P` keeps the working folder off sys.path, where a task's imports would find it; the package's own goes last.
_CODE: Final = (
    "import sys; sys.path.append(sys.argv.pop(1))\n"
    "from p2pcpn.runtime.function.zygote import main\n"
    "main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)\n"
)


class ZygoteProcess:
    """A running zygote: its process id, our end of its socket, and the folder it will remove."""

    def __init__(self, pid: int, control: socket.socket, root: Path, started: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self.control = control
        self.root = root
        self._started = started

    def reap(self, wait_s: float) -> bool:
        """Collect the ended process, waiting ``wait_s`` at most; False when it still runs."""
        until = time.monotonic() + wait_s
        while not self._ended():
            if time.monotonic() >= until:
                return False
            time.sleep(0.001)
        return True

    def _ended(self) -> bool:
        if self._started is not None:
            return self._started.poll() is not None
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
        except ChildProcessError:
            return True


def working_folder() -> Path:
    """A fresh folder for workers and bundles, readable by us alone."""
    return Path(tempfile.mkdtemp(prefix="p2pcpn-"))


def executed(root: Path, memory_bytes_max: int | None = None) -> ZygoteProcess:
    """Start a zygote by exec. It inherits its socket, our stderr, and the environment but for our own secrets."""
    ours, theirs = socket.socketpair()
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    words = [sys.executable, "-P", "-c", _CODE, str(_ROOT), str(theirs.fileno()), str(root)]
    if memory_bytes_max is not None:
        words.append(str(memory_bytes_max))
    with theirs:
        started = subprocess.Popen(
            words,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
    return ZygoteProcess(started.pid, ours, root, started)


def forked(root: Path, memory_bytes_max: int | None = None) -> ZygoteProcess:
    """Start a zygote by fork, from a process with one thread. Raises :class:`UsageError` when there are more."""
    if _threads() > 1:
        raise UsageError("a zygote can be forked only before the process starts threads; use launch.executed() instead")
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        _be_zygote(theirs, root, memory_bytes_max)
    theirs.close()
    return ZygoteProcess(pid, ours, root, None)


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


def _be_zygote(control: socket.socket, root: Path, memory_bytes_max: int | None) -> NoReturn:
    code = 1
    try:
        kept = os.dup2(control.detach(), 3, inheritable=False)
        nothing = os.open(os.devnull, os.O_RDWR)
        for target in (0, 1):
            os.dup2(nothing, target)
        os.closerange(4, 1 << 20)
        for name in _SECRETS:
            os.environ.pop(name, None)
        from p2pcpn.runtime.function import zygote  # only the child pays for it

        zygote.main(kept, str(root), memory_bytes_max)
        code = 0
    finally:
        os._exit(code)
