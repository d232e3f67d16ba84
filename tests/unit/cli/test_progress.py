"""How far a job is: a line now and then where nobody looks, a bar on a terminal, and results always alone on stdout."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from p2pcpn.cli import progress as progress_module
from p2pcpn.cli.progress import LINE_EVERY_S, BytesProgress, Progress, VirtualProgress


class Stream(io.TextIOWrapper):
    """A standard stream that may be a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def shown(self) -> str:
        self.flush()
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue().decode()


@contextmanager
def streams(*, out: bool, err: bool) -> Iterator[tuple[Stream, Stream]]:
    """Standard output and error; ``True`` for a terminal."""
    with redirect_stdout(Stream(terminal=out)) as stdout, redirect_stderr(Stream(terminal=err)) as stderr:
        yield stdout, stderr


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock's reading: its last number."""
    readings = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: readings[-1])
    return readings


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_quick_job_says_nothing_of_its_progress(clock: list[float]) -> None:
    with streams(out=False, err=False) as (out, err), Progress("sums", 4) as progress:
        for done in range(5):
            progress.update(done, 4)
    assert (out.shown, err.shown) == ("", "")


def test_a_slow_job_says_a_line_now_and_then_on_stderr(clock: list[float]) -> None:
    with streams(out=False, err=False) as (out, err), Progress("sums", 4) as progress:
        progress.update(0, 4)
        clock.append(clock[-1] + LINE_EVERY_S)
        progress.update(1, 4, failed=1, note="2 running")
        progress.update(2, 4)
        clock.append(clock[-1] + LINE_EVERY_S)
        progress.update(3, None)
    assert (out.shown, err.shown) == ("", "sums: 1/4, 1 failed, 2 running\nsums: 3/?\n")


def test_the_same_line_is_not_said_twice(clock: list[float]) -> None:
    with streams(out=False, err=False) as (_, err), Progress("sums", 4) as progress:
        for _ in range(3):
            clock.append(clock[-1] + LINE_EVERY_S)
            progress.update(1, 4)
    assert err.shown == "sums: 1/4\n"


def test_progress_that_is_not_shown_says_nothing(clock: list[float], terminal: None) -> None:
    for is_terminal in (False, True):
        with streams(out=False, err=is_terminal) as (_, err), Progress("sums", 4, shown=False) as progress:
            clock.append(clock[-1] + LINE_EVERY_S)
            progress.update(1, 4)
        assert err.shown == ""


def test_a_terminal_gets_a_bar_and_other_output_stays_alone(terminal: None) -> None:
    with streams(out=False, err=True) as (out, err):
        with Progress("sums [red]of[/red] all", None) as progress:
            progress.update(2, 4, failed=1, note="1 running")
        assert "sums [red]of[/red] all" in err.shown  # as it stands: a name is no markup
        assert "2/4" in err.shown and "1 failed, 1 running" in err.shown
    assert out.shown == ""


def test_a_bar_is_gone_when_an_error_ends_the_block(terminal: None) -> None:
    with streams(out=False, err=True) as (_, err):
        with pytest.raises(KeyError), Progress("sums", 4):
            raise KeyError
        assert "\x1b[?25h" in err.shown  # the cursor is back
        before = err.shown
        with Progress("sums", 4, shown=False) as progress:
            progress.update(1, 4)
        assert err.shown == before


def test_what_tasks_print_goes_to_our_streams_byte_for_byte() -> None:
    with streams(out=False, err=False) as (out, err), Progress("sums", 4) as progress:
        sys.stdout.write("before ")
        progress.printed(1, b"to stdout\n")
        progress.printed(2, b"to stderr")
    assert (out.shown, err.shown) == ("before to stdout\n", "to stderr")


def test_bytes_that_are_no_text_are_passed_on_as_they_are() -> None:
    with streams(out=False, err=False) as (out, _), Progress("sums", 4) as progress:
        progress.printed(1, b"\xff\x00\xfe")
        raw = out.buffer
        assert isinstance(raw, io.BytesIO) and raw.getvalue() == b"\xff\x00\xfe"


def test_a_bar_makes_room_for_what_tasks_print(terminal: None) -> None:
    with streams(out=True, err=True) as (out, err):
        with Progress("sums", 4) as progress:
            progress.printed(1, b"a \xff line\n")
            progress.printed(2, b"another line\n")
        assert "a \ufffd line" in out.shown + err.shown
        assert "another line" in out.shown + err.shown


def test_stdout_in_a_file_gets_the_bytes_while_the_bar_is_shown(terminal: None) -> None:
    with streams(out=False, err=True) as (out, _):
        with Progress("sums", 4) as progress:
            progress.printed(1, b"\xffbytes\n")
        raw = out.buffer
        assert isinstance(raw, io.BytesIO) and raw.getvalue() == b"\xffbytes\n"


def test_a_line_of_our_own_names_the_job_in_a_file_and_stands_above_the_bar_on_a_terminal(terminal: None) -> None:
    with streams(out=False, err=False) as (out, err), Progress("sums", 4) as progress:
        progress.say("nobody has begun")
    assert (out.shown, err.shown) == ("", "sums: nobody has begun\n")
    with streams(out=False, err=True) as (out, err):
        with Progress("sums", 4) as progress:
            progress.say("[red]nobody[/red] has begun")
        assert "[red]nobody[/red] has begun\n" in err.shown and out.shown == ""


def test_progress_that_is_not_shown_has_no_lines_of_its_own() -> None:
    with streams(out=False, err=False) as (_, err), Progress("sums", 4, shown=False) as progress:
        progress.say("nobody has begun")
    assert err.shown == ""


def test_virtual_time_is_told_in_a_line_now_and_then(clock: list[float]) -> None:
    with streams(out=False, err=False) as (stdout, stderr), VirtualProgress("churn") as progress:
        progress.update(1.5, 100)
        clock.append(clock[-1] + LINE_EVERY_S)
        progress.update(12.25, 10_000)
        progress.update(12.5, 10_100)
    assert stderr.shown == "churn: 12.2 virtual s, 10,000 events, 2,000/s\n"
    assert stdout.shown == ""


def test_virtual_time_is_told_on_a_terminal_and_wiped_away(clock: list[float], terminal: None) -> None:
    with streams(out=True, err=True) as (stdout, stderr), VirtualProgress("churn") as progress:
        progress.update(1.5, 100)
    assert "churn" in stderr.shown
    assert stdout.shown == ""


def test_bytes_are_told_in_a_line_now_and_then(clock: list[float]) -> None:
    with streams(out=False, err=False) as (stdout, stderr), BytesProgress("put x") as progress:
        progress.update(1, 4 << 20)
        clock.append(clock[-1] + LINE_EVERY_S)
        progress.update(2 << 20, 4 << 20)
        progress.update(3 << 20, 4 << 20)
    assert stderr.shown == "put x: 2.0 MiB of 4.0 MiB, 410 KiB/s\n"
    assert stdout.shown == ""


def test_bytes_are_shown_on_a_terminal_and_wiped_away(clock: list[float], terminal: None) -> None:
    with streams(out=True, err=True) as (stdout, stderr), BytesProgress("put x") as progress:
        progress.update(2 << 20, 4 << 20)
    assert "put x" in stderr.shown
    assert stdout.shown == ""


def test_who_wants_no_progress_of_bytes_is_told_none(clock: list[float]) -> None:
    with streams(out=False, err=False) as (stdout, stderr), BytesProgress("put x", shown=False) as progress:
        clock.append(clock[-1] + LINE_EVERY_S)
        progress.update(2 << 20, 4 << 20)
    assert (stdout.shown, stderr.shown) == ("", "")
