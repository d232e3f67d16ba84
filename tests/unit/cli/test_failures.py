"""What goes wrong is one line on stderr and an exit code, and the code says what kind of thing it was."""

from __future__ import annotations

import click
import pytest

from p2pcpn.cli import failures
from p2pcpn.cli.failures import Ended, exit_code, is_pipe_closed, say
from p2pcpn.errors import JobError, PeerError, StoreError, TaskError, Unreachable, UsageError


def _context(path: str = "p2pcpn submit") -> click.Context:
    return click.Context(click.Command("submit", params=[click.Argument(["file"])]), info_name=path)


@pytest.mark.parametrize(
    "error, code, line",
    [
        (UsageError("roles takes compute, not 'x'"), 2, "roles takes compute, not 'x'"),
        (Unreachable("no peer answered at 127.0.0.1:1"), 3, "no peer answered at 127.0.0.1:1"),
        (TimeoutError("3 of 4 tasks had ended"), 4, "3 of 4 tasks had ended"),
        (TimeoutError(), 4, "it took longer than --timeout allows"),
        (StoreError("/x: the disk is full"), 1, "/x: the disk is full"),
        (JobError("no peer keeps it"), 1, "no peer keeps it"),
        (TaskError("ValueError: 3"), 1, "ValueError: 3"),
        (PeerError("it sent rubbish"), 1, "it sent rubbish"),
        (OSError(5, "Input/output error"), 1, "[Errno 5] Input/output error"),
        (PermissionError(13, "Permission denied", b"/x/y"), 1, "/x/y: Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 130, "interrupted"),
    ],
)
def test_each_kind_of_failure_has_its_code_and_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(error) == code
    assert capsys.readouterr() == ("", f"p2pcpn: {line}\n")


@pytest.mark.parametrize("variable", ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"])
def test_of_a_folder_that_is_ours_it_is_said_how_to_name_another(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for each in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{each}_HOME", f"/{each}/deep")
    above = f"/{variable.split('_')[1]}"  # that it could not be made befell us alone
    for path, kind in ((above, OSError), (f"{above}/deep/p2pcpn/x", OSError), (f"{above}/deep/p2pcpn/x", StoreError)):
        text = "Read-only file system"
        error = OSError(30, text, path) if kind is OSError else StoreError(f"{path}: {text}")
        assert exit_code(error) == 1
        said = f"p2pcpn: {path}: Read-only file system; name another folder with {variable}\n"
        assert capsys.readouterr().err == said
    exit_code(OSError(30, text, "/"))
    assert capsys.readouterr().err == f"p2pcpn: /: {text}\n"
    exit_code(StoreError(f"{path}: in use by another peer (process 7); name another folder with --data"))
    assert capsys.readouterr().err.endswith("(process 7); name another folder with --data\n")


def test_a_verb_that_has_said_everything_ends_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(Ended(failures.FAILED)) == 1
    assert exit_code(Ended(failures.DONE)) == 0
    assert exit_code(click.exceptions.Exit(7)) == 7
    assert capsys.readouterr() == ("", "")


def test_a_mistake_of_our_own_is_named_as_one_with_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(ZeroDivisionError("division by zero")) == 1
    said = capsys.readouterr().err
    assert "a mistake of our own: ZeroDivisionError: division by zero" in said
    assert "--debug" in said and said.count("\n") == 1


def test_a_wrong_option_is_usage_and_names_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    error = click.NoSuchOption("--fast", ctx=_context())
    assert exit_code(error) == 2
    said = capsys.readouterr().err
    assert said.startswith("p2pcpn: no such option") and "--fast" in said
    assert said.endswith("(p2pcpn submit --help)\n")


def test_a_message_of_several_lines_becomes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(click.ClickException("First line,\n    second line.")) == 2
    assert capsys.readouterr().err == "p2pcpn: first line, second line\n"


def test_a_message_that_begins_with_what_was_written_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(click.ClickException("'Abc' is no number.")) == 2
    assert capsys.readouterr().err == "p2pcpn: 'Abc' is no number\n"


def test_a_group_without_a_verb_shows_its_help_and_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(click.exceptions.NoArgsIsHelpError(_context())) == 2
    said = capsys.readouterr()
    assert said.out == "" and "Usage: p2pcpn submit" in said.err


def test_say_writes_one_line_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("the job was cancelled")
    assert capsys.readouterr() == ("", "p2pcpn: the job was cancelled\n")


def test_only_a_broken_pipe_means_that_our_reader_went_away() -> None:
    assert is_pipe_closed(BrokenPipeError())
    assert not is_pipe_closed(ConnectionResetError()) and not is_pipe_closed(OSError(5, "x"))
