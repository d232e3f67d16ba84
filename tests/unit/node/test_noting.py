"""Noting: every line is on disk at once, and a disk that refuses ends the history alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pcpn.errors import StoreError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.noting import HistoryFile, noted
from p2pcpn.protocol import history as h

KEY = Keypair(bytes(31) + b"\1")


def test_each_line_is_in_the_file_when_it_was_noted(tmp_path: Path) -> None:
    chronicle, file = noted(tmp_path / "made", KEY, 3, lambda: 1.5)
    chronicle.note(h.Closed("job", 4))
    found = h.lines_of(file.path.read_bytes())
    assert [line.event for line in found] == [h.Began(), h.Closed("job", 4)]
    assert found[0].process == f"{KEY.id.hex()}/3" and found[0].at_s == 1.5
    assert file.path.name == f"{KEY.id.hex()[:16]}-3.jsonl"
    file.close()
    file.close()
    chronicle.note(h.Began())
    assert len(h.lines_of(file.path.read_bytes())) == 2


def test_a_disk_that_refuses_ends_the_history_and_nothing_else(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path, KEY.id, 1)
    line = h.Line("ab/1", 1, 0.0, h.Began())
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file._fd)
    os.close(full)
    file.write(line)
    file.write(line)
    assert file._fd == -1


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="name another folder"):
        HistoryFile(tmp_path / "file" / "below", KEY.id, 1)
