"""Results of an attended job are words made by the workers, and nothing is loaded here."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from p2pcpn.client.attended import NOT_RENDERED, Attended, Ending, ending_of, node_text
from p2pcpn.client.connection import Meeting, joined, run
from p2pcpn.client.options import Options
from p2pcpn.identity.keys import Keypair
from p2pcpn.runtime.function import failures
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Death
from p2pcpn.wire.statements import Outcome


class Bomb:
    """Loading its pickle shows."""

    loaded = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return (_explode, ())


def _explode() -> None:
    Bomb.loaded += 1


def attend(where: Meeting, env: dict[str, str], use: Callable[[Attended], Any], **options: Any) -> Any:
    async def verb() -> Any:
        async with joined(where, env) as overlay:
            chosen = Options(render=True, output=False, **options)
            job = await Attended.open(overlay, Keypair(os.urandom(32)), chosen, None)
            assert isinstance(job, Attended)
            try:
                return await use(job)
            finally:
                job.forget()

    return run(verb())


def test_results_are_lines_of_text_and_nothing_is_loaded_here(where: Meeting, env: dict[str, str]) -> None:
    progress: list[tuple[int, int, int]] = []

    async def use(job: Attended) -> tuple[bool, list[Ending], dict[str, int]]:
        job.on_progress = lambda done, failed, running: progress.append((done, failed, running))
        job.submit(pow, (2, 10), {})
        job.submit(int, ("x",), {})
        job.submit(bytes, (100_000,), {})
        job.submit(Bomb, (), {})
        job.submit(os._exit, (3,), {})
        return await job.finished(20.0), job.endings, job.workers

    in_time, endings, workers = attend(where, env, use)
    assert in_time and [ending.index for ending in endings] == [0, 1, 2, 3, 4]
    assert endings[0] == Ending(0, True, "1024", worker=endings[0].worker)
    assert endings[1].text.startswith("ValueError: invalid literal") and "ValueError" in endings[1].traceback
    assert endings[2].ok and endings[2].text.startswith("b'\\x00")
    assert endings[3].ok and Bomb.loaded == 0
    assert not endings[4].ok and "code 3" in endings[4].text
    assert progress[-1][:2] == (5, 2) and sum(workers.values()) >= 4


def test_a_time_limit_leaves_what_has_ended(where: Meeting, env: dict[str, str]) -> None:
    async def use(job: Attended) -> tuple[bool, list[Ending]]:
        job.submit(__import__("time").sleep, (30,), {})
        in_time = await job.finished(0.2)
        before = job.endings
        await job.cancel_job()
        return in_time, before + job.endings

    in_time, endings = attend(where, env, use)
    assert not in_time and [ending.ok for ending in endings] == [False]


def test_a_job_that_nobody_begins_has_reasons(where: Meeting, env: dict[str, str]) -> None:
    async def use(job: Attended) -> dict[str, int]:
        job.submit(pow, (2, 2), {})
        return await job.unwanted(0.3)

    reasons = attend(where, env, use, requires=("no_such_package",))
    assert any("no_such_package" in text for text in reasons)


def test_a_job_that_has_begun_needs_none(where: Meeting, env: dict[str, str]) -> None:
    async def use(job: Attended) -> dict[str, int]:
        future = job.submit(pow, (2, 2), {})
        await asyncio.wrap_future(future)
        return await job.unwanted(0.0)

    assert attend(where, env, use) == {}


def test_a_job_whose_peers_are_all_gone_is_forsaken(where: Meeting, env: dict[str, str]) -> None:
    async def use(job: Attended) -> None:
        begun = asyncio.Event()
        job.on_progress = lambda done, failed, running: begun.set() if running else None
        job.submit(time.sleep, (2.0,), {})
        await begun.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await job.forsaken(0.1)
        job.overlay.sessions = {}  # type: ignore[assignment]
        await job.forsaken(0.1)

    attend(where, env, use)


def test_an_ending_tells_what_went_wrong_in_words() -> None:
    assert ending_of(1, Outcome.OK, b"", "", "w") == Ending(1, True, NOT_RENDERED, worker="w")
    assert ending_of(1, Outcome.RAISED, None, "", "w").text == "it raised an exception"
    assert ending_of(1, Outcome.RAISED, None, "KeyError: 1", "w").text == "KeyError: 1"
    assert ending_of(1, Outcome.RAISED, failures.encode(KeyError()), "", "w").text == "KeyError"
    assert "signal 9" in ending_of(1, Outcome.DIED, pages.DEATH.encode(Death(9, None)), "", "w").text
    for outcome in (Outcome.RAISED, Outcome.DIED):
        assert "cannot be read" in ending_of(1, outcome, b"\xff", "", "w").text


def test_a_worker_is_named_by_its_node_id() -> None:
    key = Keypair(bytes(32))
    assert node_text(key.public) == key.id.hex()


@pytest.fixture(autouse=True)
def unharmed() -> None:
    Bomb.loaded = 0
