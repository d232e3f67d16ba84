"""Recorded histories: files and folders are read together, in the order of each life."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pcpn.client import recorded
from p2pcpn.errors import UsageError
from p2pcpn.protocol import history as h


def write(path: Path, *lines: h.Line) -> None:
    path.write_bytes(b"".join(h.packed(line) for line in lines))


def two_lives(folder: Path) -> None:
    write(folder / "b.jsonl", h.Line("aa/1", 1, 0.0, h.Began()), h.Line("aa/1", 2, 1.0, h.Closed("job", 1)))
    write(folder / "a.jsonl", h.Line("aa/2", 1, 0.0, h.Began()))


def test_a_folder_is_read_in_the_order_of_lives(tmp_path: Path) -> None:
    two_lives(tmp_path)
    assert [(line.boot, line.number) for line in recorded.lines([tmp_path])] == [(1, 1), (1, 2), (2, 1)]
    assert recorded.lines([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]) == recorded.lines([tmp_path])


def test_a_verdict_is_over_all_of_them(tmp_path: Path) -> None:
    two_lives(tmp_path)
    assert str(recorded.verdict(tmp_path)) == "lost: 1 of 1 tasks never ended, the first is 0"
    assert recorded.verdict(tmp_path, over=False).ok


def test_what_is_no_history_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no history in"):
        recorded.verdict(tmp_path)
    with pytest.raises(UsageError, match="there is no history"):
        recorded.verdict(tmp_path / "missing")
    (tmp_path / "x.jsonl").write_text("words\nwords\n")
    with pytest.raises(UsageError, match="cannot be read as a history: line 1"):
        recorded.verdict(tmp_path)
