"""``p2pcpn job pause|resume|cancel``: an owner's orders to a job, wherever it is granted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

WORK = """
import os, sys, time

def note(text, folder, seconds):
    with open(os.path.join(folder, f"{text.strip()}.{os.getpid()}"), "x"):
        pass
    time.sleep(float(seconds))
    return int(text)
"""
PATIENCE_S = 30.0


@pytest.fixture
def marks(swarm: Shell, tmp_path: Path) -> Path:
    """A folder in which each task leaves a mark when it begins."""
    (swarm.folder / "noting.py").write_text(WORK)
    return tmp_path


def lines(count: int) -> str:
    return "".join(f"{number}\n" for number in range(count))


def begun(marks: Path) -> set[str]:
    return {path.name for path in marks.iterdir()}


def processes(marks: Path) -> list[int]:
    """The processes that began a task and live."""
    found = {int(name.rpartition(".")[2]) for name in begun(marks)}
    return [pid for pid in sorted(found) if Path(f"/proc/{pid}").exists()]


def until(what: str, reached: object, wait_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + wait_s
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < end, f"{what} took too long"
        time.sleep(0.05)


def still(marks: Path, for_s: float = 1.0) -> bool:
    """Whether nothing begins for a while."""
    before = begun(marks)
    time.sleep(for_s)
    return begun(marks) == before


def test_a_paused_job_begins_nothing_until_it_is_resumed(swarm: Shell, marks: Path) -> None:
    job = swarm.line("submit", "--detach", "noting.py:note", "--map", "-", str(marks), "0.2", stdin=lines(60))
    until("the first tasks", lambda: len(begun(marks)) >= 6)
    assert swarm.document("job", "pause", job)["stewards_told"] >= 1
    until("the pause", lambda: still(marks))
    assert 6 <= len(begun(marks)) < 60
    shown = swarm.document("job", "show", job)
    assert (shown["state"], shown["running"]) == ("paused", 0)
    assert shown["settled"] == len(begun(marks))  # what ran was not stopped, and counts
    assert "1 steward" in swarm.line("job", "resume", job) or "stewards" in swarm.line("job", "resume", job)
    results = swarm.line("job", "result", job, "--timeout", "40s").split()
    assert results == [str(number) for number in range(60)]
    assert len(begun(marks)) == 60  # and nothing ran twice for it
    assert swarm.document("job", "show", job)["state"] == "done"


def test_a_cancelled_job_ends_its_processes_and_leaves_the_slots_to_others(swarm: Shell, marks: Path) -> None:
    job = swarm.line("submit", "--detach", "noting.py:note", "--map", "-", str(marks), "600", stdin=lines(50))
    until("all slots", lambda: len(processes(marks)) == 3)
    swarm.run("job", "cancel", job)
    until("the end of the processes", lambda: not processes(marks), 10.0)
    assert len(begun(marks)) == 3
    began = time.monotonic()
    after = swarm.line("submit", "noting.py:note", "--map", "-", str(marks), "0", stdin="7\n8\n9\n")
    assert after.split() == ["7", "8", "9"] and time.monotonic() - began < 15.0
    assert swarm.document("job", "show", job)["state"] == "cancelled"


def test_a_job_that_its_submitter_grants_obeys_orders_from_elsewhere(swarm: Shell, marks: Path) -> None:
    process = swarm.start("submit", "--name", "attended", "noting.py:note", "--map", "-", str(marks), "0.3")
    try:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(lines(400))
        process.stdin.close()
        until("the first tasks", lambda: len(begun(marks)) >= 3)
        (job,) = [row["id"] for row in swarm.document("job", "ls") if row["name"] == "attended"]
        swarm.run("job", "pause", job)
        until("the pause", lambda: still(marks))
        swarm.run("job", "resume", job)
        paused_at = len(begun(marks))
        until("more tasks", lambda: len(begun(marks)) > paused_at)
        swarm.run("job", "cancel", job)
        assert process.wait(PATIENCE_S) == 1
        assert "was cancelled" in process.stderr.read()
        until("the end of the tasks", lambda: still(marks))
        assert len(begun(marks)) < 400
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
