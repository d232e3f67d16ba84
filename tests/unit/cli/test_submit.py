"""``p2pcpn submit``: from its words to results, on a real swarm of two peers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.cli import submit as submit_module
from p2pcpn.client.swarm import Swarm

Command = Callable[..., Any]
WORK = """
import sys
import time

def double(text):
    return 2 * int(text)

def join(*texts):
    return "+".join(texts)

def odd(text):
    if int(text) % 2:
        raise ValueError(f"{text} is odd")
    return text

def speak(text):
    print("out", text)
    print("err", text, file=sys.stderr)

def size(name, unit="B"):
    return f"{name}: {len(open(name).read())} {unit}"

def colour(text):
    return type("Coloured", (), {"__repr__": lambda self: "\\x1b[31m" + text})()

def forever(text):
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def swarm() -> Iterator[Swarm]:
    with Swarm(peers=2) as swarm:
        yield swarm


@pytest.fixture
def submit(p2pcpn: Command, swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> Command:
    """``submit("work.py:double", "2")`` in a folder with that file."""
    monkeypatch.setenv("P2PCPN_BOOTSTRAP", ",".join(swarm.bootstrap))
    monkeypatch.setenv("P2PCPN_SWARM_KEY", swarm.key)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("work.py").write_text(WORK)
    return lambda *words, **more: p2pcpn("submit", *words, **more)


def test_a_function_is_called_with_the_arguments_as_text(submit: Command) -> None:
    ended = submit("work.py:join", "a", "b c")
    assert (ended.code, ended.out, ended.err) == (0, "'a+b c'\n", "")


def test_each_line_is_a_task_and_results_come_in_the_order_of_the_lines(submit: Command) -> None:
    Path("lines.txt").write_text("1\n\n2\n3\n")
    assert submit("work.py:double", "--map", "lines.txt").lines == ["2", "4", "6"]
    assert submit("--map", "-", "work.py:join", "x", stdin="1\n2\n").lines == ["'1+x'", "'2+x'"]


def test_each_input_file_is_a_task_with_the_file_at_hand(submit: Command) -> None:
    Path("a.txt").write_text("four")
    Path("b.txt").write_text("seven77")
    ended = submit("work.py:size", "--input", "a.txt", "--input", "b.txt", "bytes")
    assert ended.lines == ["'a.txt: 4 bytes'", "'b.txt: 7 bytes'"]


def test_a_script_is_one_task_whose_prints_are_all_that_is_shown(submit: Command) -> None:
    Path("script.py").write_text("import sys\nprint(sys.argv[1:], __name__)\n")
    ended = submit("script.py", "--", "-x", "--json")
    assert (ended.code, ended.out) == (0, "['-x', '--json'] __main__\n")


def test_prints_keep_their_streams_and_results_of_nothing_are_not_shown(submit: Command) -> None:
    ended = submit("work.py:speak", "hello")
    assert (ended.code, ended.out, ended.err) == (0, "out hello\n", "err hello\n")


def test_a_result_that_would_act_on_a_terminal_is_shown_and_does_not(submit: Command) -> None:
    assert submit("work.py:colour", "red").out == "\\x1b[31mred\n"


def test_failed_tasks_are_told_with_one_traceback_and_the_exit_code_is_1(submit: Command) -> None:
    ended = submit("work.py:odd", "--map", "-", stdin="1\n2\n3\n")
    assert (ended.code, ended.out) == (1, "'2'\n")
    assert ended.err.count("Traceback") == 1 and 'raise ValueError(f"{text} is odd")' in ended.err
    assert ended.err.splitlines()[-2:] == [
        "p2pcpn: task 0 failed: ValueError: 1 is odd", "p2pcpn: task 2 failed: ValueError: 3 is odd",
    ]  # fmt: skip


def test_tasks_that_fail_alike_are_one_line(submit: Command) -> None:
    ended = submit("work.py:double", "--map", "-", "extra", stdin="1\n" * 40)
    assert ended.code == 1 and ended.err.splitlines()[-1].startswith("p2pcpn: task 0 and 39 more failed: TypeError: ")
    assert ended.err.count("failed: ") == 1


def test_programs_get_one_document_and_nothing_else(submit: Command) -> None:
    ended = submit("work.py:odd", "--map", "-", "--json", "--name", "odds", stdin="4\n5\n")
    assert (ended.code, ended.err) == (1, "")
    document = json.loads(ended.out)
    assert len(document["job"]) == 40 and document["tasks"] == 2
    good, bad = document["results"]
    assert (good["index"], good["ok"], good["text"]) == (0, True, "'4'") and len(good["worker"]) == 40
    assert (bad["index"], bad["ok"], bad["text"]) == (1, False, "ValueError: 5 is odd") and "odd" in bad["traceback"]
    assert json.loads(submit("work.py:speak", "x", "--json").out)["results"][0]["text"] == "None"


def test_a_detached_job_prints_its_id_and_its_results_are_kept(submit: Command, p2pcpn: Command) -> None:
    ended = submit("--detach", "work.py:double", "21")
    assert (ended.code, ended.err) == (0, "") and re.fullmatch(r"[0-9a-f]{40}\n", ended.out)
    assert p2pcpn("job", "result", ended.out.strip(), "--timeout", "30s").out == "42\n"
    document = json.loads(submit("--detach", "--json", "work.py:double", "--map", "-", stdin="1\n2\n").out)
    assert document["tasks"] == 2 and len(document["job"]) == 40 and document["job"] != ended.out.strip()


def test_a_job_that_takes_too_long_is_cancelled_with_exit_code_4(submit: Command) -> None:
    ended = submit("work.py:forever", "x", "--timeout", "300ms")
    assert (ended.code, ended.out) == (4, "")
    assert ended.err == "p2pcpn: 0 of 1 task ended in 0.3 s; the job was cancelled\n"


def test_a_job_that_nobody_may_run_says_why(submit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit_module, "UNWANTED_S", 0.1)
    ended = submit("work.py:double", "1", "--requires", "no_such_package", "--timeout", "2500ms")
    assert ended.code == 4
    said = ended.err.splitlines()
    assert len(said) == 2 and said[0].startswith("work.py:double: no peer has begun with it: ")
    assert "no_such_package" in said[0] and re.search(r"\([12] peers?\)", said[0])


def test_options_reach_the_job(submit: Command, p2pcpn: Command) -> None:
    job = submit("--detach", "work.py:double", "1", "--name", "one", "--replicas", "1", "--retention", "2h")
    state = json.loads(p2pcpn("job", "show", job.out.strip(), "--json").out)
    assert (state["name"], state["replicas"], state["retention_s"]) == ("one", 1, 7200.0)


@pytest.mark.parametrize(
    "words, said",
    [
        ((), "missing argument 'FILE[:FUNCTION]'"),
        (("nowhere.py",), "nowhere.py: there is no such file"),
        (("work.py:nothing", "1"), "work.py has no function 'nothing'"),
        (("work.py:doubel", "1"), "did you mean 'double'?"),
        (("work.py", "--map", "-"), "--map calls a function for each line"),
        (("work.py:double", "--map", "nowhere.txt"), "nowhere.txt: No such file"),
        (("work.py:double", "--map", "-"), "the file has no lines"),
        (("work.py:double", "1", "--replicas", "0"), "replicas"),
        (("work.py:double", "1", "--max-workers", "0"), "max_workers"),
        (("work.py:double", "1", "--timeout", "soon"), "'soon' is no duration"),
        (("work.py:double", "1", "--runtime", "wasm"), "'wasm' is not"),
        (("work.py:double", "1", "--key", "nowhere.key"), "nowhere.key: there is no such file"),
    ],
)
def test_what_cannot_be_submitted_is_usage_in_one_line(submit: Command, words: tuple[str, ...], said: str) -> None:
    ended = submit(*words)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err and ended.err.count("\n") == 1


def test_without_a_swarm_nobody_is_reachable(p2pcpn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("work.py").write_text(WORK)
    for words in (("work.py:double", "1"), ("--detach", "work.py:double", "1")):
        ended = p2pcpn("submit", *words)
        assert (ended.code, ended.out) == (3, "") and ended.err.count("\n") == 1
