"""Deadlines and open-ended jobs, from the command line and from a program."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from p2pcpn import Executor, JobError, Swarm

if TYPE_CHECKING:
    from conftest import Shell

WORK = "import time\ndef nap(text):\n    time.sleep(float(text))\n    return float(text)\n"


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_what_has_not_ended_by_the_deadline_fails_and_what_has_counts(swarm: Shell) -> None:
    (swarm.folder / "napping.py").write_text(WORK)
    began = time.monotonic()
    ended = swarm.run(
        "submit", "--deadline", "5s", "--priority", "3", "napping.py:nap", "--map", "-", stdin="0\n60\n", code=1
    )
    assert time.monotonic() - began < 40.0
    assert ended.stdout.split() == ["0.0"] and "task 1 failed: deadline passed: the job had 5 s" in ended.stderr


def test_a_detached_job_ends_with_its_deadline_and_says_so(swarm: Shell) -> None:
    (swarm.folder / "napping.py").write_text(WORK)
    job = swarm.line(
        "submit", "--detach", "--deadline", "6s", "--ttl", "1h", "--priority", "-2", "napping.py:nap", "--map", "-",
        stdin="0\n60\n",
    )  # fmt: skip
    shown = swarm.document("job", "show", job)
    assert (shown["deadline_s"], shown["ttl_s"], shown["priority"]) == (6.0, 3600.0, -2)
    said = swarm.line("job", "show", job)
    assert "6.0 s: " in said and "60 min without a new task" in said
    assert "2 tasks ended, 1 failed" in swarm.run("job", "wait", job, "--timeout", "40s", code=1).stdout
    assert "deadline passed before the task had ended" in swarm.run("job", "result", job, code=1).stderr
    assert swarm.document("job", "show", job)["state"] == "deadline passed"


def test_an_executor_stays_open_for_as_long_as_it_is_used_and_closes_when_it_is_not() -> None:
    with Swarm(peers=2) as swarm:
        forever: Executor = swarm.executor()
        with swarm.executor(ttl_s=1.5) as short:
            assert forever.submit(nap, 0.0).result(30) == 0.0
            for _ in range(4):  # longer than the time to live, all together
                assert short.submit(nap, 0.5).result(30) == 0.5
            deadline = time.monotonic() + 30
            with pytest.raises(RuntimeError, match="time to live"):
                while time.monotonic() < deadline:
                    time.sleep(2.0)
                    short.submit(nap, 0.0)
            assert forever.submit(nap, 0.0).result(30) == 0.0  # which nobody used meanwhile
        forever.shutdown()


def test_a_deadline_ends_what_runs() -> None:
    with Swarm(peers=1) as swarm, swarm.executor(deadline_s=3.0) as executor:
        assert executor.submit(nap, 0.1).result(30) == 0.1
        with pytest.raises(JobError, match="deadline passed"):
            executor.submit(nap, 60.0).result(30)
        with pytest.raises(JobError, match="deadline passed"):
            executor.submit(nap, 0.0).result(30)
