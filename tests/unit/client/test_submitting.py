"""An attended job is followed to its end, a detached one runs on, and both are remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pcpn.client import submitting
from p2pcpn.client.calls import Calls
from p2pcpn.client.connection import Meeting, run
from p2pcpn.client.history import remembered
from p2pcpn.client.job import parse_job_id
from p2pcpn.client.kept import asked, kept_job
from p2pcpn.client.keys import new_owner_key
from p2pcpn.client.options import Options
from p2pcpn.client.submitting import Request
from p2pcpn.errors import StoreError


@pytest.fixture
def request_(where: Meeting, env: dict[str, str], tmp_path: Path) -> Request:
    key = new_owner_key(tmp_path / "owner.key", env)
    calls = Calls(pow, [(base, 2) for base in range(20)], None, "squares", False)
    return Request(calls, Options(name="squares", render=True), where, str(key.path))


def test_an_attended_job_is_followed_to_its_end(request_: Request, env: dict[str, str]) -> None:
    async def verb() -> tuple[str, list[str]]:
        async with request_.attended(env) as job:
            assert await job.finished(20.0)
            return job.id, [ending.text for ending in job.endings]

    job, texts = run(verb())
    assert texts == [str(base**2) for base in range(20)]
    written = remembered(env)
    assert [(each.id, each.name, each.tasks) for each in written] == [(job, "squares", 20)]


def test_a_job_that_is_left_early_is_cancelled(request_: Request, env: dict[str, str]) -> None:
    slow = Calls(__import__("time").sleep, [(30,)], None, "slow", False)
    progress: list[int] = []

    async def verb() -> None:
        async with Request(slow, request_.options, request_.where, request_.key).attended(env) as job:
            job.on_progress = lambda done, failed, running: progress.append(done)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(verb())
    assert 1 not in progress


def test_a_detached_job_runs_on_without_its_submitter(request_: Request, env: dict[str, str]) -> None:
    job = run(request_.detached(env))
    assert len(parse_job_id(job)) == 20 and remembered(env)[0].id == job

    async def fetch() -> list[str]:
        async with kept_job(request_.where, asked(job, request_.key, env), env) as found:
            return [ending.text for ending in await found.follow(20.0)]

    assert run(fetch()) == [str(base**2) for base in range(20)]


def test_a_history_that_cannot_be_written_loses_no_job(
    request_: Request, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(submitting, "remember", refuse)
    assert run(request_.detached(env))
