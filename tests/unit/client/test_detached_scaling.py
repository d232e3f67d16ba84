"""Scaling a detached swarm: it is asked by its note, and who scales it ends when it is another one, or none."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from p2pcpn.client import detached_scaling, detached_swarm
from p2pcpn.client.departing import Stays
from p2pcpn.client.detached_scaling import DetachedCrowd, keep_scaled
from p2pcpn.client.detached_swarm import LocalPeer, LocalSwarm
from p2pcpn.client.scaling import Scaler, Seen

ENV: dict[str, str] = {}


@pytest.fixture
def swarm(monkeypatch: pytest.MonkeyPatch) -> LocalSwarm:
    """A swarm of three, of which peer 1 does not answer."""
    peers = [LocalPeer(n, 100 + n, f"127.0.0.1:{4000 + n}", f"{n:040x}", f"/peer-{n}") for n in range(3)]
    found = LocalSwarm("key", 1, peers, (1, 4, 9.0))
    monkeypatch.setattr(detached_swarm, "last_swarm", lambda env: found)
    monkeypatch.setattr(
        detached_scaling, "seen", lambda n, data_dir: None if n == 1 else Seen(n, 1, 0, 0, len(data_dir))
    )
    return found


def test_it_is_asked_grown_and_thinned(swarm: LocalSwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[Any] = []
    drained: list[Any] = []
    done = threading.Semaphore(0)

    def drain(n: int, env: object, timeout_s: float, *, careful: bool) -> None:
        drained.append((n, careful))
        done.release()
        raise Stays("it has something")

    monkeypatch.setattr(detached_swarm, "add", lambda count, env: added.append(count))
    monkeypatch.setattr(detached_swarm, "drain", drain)
    stop = threading.Event()
    crowd = DetachedCrowd(ENV, "key", stop)
    assert [peer.name for peer in crowd.look()] == [0, 2]
    crowd.grow(2, 5)
    crowd.drain([2], 1)
    assert done.acquire(timeout=5)
    assert (added, drained, stop.is_set()) == ([2], [(2, True)], False)


def test_another_swarm_or_none_ends_it(swarm: LocalSwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    other = DetachedCrowd(ENV, "another key", stop)
    assert other.look() == [] and stop.is_set()
    other.grow(1, 1)
    monkeypatch.setattr(detached_swarm, "last_swarm", lambda env: None)
    keep_scaled(ENV)


def test_it_is_scaled_as_it_was_started(swarm: LocalSwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(Scaler, "run", lambda self, stop: ran.append(self._scale.bounds))
    keep_scaled(ENV)
    (bounds,) = ran
    assert (bounds.least, bounds.most, bounds.idle_s) == (1, 4, 9.0)
    swarm.scale = None
    keep_scaled(ENV)
    assert len(ran) == 1
