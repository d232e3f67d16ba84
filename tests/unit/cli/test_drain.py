"""``p2pcpn drain``: what is said of a node that leaves, and of one that is not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.cli import drain as module
from p2pcpn.cli.drain import progress_words
from p2pcpn.errors import Unreachable

Command = Callable[..., Any]
FINISHING = {"state": "finishing", "running": 1, "unsettled": 0, "left_s": 12.4}


@pytest.fixture
def leaves(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, float]]:
    """A node that leaves at once, with one job left undone."""
    asked: list[tuple[Path, float]] = []

    def drain(control: Path, timeout_s: float, watch: Callable[[Mapping[str, Any]], None]) -> dict[str, int]:
        asked.append((control, timeout_s))
        watch(FINISHING)
        return {"jobs": 1} if timeout_s < 60 else {}

    monkeypatch.setattr(module, "drain", drain)
    monkeypatch.setattr(module, "stay", lambda control: control.parent.name == "stays")
    return asked


def test_where_no_node_runs_it_says_so(p2pcpn: Command) -> None:
    ended = p2pcpn("drain")
    assert ended.code == 3 and "no node of yours runs" in ended.err


def test_a_node_that_left_is_said_to_have_with_what_it_left_undone(
    p2pcpn: Command, leaves: list[tuple[Path, float]]
) -> None:
    assert p2pcpn("drain", "--data", "d").out == "the node has left\n"
    assert leaves[0][1] == 600.0 and leaves[0][0].parent.name == "d"
    ended = p2pcpn("drain", "--data", "d", "--timeout", "30s")
    assert ended.out == "the node has left; not enough other storage peers for 1 job\n"
    assert json.loads(p2pcpn("drain", "--data", "d", "--timeout", "30s", "--json").out) == {
        "left": True, "behind": {"jobs": 1},
    }  # fmt: skip


def test_it_may_be_taken_back(p2pcpn: Command, leaves: list[tuple[Path, float]]) -> None:
    assert p2pcpn("drain", "--undo", "--data", "stays").out == "it stays\n"
    assert json.loads(p2pcpn("drain", "--undo", "--data", "stays", "--json").out) == {"stays": True}
    ended = p2pcpn("drain", "--undo", "--data", "gone")
    assert ended.code == 1 and "does not drain" in ended.err


def test_the_node_of_this_user_is_the_one_that_answers(
    p2pcpn: Command, leaves: list[tuple[Path, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "node_sockets", lambda env: [Path("dead/c"), Path("alive/c")])
    monkeypatch.setattr(module, "listens", lambda path: path.parent.name == "alive")
    assert p2pcpn("drain").code == 0 and leaves[0][0] == Path("alive/c")
    monkeypatch.setattr(module, "listens", lambda path: False)
    with pytest.raises(Unreachable):
        module.node_control(None, "p2pcpn swarm drain N")


def test_how_far_it_is_in_words() -> None:
    assert progress_words(FINISHING) == "1 task still runs, 12 s left"
    assert progress_words(FINISHING | {"running": 2, "unsettled": 3}) == (
        "2 tasks still run, results are on their way to whoever keeps them, 12 s left"
    )
    assert progress_words({"state": "handing over", "jobs": 1, "sections": 0}) == (
        "handing over 1 job and 0 blob sections"
    )
    assert progress_words(FINISHING | {"running": 0}) == "nothing runs any more"
    assert progress_words({"state": "leaving"}) == "leaving"
