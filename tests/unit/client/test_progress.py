"""How far a job is follows what its machines report, and wakes whoever waits for it."""

from __future__ import annotations

import asyncio

import pytest

from p2pcpn.client.progress import Progress
from p2pcpn.protocol import events

JOB = b"j" * 20


@pytest.mark.parametrize(
    ("tasks", "whole", "stewards", "kept"),
    [(10, 2, 5, True), (9, 2, 5, False), (10, 1, 5, False), (10, 1, 1, True), (10, 0, 0, False)],
)
def test_a_job_is_kept_by_as_many_stewards_as_copies_are_wanted(
    tasks: int, whole: int, stewards: int, kept: bool
) -> None:
    progress = Progress(total=10, wanted=2)
    assert not progress.is_kept
    progress.note(events.Kept(JOB, tasks, whole, stewards))
    assert progress.is_kept is kept


@pytest.mark.asyncio
async def test_who_waits_is_woken_by_what_is_noted() -> None:
    progress = Progress(total=5, wanted=2)
    assert not await progress.reach(lambda: progress.done, 0)
    waiting = asyncio.ensure_future(progress.reach(lambda: progress.done and progress.failed == 1, 10))
    await asyncio.sleep(0)
    progress.note(events.Replicated(JOB, 5, 5, 2, 2, True))
    await asyncio.sleep(0)
    assert not waiting.done() and (progress.replicated, progress.copies) == (5, 2)
    progress.failed = 1
    progress.changed()
    assert await waiting
