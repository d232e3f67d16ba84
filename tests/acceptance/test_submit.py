"""``p2pcpn submit`` on a swarm of real processes: scripts, functions, maps, files, and what goes wrong in them."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Shell

SCRIPT = """
import sys
from beside import double
print("hello", sys.argv[1:], double(21))
print("and on stderr", file=sys.stderr)
sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
"""
FUNCTIONS = """
import os, time
from beside import double


def square(text):
    return int(text) ** 2

def add(first, second):
    return double(int(first)) + int(second)

def size(name, *more):
    return len(open(name).read()), sorted(os.listdir(".")), more

def fail(text):
    raise ValueError(f"no {text}")

def die(text):
    os._exit(7)

def sleep(text):
    time.sleep(float(text))

def say(text):
    print("said", text)
"""


def write(shell: Shell) -> None:
    (shell.folder / "script.py").write_text(SCRIPT)
    (shell.folder / "functions.py").write_text(FUNCTIONS)
    (shell.folder / "beside.py").write_text("def double(x):\n    return 2 * x\n")


def test_a_script_runs_as_one_task_with_its_modules_and_arguments(swarm: Shell) -> None:
    write(swarm)
    ran = swarm.run("submit", "script.py", "0", "two")
    assert ran.stdout == "hello ['0', 'two'] 42\n"
    assert ran.stderr == "and on stderr\n"


def test_a_script_that_exits_with_a_code_failed(swarm: Shell) -> None:
    write(swarm)
    ran = swarm.run("submit", "script.py", "3", code=1)
    assert ran.stderr.rstrip().endswith("p2pcpn: task 0 failed: SystemExit: 3")


def test_a_function_gets_the_arguments_as_text_and_its_result_is_shown(swarm: Shell) -> None:
    write(swarm)
    assert swarm.line("submit", "functions.py:add", "20", "2") == "42"


def test_a_map_has_a_task_for_each_line_and_results_in_their_order(swarm: Shell) -> None:
    write(swarm)
    (swarm.folder / "lines.txt").write_text("".join(f"{number}\n" for number in range(50)))
    shown = swarm.line("submit", "functions.py:square", "--map", "lines.txt")
    assert shown.split() == [str(number**2) for number in range(50)]
    assert swarm.line("submit", "functions.py:square", "--map", "-", stdin="3\n\n4\n").split() == ["9", "16"]


def test_an_input_file_is_at_hand_under_its_name(swarm: Shell) -> None:
    write(swarm)
    for name, text in (("a.txt", "four"), ("b.txt", "x" * 100_000)):
        (swarm.folder / name).write_text(text)
    shown = swarm.line("submit", "functions.py:size", "--input", "a.txt", "--input", "b.txt", "more")
    files = ((4, "a.txt"), (100000, "b.txt"))
    assert shown.splitlines() == [f"({size}, {sorted([name, 'out'])}, ('more',))" for size, name in files]
    both = swarm.line(
        "submit", "functions.py:size", "--map", "-", "--input", "a.txt", "--input", "b.txt", stdin="b.txt\n"
    )
    assert both.startswith("(100000, [") and "'a.txt'" in both


def test_a_task_that_raises_is_one_line_beside_its_traceback(swarm: Shell) -> None:
    write(swarm)
    failed = swarm.run("submit", "functions.py:fail", "luck", code=1)
    assert failed.stdout == ""
    assert "in fail" in failed.stderr
    assert failed.stderr.rstrip().endswith("p2pcpn: task 0 failed: ValueError: no luck")


def test_a_worker_that_dies_is_named_with_its_exit_code(swarm: Shell) -> None:
    write(swarm)
    assert "exited with code 7" in swarm.run("submit", "functions.py:die", "x", code=1).stderr


def test_a_time_limit_ends_with_4_and_cancels_the_job(swarm: Shell) -> None:
    write(swarm)
    late = swarm.run("submit", "functions.py:sleep", "30", "--timeout", "500ms", code=4)
    assert "0 of 1 task ended in 0.5 s; the job was cancelled" in late.stderr


def test_json_tells_every_ending_with_its_worker(swarm: Shell) -> None:
    write(swarm)
    found = json.loads(swarm.run("submit", "--json", "functions.py:square", "--map", "-", stdin="5\n6\n").stdout)
    assert [(each["index"], each["ok"], each["text"]) for each in found["results"]] == [
        (0, True, "25"),
        (1, True, "36"),
    ]
    assert all(re.fullmatch("[0-9a-f]{40}", each["worker"]) for each in found["results"])


def test_functions_that_return_nothing_show_only_what_they_print(swarm: Shell) -> None:
    write(swarm)
    shown = swarm.line("submit", "functions.py:say", "--map", "-", stdin="a\nb\n")
    assert sorted(shown.splitlines()) == ["said a", "said b"]


def test_an_interrupt_ends_quietly_with_130(swarm: Shell) -> None:
    write(swarm)
    process = swarm.start("submit", "functions.py:sleep", "30")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "")
    # The second half, where the job had been opened by then.
    assert re.fullmatch("p2pcpn: interrupted(: 0 of 1 task ended; the job was cancelled)?", err.strip())


def standing(shell: Shell, name: str) -> tuple[str, int] | None:
    """How the job of that name is listed: its state, and how many results it has."""
    return next(((job["state"], job["settled"]) for job in shell.document("job", "ls") if job["name"] == name), None)


def test_what_had_ended_at_an_interrupt_is_counted_and_can_be_read(swarm: Shell) -> None:
    write(swarm)
    with swarm.start("submit", "functions.py:sleep", "--name", "naps", "--map", "-") as process:
        assert process.stdin is not None
        process.stdin.write("0\n0\n60\n60\n60\n")
        process.stdin.close()
        process.stdin = None
        try:
            while standing(swarm, "naps") != ("with its submitter", 2):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    found = re.search(r"interrupted: 2 of 5 tasks ended; the job was cancelled; p2pcpn job result (\w+) shows", err)
    assert found, err
    assert len(swarm.run("job", "result", found[1], code=1).stdout.splitlines()) == 2
    assert standing(swarm, "naps") == ("cancelled", 2)


def test_a_reader_that_goes_away_ends_the_job_and_it_is_said(swarm: Shell) -> None:
    write(swarm)
    with swarm.start("submit", "functions.py:say", "--map", "-") as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        try:
            process.stdin.write("x\n" * 20_000)
            process.stdin.close()
            assert process.stdout.readline() == "said x\n"
            process.stdout.close()
            err = process.stderr.read()
            process.wait(timeout=30)
        finally:
            process.kill()
    found = re.search(r"^p2pcpn: nobody reads on: \d+ of 20000 tasks ended; the job was cancelled", err, re.MULTILINE)
    assert found and process.returncode == 141 and "Traceback" not in err, err


def test_a_file_whose_name_is_no_identifier_or_taken_can_be_submitted(swarm: Shell) -> None:
    for name in ("2-words here.py", "json.py"):
        (swarm.folder / name).write_text(
            "class Box:\n    def __init__(self, x): self.x = x\ndef box(x): return Box(x).x\n"
        )
        assert swarm.line("submit", f"{name}:box", "in") == "'in'"
        Path(swarm.folder / name).unlink()


def test_python_of_this_test_is_the_one_the_tasks_run(swarm: Shell) -> None:
    (swarm.folder / "version.py").write_text("import sys\ndef get(): return sys.version_info[:2]\n")
    assert swarm.line("submit", "version.py:get") == str(sys.version_info[:2])
