"""p2pcpn behind the interface: two peers, two replicas, and done when two disks have it all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from p2pcpn.bench.systems import swarm
from p2pcpn.bench.systems.swarm import SwarmSystem


@dataclass
class Replicated:
    """What the executor's peer is told, as far as it is of interest."""

    replicated: int
    copies: int


class Runs:
    """An executor that computes at once."""

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas
        self.ended: list[bool] = []
        self.cut: list[int | None] = []

    def watch(self, watcher: Callable[[Any], None]) -> None:
        self.tell = watcher

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(argument))
        return future

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], chunksize: int | None = None) -> Iterable[Any]:
        self.cut.append(chunksize)
        return map(function, items)

    def shutdown(self, cancel_futures: bool = False) -> None:
        self.ended.append(cancel_futures)


class Local:
    """A swarm without peers of its own."""

    def __init__(self, peers: int) -> None:
        self.peers = [SimpleNamespace(pid=psutil.Process().pid, alive=alive) for alive in (True, False)]
        assert len(self.peers) == peers
        self.made: list[Runs] = []
        self.closed = 0

    def executor(self, replicas: int) -> Runs:
        self.made.append(Runs(replicas))
        return self.made[-1]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> list[Local]:
    made: list[Local] = []

    def new(peers: int) -> Local:
        made.append(Local(peers))
        return made[-1]

    monkeypatch.setattr(swarm, "Swarm", new)
    return made


def test_it_is_what_users_have(local: list[Local]) -> None:
    system = SwarmSystem()
    system.start()
    (executor,) = local[0].made
    assert executor.replicas == 2
    assert list(system.map(abs, [-1], None)) == list(system.map(abs, [-1], 7)) == [1] and executor.cut == [None, 7]
    assert system.outsiders() == [psutil.Process().ppid()]
    system.stop()
    system.stop()
    assert executor.ended == [True] and local[0].closed == 1


def test_done_is_when_two_holders_have_every_task(local: list[Local]) -> None:
    system = SwarmSystem()
    system.start()
    executor = local[0].made[0]
    settled = threading.Event()
    thread = threading.Thread(target=lambda: [system.settle(), settled.set()])
    thread.start()
    for event in (Replicated(19, 2), Replicated(20, 1), "another event"):
        executor.tell(event)
        assert not settled.is_set()
    executor.tell(Replicated(20, 2))
    thread.join(10)
    assert settled.is_set() and system.facts() == {"replicated": 20, "copies": 2}
    system.stop()


def test_a_new_job_counts_from_nothing_and_does_not_hear_of_the_old_one(local: list[Local]) -> None:
    system = SwarmSystem()
    system.start()
    old = local[0].made[0]
    system.begin()
    assert old.ended == [False]
    old.tell(Replicated(20, 2))
    assert system.facts() == {"replicated": 0, "copies": 0}
    system.stop()


def test_what_never_gets_done_is_told(local: list[Local], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm, "SETTLE_S", 0.0)
    system = SwarmSystem()
    system.start()
    with pytest.raises(TimeoutError, match="0 of 20 tasks lie on 0 holders"):
        system.settle()
    system.stop()
