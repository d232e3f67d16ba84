"""The node on this machine is asked until it has done it, and its words are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from p2pcpn.client import pinning
from p2pcpn.client.pinning import pin_blob, pinned_here
from p2pcpn.errors import PeerError, Unreachable, UsageError
from p2pcpn.wire.manifests import BlobName

NAME = str(BlobName(b"\1" * 32, b"\2" * 32))


def node(monkeypatch: pytest.MonkeyPatch, *states: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Answers these, one after the other; what it is asked."""
    asked: list[tuple[Any, ...]] = []
    answers = list(states)

    def ask(path: Path, op: str, **words: str) -> dict[str, Any]:
        if path.name == "dead":
            raise Unreachable("nobody there")
        asked.append((op, words))
        return {} if op == "status" else answers.pop(0)

    monkeypatch.setattr(pinning, "ask", ask)
    monkeypatch.setattr(pinning, "node_sockets", lambda env: [Path("dead"), Path("alive")])
    return asked


def test_it_is_asked_until_it_has_done_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    asked = node(monkeypatch, {"state": "under way"}, {"state": "done"}, {"state": "done"})
    pin_blob(f" {NAME} ", {}, sleep=slept.append)
    assert asked == [("status", {}), ("pin", {"name": NAME}), ("pin", {"name": NAME})]
    assert slept == [pinning.LOOK_S]
    pin_blob(NAME, {}, pinned=False)
    assert asked[-1] == ("unpin", {"name": NAME})


def test_what_goes_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    node(monkeypatch, {"state": "failed", "why": "there is no room"})
    with pytest.raises(PeerError, match="no room"):
        pin_blob(NAME, {})
    with pytest.raises(UsageError, match="no name of a blob"):
        pin_blob("nonsense", {})
    monkeypatch.setattr(pinning, "node_sockets", lambda env: [Path("dead")])
    with pytest.raises(Unreachable, match="no node of yours runs on this machine"):
        pin_blob(NAME, {})


def test_what_is_pinned_here_is_known_where_a_node_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = node(monkeypatch, {"digests": ["01" * 32]})
    assert pinned_here({}) == {b"\1" * 32} and asked[-1] == ("pins", {})
    monkeypatch.setattr(pinning, "node_sockets", lambda env: [Path("dead")])
    assert pinned_here({}) is None
