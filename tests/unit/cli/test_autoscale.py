"""``p2pcpn autoscale``: its bounds are checked, a node must answer, and what it does is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.client import hooks as module
from p2pcpn.client.scaling import Scaler

Command = Callable[..., Any]


def test_bounds_that_cannot_be_are_usage(p2pcpn: Command) -> None:
    ended = p2pcpn("autoscale", "--up", "x", "--down", "y", "--min", "3", "--max", "2", "--data", "d")
    assert ended.code == 2 and "no less than --min: not 3 and 2" in ended.err
    assert (
        p2pcpn("autoscale", "--up", "x", "--down", "y", "--min", "3", "--max", "2").code == 2
    )  # before a node is looked for


def test_where_no_node_answers_it_says_so(p2pcpn: Command) -> None:
    ended = p2pcpn("autoscale", "--up", "x", "--down", "y", "--max", "2")
    assert ended.code == 3 and "p2pcpn node starts one" in ended.err and "swarm drain" not in ended.err


def test_the_swarm_of_the_node_is_watched_and_what_is_done_is_said(
    p2pcpn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    class Crowd:
        def __init__(self, control: Path, up: str, down: str, *, coming_s: float) -> None:
            made.append((control.parent.name, up, down, coming_s))

        def look(self) -> list[Any]:
            return []

    def run(self: Scaler, stop: object) -> None:
        made.append(self._scale.bounds)
        self._say("more")
        self._say("more")

    monkeypatch.setattr(module, "HookCrowd", Crowd)
    monkeypatch.setattr(Scaler, "run", run)
    ended = p2pcpn("autoscale", "--up", "x", "--down", "y", "--max", "5", "--idle", "9s", "--data", "d")
    assert (ended.code, ended.out) == (0, "more\n")
    assert made[0] == ("d", "x", "y", 180.0) and (made[1].least, made[1].most, made[1].idle_s) == (1, 5, 9.0)
