"""The stage starts a process for each system, and leaves none of them behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from p2pcpn.bench import stage as stage_
from p2pcpn.bench.stage import MARK, DriverFailed, Process, Stage, environment, marked, sweep

# What a driver says to an order, in a process that imports nothing of ours.
OBEDIENT = """
import json, socket, sys
control = socket.socket(fileno=int(sys.argv[1]))
for line in control.makefile("rb"):
    order = json.loads(line)
    if order["op"] == "die":
        print("last words", flush=True)
        sys.exit(3)
    if order["op"] == "hang":
        import time
        time.sleep(60)
    answer = {"error": "it cannot"} if order["op"] == "fail" else {"ok": {"said": order, "start_s": 0.5, "pids": []}}
    control.sendall(json.dumps(answer).encode() + b"\\n")
"""


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    monkeypatch.setattr(stage_, "_CODE", OBEDIENT)
    started = Process("pool", tmp_path / "log", "mark-of-a-test")
    yield started
    started.stop()


def test_an_order_is_answered(process: Process) -> None:
    assert process.ask({"op": "load", "count": 3})["said"] == {"op": "load", "count": 3}
    with pytest.raises(DriverFailed, match="it cannot"):
        process.ask({"op": "fail"})


def test_a_process_that_dies_leaves_its_last_words(process: Process) -> None:
    with pytest.raises(DriverFailed, match=r"(?s)ended.*last words"):
        process.ask({"op": "die"})
    with pytest.raises(DriverFailed):
        process.ask({"op": "start"})


def test_one_that_does_not_answer_is_given_up_and_interrupted(process: Process) -> None:
    looked: list[int] = []
    with pytest.raises(DriverFailed, match="no answer within"):
        process.ask({"op": "hang"}, lambda: looked.append(1), wait_s=0.3)
    assert looked
    process.stop()
    assert not psutil.pid_exists(process.pid)


def test_one_that_does_not_end_is_killed(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_, "STOP_S", 0.05)
    monkeypatch.setattr(process, "_process", Stubborn(process._process))
    process.stop()
    assert not psutil.pid_exists(process.pid)


class Stubborn:
    """A process that never ends in time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._waits = 0

    def wait(self, timeout: float | None = None) -> int:
        self._waits += 1
        if self._waits == 1:
            raise subprocess.TimeoutExpired("driver", timeout or 0.0)
        return self._process.wait(timeout)


def test_what_still_carries_our_mark_is_named_and_killed() -> None:
    mark = f"test-{os.getpid()}"
    left = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ, MARK: mark})
    try:
        assert [process.pid for process in marked(mark)] == [left.pid]
        (said,) = sweep(mark, wait_s=0.0)
        assert said.startswith(f"{left.pid} ") and left.wait(5) < 0
    finally:
        left.kill()
        left.communicate()
    assert sweep(mark, wait_s=0.0) == []


def test_a_driver_finds_p2pcpn_and_the_programs_beside_its_python() -> None:
    found = environment({"PYTHONPATH": "/there", "PATH": "/bin"})
    assert found["PYTHONPATH"].split(os.pathsep) == ["/there", str(stage_.ROOT)]
    assert found["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/bin"


def test_where_it_is_installed_nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_.site, "getsitepackages", lambda: [str(stage_.ROOT)])
    assert "PYTHONPATH" not in environment({})


class Said:
    """A driver that remembers, and answers what it was told to."""

    def __init__(self, system: str | None, log: Path, mark: str) -> None:
        self.pid = os.getpid()
        self.system = system
        self.orders: list[dict[str, Any]] = []
        self.stopped = 0

    def ask(self, order: dict[str, Any], watch: Callable[[], None] | None = None, wait_s: float = 1.0) -> Any:
        self.orders.append(order)
        if self.system == "broken":
            raise DriverFailed("no")
        return {"start_s": 0.5, "pids": [1]}

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> list[Said]:
    return []


@pytest.fixture
def stage(drivers: list[Said]) -> Iterator[Stage]:
    def spawn(system: str | None, log: Path, mark: str) -> Said:
        drivers.append(Said(system, log, mark))
        return drivers[-1]

    with Stage(lambda text: None, spawn, quiet_s=0.0) as made:
        yield made


def test_a_system_is_started_asked_and_stopped(stage: Stage, drivers: list[Said]) -> None:
    assert stage.start("pool") == 0.5 and stage.running("pool")
    found = stage.ask("pool", "deliver", count=3)
    assert found["cpu_s"] >= 0 and drivers[0].orders[-1] == {"op": "load", "name": "deliver", "count": 3}
    assert psutil.Process() in stage.everything("pool") and psutil.Process() in stage.submitter("pool")
    stage.wait_quiet()
    stage.start("pool")  # again: in a fresh process
    assert drivers[0].stopped == 1 and len(drivers) == 2
    stage.close()
    assert drivers[1].stopped == 1 and not stage.running("pool")


def test_one_that_does_not_start_is_stopped(stage: Stage, drivers: list[Said]) -> None:
    with pytest.raises(DriverFailed):
        stage.start("broken")
    assert drivers[0].stopped == 1 and not stage.running("broken")


def test_what_needs_no_system_gets_a_process_for_itself(stage: Stage, drivers: list[Said]) -> None:
    assert stage.once("ready", peers=2)["start_s"] == 0.5
    assert drivers[0].orders == [{"op": "swarm", "name": "ready", "peers": 2}] and drivers[0].stopped == 1


def test_what_is_left_at_the_end_is_told(drivers: list[Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_, "sweep", lambda mark: ["17 raylet"])
    said: list[str] = []
    with Stage(said.append, Said):
        pass
    assert said == ["left behind, now killed: 17 raylet"]


def test_killing_what_is_gone_is_no_error() -> None:
    def kill() -> None:
        raise psutil.NoSuchProcess(1)

    stage_._kill(SimpleNamespace(kill=kill))  # type: ignore[arg-type]


def test_garbage_in_the_middle_of_an_answer_waits_for_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    process = Process.__new__(Process)
    process._socket, process._log, process._busy = ours, tmp_path / "none", False
    answer = json.dumps({"ok": {"value": 1}}).encode() + b"\n"
    with ours, theirs:
        thread = threading.Thread(target=lambda: [theirs.sendall(answer[:5]), theirs.sendall(answer[5:])])
        thread.start()
        assert process.ask({"op": "load"}) == {"value": 1}
        thread.join()
