"""Every example runs as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".sh"))
SAYS = {
    "async_node.py": "2025",
    "checkpoint.py": "1229 primes below 10000, in 2 runs; the last began at 5000",
    "collatz.py": "",
    "detach_and_fetch.sh": "the longest way of the first fifty numbers has 111 steps",
    "hello.py": "hello Edsger",
    "kill_a_peer.py": "60 results of 60, 3 of 5 peers alive",
    "monte_carlo_pi.py": "pi is about 3.14",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_and_says_what_it_should(shell: Shell, name: str) -> None:
    path = ROOT / "examples" / name
    command = [str(path)] if path.suffix == ".sh" else [sys.executable, str(path)]
    ran = subprocess.run(
        command, env=shell.environment, cwd=shell.folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert SAYS[name] in ran.stdout


def test_an_example_is_short(shell: Shell) -> None:
    for name in EXAMPLES:
        assert len(Path(ROOT / "examples" / name).read_text("utf-8").splitlines()) < 60, name


def test_the_function_for_the_command_line_is_right(shell: Shell) -> None:
    shell.run("swarm", "up", "--peers", "1")
    try:
        assert shell.line("submit", str(ROOT / "examples" / "collatz.py:steps"), "27") == "111"
    finally:
        shell.run("swarm", "down")
