"""Options that several verbs share: what they take, what they refuse, and which swarm they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from p2pcpn.cli.options import Duration, json_option, swarm_options, timeout_option, where
from p2pcpn.errors import Unreachable

KEY = "ab" * 32


@pytest.fixture
def verb() -> tuple[click.Command, list[dict[str, Any]]]:
    """A verb with all of these options, and what it was called with."""
    calls: list[dict[str, Any]] = []

    @click.command()
    @swarm_options
    @timeout_option
    @json_option
    def look(**given: Any) -> None:
        """Look."""
        calls.append(given)

    return look, calls


@pytest.mark.parametrize("text, seconds", [("30s", 30.0), ("5m", 300.0), ("1.5h", 5400.0), ("250ms", 0.25), ("7", 7.0)])
def test_a_time_is_read_as_seconds(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


def test_seconds_that_are_a_number_already_stay_what_they_are() -> None:
    assert Duration().convert(2.5, None, None) == 2.5


def test_a_time_that_is_none_is_refused_with_an_example(verb: tuple[click.Command, list[dict[str, Any]]]) -> None:
    outcome = CliRunner().invoke(verb[0], ["--timeout", "soon"])
    assert outcome.exit_code == 2
    assert "'soon' is no duration; write for example 30s" in outcome.stderr
    assert verb[1] == []


def test_nothing_given_is_nothing_named(verb: tuple[click.Command, list[dict[str, Any]]]) -> None:
    assert CliRunner().invoke(verb[0], []).exit_code == 0
    assert verb[1] == [{"bootstrap": (), "swarm_key": None, "key": None, "timeout": None, "as_json": False}]


def test_everything_given_arrives_and_addresses_may_be_repeated(
    verb: tuple[click.Command, list[dict[str, Any]]],
) -> None:
    words = ["--bootstrap", "a:1", "--bootstrap", "b:2", "--swarm-key", "k", "--key=file", "--timeout=1m", "--json"]
    assert CliRunner().invoke(verb[0], words).exit_code == 0
    assert verb[1] == [{"bootstrap": ("a:1", "b:2"), "swarm_key": "k", "key": "file", "timeout": 60.0, "as_json": True}]


def test_the_help_names_each_option_and_its_variable(verb: tuple[click.Command, list[dict[str, Any]]]) -> None:
    said = CliRunner().invoke(verb[0], ["--help"], terminal_width=120).stdout
    for word in ("--bootstrap HOST:PORT", "$P2PCPN_BOOTSTRAP", "--swarm-key KEY", "$P2PCPN_SWARM_KEY", "--key FILE",
                 "$P2PCPN_KEY", "--timeout TIME", "exit code 4", "--json"):  # fmt: skip
        assert word in said


def test_a_swarm_that_is_named_comes_before_the_environment(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2PCPN_BOOTSTRAP", "192.0.2.1:1")
    monkeypatch.setenv("P2PCPN_SWARM_KEY", KEY)
    named = where(("192.0.2.2:2",), None)
    assert (named.bootstrap, named.swarm_key, named.source) == (("192.0.2.2:2",), KEY, "--bootstrap")
    found = where((), None)
    assert (found.bootstrap, found.swarm_key, found.source) == (("192.0.2.1:1",), KEY, "P2PCPN_BOOTSTRAP")


def test_where_nothing_names_a_swarm_nobody_is_reachable(user: Path) -> None:
    with pytest.raises(Unreachable, match="p2pcpn swarm up"):
        where((), None)
