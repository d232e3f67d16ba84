"""The command line as its users have it: processes, with directories of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs ``p2pcpn`` in ``folder``; what it keeps lies below ``home``."""

    home: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("P2PCPN_B", "P2PCPN_S", "P2PCPN_K"))
        }
        directories = {f"XDG_{name}_HOME": str(self.home / name.lower()) for name in ("CONFIG", "DATA", "STATE")}
        return (
            kept
            | directories
            | {
                "P2PCPN_TEST_SESSION": os.environ["P2PCPN_TEST_SESSION"],
                "PYTHONPATH": str(ROOT),
                "PATH": f"{self.home}{os.pathsep}{os.environ['PATH']}",
                "COLUMNS": "80",
            }
        )

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """The command as a running process."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "p2pcpn", *words], env=self.environment, cwd=self.folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def run(self, *words: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command to its end; it must end with ``code``."""
        process = self.start(*words)
        try:
            out, err = process.communicate(stdin, timeout=PATIENCE_S)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == code, f"p2pcpn {' '.join(words)} ended with {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def line(self, *words: str, stdin: str = "") -> str:
        """What the command prints, without the newline at its end."""
        return self.run(*words, stdin=stdin).stdout.rstrip("\n")

    def document(self, *words: str) -> Any:
        """The JSON document that the command prints."""
        return json.loads(self.run(*words, "--json").stdout)


def _shell(home: Path) -> Shell:
    folder = home / "work"
    folder.mkdir(parents=True)
    command = home / "p2pcpn"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m p2pcpn "$@"\n')
    command.chmod(0o755)
    return Shell(home, folder)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A user who has started nothing yet."""
    return _shell(tmp_path / "user")


@pytest.fixture(scope="module")
def new_shell(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shell]:
    """Makes users."""
    return lambda name: _shell(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def swarm(new_shell: Callable[[str], Shell]) -> Iterator[Shell]:
    """A user with a local swarm of three peers."""
    shell = new_shell("user")
    shell.run("swarm", "up", "--peers", "3")
    yield shell
    shell.run("swarm", "down")
