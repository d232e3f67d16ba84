"""The command from its words to its exit code: what a verb returns or raises, and what of it is shown."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import click
import pytest

from p2pcpn.cli import verbs
from p2pcpn.cli.failures import Ended
from p2pcpn.cli.main import PRESS_S, main
from p2pcpn.cli.version import version
from p2pcpn.errors import Unreachable


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """``verb(function)``: all that the command does is to call ``function``."""

    def put(function: Callable[[], Any]) -> None:
        def call(debug: bool) -> Any:
            return function()

        command = click.Command("p2pcpn", callback=call, params=[click.Option(["--debug"], is_flag=True)])
        monkeypatch.setattr(verbs, "p2pcpn", command)

    return put


@contextmanager
def nobody_reads() -> Iterator[None]:
    """Standard output is a pipe whose reader went away."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    try:
        with redirect_stdout(stream):
            yield
    finally:
        try:
            stream.close()
        except BrokenPipeError:
            pass  # what was not written never will be


def _raise(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def test_version_is_said_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"p2pcpn {version()}\n", "")


def test_without_words_of_its_own_it_takes_those_of_the_process(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["p2pcpn", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"p2pcpn {version()}\n"


def test_no_verb_shows_the_help_and_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Usage: p2pcpn") and said.err == ""


def test_an_unknown_verb_or_option_is_usage_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["fly"], ["--fly"], ["key", "fly"]):
        assert main(words) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith("p2pcpn: no such ") and said.err.count("\n") == 1


def test_what_a_verb_returns_or_ends_with_is_the_exit_code(verb: Callable[..., None]) -> None:
    for function, code in ((lambda: None, 0), (lambda: 5, 5), (lambda: "text", 0), (_raise(Ended(4)), 4)):
        verb(function)
        assert main([]) == code


def test_what_a_verb_raises_is_one_line_without_a_traceback(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(_raise(Unreachable("nobody answers")))
    assert main([]) == 3
    assert capsys.readouterr() == ("", "p2pcpn: nobody answers\n")


def test_debug_shows_the_traceback_and_then_the_line(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(_raise(Unreachable("nobody answers")))
    assert main(["--debug"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("Traceback") and said.endswith("\np2pcpn: nobody answers\n")


def test_an_interrupt_ends_with_130_and_no_traceback(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[tuple[object, ...]] = []
    monkeypatch.setattr(signal, "signal", lambda *args: left.append(args))
    monkeypatch.setattr(sys, "argv", ["p2pcpn"])
    verb(_raise(KeyboardInterrupt()))
    assert main([]) == 130 and not left, "whoever calls us keeps what it does with Ctrl-C"
    assert capsys.readouterr().err.strip() == "p2pcpn: interrupted"
    now_s, raised = [0.0], list[int]()
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    assert main() == 130
    ((_, again),) = left
    assert callable(again)
    now_s[0] = PRESS_S / 2
    again(signal.SIGINT, None)
    assert len(left) == 1 and not raised, "a second one within the press interrupts nothing that clears up"
    now_s[0] = PRESS_S
    again(signal.SIGINT, None)
    assert left[-1] == (signal.SIGINT, signal.SIG_DFL) and raised == [signal.SIGINT], "a later one ends what hangs"


def test_a_reader_that_went_away_while_a_verb_speaks_is_nothing_to_tell(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda: click.echo("a line"))
    with nobody_reads():
        assert main([]) == 141
    assert capsys.readouterr().err == ""


def test_a_reader_that_went_away_before_the_last_flush_is_nothing_to_tell(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda: sys.stdout.write("a line") and None)
    with nobody_reads():
        assert main([]) == 141
        sys.stdout.flush()  # as the interpreter does at its end: it goes nowhere and raises nothing
    assert capsys.readouterr().err == ""
