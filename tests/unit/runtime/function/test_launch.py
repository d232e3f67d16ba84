"""Zygotes that are really started, by exec and by fork, and end when their peer's socket closes."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.errors import UsageError
from p2pcpn.runtime.function import launch, zygote
from p2pcpn.runtime.function.zygote import ANSWER, EXITED, FORK, FORKED, ORDER


def forks_a_worker(process: launch.ZygoteProcess) -> None:
    """The zygote answers, and a worker whose socket is closed at once exits with 0."""
    process.control.settimeout(20)
    descriptors = [os.open(os.devnull, os.O_RDWR) for _ in range(4)]
    socket.send_fds(process.control, [ORDER.pack(FORK, 1)], descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    what, number, pid, _ = ANSWER.unpack(process.control.recv(ANSWER.size, socket.MSG_WAITALL))
    assert (what, number) == (FORKED, 1) and pid > 0
    # What it was given is no socket and no page: it cannot serve, and says so by its exit.
    what, number, code, killed_by = ANSWER.unpack(process.control.recv(ANSWER.size, socket.MSG_WAITALL))
    assert (what, number, code, killed_by) == (EXITED, 1, 1, 0)


def ends(process: launch.ZygoteProcess) -> None:
    process.control.close()
    assert process.reap(20.0)
    assert not process.root.exists()


def test_a_zygote_is_started_by_exec(capfd: pytest.CaptureFixture[str]) -> None:
    process = launch.executed(launch.working_folder(), 8 << 30)
    assert not process.reap(0.0)
    forks_a_worker(process)
    ends(process)


def test_a_zygote_is_started_by_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_threads", lambda: 1)
    process = launch.forked(launch.working_folder())
    forks_a_worker(process)
    ends(process)
    assert process.reap(0.0)


def test_a_process_with_threads_is_not_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch._threads() >= 1
    monkeypatch.setattr(os, "listdir", lambda _: (_ for _ in ()).throw(OSError()))
    assert launch._threads() >= 1
    monkeypatch.setattr(launch, "_threads", lambda: 2)
    with pytest.raises(UsageError, match="before the process starts threads"):
        launch.forked(tmp_path)


def test_our_secrets_do_not_reach_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2PCPN_SWARM_KEY", "secret")
    monkeypatch.setenv("P2PCPN_TEST_OTHER", "public")
    monkeypatch.setattr(
        launch,
        "_CODE",
        "import os, sys; open(sys.argv[3], 'w').write(repr(sorted(n for n in os.environ if n.startswith('P2PCPN_'))))",
    )
    process = launch.executed(tmp_path / "names")
    process.control.close()
    assert process.reap(20.0)
    names = (tmp_path / "names").read_text()
    assert "P2PCPN_TEST_OTHER" in names and "P2PCPN_SWARM_KEY" not in names


def test_the_forked_child_keeps_its_socket_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Left(Exception):
        pass

    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr(os, "dup2", lambda _, target, inheritable=True: calls.append(("dup2", target)) or target)
    monkeypatch.setattr(os, "closerange", lambda low, _: calls.append(("close from", low)))
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(os, "environ", {"P2PCPN_KEY": "secret"})
    monkeypatch.setattr(zygote, "main", lambda *words: calls.append(words))
    ours, theirs = socket.socketpair()
    kept = theirs.fileno()
    with pytest.raises(Left) as left:
        launch._be_zygote(theirs, tmp_path, 5)
    os.close(kept)
    ours.close()
    assert left.value.args == (0,) and calls[-1] == (3, str(tmp_path), 5)
    assert ("close from", 4) in calls and "P2PCPN_KEY" not in os.environ
    assert sys.executable
