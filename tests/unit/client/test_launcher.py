"""The launcher: orders in, forks out, reports back, and an end that leaves nobody behind."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.client import launcher as launcher_module
from p2pcpn.client.fleet import order
from p2pcpn.client.launcher import Launcher, main, peer_main
from p2pcpn.config import Config
from p2pcpn.runtime.function import launch, lifetime


def say_and_wait(words: dict[str, Any], said_fd: int, alive_fd: int) -> None:
    """A peer that reports its order's number, then lives as long as the launcher."""
    os.write(
        said_fd, json.dumps({"address": f"127.0.0.1:{words['n']}", "id": "ab", "pid": os.getpid()}).encode() + b"\n"
    )
    os.read(alive_fd, 1)
    os._exit(0)


def end_at_once(words: dict[str, Any], said_fd: int, alive_fd: int) -> None:
    os._exit(7)


class Program:
    """The other end of the launcher's socket."""

    def __init__(self, temporary: Path | None, become: Callable[..., object]) -> None:
        self.sock, theirs = socket.socketpair()
        self.theirs = theirs
        self.launcher = Launcher(theirs, temporary, become=become)
        self.received = b""

    def order(self, **words: Any) -> bool:
        self.sock.sendall(json.dumps(words).encode() + b"\n")
        return self.launcher.obey()

    def report(self) -> dict[str, Any]:
        """The next report; the launcher hears and reaps meanwhile."""
        self.sock.setblocking(False)
        until = time.monotonic() + 10
        while b"\n" not in self.received:
            assert time.monotonic() < until, "no report"
            heard = list(self.launcher._reports)
            for descriptor in select.select(heard, [], [], 0.001)[0]:
                self.launcher._heard(descriptor)
            self.launcher.reap()
            try:
                self.received += self.sock.recv(4096)
            except BlockingIOError:
                continue
        line, _, self.received = self.received.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        self.launcher.end()
        self.launcher._selector.close()
        for descriptor in (self.launcher._alive_r, self.launcher._alive_w, *self.launcher._reports):
            os.close(descriptor)
        self.sock.close()
        self.theirs.close()


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Program]]:
    # The launcher owns every child of its process; here some belong to the test runner.
    monkeypatch.setattr(lifetime, "children", list)
    made: list[Program] = []

    def make(become: Callable[..., object] = say_and_wait, temporary: Path | None = None) -> Program:
        made.append(Program(temporary, become))
        return made[-1]

    yield make
    for program in made:
        program.close()


def test_a_peer_is_forked_and_says_where_it_listens(programs: Callable[..., Program]) -> None:
    program = programs()
    assert program.order(op="spawn", n=3)
    report = program.report()
    assert (report["n"], report["address"]) == (3, "127.0.0.1:3")
    assert report["pid"] in program.launcher._peers


def test_a_killed_peer_is_reported_with_its_signal(programs: Callable[..., Program]) -> None:
    program = programs()
    program.order(op="spawn", n=0)
    program.report()
    assert program.order(op="kill", n=0)
    assert program.report() == {"n": 0, "exited": -signal.SIGKILL}
    assert program.order(op="kill", n=0)  # dead already: no error


def test_a_peer_that_ends_without_a_word_is_reported_with_its_code(programs: Callable[..., Program]) -> None:
    program = programs(end_at_once)
    program.order(op="spawn", n=1)
    assert program.report() == {"n": 1, "exited": 7}
    assert not program.launcher._reports


def test_what_a_peer_said_last_comes_before_its_end(programs: Callable[..., Program]) -> None:
    def refuse(words: dict[str, Any], said_fd: int, alive_fd: int) -> None:
        os.write(said_fd, b'{"failed": "no", "kind": "usage"}\n')
        os._exit(2)

    program = programs(refuse)
    program.order(op="spawn", n=1)
    (pid,) = program.launcher._peers
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    program.launcher.reap()
    assert program.report() == {"n": 1, "failed": "no", "kind": "usage"}
    assert program.report() == {"n": 1, "exited": 2}


def test_a_system_that_has_no_process_left_is_reported(programs: Callable[..., Program]) -> None:
    def fail() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    program = programs()
    program.launcher._fork = fail
    program.order(op="spawn", n=4)
    report = program.report()
    assert (report["n"], report["kind"]) == (4, "fault")
    assert "temporarily" in report["failed"]


def test_half_an_order_waits_for_its_other_half(programs: Callable[..., Program]) -> None:
    program = programs()
    program.sock.sendall(b'{"op": "spa')
    assert program.launcher.obey()
    program.sock.sendall(b'wn", "n": 9}\n')
    assert program.launcher.obey()
    assert program.report()["n"] == 9


def test_the_end_kills_every_peer_and_removes_the_folder(programs: Callable[..., Program], tmp_path: Path) -> None:
    folder = tmp_path / "swarm"
    (folder / "peer-0").mkdir(parents=True)
    program = programs(temporary=folder)
    program.order(op="spawn", n=0)
    pid = program.report()["pid"]
    assert not program.order(op="close")
    program.launcher.end()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_released_peers_and_their_folder_stay(programs: Callable[..., Program], tmp_path: Path) -> None:
    program = programs(temporary=tmp_path)
    program.order(op="spawn", n=0)
    pid = program.report()["pid"]
    assert not program.order(op="release")
    program.launcher.end()
    os.kill(pid, 0)
    assert tmp_path.exists()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_orphans_that_do_not_end_are_killed(programs: Callable[..., Program], monkeypatch: pytest.MonkeyPatch) -> None:
    program = programs()
    orphans, killed = [4711], list[int]()
    monkeypatch.setattr(launcher_module, "END_S", 0.0)
    monkeypatch.setattr(lifetime, "children", lambda: list(orphans))
    monkeypatch.setattr(lifetime, "kill_group", lambda pid: (killed.append(pid), orphans.clear()))
    program.launcher.end()
    assert killed == [4711]


def test_the_launcher_ends_with_the_programs_socket(programs: Callable[..., Program]) -> None:
    program = programs()
    wake, waking = os.pipe()
    program.order(op="spawn", n=0)
    os.write(waking, b"x")
    program.sock.sendall(b'{"op": "kill", "n": 0}\n')
    program.sock.shutdown(socket.SHUT_WR)
    program.launcher.serve(wake)
    os.close(wake)
    os.close(waking)


def test_the_launcher_ends_when_its_parent_is_another_process(
    programs: Callable[..., Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = programs()
    another = os.getppid() + 1
    monkeypatch.setattr(os, "getppid", lambda: another)
    wake, waking = os.pipe()
    program.launcher.serve(wake)
    os.close(wake)
    os.close(waking)


def test_a_program_that_is_gone_is_no_error(programs: Callable[..., Program]) -> None:
    program = programs()
    program.sock.close()
    program.launcher._tell({"n": 0})
    assert not program.launcher.obey()


def test_the_child_gives_up_what_belongs_to_the_launcher(programs: Callable[..., Program]) -> None:
    def count(words: dict[str, Any], said_fd: int, alive_fd: int) -> None:
        kept = {said_fd, alive_fd}
        foreign = {program.theirs.fileno(), program.launcher._alive_w, *program.launcher._reports} - {-1}
        open_ones = [fd for fd in foreign - kept if os.path.exists(f"/proc/self/fd/{fd}")]
        os.write(said_fd, json.dumps({"open": len(open_ones)}).encode() + b"\n")
        os._exit(0)

    program = programs(say_and_wait)
    program.order(op="spawn", n=0)
    program.launcher._become = count
    program.order(op="spawn", n=1)
    reports = [program.report(), program.report()]
    assert {"n": 1, "open": 0} in reports


# --- The forked peer -----------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setattr(os, "setsid", lambda: found.append("setsid"))
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda _: -1)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(launcher_module, "_last_words", lambda config: found.append("last words"))
    monkeypatch.setattr(lifetime, "die_with", lambda parent: found.append("die_with"))
    monkeypatch.setattr(launch, "forked", lambda root, memory: found.append("zygote") or "the zygote")
    monkeypatch.setattr(launcher_module, "run_peer", lambda config, **rest: found.append((config, rest)) or 5)
    return found


def test_a_forked_peer_has_its_zygote_before_anything_that_could_start_a_thread(
    calls: list[Any], tmp_path: Path
) -> None:
    words = order(
        Config(profile="local", data_dir=tmp_path / "peer"), work=tmp_path, datagram_loss=0.1, owner_pids=(3,)
    )
    assert peer_main(json.loads(json.dumps(words)), 1, 77) == 5
    assert calls[:-1] == ["setsid", "last words", "zygote", "die_with"]
    config, rest = calls[-1]
    assert config == Config(profile="local", data_dir=tmp_path / "peer")
    assert (rest["lifetime_fd"], rest["owner_pids"], rest["zygote"]) == (77, (3,), "the zygote")
    assert rest["faults"].datagram_loss == 0.1


def test_a_detached_peer_is_tied_to_nobody_and_one_that_computes_nothing_has_no_zygote(calls: list[Any]) -> None:
    assert peer_main(order(Config(roles=("storage",)), detached=True), 1, 77) == 5
    assert calls[:-1] == ["setsid", "last words"]
    assert calls[-1][1]["lifetime_fd"] is None
    assert calls[-1][1]["zygote"] is None


def test_an_order_that_cannot_be_is_reported(calls: list[Any], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    words = order(Config())
    words["config"]["cpus"] = 0
    assert peer_main(words, writing, 77) == 2
    assert json.loads(os.read(reading, 4096))["kind"] == "usage"
    os.close(reading)
    os.close(writing)


def test_the_last_words_of_the_interpreter_go_to_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets: list[int] = []
    with monkeypatch.context() as patch:  # the test runner's own capture uses it between tests
        patch.setattr(os, "dup2", lambda _, target: targets.append(target))
        launcher_module._last_words(Config(data_dir=tmp_path / "peer"))
        launcher_module._last_words(Config())
    assert targets == [2]
    assert (tmp_path / "peer" / "peer.log").exists()


def test_a_peer_leaves_its_process_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(BaseException):
        pass

    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(launcher_module, "peer_main", lambda *_: 3)
    with pytest.raises(Left) as caught:
        launcher_module.be_peer({}, 0, 0)
    assert caught.value.args == (3,)


def test_main_serves_and_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lifetime, "adopt_orphans", lambda: True)
    monkeypatch.setattr(lifetime, "children", list)
    monkeypatch.setattr(launcher_module.gc, "freeze", lambda: None)
    before = signal.getsignal(signal.SIGCHLD)
    ours, theirs = socket.socketpair()
    ours.sendall(b'{"op": "close"}\n')
    folder = tmp_path / "swarm"
    folder.mkdir()
    try:
        main(theirs.detach(), str(folder))
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, before)
    assert not folder.exists()
    ours.close()
