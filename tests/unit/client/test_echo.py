"""What tasks print is written at once where it can be, and never holds up who hands it over."""

from __future__ import annotations

import io
import os
import sys
import threading

import pytest

from p2pcpn.client import echo as echoes
from p2pcpn.client.echo import Echo


def test_what_is_printed_stands_in_the_programs_streams_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    echo = Echo()
    echo.write(1, "größe\n".encode())
    echo.write(2, b"bad \xff\n")
    assert (out.getvalue(), err.getvalue()) == ("größe\n", "bad \ufffd\n") and echo.flush(0)


def test_a_closed_or_missing_stream_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stdout", stream)
        Echo().write(1, b"x")


def test_a_stream_that_blocks_holds_nobody_up_and_gets_all_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(echoes, "WAITING_CHARS_MAX", 300_000)
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as read:
        err = io.StringIO()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", err)
        echo = Echo()
        pieces = [f"{i:07d}\n" * 1000 for i in range(20)]
        for piece in pieces:
            echo.write(1, piece.encode())
        assert not echo.flush(0)
        echo.write(1, b"x" * 300_000)  # more than may wait
        found: list[str] = []
        reader = threading.Thread(target=lambda: found.append(read.read(160_000)))
        reader.start()
        reader.join(10)
        assert found == ["".join(pieces)]
        assert echo.flush(10)
        assert err.getvalue() == "\n[300000 characters that tasks printed are not shown]\n"
