"""The zygote: one thread, few imports, no user code; it forks workers in 2 ms each, reaps them, and outlives no peer.

Its socket carries orders of 5 bytes (what, worker's number) and answers of 13 (what, number, two figures). ``FORK``
comes with four descriptors: the worker's socket, shared page, stdout and stderr. When the socket closes, or the parent
is gone, it kills all workers with everything they started, removes the folder, and ends.
"""

from __future__ import annotations

import array
import gc
import os
import select
import shutil
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from p2pcpn.runtime.function import lifetime, worker

FORK: Final = 1
KILL: Final = 2
REMOVE: Final = 3  # the folder and archive of a project bundle, by the bundle's number
FORKED: Final = 4
EXITED: Final = 5

ORDER: Final = struct.Struct("<BI")
ANSWER: Final = struct.Struct("<BIii")
DESCRIPTORS: Final = 4

# A peer that dies closes the socket; one whose child still holds a copy of it is noticed by looking at our parent.
_LOOK_S: Final = 0.5
# Removing a folder full of a task's files must not keep us beyond our parent's two seconds.
_END_S: Final = 1.2


class Zygote:
    """Serves one peer. ``fork``, ``become`` (run as a worker, do not return) and ``adopts`` are replaced in tests."""

    def __init__(
        self,
        control: socket.socket,
        root: Path,
        memory_bytes_max: int | None = None,
        *,
        fork: Callable[[], int] = os.fork,
        become: Callable[[list[int], Path, int, int | None], object] = worker.main,
        adopts: bool = False,
    ) -> None:
        self._control = control
        self._root = root
        self._memory_bytes_max = memory_bytes_max
        self._fork = fork
        self._become = become
        self._adopts = adopts
        self._parent = os.getppid()
        self._workers: dict[int, int] = {}
        self._removers: set[int] = set()

    def serve(self, wake: int) -> None:
        """Obey until the peer is gone. ``wake`` is readable when a child has ended."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while os.getppid() == self._parent:
            for descriptor, _ in poll.poll(_LOOK_S * 1000):
                if descriptor == wake:
                    os.read(wake, 4096)
                elif not self.obey():
                    return
            self.reap()

    def obey(self) -> bool:
        """Carry out one order. False when the peer has closed the socket."""
        try:
            # Descriptors are a boundary in the stream: an order never arrives with those of the next one.
            data, ancillary, _, _ = self._control.recvmsg(ORDER.size, socket.CMSG_SPACE(DESCRIPTORS * 4))
            while data and len(data) < ORDER.size:
                data += self._control.recv(ORDER.size - len(data)) or b"\0" * ORDER.size
        except ConnectionError:
            return False
        if not data:
            return False
        descriptors = array.array("i")
        for _, _, content in ancillary:
            descriptors.frombytes(content[: len(content) // descriptors.itemsize * descriptors.itemsize])
        what, number = ORDER.unpack(data[: ORDER.size])
        if what == FORK:
            self._start(number, list(descriptors))
        elif what == KILL:
            for pid in [pid for pid, known in self._workers.items() if known == number]:
                lifetime.kill_group(pid)
        elif what == REMOVE:
            for name in (f"bundle-{number}", f"bundle-{number}.zip"):
                self._remove(self._root / name)
        return True

    def _start(self, number: int, descriptors: list[int]) -> None:
        assert len(descriptors) == DESCRIPTORS, "a fork order comes with four descriptors"
        parent = os.getpid()
        try:
            pid = self._fork()
        except OSError as error:
            pid = 0
            self._answer(EXITED, number, -1, error.errno or 0)
        else:
            if pid == 0:
                self._control.close()
                self._become(descriptors, self._folder(number), parent, self._memory_bytes_max)
            else:
                self._workers[pid] = number
                self._answer(FORKED, number, pid, 0)
        for descriptor in descriptors:
            os.close(descriptor)

    def reap(self) -> None:
        """Report the workers that ended, and end what they left running."""
        ended = False
        for pid in sorted(self._removers):
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                self._removers.discard(pid)
        for pid, number in list(self._workers.items()):
            # Look before we reap: while it is a zombie, its number names its process group and nobody else's.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            lifetime.kill_group(pid)
            _, status = os.waitpid(pid, 0)
            del self._workers[pid]
            ended = True
            code = os.waitstatus_to_exitcode(status)
            self._answer(EXITED, number, code if code >= 0 else 0, -code if code < 0 else 0)
            self._remove(self._folder(number))
        if ended and self._adopts:
            self._end_orphans()

    def _end_orphans(self) -> None:
        for _ in range(2):  # the second time for those that the first one's victims had started
            for pid in lifetime.children():
                if pid not in self._workers and pid not in self._removers:
                    lifetime.kill_group(pid)
                    os.waitpid(pid, 0)

    def end(self) -> None:
        """Kill every worker and what it started, then remove the folder; for at most ``_END_S``."""
        signal.setitimer(signal.ITIMER_REAL, _END_S)
        pids = [*self._workers, *sorted(self._removers)]
        for pid in pids:
            lifetime.kill_group(pid)
        for pid in pids:
            os.waitpid(pid, 0)
        self._workers.clear()
        self._removers.clear()
        if self._adopts:
            self._end_orphans()
        shutil.rmtree(self._root, ignore_errors=True)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _folder(self, number: int) -> Path:
        return self._root / f"worker-{number}"

    def _remove(self, path: Path) -> None:
        try:
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        except OSError:
            # Full of a task's files: a child of ours removes them, because we have workers to fork meanwhile.
            pid = self._fork()
            if pid == 0:
                shutil.rmtree(path, ignore_errors=True)
                os._exit(0)
            self._removers.add(pid)

    def _answer(self, what: int, number: int, first: int, second: int) -> None:
        try:
            self._control.sendall(ANSWER.pack(what, number, first, second))
        except OSError:
            return  # the peer is gone: the next look at the socket says so


def main(control_fd: int, root: str, memory_bytes_max: int | None) -> None:
    """Be a zygote, in a process that was started for it, until the peer is gone."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lifetime.no_core_dumps()
    adopts = lifetime.adopt_orphans()
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with socket.socket(fileno=control_fd) as control:
        zygote = Zygote(control, Path(root), memory_bytes_max, adopts=adopts)
        gc.collect()
        gc.freeze()  # what we have imported stays shared with every worker: its collector never writes there
        try:
            zygote.serve(wake)
        finally:
            zygote.end()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
