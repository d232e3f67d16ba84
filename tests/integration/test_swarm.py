"""Real peers as processes: they come up, know each other, die when they should, and never outlive their program."""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from p2pcpn.client.fleet import Fleet, order
from p2pcpn.client.swarm import Swarm
from p2pcpn.config import Config
from p2pcpn.errors import P2pcpnError, UsageError
from p2pcpn.node.control import ask, control_path

ROOT = Path(__file__).resolve().parents[2]
MARK = "P2PCPN_TEST_TREE"
GONE_S = 2.0


def marked(mark: str) -> list[psutil.Process]:
    """Living processes that carry the mark in their environment, wherever in the tree they are now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def until(condition: Callable[[], bool], wait_s: float) -> float:
    """Wait for ``condition``; how long it took, or an assertion that it did not come true."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < wait_s, f"not within {wait_s} s"
        time.sleep(0.01)
    return time.monotonic() - start


def known(swarm: Swarm) -> list[int]:
    return [ask(control_path(peer.data_dir), "status")["known_peers"] for peer in swarm.peers if peer.alive]


@contextmanager
def program(text: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any], str]]:
    """A program with a swarm, in a process of its own, that prints one JSON line when it is ready; and its mark."""
    mark = secrets.token_hex(8)
    started = subprocess.Popen(
        [sys.executable, "-c", text],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), MARK: mark, **environment}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with started:
        assert started.stdout is not None
        try:
            yield started, json.loads(started.stdout.readline() or "{}"), mark
        finally:
            started.kill()
            started.wait()
            with suppress(AssertionError):
                until(lambda: not marked(mark), GONE_S)  # the launcher ends by itself, and cleans up
            for process in marked(mark):
                with suppress(psutil.NoSuchProcess):
                    process.kill()


PROGRAM = """
import json, sys, time
from p2pcpn import Swarm
swarm = Swarm(3)
print(json.dumps({"peers": [peer.pid for peer in swarm.peers], "launcher": swarm._fleet.launcher_pid,
                  "temporary": str(swarm._temporary)}), flush=True)
"""


def test_a_swarm_comes_up_and_its_peers_soon_know_each_other() -> None:
    with Swarm(3, tags=["lab"]) as swarm:
        assert len(swarm.bootstrap) == len(set(swarm.bootstrap)) == 3
        assert all(address.startswith("127.0.0.1:") for address in swarm.bootstrap)
        assert len(swarm.key) == 64
        until(lambda: known(swarm) == [2, 2, 2], 10)
        rows = ask(control_path(swarm.peers[0].data_dir), "peers")["peers"]
        assert {row["id"] for row in rows} == {peer.id for peer in swarm.peers}
        assert all(row["tags"] == ["lab"] and row["slots"] == 1 for row in rows)


def test_a_killed_peer_is_gone_with_its_workers_and_new_ones_take_the_next_index() -> None:
    with Swarm(2, cpus_per_peer=[2, 1]) as swarm:
        peer = psutil.Process(swarm.peers[0].pid)
        until(lambda: len(peer.children(recursive=True)) >= 3, 10)  # the zygote and two workers
        tree = [peer, *peer.children(recursive=True)]
        swarm.kill(0)
        swarm.kill(0)
        assert [peer.alive for peer in swarm.peers] == [False, True]
        assert swarm.bootstrap == [swarm.peers[1].address]
        assert not psutil.wait_procs(tree, GONE_S)[1]
        added = swarm.add(2)
        assert [peer.index for peer in added] == [2, 3]
        until(lambda: min(known(swarm)) >= 2, 10)
        with pytest.raises(UsageError, match="no peer 4"):
            swarm.kill(4)


def test_a_closed_swarm_leaves_no_process_and_no_file() -> None:
    before = set(psutil.Process().children(recursive=True))
    swarm = Swarm(3)
    until(lambda: len(psutil.Process().children(recursive=True)) >= len(before) + 10, 10)
    tree = set(psutil.Process().children(recursive=True)) - before
    start = time.monotonic()
    swarm.close()
    swarm.close()
    assert time.monotonic() - start < 1.0  # 20 ms on a quiet machine
    assert not [process for process in tree if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not swarm._temporary.exists()
    assert swarm.bootstrap == []
    with pytest.raises(UsageError, match="closed"):
        swarm.add()


def test_a_swarm_may_be_made_in_a_thread_that_ends_and_closed_in_another() -> None:
    made: list[Swarm] = []
    maker = threading.Thread(target=lambda: made.append(Swarm(1)))
    maker.start()
    maker.join(30)
    time.sleep(0.1)  # the launcher would die with the thread that started it, if it asked the kernel for that
    assert made[0].peers[0].alive
    assert ask(control_path(made[0].peers[0].data_dir), "status")["id"] == made[0].peers[0].id
    closer = threading.Thread(target=made[0].close)
    closer.start()
    closer.join(10)
    assert not closer.is_alive()
    assert not made[0].peers[0].alive


def test_a_peer_keeps_its_identity_in_a_data_directory_that_stays(tmp_path: Path) -> None:
    with Swarm(1, data_dir=tmp_path) as swarm:
        first = swarm.peers[0].id
    assert (tmp_path / "peer-0" / "node.key").exists()
    with Swarm(1, data_dir=tmp_path, swarm_key=swarm.key) as again:
        assert again.peers[0].id == first
        assert again.key == swarm.key


def test_a_swarm_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    (tmp_path / "peer-0").write_text("in the way")
    with pytest.raises(P2pcpnError, match="peer 0 of the swarm cannot start") as caught:
        Swarm(2, data_dir=tmp_path)
    assert "peer-0" in str(caught.value)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_two_swarms_on_one_data_directory_do_not_share_it(tmp_path: Path) -> None:
    with Swarm(1, data_dir=tmp_path), pytest.raises(P2pcpnError, match="in use"):
        Swarm(1, data_dir=tmp_path)


@pytest.mark.parametrize("text", [PROGRAM, PROGRAM + "swarm.close()\n", PROGRAM + "raise SystemExit\n"])
def test_a_program_that_ends_takes_its_swarm_along(text: str) -> None:
    with program(text) as (started, ready, mark):
        assert len(ready["peers"]) == 3
        assert started.wait(20) == 0
        until(lambda: not marked(mark), GONE_S)
        assert not Path(ready["temporary"]).exists()


def test_a_killed_program_takes_its_swarm_along() -> None:
    with program(PROGRAM + "time.sleep(60)\n") as (started, ready, mark):
        until(lambda: len(marked(mark)) >= 2 + 3 * 3, 10)  # program, launcher; peer, zygote and worker of each
        started.kill()
        until(lambda: not marked(mark), GONE_S)
        assert not Path(ready["temporary"]).exists()


def test_a_child_that_the_killed_program_had_forked_keeps_no_swarm_alive() -> None:
    text = PROGRAM.replace("print(", "import os\nchild = os.fork() or time.sleep(30) or os._exit(0)\nprint(")
    with program(text + "time.sleep(60)\n") as (started, ready, mark):
        started.kill()
        swarm = {ready["launcher"], *ready["peers"]}
        until(lambda: not swarm & {process.pid for process in marked(mark)}, GONE_S)
        until(lambda: len(marked(mark)) == 1, GONE_S)  # the child itself


def test_a_killed_launcher_takes_the_peers_along() -> None:
    with program(PROGRAM + "sys.stdin.readline()\nprint(json.dumps(swarm.bootstrap), flush=True)\n") as (
        started, ready, mark,
    ):  # fmt: skip
        os.kill(ready["launcher"], signal.SIGKILL)
        until(lambda: {process.pid for process in marked(mark)} <= {started.pid}, GONE_S)
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.write("\n")
        started.stdin.flush()
        assert started.stdout.readline() == "[]\n"
        assert started.wait(10) == 0
        assert not Path(ready["temporary"]).exists()


def test_an_interrupt_in_the_terminal_reaches_the_program_and_not_its_peers() -> None:
    with program(PROGRAM + "time.sleep(60)\n") as (started, ready, _):
        groups = {os.getpgid(pid) for pid in (*ready["peers"], ready["launcher"])}
        assert os.getpgid(started.pid) not in groups
        assert len({os.getsid(pid) for pid in (started.pid, *ready["peers"])}) == 4


def test_a_fork_of_the_program_that_ends_closes_nothing() -> None:
    with Swarm(1) as swarm:
        child = multiprocessing.get_context("fork").Process(target=swarm.close)
        child.start()
        child.join(10)
        assert child.exitcode == 0
        assert swarm.peers[0].alive
        assert ask(control_path(swarm.peers[0].data_dir), "status")["pid"] == swarm.peers[0].pid


def test_detached_peers_outlive_the_launcher_and_leave_when_asked(tmp_path: Path) -> None:
    config = Config(profile="local", swarm_key="ab" * 32, data_dir=tmp_path / "peer", cpus=1)
    fleet = Fleet(tmp_path / "launcher.log")
    fleet.spawn(0, order(config, detached=True), tmp_path / "peer" / "peer.log")
    (member,) = fleet.wait([0], 30)
    assert member.pid is not None
    peer = psutil.Process(member.pid)
    try:
        until(lambda: len(peer.children(recursive=True)) >= 2, 10)
        tree = [peer, *peer.children(recursive=True)]
        fleet.release()
        assert not psutil.pid_exists(fleet.launcher_pid)
        assert ask(control_path(tmp_path / "peer"), "status")["address"] == member.address
        assert ask(control_path(tmp_path / "peer"), "stop") == {"stopping": True}
        assert not psutil.wait_procs(tree, GONE_S)[1]
    finally:
        if peer.is_running():
            peer.kill()
    log = (tmp_path / "peer" / "peer.log").read_text()
    assert "listens at" in log
    assert "leaves" in log
    assert "Traceback" not in log


def test_detached_peers_that_were_not_released_end_with_the_launcher(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "launcher.log")
    config = Config(profile="local", swarm_key="ab" * 32, data_dir=tmp_path / "peer", cpus=1)
    fleet.spawn(0, order(config, detached=True), tmp_path / "peer" / "peer.log")
    (member,) = fleet.wait([0], 30)
    assert member.pid is not None
    fleet.close()
    until(lambda: not psutil.pid_exists(member.pid or 0), GONE_S)


def test_a_peer_leaves_politely_at_the_first_signal(tmp_path: Path) -> None:
    text = (
        "import sys\n"
        "from p2pcpn.config import Config\n"
        "from p2pcpn.node.daemon import report_to, run_peer\n"
        f"config = Config(profile='local', data_dir={str(tmp_path)!r}, cpus=1)\n"
        "sys.exit(run_peer(config, report=report_to(1)))\n"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        with program(text) as (started, ready, mark):
            assert ready["pid"] == started.pid
            until(lambda mark=mark: len(marked(mark)) >= 3, 10)
            started.send_signal(number)
            assert started.wait(GONE_S) == 0
            until(lambda mark=mark: not marked(mark), GONE_S)


def test_a_peer_ends_with_the_pipe_of_the_process_that_started_it(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    text = (
        "from p2pcpn.config import Config\n"
        "from p2pcpn.node.daemon import report_to, run_peer\n"
        f"config = Config(profile='local', data_dir={str(tmp_path)!r}, cpus=1)\n"
        f"run_peer(config, report=report_to(1), lifetime_fd={reading})\n"
    )
    mark = secrets.token_hex(8)
    with subprocess.Popen(
        [sys.executable, "-c", text], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), MARK: mark},
        stdout=subprocess.PIPE, pass_fds=(reading,),
    ) as started:  # fmt: skip
        assert started.stdout is not None
        assert b"address" in started.stdout.readline()
        os.close(writing)
        assert started.wait(GONE_S) == 0
        until(lambda: not marked(mark), GONE_S)
    os.close(reading)
