"""The verbs: each is found under its name, explained in a line, and loaded only when it is called."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from p2pcpn.cli.verbs import SECTIONS, p2pcpn
from p2pcpn.cli.version import version

NAMES = [verb for _, verbs in SECTIONS for verb, _, _ in verbs]


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_is_a_command_of_its_name(name: str) -> None:
    command = p2pcpn.get_command(click.Context(p2pcpn), name)
    assert isinstance(command, click.Command) and command.name == name
    outcome = CliRunner().invoke(p2pcpn, [name, "--help"], prog_name="p2pcpn")
    assert outcome.exit_code == 0 and outcome.stdout.startswith(f"Usage: p2pcpn {name}")


def test_the_help_lists_the_verbs_by_what_they_are_for() -> None:
    said = CliRunner().invoke(p2pcpn, ["-h"]).stdout
    places = [said.index(title) for title, _ in SECTIONS]
    assert places == sorted(places)
    for _, verbs in SECTIONS:
        for verb, _, text in verbs:
            assert any(line.split() == [verb, *text.split()] for line in said.splitlines())
    assert "Exit code 0 done, 1 the work failed, 2 usage, 3 no peer reachable, 4 timed out." in " ".join(said.split())


def test_no_verb_shows_the_same_help() -> None:
    outcome = CliRunner().invoke(p2pcpn, [])
    assert outcome.exit_code == 0 and outcome.stdout == CliRunner().invoke(p2pcpn, ["--help"]).stdout


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(p2pcpn, ["--version"]).stdout == f"p2pcpn {version()}\n"


def test_a_name_that_is_no_verb_is_no_command() -> None:
    context = click.Context(p2pcpn)
    assert p2pcpn.get_command(context, "fly") is None
    assert p2pcpn.list_commands(context) == NAMES
    assert CliRunner().invoke(p2pcpn, ["fly"]).exit_code == 2


def test_a_misspelt_verb_is_told_the_one_that_is_meant(p2pcpn: Callable[..., Any]) -> None:
    ended = p2pcpn("submti")
    assert ended.code == 2 and ended.err == "p2pcpn: no such command 'submti'. Did you mean 'submit'? (p2pcpn --help)\n"


def test_debug_shows_what_happens_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **settings: asked.append(settings))
    assert CliRunner().invoke(p2pcpn, ["--debug"]).exit_code == 0
    assert [settings["level"] for settings in asked] == [logging.DEBUG]


def test_the_help_loads_no_verb(tmp_path: Path) -> None:
    code = (
        "import sys; from p2pcpn.cli.main import main; main(['--help']); "
        "print([name for name in sys.modules if name.startswith(('p2pcpn.client', 'p2pcpn.node', 'asyncio', 'rich'))])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert said.stdout.splitlines()[-1] == "[]"


def test_words_of_a_verb_reach_it_and_its_refusal_comes_back(p2pcpn: Callable[..., Any]) -> None:
    ended = p2pcpn("demo", "--peers", "99")
    assert (ended.code, ended.out, ended.err) == (2, "", "p2pcpn: --peers is 2 to 8, not 99\n")
