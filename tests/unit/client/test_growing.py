"""Growing: a swarm's own peers are asked, added and drained, and nothing of it keeps the swarm alive."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.client import growing
from p2pcpn.client.departing import Stays
from p2pcpn.client.growing import OwnCrowd, drain_all, keep_scaled
from p2pcpn.client.scaling import Scaler, Seen
from p2pcpn.errors import Unreachable
from p2pcpn.node.control import control_path
from p2pcpn.protocol.scaling import Bounds

LOAD = {"slots": 2, "running": 1, "queued": 3, "unsettled": 1, "wanted": 7, "draining": False}


class Swarm:
    """What is looked at of a swarm: peer 1 is dead."""

    def __init__(self, root: Path) -> None:
        self.peers = [SimpleNamespace(index=n, alive=n != 1, data_dir=root / f"peer-{n}") for n in range(4)]
        self.added: list[int] = []

    def add(self, count: int) -> None:
        self.added.append(count)


@pytest.fixture
def drained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    done = threading.Semaphore(0)

    def ask(path: Path, op: str) -> dict[str, Any]:
        if "peer-3" in str(path):
            raise Unreachable("it does not answer")
        return LOAD

    def drain(control: Path, timeout_s: float, *, careful: bool) -> None:
        found.append((control, careful))
        done.release()
        raise Stays("it has something")

    monkeypatch.setattr(growing, "ask", ask)
    monkeypatch.setattr(growing, "drain", drain)
    found.append(done)
    return found


def test_a_swarm_is_asked_grown_and_thinned(drained: list[Any], tmp_path: Path) -> None:
    swarm: Any = Swarm(tmp_path)
    crowd = OwnCrowd(swarm)
    assert crowd.look() == [Seen(0, 2, 1, 4, 7), Seen(2, 2, 1, 4, 7)]
    crowd.grow(2, 4)
    assert swarm.added == [2]
    crowd.drain([2], 1)
    assert drained[0].acquire(timeout=5)
    assert drained[1:] == [(control_path(tmp_path / "peer-2"), True)]


def test_a_swarm_that_is_gone_is_left_in_peace(drained: list[Any], tmp_path: Path) -> None:
    crowd = OwnCrowd(Swarm(tmp_path))  # type: ignore[arg-type]
    gc.collect()
    assert crowd.look() == []
    crowd.grow(1, 2)
    crowd.drain([0], 0)
    drain_all([])
    assert len(drained) == 1


def test_it_is_kept_scaled_until_it_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran, ended = threading.Event(), threading.Event()

    def run(self: Scaler, stop: threading.Event) -> None:
        assert stop is ended
        ran.set()

    monkeypatch.setattr(Scaler, "run", run)
    keep_scaled(Swarm(tmp_path), Bounds(1, 2), ended)  # type: ignore[arg-type]
    assert ran.wait(5)
