"""Tables, facts and JSON as a terminal and as a program get them, and numbers as people read them."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import pytest

from p2pcpn.cli.printing import duration, number_of, print_facts, print_failures, print_json, print_table, size


class Terminal(io.StringIO):
    """Standard output that people look at."""

    def isatty(self) -> bool:
        return True


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with redirect_stdout(Terminal()) as shown:
        assert isinstance(shown, Terminal) and sys.stdout.isatty()
        yield shown


def test_json_is_one_line_for_programs_and_indented_for_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = {"name": "Zürich", "tasks": [1, 2], "none": None}
    print_json(value)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "Zürich" in said and json.loads(said) == value
    with terminal(monkeypatch) as shown:
        print_json(value)
    assert shown.getvalue().count("\n") > 3 and json.loads(shown.getvalue()) == value


def test_a_table_is_plain_columns_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "n", "more"), [("a", 7, None), ("longer", 123, "x")], numeric=("n",))
    assert capsys.readouterr().out.splitlines() == ["name      n  more", "a         7", "longer  123  x"]


def test_a_table_without_rows_is_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "name"), [])
    assert capsys.readouterr().out == "id  name\n"


def test_a_table_on_a_terminal_shows_the_same_cells_and_reads_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as shown:
        print_table(("name", "n"), [("[bold]a[/bold]", 7), ("b", None)], numeric=("n",))
    text = shown.getvalue()
    assert "[bold]a[/bold]" in text and "7" in text and "name" in text


def shown_in(columns: int, monkeypatch: pytest.MonkeyPatch, *table: Any) -> list[str]:
    """What a terminal of so many columns shows of a table, without what switches its colours."""
    with terminal(monkeypatch) as shown:
        monkeypatch.setenv("COLUMNS", str(columns))
        print_table(*table, numeric=("done",))
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in shown.getvalue().splitlines()]


def test_on_a_narrow_terminal_columns_come_closer_and_ids_and_names_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    table = ("id", "done", "name"), [("0123456789abcdef" * 2, "12/20", "a name")]
    assert shown_in(80, monkeypatch, *table)[1] == "0123456789abcdef0123456789abcdef  12/20  a name"
    assert shown_in(40, monkeypatch, *table)[1] == "0123456789abcdef01234567…  12/20  a name"
    assert shown_in(30, monkeypatch, *table)[1] == "0123456789abcdef…  12/20  a n…"
    assert shown_in(20, monkeypatch, *table) == ["id         done name", "01234567… 12/20 a n…"]


def test_a_table_that_does_not_fit_a_terminal_is_a_block_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    table = ("first", "second", "more"), [("x" * 30, "y" * 30, "z"), ("a", None, "b")]
    assert shown_in(40, monkeypatch, *table) == [
        f"first   {'x' * 30}", f"second  {'y' * 30}", "more    z", "", "first  a", "more   b",
    ]  # fmt: skip


def test_facts_are_aligned_and_what_is_unknown_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"job": "ab", "name": None, "state": "done", "tasks": 0})
    assert capsys.readouterr().out.splitlines() == ["job    ab", "state  done", "tasks  0"]


def test_a_list_of_facts_stands_one_below_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"job": "ab", "holders": ["one", "two"]})
    assert capsys.readouterr().out.splitlines() == ["job      ab", "holders  one", "         two"]


def test_words_of_others_stay_on_their_line_and_act_on_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"name": "\x1b[2Ja\nb"})
    print_table(("name",), [("\x1b]0;title\x07x",)])
    assert capsys.readouterr().out.splitlines() == ["name  \\x1b[2Ja\\nb", "name", "\\x1b]0;title\\x07x"]


@pytest.mark.parametrize(
    "count, text",
    [
        (None, ""), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (10 * 1024, "10 KiB"),
        (3 << 20, "3.0 MiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB"), (5000 << 40, "5000.0 TiB"),
    ],
)  # fmt: skip
def test_bytes_are_written_for_people(count: float | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0.0 s"), (0.44, "0.4 s"), (12, "12 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"),
        (172800, "2 d"), (604800, "7 d"),
    ],
)  # fmt: skip
def test_time_spans_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tasks_that_failed_alike_share_a_line_and_of_different_ones_twenty_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_failures([(3, "KeyError: 'a'"), (4, "it\x1b died"), *((n, "KeyError: 'a'") for n in range(10, 1011))])
    assert capsys.readouterr().err.splitlines() == [
        "p2pcpn: task 3 and 1,001 more failed: KeyError: 'a'", "p2pcpn: task 4 failed: it\\x1b died",
    ]  # fmt: skip
    print_failures((n, f"ValueError: {n}") for n in range(25))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 21 and said[-1] == "p2pcpn: 5 more tasks failed; --json tells of each"


def test_one_thing_is_singular_and_all_other_numbers_plural() -> None:
    assert [number_of(count, "peer") for count in (0, 1, 2)] == ["0 peers", "1 peer", "2 peers"]
