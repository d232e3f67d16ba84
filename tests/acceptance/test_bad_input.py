"""Bad input: one clear line on stderr, the right exit code, never a traceback."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

ZEROS = "0" * 40
MISTAKES = [
    (("key", "show"), 2, "p2pcpn key new makes it"),  # first: later ones make the key
    (("nonsense",), 2, "no such command"),
    (("--nonsense",), 2, "no such option"),
    (("submit",), 2, "missing argument"),
    (("submit", "none.py"), 2, "there is no such file"),
    (("submit", "f.py:g"), 2, "has no function 'g'; it has f"),
    (("submit", "f.py:ff"), 2, "did you mean 'f'?"),
    (("submit", "f.py:1f"), 2, "is no name of a function"),
    (("submit", "f.py:text"), 2, "is no function but str"),
    (("submit", "broken.py"), 2, "line 1"),
    (("submit", "broken.py:f"), 2, "line 1"),
    (("submit", "raises.py:f"), 2, "cannot be imported: ZeroDivisionError"),
    (("submit", "f.txt:f"), 2, "ends in .py"),
    (("submit", "f.py", "--map", "f.py"), 2, "write FILE:FUNCTION"),
    (("submit", "f.py:f", "--map", "none.txt"), 2, "No such file"),
    (("submit", "f.py:f", "--map", "empty.txt"), 2, "no lines"),
    (("submit", "f.py:f", "--input", "none.txt"), 2, "No such file"),
    (("submit", "f.py:f", "--replicas", "0"), 2, "replicas"),
    (("submit", "f.py:f", "--timeout", "soon"), 2, "is no duration"),
    (("submit", "f.py:f"), 3, "there is no peer to talk to"),
    (("submit", "f.py:f", "--bootstrap", "nowhere"), 2, "HOST:PORT"),
    (("submit", "f.py:f", "--bootstrap", "127.0.0.1:1", "--swarm-key", "short"), 2, "64 hexadecimal digits"),
    (("peers", "--bootstrap", "127.0.0.1:1"), 3, "nobody listens at 127.0.0.1:1"),
    (("job", "show", "xyz"), 2, "is no job id"),
    (("job", "show", ZEROS), 3, "there is no peer to talk to"),
    (("job", "result", ZEROS, "--key", "none.key"), 2, "no such file"),
    (("key", "trust", "abc"), 2, "64 hexadecimal digits"),
    (("node", "--memory", "lots"), 2, "is no size"),
    (("node", "--role", "king"), 2, "is not one of"),
    (("node", "--swarm-key", "short"), 2, "64 hexadecimal digits"),
    (("node", "--listen", "127.0.0.1"), 2, "HOST:PORT"),
    (("swarm", "up", "--peers", "0"), 2, "1 to"),
    (("swarm", "kill", "0"), 3, "no local swarm runs"),
    (("swarm", "add", "x"), 2, "is not a valid integer"),
    (("demo", "--peers", "1"), 2, "2 to 8"),
    (("demo", "--output", "none/p.png"), 2, "there is no directory"),
    (("sim", "nonsense"), 2, "there is no scenario"),
    (("sim", "quiet", "--peers", "0"), 2, "peers"),
]


@pytest.fixture(scope="module")
def files(new_shell: Callable[[str], Shell]) -> Shell:
    shell = new_shell("user")
    for name, text in (
        ("f.py", "text = 'x'\ndef f(*a): return a\n"), ("broken.py", "def f(:\n"), ("raises.py", "1 / 0\n"),
        ("f.txt", ""), ("empty.txt", "\n\n"),
    ):  # fmt: skip
        (shell.folder / name).write_text(text)
    return shell


@pytest.mark.parametrize(
    ("words", "code", "said"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_a_mistake_gets_one_line_and_its_exit_code(files: Shell, words: tuple[str, ...], code: int, said: str) -> None:
    ended = files.run(*words, code=code)
    assert ended.stdout == ""
    assert ended.stderr.startswith("p2pcpn: ") and ended.stderr.count("\n") == 1, ended.stderr
    assert said in ended.stderr


def test_help_is_there_for_every_verb(files: Shell) -> None:
    for verb in (
        "",
        "demo",
        "sim",
        "node",
        "swarm",
        "swarm up",
        "peers",
        "key",
        "key trust",
        "submit",
        "job",
        "job explain",
    ):
        shown = files.run(*verb.split(), "--help").stdout
        assert shown.startswith("Usage: p2pcpn") and max(map(len, shown.splitlines())) <= 80
    assert files.run().stdout == files.run("--help").stdout


def test_the_version_is_told_at_once(files: Shell) -> None:
    began = time.monotonic()
    assert files.line("--version").startswith("p2pcpn 0.")
    assert time.monotonic() - began < 1.0  # some 0.03 s on a machine that is not busy


def test_help_loads_nothing_but_click(files: Shell) -> None:
    code = (
        "import sys; from p2pcpn.cli.main import main; main(['--help'])\n"
        "print([name for name in ('asyncio', 'rich', 'nacl', 'msgspec', 'sqlite3') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=files.environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_error_to_tell(files: Shell) -> None:
    process = files.start("sim", "--help")
    assert process.stdout is not None and process.stderr is not None and process.stdin is not None
    process.stdout.close()
    said = process.stderr.read()
    process.wait(timeout=20)
    process.stderr.close()
    process.stdin.close()
    assert said == ""
