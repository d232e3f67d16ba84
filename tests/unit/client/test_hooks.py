"""Hooks: commands are told what is wanted; what they started counts until it is there, or is overdue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from p2pcpn.client import hooks
from p2pcpn.client.hooks import HookCrowd, watch
from p2pcpn.client.scaling import Scaler, Seen
from p2pcpn.errors import P2pcpnError, UsageError
from p2pcpn.protocol.scaling import Bounds


def row(name: str, free: int = 1, **other: Any) -> dict[str, Any]:
    return {
        "id": name, "address": f"192.0.2.1:{ord(name)}", "slots": 2, "slots_free": free, "roles": ["compute"],
        "draining": False, "own": False,
    } | other  # fmt: skip


class Node:
    """The node that is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = [row("b", own=True), row("a")]
        monkeypatch.setattr(hooks, "ask", self.ask)

    def ask(self, path: Path, op: str) -> dict[str, Any]:
        load = {"running": 2, "queued": 1, "unsettled": 1, "wanted": 5}
        return load if op == "load" else {"peers": [*self.rows, row("c", roles=["storage"])]}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(monkeypatch)


def crowd(path: Path, clock: Clock, up: str = "env > up", down: str = "env > down") -> HookCrowd:
    return HookCrowd(
        path, f"cd {path} && {up}", f"cd {path} && {down}", coming_s=60.0, env={"PATH": "/bin:/usr/bin"}, clock=clock
    )


def told(path: Path) -> dict[str, str]:
    words = dict(line.split("=", 1) for line in path.read_text().splitlines())
    return {name.removeprefix("P2PCPN_"): word for name, word in words.items() if name.startswith("P2PCPN_")}


def test_compute_peers_are_seen_as_they_advertise_and_the_node_as_it_is(node: Node, tmp_path: Path) -> None:
    found = crowd(tmp_path, Clock())
    assert found.look() == [Seen("b", 2, 2, 2, 5), Seen("a", 2, 1, 0, 5)]
    node.rows = [row("0"), row("a"), row("b", draining=True)]
    assert [(peer.name, peer.draining) for peer in found.look()] == [("b", True), ("a", False), ("0", False)]


def test_what_was_started_counts_as_busy_until_it_is_there_or_overdue(node: Node, tmp_path: Path) -> None:
    clock = Clock()
    found = crowd(tmp_path, clock)
    found.look()
    found.grow(2, 4)
    assert told(tmp_path / "up") == {"PEERS": "2", "WANTED": "4", "ADD": "2"}
    assert found.look()[2:] == [Seen("coming 0", 2, 2, 0, 5), Seen("coming 1", 2, 2, 0, 5)]
    node.rows.append(row("d"))
    assert [peer.name for peer in found.look()] == ["b", "a", "d", "coming 0"]
    clock.now = 61.0
    assert len(found.look()) == 3


def test_who_may_go_is_named(node: Node, tmp_path: Path) -> None:
    found = crowd(tmp_path, Clock())
    found.look()
    found.drain(["a", "b"], 0)
    assert told(tmp_path / "down") == {
        "PEERS": "2", "WANTED": "0", "DRAIN": "a b", "DRAIN_ADDRESSES": "192.0.2.1:97 192.0.2.1:98",
    }  # fmt: skip


def test_a_command_that_fails_is_told_of_and_starts_nobody(node: Node, tmp_path: Path) -> None:
    found = crowd(tmp_path, Clock(), up="exit 3")
    with pytest.raises(P2pcpnError, match="ended with 3"):
        found.grow(1, 3)
    assert len(found.look()) == 2


def test_a_node_is_watched_within_bounds_that_can_be(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(Scaler, "run", lambda self, stop: ran.append(self._scale.bounds))
    watch(tmp_path, ("up", "down"), (1, 4, 9.0), 60.0, print)
    assert ran == [Bounds(1, 4, 9.0)]
    with pytest.raises(UsageError):
        watch(tmp_path, ("up", "down"), (5, 4, 9.0), 60.0, print)
