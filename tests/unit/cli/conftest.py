"""What the tests of the command line share: a user with directories of their own, and the command run in-process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from p2pcpn.cli.main import main

MARK = "P2PCPN_TEST_SESSION"


@dataclass(frozen=True, slots=True)
class Said:
    """The end of a command: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user who has started nothing yet; the working directory is an empty folder in it."""
    for name in list(os.environ):
        if name.startswith("P2PCPN_") and name != MARK:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return tmp_path


@pytest.fixture
def p2pcpn(user: Path) -> Callable[..., Said]:
    """``p2pcpn("key", "show")``: the whole command, from its words to its exit code."""

    def run(*words: str, stdin: str = "") -> Said:
        with CliRunner().isolation(stdin) as (out, err, _):
            code = main(words)
            sys.stdout.flush()
            sys.stderr.flush()
        return Said(code, out.getvalue().decode(), err.getvalue().decode())

    return run
