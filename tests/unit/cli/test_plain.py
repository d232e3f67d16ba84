"""Words of others on a terminal: nothing of them acts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.cli.plain import one_line, plain


@pytest.mark.parametrize("text", ["", "a result of 42", "größer", "日本 🙂", "one\ntwo\tthree"])
def test_words_of_people_stay_as_they_are(text: str) -> None:
    assert plain(text) == text


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert plain("\x1b[2J\x1b]0;owned\x07") == "\\x1b[2J\\x1b]0;owned\\x07"
    assert plain("a\rb\x7f\x9b1m") == "a\\rb\\x7f\\x9b1m"
    assert plain("abc\u202edcba") == "abc\\u202edcba"


def test_a_line_is_one_line() -> None:
    assert one_line("one\ntwo\tthree\r") == "one\\ntwo three\\r"


@given(st.text())
def test_whatever_comes_only_printable_characters_and_line_ends_go_out(text: str) -> None:
    assert all(char.isprintable() or char in "\n\t" for char in plain(text))
    assert one_line(text).isprintable()
