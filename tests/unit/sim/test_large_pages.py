"""Large pages: which memory is asked for, and that a system without them is no matter."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from p2pcpn.sim.large_pages import LARGE_BYTES, MADV_COLLAPSE, ask_for_large_pages, own_memory

MAPS = """\
00400000-00a00000 r-xp 00000000 fe:00 1234 /usr/bin/python3
00a00000-00b00000 rw-p 00600000 fe:00 1234 /usr/bin/python3
01000000-01500000 rw-p 00000000 00:00 0 [heap]
7f0000100000-7f0000900000 rw-p 00000000 00:00 0
7f0001000000-7f0001001000 ---p 00000000 00:00 0
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
"""


def test_what_we_write_to_and_no_file_has_is_our_own() -> None:
    assert list(own_memory(MAPS)) == [(0x1000000, 0x1500000), (0x7F0000100000, 0x7F0000900000)]


def test_whole_large_pages_are_asked_for_until_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text(MAPS)
    asked: list[tuple[int, int, int]] = []

    def advise(first: int, count: int, advice: int) -> int:
        asked.append((first, count, advice))
        return -1 if first >= 0x7F0000400000 else 0

    assert ask_for_large_pages(tmp_path / "maps", advise) == 3 * LARGE_BYTES
    collapsed = [first for first, _, advice in asked if advice == MADV_COLLAPSE]
    assert collapsed == [0x1000000, 0x1200000, 0x7F0000200000, 0x7F0000400000]
    wishes = [(first, count) for first, count, advice in asked if advice != MADV_COLLAPSE]
    assert wishes == [(0x1000000, 0x500000), (0x7F0000100000, 0x800000)]


def test_a_system_without_them_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask_for_large_pages(tmp_path / "none") == 0
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    assert ask_for_large_pages() == 0


def test_this_very_process_may_ask() -> None:
    assert ask_for_large_pages() % LARGE_BYTES == 0
