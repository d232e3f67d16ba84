"""``p2pcpn job``: jobs that were left to the swarm, read from whichever peer answers."""

from __future__ import annotations

import os
import pickle
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

WORK = """
import time


def slow(text):
    time.sleep(0.05)
    print("did", text)
    return int(text) * 2

def odd(text):
    if int(text) % 2:
        raise ValueError(f"{text} is odd")
    return text

def forever(text):
    time.sleep(60)
"""
LINES = "".join(f"{number}\n" for number in range(40))


@pytest.fixture(scope="module")
def job(swarm: Shell) -> str:
    """The id of a job of forty tasks that its submitter left to the swarm."""
    (swarm.folder / "work.py").write_text(WORK)
    return swarm.line("submit", "--detach", "--name", "forty", "work.py:slow", "--map", "-", stdin=LINES)


def test_a_detached_job_prints_its_id_alone_and_its_results_are_fetched_later(swarm: Shell, job: str) -> None:
    assert len(job) == 40 and bytes.fromhex(job)
    swarm.run("job", "wait", job, "--timeout", "30s")
    assert swarm.line("job", "result", job).split() == [str(2 * number) for number in range(40)]


def test_the_first_digits_of_an_id_do_where_it_was_submitted(swarm: Shell, job: str) -> None:
    assert swarm.document("job", "show", job[:10])["id"] == job


def test_results_are_had_from_any_peer_with_the_owners_key(swarm: Shell, job: str) -> None:
    status = swarm.document("swarm", "status")
    for address in status["bootstrap"]:
        named = ("--bootstrap", address, "--swarm-key", status["swarm_key"])
        found = swarm.document("job", "result", job, "--timeout", "30s", *named)
        assert [ending["text"] for ending in found["results"]] == [str(2 * number) for number in range(40)]


def test_the_submitter_may_be_killed_as_soon_as_the_id_is_there(swarm: Shell, job: str) -> None:
    process = swarm.start("submit", "--detach", "work.py:slow", "--map", "-", start_new_session=True)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("".join(f"{number}\n" for number in range(200)))
    process.stdin.close()
    left = process.stdout.readline().strip()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()
    assert swarm.line("job", "result", left, "--timeout", "50s").split() == [str(2 * number) for number in range(200)]


def test_another_owner_does_not_find_the_job(swarm: Shell, job: str) -> None:
    other = str(swarm.home / "other.key")
    swarm.run("key", "new", other)
    said = swarm.run("job", "show", job, "--key", other, code=1).stderr
    assert said.startswith("p2pcpn: no peer that answers keeps job") and said.count("\n") == 1


def test_ls_show_and_logs_tell_of_the_job(swarm: Shell, job: str) -> None:
    swarm.run("job", "wait", job, "--timeout", "30s")
    row = next(row for row in swarm.document("job", "ls") if row["id"] == job)
    assert (row["name"], row["state"], row["tasks"], row["settled"]) == ("forty", "done", 40, 40)
    assert job in swarm.line("job", "ls")
    shown = swarm.document("job", "show", job)
    assert shown["closed"] and shown["handed_over"] and len(shown["stewards"]) == 3 and shown["holders"]
    assert "40 settled" in swarm.line("job", "show", job)
    assert swarm.line("job", "logs", job).splitlines() == [f"did {number}" for number in range(40)]
    assert swarm.document("job", "logs", job, "--task", "7") == [{"index": 7, "stream": "stdout", "text": "did 7\n"}]


def test_result_saves_pickles_for_who_wants_the_values(swarm: Shell, job: str) -> None:
    directory = swarm.folder / "values"
    swarm.run("job", "result", job, "--output", str(directory), "--timeout", "30s")
    values = [pickle.loads(path.read_bytes()) for path in sorted(directory.iterdir())]
    assert values == [2 * number for number in range(40)]


def test_failed_tasks_are_told_and_the_exit_code_is_1(swarm: Shell, job: str) -> None:
    left = swarm.line("submit", "--detach", "work.py:odd", "--map", "-", stdin="0\n1\n2\n3\n")
    found = swarm.run("job", "result", left, "--timeout", "30s", code=1)
    assert found.stdout.split() == ["'0'", "'2'"]
    assert found.stderr.splitlines() == [
        "p2pcpn: task 1 failed: ValueError: 1 is odd", "p2pcpn: task 3 failed: ValueError: 3 is odd",
    ]  # fmt: skip
    assert "4 tasks ended, 2 failed" in swarm.run("job", "wait", left, code=1).stdout


def test_a_job_can_be_waited_for_explained_and_cancelled(swarm: Shell, job: str) -> None:
    left = swarm.line("submit", "--detach", "work.py:forever", "--map", "-", stdin=LINES)
    assert "the job goes on" in swarm.run("job", "wait", left, "--timeout", "500ms", code=4).stderr
    explained = swarm.document("job", "explain", left)
    assert explained["state"] in ("running", "waiting") and explained["peers"]
    assert sum(explained["counts"].values()) == len(explained["peers"])
    assert "because" in swarm.line("job", "explain", left)
    assert swarm.document("job", "cancel", left)["stewards_told"] >= 1
    assert "the job was cancelled" in swarm.run("job", "wait", left, "--timeout", "20s", code=1).stderr
    assert swarm.document("job", "show", left)["state"] == "cancelled"


def test_a_missing_package_is_a_reason_that_explain_shows(swarm: Shell, job: str) -> None:
    left = swarm.line("submit", "--detach", "--requires", "no_such_package", "work.py:slow", "1")
    peers = swarm.document("job", "explain", left)["peers"]
    assert any("no_such_package" in peer["text"] for peer in peers)
    swarm.run("job", "cancel", left)
