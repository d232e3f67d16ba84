"""Draining: a node ends what it runs, hands on, and only then leaves; it may stay as long as it has not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.node.draining import Draining
from p2pcpn.protocol import departure


class Node:
    """What draining asks of a node; effects are names, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.now = 100.0
        self.worker = SimpleNamespace(running=1, unsettled=0)
        presence = SimpleNamespace(drain=lambda now: ["drain"], stay=lambda now: ["stay"])
        self.upkeep = SimpleNamespace(missed=set(), alone=set(), hand_over=self.sections)
        self.overlay: Any = SimpleNamespace(
            peer=SimpleNamespace(worker=self.worker, presence=presence), loop=SimpleNamespace(time=lambda: self.now),
            follow=self.done.extend, spawn=asyncio.ensure_future, depot=SimpleNamespace(leaving=False),
            upkeep=self.upkeep, udp=None,
        )  # fmt: skip
        self.stop = asyncio.Event()
        self.draining = Draining(self.overlay, self.stop)
        machine = SimpleNamespace(left=0, short=0, alone=0, orphans=0)
        self.draining._bequest = SimpleNamespace(hand_over=self.jobs, acknowledge=lambda: None, machine=machine)  # type: ignore[assignment]

    async def jobs(self) -> None:
        self.done.append("jobs")

    async def sections(self, wait_s: float | None) -> None:
        self.done.append("sections")

    async def turns(self, count: int = 60) -> None:
        for _ in range(count):
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departure, "LOOK_S", 0.0)


@pytest.mark.asyncio
async def test_it_ends_what_it_runs_then_hands_on_then_leaves() -> None:
    node = Node()
    assert node.draining.possible
    node.draining.begin(60.0)
    await node.turns()
    assert node.done == ["drain"] and node.draining.progress()["state"] == "finishing" and node.overlay.depot.leaving
    node.worker.running, node.worker.unsettled = 0, 1
    await node.turns()
    assert node.done == ["drain"]
    node.worker.unsettled = 0
    await node.turns()
    assert node.done == ["drain", "jobs", "sections"] and node.stop.is_set() and node.draining.behind == {}
    node.draining.begin(1.0)
    assert node.done[-1] == "sections"


@pytest.mark.asyncio
async def test_what_is_not_over_in_time_is_left_and_said() -> None:
    node = Node()
    node.draining.begin(60.0)
    node.draining.begin(5.0)  # the newer word counts
    node.upkeep.missed = {b"section"}
    node.draining._bequest.machine.short = 2
    await node.turns()
    node.now += 6.0
    await asyncio.wait_for(node.stop.wait(), 5)
    assert node.draining.behind == {"tasks": 1, "jobs": 2, "sections": 1}


@pytest.mark.asyncio
async def test_results_that_nobody_takes_hold_it_for_seconds_only() -> None:
    node = Node()
    node.worker.running, node.worker.unsettled = 0, 2
    node.draining.begin()
    await node.turns()
    assert not node.stop.is_set()
    node.now += departure.SETTLE_S
    await asyncio.wait_for(node.stop.wait(), 5)
    assert node.draining.behind == {"results": 2}


@pytest.mark.asyncio
async def test_a_careful_one_stays_where_it_is_the_last_to_have_something() -> None:
    for what in ("job", "section", "task", "result", ""):
        node = Node()
        node.worker.running, node.worker.unsettled = int(what == "task"), int(what == "result")
        node.draining._bequest.machine.alone = int(what == "job")
        node.upkeep.alone = {b"section"} if what == "section" else set()
        node.draining.begin(0.0, careful=True)
        await node.turns()
        assert node.stop.is_set() == (what == "") and node.done[-1] == ("stay" if what else "sections")


@pytest.mark.asyncio
async def test_it_stays_when_it_is_told_in_time() -> None:
    node = Node()
    assert not node.draining.undo()
    node.draining.begin()
    await node.turns()
    assert node.draining.undo() and node.draining.state == "staying" and not node.overlay.depot.leaving
    await node.turns()
    assert node.done == ["drain", "stay"] and not node.stop.is_set()
    node.draining.begin()
    node.worker.running = 0
    await asyncio.wait_for(node.stop.wait(), 5)
    assert not node.draining.undo()


@pytest.mark.asyncio
async def test_whoever_watches_hears_the_last_word_and_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    node.draining.begin()
    assert node.draining.watched()["running"] == 1
    node.worker.running = 0
    await node.turns()
    assert node.draining.state == "leaving" and not node.stop.is_set()
    assert node.draining.watched()["state"] == "leaving"
    await asyncio.wait_for(node.stop.wait(), 5)
    monkeypatch.setattr(departure, "TOLD_S", 0.0)
    other = Node()
    other.draining.begin()
    other.draining.watched()
    other.worker.running = 0
    await asyncio.wait_for(other.stop.wait(), 5)


@pytest.mark.asyncio
async def test_jobs_that_take_too_long_hold_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departure, "HAND_OVER_S", 0.0)
    node = Node()
    node.worker.running = 0
    node.draining._bequest.hand_over = lambda: asyncio.sleep(60)  # type: ignore[method-assign,assignment,return-value]
    node.draining.begin(0.0)
    await asyncio.wait_for(node.stop.wait(), 5)
    assert node.done == ["drain", "sections"]


@pytest.mark.asyncio
async def test_a_step_that_raises_keeps_nobody_from_leaving_and_the_others_are_performed() -> None:
    node = Node()
    node.worker.running = 0

    def fails() -> None:
        raise ValueError("bytes of a peer")

    async def fails_late() -> None:
        await asyncio.sleep(0)
        raise ValueError("bytes of a peer")

    node.draining._bequest.acknowledge = fails  # type: ignore[method-assign]
    node.draining._bequest.hand_over = fails_late  # type: ignore[method-assign]
    node.draining.begin()
    await asyncio.wait_for(node.stop.wait(), 5)
    assert node.draining.state == "leaving" and node.done == ["drain", "sections"]


@pytest.mark.asyncio
async def test_it_stays_while_it_hands_over_and_may_leave_again_at_once() -> None:
    node = Node()
    node.worker.running = 0
    cancelled: list[str] = []

    async def takes_long() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append("jobs")
            raise

    brief, node.draining._bequest.hand_over = node.draining._bequest.hand_over, takes_long  # type: ignore[method-assign]
    node.draining.begin(60.0)
    await node.turns()
    assert node.draining.state == "handing over" and node.draining.undo()
    await node.turns(3)
    assert cancelled == ["jobs"] and node.done == ["drain", "stay"] and not node.overlay.depot.leaving
    node.draining._bequest.hand_over = brief  # type: ignore[method-assign]
    node.draining.begin(60.0)
    assert node.draining.undo()
    node.draining.begin(60.0)  # before anybody noticed
    await asyncio.wait_for(node.stop.wait(), 5)
    assert node.done == ["drain", "stay", "drain", "stay", "drain", "jobs", "sections"]
    assert cancelled == ["jobs"] and not node.draining.undo()
