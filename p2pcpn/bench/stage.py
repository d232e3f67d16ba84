"""The stage: a process for each system, asked in turn; and nothing left of any of them at the end, however it comes.

A system gets a process of its own because they get in each other's way: they fork, start threads, install signal
handlers, patch the standard library. Its submitter is measured alone, as a user has it.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import site
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

import psutil

from p2pcpn.bench import usage
from p2pcpn.errors import P2pcpnError

ROOT: Final = Path(__file__).resolve().parents[2]
# `-P` keeps the working folder off sys.path. Not `-m`: a `__main__` without a file is no project to send along.
_CODE: Final = "import sys\nfrom p2pcpn.bench.driver import main\nmain(sys.argv[1:])\n"
MARK: Final = "P2PCPN_BENCH_RUN"
ASK_S: Final = 900.0
STOP_S: Final = 30.0
LEAVE_S: Final = 3.0
LOOK_S: Final = 0.1
TAIL_LINES: Final = 8


class DriverFailed(P2pcpnError):
    """A system did not do what it was asked; the text is its error, or the end of its log."""


class Driver(Protocol):
    """What the stage knows of a process with a system in it."""

    pid: int

    def ask(self, order: dict[str, Any], watch: Callable[[], None] | None = None, wait_s: float = ASK_S) -> Any: ...
    def stop(self) -> None: ...


class Process:
    """A driver as a process. ``log`` gets what its system prints."""

    def __init__(self, system: str | None, log: Path, mark: str) -> None:
        self._log = log
        self._busy = False
        ours, theirs = socket.socketpair()
        words = [sys.executable, "-P", "-c", _CODE, str(theirs.fileno()), *([system] if system else [])]
        with theirs, log.open("ab") as output:
            self._process = subprocess.Popen(
                words, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=environment(os.environ) | {MARK: mark},
                start_new_session=True,  # Ctrl-C is for us: we end the others, in order
            )  # fmt: skip
        self._socket = ours
        self.pid = self._process.pid

    def ask(self, order: dict[str, Any], watch: Callable[[], None] | None = None, wait_s: float = ASK_S) -> Any:
        """Give an order and wait for its answer; ``watch`` is called ten times a second meanwhile.

        Raises :class:`DriverFailed`.
        """
        self._busy = True
        until = time.monotonic() + wait_s
        received = bytearray()
        try:
            self._socket.sendall(json.dumps(order).encode() + b"\n")
            while not received.endswith(b"\n"):
                if time.monotonic() > until:
                    raise DriverFailed(f"no answer within {wait_s:g} s{self._tail()}")
                if select.select([self._socket], [], [], LOOK_S)[0]:
                    chunk = self._socket.recv(1 << 16)
                    if not chunk:
                        raise DriverFailed(f"its process ended{self._tail()}")
                    received += chunk
                elif watch is not None:
                    watch()
        except OSError as error:
            raise DriverFailed(f"its process is gone ({error.strerror or error}){self._tail()}") from error
        self._busy = False
        answer = json.loads(received)
        if "error" in answer:
            raise DriverFailed(answer["error"])
        return answer["ok"]

    def _tail(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
        return "; it said:\n  " + "\n  ".join(lines) if lines else ""

    def stop(self) -> None:
        """Let it stop its system and end; what is still there after ``STOP_S`` is killed."""
        self._socket.close()
        if self._busy:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            for process in reversed(usage.tree(self.pid)):
                _kill(process)
            self._process.wait()


def environment(env: Any) -> dict[str, str]:
    """The environment of a driver: where p2pcpn was found must be told where it is not installed."""
    found = dict(env)
    installed = [*site.getsitepackages(), site.getusersitepackages()]
    if str(ROOT) not in installed:
        found["PYTHONPATH"] = os.pathsep.join(filter(None, [found.get("PYTHONPATH"), str(ROOT)]))
    # Parsl looks for its own programs there, in a virtual environment that nobody activated.
    found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), found.get("PATH", os.defpath)])
    # Ray would tell its makers, and looks for a GPU.
    return found | {"RAY_USAGE_STATS_ENABLED": "0", "CUDA_VISIBLE_DEVICES": ""}


class Stage:
    """Drivers by the names of their systems. Use it in a ``with`` block."""

    def __init__(
        self,
        say: Callable[[str], None],
        spawn: Callable[[str | None, Path, str], Driver] = Process,
        quiet_s: float = 2.0,
    ) -> None:
        self._say = say
        self._spawn = spawn
        self._quiet_s = quiet_s
        self._mark = secrets.token_hex(8)
        self._folder = tempfile.TemporaryDirectory(prefix="p2pcpn-bench-")
        self._drivers: dict[str, Driver] = {}

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self, system: str) -> float:
        """Start a system in a fresh process; how many seconds it took. Raises :class:`DriverFailed`."""
        self.stop(system)
        driver = self._drivers[system] = self._spawn(system, Path(self._folder.name) / f"{system}.log", self._mark)
        try:
            return float(driver.ask({"op": "start"})["start_s"])
        except DriverFailed:
            self.stop(system)
            raise

    def running(self, system: str) -> bool:
        """Whether it was started and not stopped."""
        return system in self._drivers

    def stop(self, system: str) -> None:
        """Stop a system, where it runs."""
        driver = self._drivers.pop(system, None)
        if driver is not None:
            driver.stop()

    def ask(self, system: str, load: str, watch: Callable[[], None] | None = None, **arguments: Any) -> dict[str, Any]:
        """A measurement of a system. With what it returns comes ``cpu_s``, what all its processes used for it."""
        driver = self._drivers[system]
        before = usage.cpu_s(usage.tree(driver.pid))
        found: dict[str, Any] = driver.ask({"op": "load", "name": load, **arguments}, watch)
        return found | {"cpu_s": usage.cpu_s(usage.tree(driver.pid)) - before}

    def once(self, name: str, **arguments: Any) -> dict[str, Any]:
        """A measurement that needs no system, in a process for it alone."""
        driver = self._spawn(None, Path(self._folder.name) / f"{name}.log", self._mark)
        self._drivers[name] = driver
        try:
            found: dict[str, Any] = driver.ask({"op": "swarm", "name": name, **arguments})
            return found
        finally:
            self.stop(name)

    def submitter(self, system: str) -> list[psutil.Process]:
        """The processes of a system's submitter: the program, without the workers it started."""
        driver = self._drivers[system]
        without: Collection[int] = driver.ask({"op": "load", "name": "outsiders"})["pids"]
        return usage.tree(driver.pid, without)

    def everything(self, system: str) -> list[psutil.Process]:
        """All processes of a system."""
        return usage.tree(self._drivers[system].pid)

    def wait_quiet(self) -> None:
        """Wait until no system computes; after a while go on, and say so, for the round that follows may be slower."""
        if not usage.wait_quiet((driver.pid for driver in self._drivers.values()), self._quiet_s):
            self._say("one of the systems still computes; the next round may be slower for it")

    def close(self) -> None:
        """Stop everything. What is left then is named, and killed."""
        try:
            for system in list(self._drivers):
                self.stop(system)
        finally:
            for text in sweep(self._mark):
                self._say(f"left behind, now killed: {text}")
            self._folder.cleanup()


def sweep(mark: str, wait_s: float = LEAVE_S) -> list[str]:
    """End what still carries ``mark`` in its environment after ``wait_s``; says what that was."""
    until = time.monotonic() + wait_s
    while (left := marked(mark)) and time.monotonic() < until:
        time.sleep(LOOK_S)
    said = []
    for process in left:
        try:
            said.append(f"{process.pid} {' '.join(process.cmdline())[:120] or process.name()}")
        except psutil.Error:
            continue
        _kill(process)
    return said


def marked(mark: str, processes: Iterable[psutil.Process] | None = None) -> list[psutil.Process]:
    """Living processes that inherited ``mark`` from one that we started."""
    found = []
    for process in psutil.process_iter() if processes is None else processes:
        try:
            ours = process.pid != os.getpid() and process.environ().get(MARK) == mark
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        pass
