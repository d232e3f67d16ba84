"""Departing: a peer is asked to leave and watched until its process is gone; what it left undone is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.client import departing
from p2pcpn.client.departing import control_of, drain, left_behind, listens, stay
from p2pcpn.errors import P2pcpnError, Unreachable
from p2pcpn.node.control import control_path

Answers = list[dict[str, Any] | None]


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its input does."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as found:
        yield found


def play(monkeypatch: pytest.MonkeyPatch, pid: int, answers: Answers, gone: Any = lambda: None) -> list[Any]:
    """A control socket that answers so; ``None``: nobody listens any more."""
    asked: list[Any] = []

    def ask(path: Path, op: str, **words: Any) -> dict[str, Any]:
        asked.append((op, words))
        if op == "status":
            return {"pid": pid}
        if op == "stay":
            return {"stays": True}
        answer = answers.pop(0)
        if answer is None:
            gone()
            raise Unreachable("gone")
        return answer

    monkeypatch.setattr(departing, "ask", ask)
    monkeypatch.setattr(departing, "POLL_S", 0.0)
    return asked


def test_a_peer_is_watched_until_its_process_is_gone(
    monkeypatch: pytest.MonkeyPatch, process: subprocess.Popen[bytes]
) -> None:
    assert process.stdin is not None
    last = {"state": "leaving", "behind": {"jobs": 1}}
    asked = play(monkeypatch, process.pid, [{"state": "finishing"}, last, None], process.stdin.close)
    seen: list[Mapping[str, Any]] = []
    assert drain(Path("x"), 30.0, seen.append) == {"jobs": 1}
    assert [words["state"] for words in seen] == ["finishing", "leaving"]
    assert asked[1] == ("drain", {"drain_s": 30.0, "careful": False})
    assert process.wait(5) == 0


def test_one_that_stays_after_all_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, os.getpid(), [{"state": "finishing"}, {"state": "staying"}])
    with pytest.raises(P2pcpnError, match="stays after all"):
        drain(Path("x"))
    assert stay(Path("x"))


def test_where_processes_have_no_handles_the_socket_alone_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    play(monkeypatch, os.getpid(), [{"state": "leaving", "behind": {}}, None])
    assert drain(Path("x")) == {}


def test_what_was_left_undone_is_said_in_one_line(tmp_path: Path) -> None:
    assert left_behind({}) == ""
    assert left_behind({"jobs": 1, "sections": 2}) == "not enough other storage peers for 1 job and 2 blob sections"
    assert left_behind({"tasks": 2, "results": 1}) == (
        "2 tasks stopped, to run elsewhere; 1 batch of results that no other peer keeps yet"
    )
    assert control_of(tmp_path) == control_path(tmp_path)
    assert not listens(control_of(tmp_path))
