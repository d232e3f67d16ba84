"""A zygote obeys orders, reports deaths and leaves nobody behind; its forks are processes that the test starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.runtime.function import lifetime
from p2pcpn.runtime.function import zygote as module
from p2pcpn.runtime.function.zygote import ANSWER, EXITED, FORK, FORKED, KILL, ORDER, REMOVE, Zygote

SLEEPER = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]


class Bench:
    """A zygote without a process of its own: the test is its peer and makes its children."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.peer, control = socket.socketpair()
        self.peer.settimeout(20)
        self.control = control
        self.root = root
        self.children: list[subprocess.Popen[bytes]] = []
        self.zygote = Zygote(control, root, fork=self.fork, **options)

    def fork(self) -> int:
        self.children.append(subprocess.Popen(SLEEPER, stdin=subprocess.PIPE, start_new_session=True))
        return self.children[-1].pid

    def order(self, what: int, number: int, descriptors: list[int] | None = None) -> bool:
        socket.send_fds(self.peer, [ORDER.pack(what, number)], descriptors or [])
        return self.zygote.obey()

    def start(self, number: int) -> int:
        descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
        assert self.order(FORK, number, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        what, who, pid, _ = self.answer()
        assert (what, who) == (FORKED, number)
        return pid

    def answer(self) -> tuple[int, ...]:
        return ANSWER.unpack(self.peer.recv(ANSWER.size, socket.MSG_WAITALL))

    def close(self) -> None:
        for child in self.children:
            assert child.stdin is not None
            child.stdin.close()
            lifetime.kill_group(child.pid)
            child.wait()
        self.peer.close()
        self.control.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path / "root")
    one.root.mkdir()
    yield one
    one.close()


def ended(pid: int) -> None:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_a_killed_worker_is_reported_with_its_signal_and_its_folder_goes(bench: Bench) -> None:
    pid = bench.start(7)
    (bench.root / "worker-7").mkdir()
    bench.zygote.reap()
    assert bench.order(KILL, 7) and bench.order(KILL, 8)
    ended(pid)
    bench.zygote.reap()
    assert bench.answer() == (EXITED, 7, 0, signal.SIGKILL)
    assert not (bench.root / "worker-7").exists()


def test_a_worker_that_exits_is_reported_with_its_code(bench: Bench) -> None:
    pid = bench.start(1)
    child = bench.children[0]
    assert child.stdin is not None
    child.stdin.close()
    ended(pid)
    bench.zygote.reap()
    assert bench.answer() == (EXITED, 1, 0, 0)


def test_folders_full_of_files_are_removed_by_a_child(bench: Bench) -> None:
    (bench.root / "bundle-3" / "inner").mkdir(parents=True)
    (bench.root / "bundle-3.zip").write_bytes(b"zip")
    assert bench.order(REMOVE, 3)
    assert not (bench.root / "bundle-3.zip").exists()
    [remover] = bench.children
    assert remover.stdin is not None
    remover.stdin.close()
    ended(remover.pid)
    bench.zygote.reap()
    assert bench.zygote._removers == set()


def test_the_child_that_removes_does_only_that(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    bench.zygote._fork = lambda: 0
    (bench.root / "worker-1" / "inner").mkdir(parents=True)
    bench.zygote._remove(bench.root / "worker-1")
    assert left == [0] and not (bench.root / "worker-1").exists()


def test_a_fork_that_fails_is_reported_as_an_exit(bench: Bench) -> None:
    def fail() -> int:
        raise BlockingIOError(11, "no more processes")

    bench.zygote._fork = fail
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
    assert bench.order(FORK, 4, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    assert bench.answer() == (EXITED, 4, -1, 11)


def test_the_child_of_a_fork_becomes_the_worker(tmp_path: Path) -> None:
    became: list[Any] = []
    peer, control = socket.socketpair()
    zygote = Zygote(control, tmp_path, 99, fork=lambda: 0, become=lambda *words: became.append(words))
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
    socket.send_fds(peer, [ORDER.pack(FORK, 2)], descriptors)
    assert zygote.obey()
    [(given, folder, parent, memory)] = became
    assert len(given) == 4 and (folder, parent, memory) == (tmp_path / "worker-2", os.getpid(), 99)
    assert control.fileno() == -1  # a worker that kept it would keep the peer's death from the zygote
    for descriptor in descriptors:
        os.close(descriptor)
    peer.close()


def test_when_the_peer_closes_the_socket_all_workers_and_files_go(bench: Bench) -> None:
    pids = [bench.start(number) for number in (1, 2)]
    (bench.root / "worker-1" / "inner").mkdir(parents=True)
    bench.peer.shutdown(socket.SHUT_RDWR)
    wake, waker = os.pipe()
    os.write(waker, b"x")
    bench.zygote.serve(wake)
    bench.zygote.end()
    os.close(wake)
    os.close(waker)
    assert not bench.root.exists()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_zygote_whose_parent_is_gone_stops(bench: Bench) -> None:
    bench.zygote._parent = -1
    bench.zygote.serve(bench.peer.fileno())
    assert bench.order(KILL, 1)  # it did not wait for the socket to close


def test_an_order_that_comes_in_pieces_is_put_together(bench: Bench) -> None:
    data = ORDER.pack(KILL, 5)
    bench.peer.send(data[:2])
    bench.peer.send(data[2:])
    assert bench.zygote.obey()


def test_an_order_that_is_never_completed_ends_it(bench: Bench) -> None:
    bench.peer.shutdown(socket.SHUT_WR)
    assert not bench.zygote.obey()


def test_answers_to_a_peer_that_is_gone_are_lost_quietly(bench: Bench) -> None:
    bench.peer.close()
    bench.zygote._answer(EXITED, 1, 0, 0)


def test_what_dead_workers_left_running_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, adopts=True)
    pid = bench.start(1)
    orphan = subprocess.Popen(SLEEPER, stdin=subprocess.PIPE, start_new_session=True)
    left = [[orphan.pid], []]
    monkeypatch.setattr(lifetime, "children", lambda: left.pop(0) if left else [])
    bench.order(KILL, 1)
    ended(pid)
    bench.zygote.reap()
    with pytest.raises(ProcessLookupError):
        os.kill(orphan.pid, 0)
    bench.zygote.end()
    assert orphan.stdin is not None
    orphan.stdin.close()
    orphan.wait()
    bench.close()


def test_main_serves_until_the_peer_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[int] = []
    monkeypatch.setattr(os, "setsid", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda number, _: handled.append(number))
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda *_, **__: -1)
    monkeypatch.setattr(lifetime, "no_core_dumps", lambda: None)
    monkeypatch.setattr(lifetime, "adopt_orphans", lambda: False)
    monkeypatch.setattr(module.gc, "freeze", lambda: None)
    peer, control = socket.socketpair()
    peer.close()
    root = tmp_path / "root"
    root.mkdir()
    module.main(control.detach(), str(root), None)
    assert handled == [signal.SIGINT, signal.SIGCHLD] and not root.exists()
