"""What an executor runs on: started, found hopeless or not, and ended once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.client import engine as engines
from p2pcpn.client.engine import Engine, client_config
from p2pcpn.client.options import Options
from p2pcpn.client.swarm import Swarm
from p2pcpn.errors import JobCancelled, JobError, Unreachable
from p2pcpn.identity.keys import Keypair

OWNER = Keypair(b"\3" * 32)


@pytest.fixture(scope="module")
def embedded() -> Iterator[Engine]:
    engine = Engine.of(Swarm(peers=1), 1)
    yield engine
    engine.stop()


def joined(embedded: Engine) -> Engine:
    """Another client of the same swarm, which it does not own."""
    assert embedded.swarm is not None
    return Engine(client_config(embedded.swarm.bootstrap, embedded.swarm.key, (), "local"), OWNER, None, 1)


def test_an_embedded_engine_runs_tasks_to_their_end(embedded: Engine) -> None:
    submission = embedded.open(Options(), pow)
    futures = [submission.submit(pow, (2, i), {}) for i in range(5)]
    embedded.wait(submission)
    embedded.finish(submission)
    assert [future.result(0) for future in futures] == [1, 2, 4, 8, 16]
    assert embedded.alive and embedded.answers() and not embedded.is_here


def test_a_joined_engine_leaves_the_swarm_alone_and_its_results_replicated(embedded: Engine) -> None:
    engine = joined(embedded)
    submission = engine.open(Options(replicas=1), pow)
    future = submission.submit(pow, (2, 3), {})
    engine.wait(submission)
    engine.finish(submission)
    assert future.result(0) == 8 and submission.progress.done
    engine.stop()
    engine.stop()
    assert not engine.alive and not engine.answers()
    assert embedded.swarm is not None and len(embedded.swarm.bootstrap) == 1
    engine.finish(submission)
    engine.wait(submission)


def test_what_a_stopped_engine_left_fails(embedded: Engine) -> None:
    engine = joined(embedded)
    submission = engine.open(Options(), pow)
    submission.submit(pow, (2, 2), {}).result(10)
    submission._wake = lambda: None  # type: ignore[method-assign]
    future = submission.submit(pow, (2, 3), {})
    engine.stop()
    engine.wait(submission)
    assert isinstance(future.exception(0), JobError) and "has ended" in str(future.exception(0))
    engine.cancel(submission)


def test_a_swarm_that_is_closed_ends_what_its_programs_wait_for() -> None:
    swarm = Swarm(peers=1)
    engine = Engine(client_config(swarm.bootstrap, swarm.key, (), "local"), OWNER, None, 1)
    swarm.programs.add(engine)
    submission = engine.open(Options(), pow)
    future = submission.submit(time.sleep, (600,), {})
    swarm.close()
    assert isinstance(future.exception(5), JobError) and str(future.exception(0)) == "the swarm was closed"
    for more in (lambda: submission.submit(pow, (2, 2), {}), lambda: engine.open(Options(), pow)):
        with pytest.raises(RuntimeError, match="cannot schedule new futures: the swarm was closed"):
            more()
    engine.wait(submission)
    engine.stop()
    engine.end(JobError("again"))


def test_a_cancelled_job_ends_at_once(embedded: Engine) -> None:
    engine = joined(embedded)
    submission = engine.open(Options(), pow)
    future = submission.submit(threading.Event().wait, (), {})
    stays = submission.submit(time.sleep, (600,), {})
    engine.cancel(submission)
    assert isinstance(stays.exception(5), JobCancelled) and future.done()
    engine.stop()


def test_at_the_interpreters_end_a_job_that_nobody_can_run_is_given_up(
    embedded: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "LOOK_S", 0.01)
    monkeypatch.setattr(engines, "PATIENCE_S", 0.02)
    engine = joined(embedded)
    submission = engine.open(Options(requires=("a_package_nobody_has",)), pow)
    future = submission.submit(pow, (2, 2), {})
    submission.stalled = {b"p": "lacks the package"}
    engine.wait(submission, at_exit=True)
    assert isinstance(future.exception(0), JobError) and "lacks the package" in str(future.exception(0))
    assert "1 tasks are given up" in capsys.readouterr().err
    engine.stop()


def test_a_job_of_which_something_runs_is_not_hopeless_whatever_peers_said_of_the_rest(
    embedded: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded.overlay, "sessions", ["one"])
    said: Any = SimpleNamespace(stalled={b"p": "has had it before"}, runs=True)
    assert not embedded._hopeless(said)
    said.runs = False
    assert embedded._hopeless(said)


def test_the_loops_own_thread_is_known(embedded: Engine) -> None:
    found: list[bool] = []

    async def look() -> None:
        found.append(embedded.is_here)

    embedded._loops.call(look(), 5)
    assert found == [True]


def test_a_fork_ends_nothing(embedded: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        embedded.stop()
        assert not embedded.alive
    assert embedded.answers()


def test_where_nobody_answers_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "OPEN_WAIT_S", 1.05)
    before = threading.active_count()
    with pytest.raises(Unreachable, match=r"no peer answered at 127\.0\.0\.1:1"):
        Engine(client_config(["127.0.0.1:1"], b"k" * 32, (), "local"), OWNER, None, 1)
    assert threading.active_count() <= before + 4  # the loop's idle helper threads are daemons
