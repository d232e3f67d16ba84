"""Whole programs with an ``Executor``: how they end, what they print, and that their own modules travel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 45.0


def program(folder: Path, text: str, **others: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in {"main": text, **others}.items():
        path = folder / (name.replace("__in__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(body))
    return folder / "main.py"


def start(main: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(main), *arguments], cwd=main.parent, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(main: Path, *arguments: str) -> tuple[int, str, str]:
    with start(main, *arguments) as process:
        try:
            out, err = process.communicate(timeout=WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, out, err


def test_a_program_that_ends_without_shutdown_still_does_what_it_submitted(tmp_path: Path) -> None:
    main = program(
        tmp_path,
        """
        import sys, time
        from pathlib import Path
        from p2pcpn import Executor

        def work(path):
            time.sleep(0.2)
            Path(path).touch()

        if __name__ == "__main__":
            executor = Executor(2)
            for i in range(5):
                executor.submit(work, f"{sys.argv[1]}/{i}")
        """,
    )
    (tmp_path / "out").mkdir()
    assert run(main, str(tmp_path / "out")) == (0, "", "")
    assert sorted(os.listdir(tmp_path / "out")) == ["0", "1", "2", "3", "4"]


def test_a_program_whose_executor_lives_in_a_thread_ends(tmp_path: Path) -> None:
    main = program(
        tmp_path,
        """
        import threading, time
        from p2pcpn import Executor

        def work():
            executor = Executor(1)
            futures = [executor.submit(pow, 2, i) for i in range(5)]
            time.sleep(0.3)
            print([future.result() for future in futures], flush=True)

        if __name__ == "__main__":
            threading.Thread(target=work).start()
        """,
    )
    assert run(main) == (0, "[1, 2, 4, 8, 16]\n", "")


@pytest.mark.parametrize("shape", ["with", "bare"])
def test_a_program_that_is_interrupted_ends_at_once(tmp_path: Path, shape: str) -> None:
    main = program(
        tmp_path,
        """
        import contextlib, sys, time
        from p2pcpn import Executor

        if __name__ == "__main__":
            executor = Executor(1)
            with executor if sys.argv[1] == "with" else contextlib.nullcontext():
                future = executor.submit(time.sleep, 600)
                while not future.running():
                    time.sleep(0.01)
                print("runs", flush=True)
                future.result()
        """,
    )
    with start(main, shape) as process:
        assert process.stdout is not None and process.stdout.readline() == "runs\n"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode in (-signal.SIGINT, 130) and "KeyboardInterrupt" in err
    assert time.monotonic() - began < 10


def test_a_program_whose_callback_blocks_the_loop_ends(tmp_path: Path) -> None:
    main = program(
        tmp_path,
        """
        import threading
        from p2pcpn import Executor
        from p2pcpn.client import engine

        if __name__ == "__main__":
            engine.PATIENCE_S = 1.0
            executor = Executor(1)
            executor.submit(pow, 2, 2).add_done_callback(lambda _: threading.Event().wait())
            executor.submit(pow, 2, 2)
        """,
    )
    code, _, err = run(main)
    assert code == 0 and "given up" in err


def test_what_tasks_print_appears_before_what_the_program_prints_of_their_results(tmp_path: Path) -> None:
    main = program(
        tmp_path,
        """
        import os, sys
        from p2pcpn import Executor

        def work(i):
            print("task", i)
            print("trouble", i, file=sys.stderr)
            os.write(1, b"raw %d\\n" % i)
            return i

        if __name__ == "__main__":
            with Executor(1) as executor:
                for i in range(2):
                    print("result", executor.submit(work, i).result())
            with Executor(1, output=False) as executor:
                executor.submit(work, 7).result()
        """,
    )
    code, out, err = run(main)
    assert code == 0
    lines = out.splitlines()
    assert [line for line in lines if not line.startswith("raw")] == ["task 0", "result 0", "task 1", "result 1"]
    assert sorted(line for line in lines if line.startswith("raw")) == ["raw 0", "raw 1"]
    assert err.splitlines() == ["trouble 0", "trouble 1"]


def test_the_programs_own_modules_travel(tmp_path: Path) -> None:
    main = program(
        tmp_path / "project",
        """
        import helper
        from p2pcpn import Executor

        def work(x):
            from package.deep import triple
            return helper.double(x) + triple(x)

        if __name__ == "__main__":
            with Executor(1) as executor:
                print(list(executor.map(work, range(3))), executor.submit(helper.double, 4).result())
                print(executor.submit(helper.Box, 3).result().value)
        """,
        helper="""
        import other

        def double(x):
            return other.TWO * x

        class Box:
            def __init__(self, value):
                self.value = value
        """,
        other="TWO = 2",
        package__in____init__="",
        package__in__deep="""
        from . import near

        def triple(x):
            return near.THREE * x
        """,
        package__in__near="THREE = 3",
    )
    assert run(main) == (0, "[0, 5, 10] 8\n3\n", "")


def test_a_module_that_came_after_the_job_had_begun_travels_by_value(tmp_path: Path) -> None:
    main = program(
        tmp_path / "project",
        """
        from importlib import import_module
        from p2pcpn import Executor

        if __name__ == "__main__":
            with Executor(1) as executor:
                print(executor.submit(pow, 2, 2).result())
                print(executor.submit(import_module("later").work, 2).result())
        """,
        later="""
        FIVE = 5

        def add(x):
            return x + FIVE

        def work(x):
            return add(x)
        """,
    )
    assert run(main) == (0, "4\n7\n", "")
