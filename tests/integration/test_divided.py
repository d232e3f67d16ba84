"""A hybrid job that is divided: its stewards grant it beside its submitter, and go on when that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from p2pcpn import Config, Node, Swarm
from p2pcpn.identity.keys import Keypair

PROGRAM = Path(__file__).with_name("submitter_program.py")
TASKS = 240
WAIT_S = 90.0


def doubled(value: int) -> int:
    """Twice the value, after a while."""
    time.sleep(0.02)
    return 2 * value


def added(left: int, right: int) -> int:
    """Their sum."""
    return left + right


async def _fetched(swarm: Swarm, owner: Keypair, job_id: str) -> tuple[dict[int, int], Any]:
    config = Config(profile="local", bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), durable=False)
    async with Node(config, owner=owner) as node:
        job = await node.fetch(job_id)
        found = {result.index: result.unwrap() async for result in job.results(WAIT_S)}
        return found, job._source._reader  # type: ignore[attr-defined]


async def _submitted(swarm: Swarm, owner: Keypair) -> tuple[list[int], Any]:
    config = Config(profile="local", bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), durable=False)
    async with Node(config, owner=owner) as node:
        job = await node.submit(doubled, range(TASKS), divide_at=2)
        values = await job.gather()
        submission = job._source._submission  # type: ignore[attr-defined]
        assert await submission.replicated(WAIT_S), "what all grantors settled lies on enough peers"
        found, reader = await _fetched(swarm, owner, job.id)
        assert found == {index: 2 * index for index in range(TASKS)}
        return values, reader


def test_a_job_with_many_peers_is_divided_and_every_result_reaches_its_program_and_every_reader() -> None:
    with Swarm(peers=4) as swarm:
        values, reader = asyncio.run(_submitted(swarm, Keypair(os.urandom(32))))
        assert values == [2 * index for index in range(TASKS)]
        authority = reader.authority
        assert authority.is_split and 0 < authority.lots.first < TASKS
        granted = {authority.lots.of_epoch(log.epoch) for log in reader.logs if log.read}
        lots = {authority.lots.of(index) for index in range(TASKS)}  # few ranges may leave one of them out
        assert granted == lots > {0}, "submitter and stewards granted"


def test_futures_depend_on_each_other_and_are_cancelled_as_ever_where_a_job_was_divided() -> None:
    with Swarm(peers=4) as swarm, swarm.executor(divide_at=1) as ex:
        first = [ex.submit(doubled, number) for number in range(TASKS)]
        sums = [ex.submit(added, one, other) for one, other in pairwise(first)]
        last = [ex.submit(doubled, number) for number in range(TASKS)]
        cancelled = [future.cancel() for future in last[-20:]]
        assert [future.result(WAIT_S) for future in sums] == [4 * number + 2 for number in range(TASKS - 1)]
        assert [future.result(WAIT_S) for future in last[:-20]] == [2 * number for number in range(TASKS - 20)]
        assert any(cancelled)
        assert ex._submission is not None
        grantor = ex._overlay.peer.grantors[ex._submission.job]
        assert grantor.division is not None and grantor.granting, "it goes on with what it leased"


def test_without_its_submitter_a_divided_job_completes(tmp_path: Path) -> None:
    seed, runs = os.urandom(32), tmp_path / "runs"
    runs.touch()
    with Swarm(peers=5) as swarm:
        order = {
            "bootstrap": swarm.bootstrap, "swarm_key": swarm.key, "owner": seed.hex(), "runs": str(runs),
            "takes_s": [0.1] * TASKS, "options": {"replicas": 3, "divide_at": 2},
        }  # fmt: skip
        program = subprocess.Popen([sys.executable, str(PROGRAM), json.dumps(order)], stdout=subprocess.PIPE, text=True)
        try:
            assert program.stdout is not None
            job = program.stdout.readline().strip()
            while int(program.stdout.readline()) < TASKS // 3:
                pass
        finally:
            program.kill()
            program.wait()
            if program.stdout is not None:
                program.stdout.close()
        results, reader = asyncio.run(_fetched(swarm, Keypair(seed), job))
        assert results == {index: index * 3 for index in range(TASKS)}
        assert reader.authority.is_split
        counted = Counter(int(line) for line in runs.read_text().split())
        assert set(counted) == set(range(TASKS)) and sum(counted.values()) <= TASKS * 1.25
