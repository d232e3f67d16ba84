"""A job goes on without whoever granted it: the submitter is killed, stopped or restarted, and stewards die, too."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from p2pcpn import Config, Node, Swarm
from p2pcpn.identity.keys import Keypair

PROGRAM = Path(__file__).with_name("submitter_program.py")
HALF_WAY = Path(__file__).with_name("half_way_program.py")
TASKS = 400
WAIT_S = 90.0


def task(what: tuple[int, float, str]) -> int:
    """Sleep, and note the run; the index times three."""
    index, takes_s, runs = what
    with open(runs, "a") as file:
        file.write(f"{index}\n")
    time.sleep(takes_s)
    return index * 3


class Submitter:
    """A program of its own that submits ``takes_s`` sleeping tasks and counts the results."""

    def __init__(
        self, swarm: Swarm, runs: Path, takes_s: list[float], *, program: Path = PROGRAM, **options: Any
    ) -> None:
        self._seed = os.urandom(32)
        self.owner = Keypair(self._seed)
        self.runs = runs
        runs.touch()
        order = {
            "bootstrap": swarm.bootstrap, "swarm_key": swarm.key, "owner": self._seed.hex(), "runs": str(runs),
            "takes_s": takes_s, "options": options,
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, str(program), json.dumps(order)], stdout=subprocess.PIPE, text=True
        )
        self.job = self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def until(self, count: int) -> None:
        """Wait until so many results have come."""
        while line := self._line():
            if int(line) >= count:
                return
        raise AssertionError("the submitter has ended before that")

    def end(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def counted(self) -> Counter[int]:
        """How often each task was run."""
        return Counter(int(line) for line in self.runs.read_text().split())


@contextmanager
def submitter(*words: Any, **options: Any) -> Iterator[Submitter]:
    found = Submitter(*words, **options)
    try:
        yield found
    finally:
        found.end()


async def fetched(
    swarm: Swarm, owner: Keypair, job_id: str, at: dict[int, Callable[[], None]] | None = None
) -> tuple[dict[int, int], Any]:
    """All results by index, read through another peer, and the reader; ``at`` does something after so many."""
    config = Config(profile="local", bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), durable=False)
    async with Node(config, owner=owner) as node:
        job = await node.fetch(job_id)
        found: dict[int, int] = {}
        async for result in job.results(WAIT_S):
            assert result.index not in found
            found[result.index] = result.unwrap()
            for count in [count for count in at or {} if len(found) >= count]:
                (at or {}).pop(count)()
        return found, job._source._reader  # type: ignore[attr-defined]


@pytest.mark.parametrize("orchestration", ["hybrid", "distributed"])
def test_without_its_submitter_and_three_more_peers_a_job_of_400_tasks_completes(
    tmp_path: Path, orchestration: str
) -> None:
    chance = random.Random(1)
    takes_s = [chance.uniform(0.05, 0.2) for _ in range(TASKS)]
    with (
        Swarm(peers=8) as swarm,
        submitter(swarm, tmp_path / "runs", takes_s, replicas=4, orchestration=orchestration) as one,
    ):
        one.until(TASKS // 3)
        one.end()

        def kill() -> None:
            for victim in range(3):
                swarm.kill(victim)

        results, reader = asyncio.run(fetched(swarm, one.owner, one.job, {TASKS * 2 // 3: kill}))
        assert results == {index: index * 3 for index in range(TASKS)}
        assert reader.authority.epoch > 0, "a steward granted the rest"
        if orchestration == "distributed":
            stewards = len(reader.authority.spec.stewards)
            lost = [tenure for tenure in reader.authority.tenures if tenure.epoch > stewards]
            assert stewards == 5 and len(lost) <= 3, "only lots whose steward died were taken over"
        runs = one.counted()
        assert set(runs) == set(range(TASKS))
        assert sum(runs.values()) <= TASKS * 1.25, "what was run is settled, not run again"


def test_what_a_submitter_brought_to_one_steward_before_it_was_killed_all_stewards_grant(tmp_path: Path) -> None:
    takes_s = [0.02] * 160
    options = {"replicas": 2, "orchestration": "distributed"}
    with Swarm(peers=6) as swarm, submitter(swarm, tmp_path / "runs", takes_s, program=HALF_WAY, **options) as one:
        assert one.process.wait(30) == -signal.SIGKILL, "one steward has the tasks, four have none"
        results, reader = asyncio.run(fetched_some(swarm, one.owner, one.job, 160))
        assert results == {index: index * 3 for index in range(160)}
        lost = [tenure for tenure in reader.authority.tenures if tenure.epoch > len(reader.authority.tenures)]
        assert len(reader.authority.tenures) == 5 and len(lost) <= 1, "the others had the tasks and granted them"
        assert set(one.counted()) == set(range(160))


def test_a_submitter_that_was_stopped_goes_on_with_what_a_steward_settled_meanwhile(tmp_path: Path) -> None:
    with Swarm(peers=3) as swarm, submitter(swarm, tmp_path / "runs", [0.1] * 240, replicas=2) as one:
        one.until(30)
        one.process.send_signal(signal.SIGSTOP)
        results, reader = asyncio.run(fetched_some(swarm, one.owner, one.job, 120))
        assert len(results) >= 120 and reader.authority.epoch > 0
        one.process.send_signal(signal.SIGCONT)
        one.until(240)
        assert one.process.wait(30) == 0
        assert set(one.counted()) == set(range(240))


async def fetched_some(swarm: Swarm, owner: Keypair, job_id: str, count: int) -> tuple[dict[int, int], Any]:
    """The first ``count`` results, or more."""
    config = Config(profile="local", bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), durable=False)
    async with Node(config, owner=owner) as node:
        job = await node.fetch(job_id)
        found: dict[int, int] = {}
        async for result in job.results(WAIT_S):
            found[result.index] = result.unwrap()
            if len(found) >= count:
                break
        return found, job._source._reader  # type: ignore[attr-defined]


def test_a_centralised_job_waits_for_its_owner_who_resumes_it_from_another_program(tmp_path: Path) -> None:
    key = tmp_path / "owner.key"
    with Swarm(peers=3) as swarm:
        options = {"replicas": 2, "orchestration": "centralised"}
        with submitter(swarm, tmp_path / "runs", [0.1] * 90, **options) as one:
            one.until(30)
            one.end()
            key.write_text(f"p2pcpn-key-1 {one._seed.hex()}\n")
            key.chmod(0o600)
            where = [*(f"--bootstrap={address}" for address in swarm.bootstrap), f"--swarm-key={swarm.key}"]
            command = [sys.executable, "-m", "p2pcpn", "job", "resume", one.job, "--here", "--json", f"--key={key}"]
            ended = subprocess.run([*command, *where], capture_output=True, text=True, timeout=WAIT_S)
            assert ended.returncode == 0, ended.stderr
            assert json.loads(ended.stdout) == {"job": one.job, "settled": 90, "failed": 0, "cancelled": False}
            results, reader = asyncio.run(fetched(swarm, one.owner, one.job))
            assert results == {index: index * 3 for index in range(90)}
            assert set(one.counted()) == set(range(90))
            assert reader.authority.handover is not None


def test_a_program_that_leaves_with_work_open_leaves_it_to_the_stewards(tmp_path: Path) -> None:
    owner, runs = Keypair(os.urandom(32)), tmp_path / "runs"
    runs.touch()

    async def submit(swarm: Swarm) -> str:
        config = Config(profile="local", bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), durable=False)
        async with Node(config, owner=owner) as node:
            job = await node.submit(task, [(index, 0.1, str(runs)) for index in range(90)], replicas=2)
            async for _ in job.results(WAIT_S):
                return job.id
        raise AssertionError("no result came")

    with Swarm(peers=3) as swarm:
        job_id = asyncio.run(submit(swarm))
        results, reader = asyncio.run(fetched(swarm, owner, job_id))
        assert results == {index: index * 3 for index in range(90)}
        assert reader.authority.epoch > 0
