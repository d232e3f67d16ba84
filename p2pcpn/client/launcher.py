"""The launcher: one process that imports everything once and then forks a peer in milliseconds, whenever asked.

A peer started by exec costs 0.2 s of imports; a fork of a process that has done them, and has neither threads nor an
event loop, costs 2 ms. Orders and reports are JSON lines on a socket:

::

    {"op": "spawn", "n": 0, "config": {…}, …}   ->   {"n": 0, "address": "127.0.0.1:PORT", "id": "…", "pid": 1}
                                                or   {"n": 0, "failed": "text", "kind": "usage"}
    {"op": "kill", "n": 0}                      ->   {"n": 0, "exited": -9}        (so does every other death)
    {"op": "release"}                                the peers now survive us; we end
    {"op": "close"}, or the socket's end             kill every peer, wait for their workers, remove the folder; end

It leads a session of its own, so that Ctrl-C in a terminal reaches the program and not its peers. Where the system has
no ``fork`` there are no peers as processes: the worker processes need it as well.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from p2pcpn.config import Config
from p2pcpn.node.daemon import LOG_NAME, report_to, run_peer
from p2pcpn.node.leftovers import clear
from p2pcpn.node.overlay import Faults
from p2pcpn.runtime.function import launch, lifetime, zygote

# A program that dies closes the socket; one whose child still holds a copy of it is noticed by looking at our parent.
LOOK_S: Final = 0.5
# What the workers get to end by themselves, their folders removed, before they are killed.
END_S: Final = 0.2
LINE_BYTES_MAX: Final = 1 << 20


class Launcher:
    """Forks peers as ordered over ``control``. ``temporary`` is a folder to remove at the end.

    ``become`` (be a peer, do not return) and ``fork`` are replaced in tests.
    """

    def __init__(
        self,
        control: socket.socket,
        temporary: Path | None = None,
        *,
        fork: Callable[[], int] = os.fork,
        become: Callable[[dict[str, Any], int, int], object] | None = None,
    ) -> None:
        self._control = control
        self._temporary = temporary
        self._fork = fork
        self._become = become or be_peer
        self._parent = os.getppid()
        self._released = False
        self._received = bytearray()
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._peers: dict[int, int] = {}  # process id -> n
        self._reports: dict[int, tuple[int, bytearray]] = {}  # descriptor -> n, what it has said
        # Nobody ever writes here: each peer holds the reading end, and sees it close when we are gone.
        self._alive_r, self._alive_w = os.pipe()

    def serve(self, wake: int) -> None:
        """Obey until told to end, or until the program is gone. ``wake`` is readable when a child has ended."""
        self._selector.register(wake, selectors.EVENT_READ)
        while os.getppid() == self._parent:
            for key, _ in self._selector.select(LOOK_S):
                if key.fileobj is self._control:
                    if not self.obey():
                        return
                elif key.fd == wake:
                    os.read(wake, 4096)
                elif key.fd in self._reports:
                    self._heard(key.fd)
            self.reap()

    # --- orders ----------------------------------------------------------------------------------------------------

    def obey(self) -> bool:
        """Carry out the orders that have arrived. False when it is time to end."""
        try:
            chunk = self._control.recv(1 << 16)
        except ConnectionError:
            chunk = b""
        self._received += chunk
        assert len(self._received) <= LINE_BYTES_MAX, "our own program sends short orders"
        while (end := self._received.find(b"\n")) >= 0:
            order = json.loads(self._received[:end])
            del self._received[: end + 1]
            match order["op"]:
                case "spawn":
                    self._spawn(order)
                case "kill":
                    self._kill(order["n"])
                case "release":
                    self._released = True
                    return False
                case "close":
                    return False
        return bool(chunk)

    def _spawn(self, order: dict[str, Any]) -> None:
        said_r, said_w = os.pipe()
        try:
            pid = self._fork()
        except OSError as error:
            os.close(said_r)
            os.close(said_w)
            self._tell({"n": order["n"], "failed": f"cannot start a process: {error.strerror}", "kind": "fault"})
            return
        if pid == 0:
            os.close(said_r)
            self._disinherit()
            self._become(order, said_w, self._alive_r)
        os.close(said_w)
        self._peers[pid] = order["n"]
        self._reports[said_r] = (order["n"], bytearray())
        self._selector.register(said_r, selectors.EVENT_READ)

    def _disinherit(self) -> None:
        """In the child: give up what belongs to the launcher, lest we hold a socket open that should close."""
        self._selector.close()
        self._control.close()
        os.close(self._alive_w)
        for descriptor in self._reports:
            os.close(descriptor)

    def _kill(self, n: int) -> None:
        for pid in [pid for pid, known in self._peers.items() if known == n]:
            os.kill(pid, signal.SIGKILL)  # ours until we reap it: nobody else can have this number

    # --- reports ---------------------------------------------------------------------------------------------------

    def _heard(self, descriptor: int) -> None:
        """A peer has said where it listens, or why it cannot; or it ended without a word."""
        n, said = self._reports[descriptor]
        chunk = os.read(descriptor, 4096)
        said += chunk
        if chunk and not said.endswith(b"\n"):
            return
        self._selector.unregister(descriptor)
        os.close(descriptor)
        del self._reports[descriptor]
        if said.endswith(b"\n"):
            self._tell({"n": n} | json.loads(said))

    def reap(self) -> None:
        """Collect the processes that ended, and report the peers among them."""
        while (ended := _reaped()) is not None:
            pid, code = ended
            n = self._peers.pop(pid, None)
            if n is not None:
                for descriptor in [fd for fd, (number, _) in self._reports.items() if number == n]:
                    self._heard(descriptor)  # what it said last comes before its end
                self._tell({"n": n, "exited": code})

    def _tell(self, words: dict[str, Any]) -> None:
        try:
            self._control.sendall(json.dumps(words).encode() + b"\n")
        except OSError:
            return  # the program is gone: the next look at the socket says so

    # --- the end ---------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Kill every peer, unless they were released; wait ``END_S`` for the zygotes, which come to us as orphans
        (Linux), then kill them too."""
        if self._released:
            return
        for pid in self._peers:
            os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + END_S
        while self._peers or lifetime.children():
            ended = _reaped()
            if ended is not None:
                self._peers.pop(ended[0], None)
            elif time.monotonic() < until:
                time.sleep(0.002)
            else:
                for pid in lifetime.children():
                    lifetime.kill_group(pid)
                until += END_S
        if self._temporary is not None:
            clear(self._temporary)


def _reaped() -> tuple[int, int] | None:
    """Some child that has ended, and its exit code, or minus the signal's number."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


def be_peer(order: dict[str, Any], said_fd: int, alive_fd: int) -> NoReturn:
    """In the child: be the peer that ``order`` describes, until it ends."""
    code = 1
    try:
        code = peer_main(order, said_fd, alive_fd)
    finally:
        os._exit(code)


def peer_main(order: dict[str, Any], said_fd: int, alive_fd: int) -> int:
    """What a forked peer does, still with a single thread: fork its zygote, tie its life to ours, run."""
    launcher = os.getppid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    report = report_to(said_fd)
    try:
        config = Config(**order["config"])
        _last_words(config)
        started = None
        if "compute" in config.roles:
            folder = tempfile.mkdtemp(prefix="p2pcpn-", dir=order.get("work"))
            started = launch.forked(Path(folder), config.memory_bytes)
        if not order.get("detached"):
            lifetime.die_with(launcher)
    except (OSError, ValueError) as error:
        report({"failed": str(error), "kind": "usage"})
        return 2
    return run_peer(
        config,
        report=report,
        lifetime_fd=None if order.get("detached") else alive_fd,
        owner_pids=tuple(order.get("owner_pids", ())),
        faults=Faults(**order.get("faults", {})),
        zygote=started,
    )


def _last_words(config: Config) -> None:
    """What the interpreter itself says when it ends badly goes to the log, for whoever started us to read."""
    if config.data_dir is not None:
        directory = Path(config.data_dir)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = os.open(directory / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, 2)
        os.close(opened)


def main(control_fd: int, temporary: str) -> None:
    """Be the launcher, in a process that was started for it, until it is told to end or the program is gone."""
    lifetime.adopt_orphans()
    wake, waking = os.pipe()
    for descriptor in (wake, waking):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    assert zygote.ORDER  # imported above for the zygotes that our peers fork: they find it done
    with socket.socket(fileno=control_fd) as control:
        launcher = Launcher(control, Path(temporary) if temporary else None)
        gc.collect()
        gc.freeze()  # what we have imported stays shared with every peer: its collector never writes there
        try:
            launcher.serve(wake)
        finally:
            launcher.end()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
