"""Slots: more while tasks queue and cores idle, fewer after the idle time; who drains gets no more."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.node import slots as module
from p2pcpn.node.slots import Slots


class Peer:
    """A node with tasks; effects are what it was told."""

    def __init__(self, *, load: float = 0.0, runtime: bool = True) -> None:
        self.told: list[Any] = []
        self.now = 0.0
        self.tasks = 0
        self.worker = SimpleNamespace(
            running=0, queued=0, leaving=False, resize=lambda slots, now: [f"worker {slots}"]
        )  # fmt: skip
        announcement = SimpleNamespace(load=load, resized=lambda slots, now: slots)
        peer = SimpleNamespace(
            worker=self.worker, announcement=announcement, advertised=lambda said: [f"advert {said}"]
        )  # fmt: skip
        pool = SimpleNamespace(resize=lambda slots: self.told.append(f"runtime {slots}"))
        self.overlay: Any = SimpleNamespace(
            peer=peer, loop=SimpleNamespace(time=lambda: self.now), slots=1, follow=self.told.extend,
            runs=SimpleNamespace(runtime=pool if runtime else None),
        )  # fmt: skip
        self.slots = Slots(self.overlay, 1, 4)

    def run(self, tasks: int, seconds: float) -> int:
        end = self.now + seconds
        while self.now < end:
            self.worker.running = min(tasks, self.overlay.slots)
            self.worker.queued = tasks - self.worker.running
            self.slots.look()
            self.now += 0.25
        return int(self.overlay.slots)


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 8)


def test_slots_grow_while_tasks_queue_and_shrink_when_none_do() -> None:
    peer = Peer()
    assert peer.run(9, 3.0) == 4
    assert peer.told[:3] == ["runtime 2", "worker 2", "advert 2"]
    assert peer.run(0, module.IDLE_S - 3.0) == 4
    assert peer.run(0, 8.0) == 1


def test_no_core_is_taken_from_other_programs() -> None:
    assert Peer(load=1.0).run(9, 5.0) == 1
    assert Peer(load=0.75, runtime=False).run(9, 5.0) == 2


def test_who_leaves_does_not_grow() -> None:
    peer = Peer()
    peer.worker.leaving = True
    assert peer.run(9, 5.0) == 1


@pytest.mark.asyncio
async def test_it_goes_on_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    peer, looks = Peer(), asyncio.Queue[int]()
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    monkeypatch.setattr(peer.slots, "look", lambda: looks.put_nowait(1))
    task = asyncio.ensure_future(peer.slots.run())
    for _ in range(3):
        await asyncio.wait_for(looks.get(), 5)
    task.cancel()
