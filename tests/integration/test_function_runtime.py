"""No worker, and nothing that a task started, outlives its peer by two seconds, whatever it is doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

LEAVE_S = 2.0

PEER = """
import asyncio, os, pickle, sys
import cloudpickle
from p2pcpn.runtime.function import launch
from p2pcpn.runtime.function.batches import Batch, GroupKey
from p2pcpn.runtime.function.messages import Output
from p2pcpn.runtime.function.runtime import FunctionRuntime

def task(what):
    import os, re, subprocess, time
    os.write(1, b"running")  # through the pipe: what is printed waits for a thread that the lock keeps out
    if what == "loop":
        while True:
            pass
    if what == "sleep":
        time.sleep(600)
    if what == "lock":  # one call into C that keeps the interpreter lock for years
        re.match(r"(a+)+$", "a" * 60 + "b")
    if what == "child":
        subprocess.run(["sleep", "600"])
    if what == "detached":
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        time.sleep(600)
    if what == "daemon":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execvp("sleep", ["sleep", "600"])
            os._exit(0)
        os.wait()
        time.sleep(600)

async def main(zygote):
    names = ["loop", "sleep", "lock", "child", "detached", "daemon"]
    running = set()
    def on_event(event):
        if isinstance(event, Output):
            running.add(event.batch_id)
            if len(running) == len(names):
                print("all run", flush=True)
    runtime = FunctionRuntime(slots=len(names), on_event=on_event, zygote_process=zygote)
    await runtime.start()
    function = cloudpickle.dumps(task)
    for number, name in enumerate(names):
        batch = Batch(number, [function], None, [pickle.dumps(((name,), {}))], b"")
        runtime.submit(GroupKey(b"o", None), batch)
    await asyncio.sleep(600 if sys.argv[2] == "wait" else 0)

zygote = launch.forked(launch.working_folder()) if sys.argv[1] == "forked" else None
asyncio.run(main(zygote))
"""


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def left_after_two_seconds(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a zombie, which only waits for its parent's attention, does not."""
    until = time.monotonic() + LEAVE_S
    while (left := [process for process in processes if runs(process)]) and time.monotonic() < until:
        psutil.wait_procs(left, timeout=0.05)
    return left


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def zygote_and_workers(pid: int) -> list[int]:
    """The ids of a peer's zygote and of the six workers that run its tasks: those were forked first."""
    [zygote] = psutil.Process(pid).children()
    return [zygote.pid, *sorted(worker.pid for worker in zygote.children())[:6]]


def descriptors_of_workers(pid: int) -> list[int]:
    """How many descriptors each worker has that runs a task, in order of their ids."""
    return [len(os.listdir(f"/proc/{worker}/fd")) for worker in zygote_and_workers(pid)[1:]]


@contextmanager
def peer(tmp_path: Path, started: str) -> Iterator[subprocess.Popen[str]]:
    """A peer whose six workers are all busy, each in its own way."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", PEER, started, "wait"], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "all run\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def is_sleeper(process: psutil.Process) -> bool:
    """Whether it is a program that a task started; one that ends while we look is none."""
    try:
        return process.name() == "sleep"
    except psutil.NoSuchProcess:
        return False


def sleepers_are_up(pid: int) -> list[psutil.Process]:
    """The whole family, once the three programs that tasks start are in it."""
    while True:
        found = family(pid)
        if sum(is_sleeper(process) for process in found) == 3:
            return found


@pytest.mark.parametrize("started", ["executed", "forked"])
def test_a_killed_peer_takes_all_with_it(tmp_path: Path, started: str) -> None:
    with peer(tmp_path, started) as process:
        processes = sleepers_are_up(process.pid)
        assert len(processes) >= 1 + 6 + 3
        process.kill()
        assert left_after_two_seconds(processes) == []
        assert list(tmp_path.glob("p2pcpn-*")) == []


def test_a_peer_killed_with_its_zygote_leaves_no_worker(tmp_path: Path) -> None:
    with peer(tmp_path, "executed") as process:
        processes = sleepers_are_up(process.pid)
        [zygote] = psutil.Process(process.pid).children()
        workers = [worker for worker in zygote.children() if not is_sleeper(worker)]
        assert len(workers) >= 6
        process.kill()
        zygote.kill()
        assert left_after_two_seconds(workers) == []
        # What tasks detached outlives this double death: nobody is left who knew of it.
        for orphan in processes:
            if runs(orphan):
                orphan.kill()


def test_an_interrupt_of_the_terminal_does_not_reach_workers(tmp_path: Path) -> None:
    with peer(tmp_path, "executed") as process:
        zygote, *workers = zygote_and_workers(process.pid)
        assert [os.getsid(worker) for worker in workers] == workers  # each leads a session of its own
        assert os.getsid(zygote) == zygote != os.getsid(process.pid)


def test_workers_inherit_no_descriptor_of_the_peer(tmp_path: Path) -> None:
    with peer(tmp_path, "executed") as process:
        # stdin, stdout, stderr, the socket to its peer, and the mapping's own of the page
        until = time.monotonic() + 10.0  # the spare worker may be on its way still
        while (counts := descriptors_of_workers(process.pid)) != [5] * 6 and time.monotonic() < until:
            os.sched_yield()
        assert counts == [5] * 6


def test_a_worker_that_is_killed_takes_its_children_with_it(tmp_path: Path) -> None:
    with peer(tmp_path, "executed") as process:
        sleepers_are_up(process.pid)
        [zygote] = psutil.Process(process.pid).children()
        parents = [worker for worker in zygote.children() if any(map(is_sleeper, worker.children()))]
        assert len(parents) == 2
        children = [child for worker in parents for child in worker.children()]
        for worker in parents:
            os.kill(worker.pid, signal.SIGKILL)
        assert left_after_two_seconds(children) == []
