"""``p2pcpn history check``: 0 for a clean history, 1 and the lines that break it for another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pcpn.protocol import history as h

Command = Callable[..., Any]


def write(folder: Path, *events: h.Event) -> None:
    lines = [h.Line("aabbccddee/1", number, 0.0, event) for number, event in enumerate(events, 1)]  # type: ignore[arg-type]
    (folder / "one.jsonl").write_bytes(b"".join(h.packed(line) for line in lines))


def test_a_clean_history_is_a_success(p2pcpn: Command, tmp_path: Path) -> None:
    write(tmp_path, h.Began(), h.Closed("job", 0))
    ended = p2pcpn("history", "check", str(tmp_path))
    said = dict(line.split(maxsplit=1) for line in ended.lines)
    assert (ended.code, ended.err) == (0, "") and said["verdict"] == "clean" and said["events"] == "2"


def test_a_broken_promise_is_shown_with_its_lines(p2pcpn: Command, tmp_path: Path) -> None:
    lease = h.Leased("job", 0, 1, "cc", ((0, 1),))
    write(tmp_path, h.Began(), lease, lease)
    ended = p2pcpn("history", "check", str(tmp_path))
    assert (
        ended.code == 1 and "token 1 of epoch 0 is given out twice" in ended.err and "aabbccdd 3: Leased(" in ended.err
    )
    said = json.loads(p2pcpn("history", "check", str(tmp_path / "one.jsonl"), "--json").out)
    assert not said["ok"] and said["broken"] == 3
    assert said["violations"][0]["lines"] == ["aabbccddee/1 2", "aabbccddee/1 3"]


def test_a_job_that_goes_on_is_not_lost(p2pcpn: Command, tmp_path: Path) -> None:
    write(tmp_path, h.Began(), h.Closed("job", 1))
    assert p2pcpn("history", "check", str(tmp_path)).code == 1
    assert p2pcpn("history", "check", str(tmp_path), "--running").code == 0


def test_what_is_no_history_is_usage(p2pcpn: Command, tmp_path: Path) -> None:
    ended = p2pcpn("history", "check", str(tmp_path))
    assert ended.code == 2 and "there is no history" in ended.err
    (tmp_path / "empty.jsonl").write_bytes(b"")
    ended = p2pcpn("history", "check", str(tmp_path))
    assert ended.code == 2 and "no event that can be read in" in ended.err and "empty.jsonl" in ended.err
