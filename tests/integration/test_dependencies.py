"""Tasks that take others' results, on real peers: nobody waits at the submitter, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from p2pcpn import Config, JobError, Node, ResultOf, Swarm, UsageError, WorkerDied
from p2pcpn.client.connection import Meeting, joined
from p2pcpn.client.options import Options
from p2pcpn.client.project import project
from p2pcpn.client.submission import Submission
from p2pcpn.identity.keys import Keypair

OWNER = Keypair(b"d" * 32)
LARGE_BYTES = 2_000_000


def after(seconds: float, value: Any) -> Any:
    time.sleep(seconds)
    return value


def plus_one(value: int) -> int:
    return value + 1


def total(values: list[int], more: tuple[int, ...] = (), named: dict[str, int] | None = None) -> int:
    return sum(values) + sum(more) + sum((named or {}).values())


def large(size: int) -> bytes:
    return os.urandom(8) * (size // 8)


def size_of(*values: bytes) -> int:
    return sum(map(len, values))


def fails(text: str) -> None:
    raise LookupError(text)


def dies() -> None:
    os._exit(7)


def test_a_diamond_and_results_in_lists_tuples_and_dicts() -> None:
    with Swarm(peers=2) as swarm, swarm.executor() as executor:
        top = executor.submit(after, 0.2, 1)
        left, right = executor.submit(plus_one, top), executor.submit(total, [top, 10])
        bottom = executor.submit(total, [left, right, 0], more=(top, 5), named={"left": left})
        assert bottom.result(30) == 2 + 11 + 1 + 5 + 2


def test_a_chain_of_fifty_does_not_pass_through_the_submitter_one_by_one() -> None:
    with Swarm(peers=2) as swarm, swarm.executor() as executor:
        link = executor.submit(after, 0.0, 0)
        began = time.monotonic()
        for _ in range(50):
            link = executor.submit(plus_one, link)
        assert time.monotonic() - began < 5.0  # nobody waited to submit
        assert link.result(60) == 50


def test_results_that_ended_long_before_are_read_from_the_log() -> None:
    with Swarm(peers=2) as swarm, swarm.executor() as executor:
        values = [executor.submit(after, 0.0, number) for number in range(20)]
        blob = executor.submit(large, LARGE_BYTES)
        assert [value.result(30) for value in values] == list(range(20)) and len(blob.result(30)) == LARGE_BYTES
        assert executor.submit(total, values).result(30) == 190
        assert executor.submit(size_of, blob, blob).result(30) == 2 * LARGE_BYTES


def test_a_task_fails_with_what_its_input_failed_of_and_so_do_those_behind_it() -> None:
    with Swarm(peers=3) as swarm, swarm.executor() as executor:
        first = executor.submit(fails, "nothing there")
        behind = executor.submit(total, [executor.submit(plus_one, first)])
        dead = executor.submit(plus_one, executor.submit(dies))
        with pytest.raises(LookupError, match="nothing there"):
            behind.result(30)
        with pytest.raises(WorkerDied, match="code 7"):
            dead.result(60)
        busy = [executor.submit(after, 1.0, number) for number in range(3)]
        gone = executor.submit(plus_one, busy[0])
        left = executor.submit(plus_one, gone)
        assert gone.cancel()  # it waits for the first
        with pytest.raises(JobError, match="was cancelled"):
            left.result(30)
        assert executor.submit(total, busy).result(30) == 3


def test_a_graph_survives_the_death_of_a_peer() -> None:
    with Swarm(peers=3) as swarm, swarm.executor() as executor:
        layer = [executor.submit(after, 0.05, number) for number in range(8)]
        for _ in range(6):
            layer = [executor.submit(after_total, 0.05, [layer[at], layer[at - 1]]) for at in range(8)]
        blob = executor.submit(large, LARGE_BYTES)
        last = executor.submit(total, layer)
        size = executor.submit(size_of, blob)
        while sum(future.done() for future in layer) == 0 and executor.statistics()["results"] == {}:
            time.sleep(0.02)
        swarm.kill(1)
        assert last.result(90) == sum(range(8)) * 2**6 and size.result(60) == LARGE_BYTES


def after_total(seconds: float, values: list[int]) -> int:
    return int(after(seconds, sum(values)))


def test_only_results_of_the_same_executor_are_taken() -> None:
    with Swarm(peers=1) as swarm, swarm.executor() as one, swarm.executor() as other:
        with pytest.raises(UsageError, match="executor that made it"):
            other.submit(plus_one, one.submit(plus_one, 1)).result(30)
        with pytest.raises(UsageError, match="may take 64 results"):
            one.submit(total, [one.submit(plus_one, number) for number in range(65)]).result(30)
        with pytest.raises(UsageError, match="stands in a list"):
            one.submit(total, [[ResultOf(0)]]).result(30)


@pytest.mark.asyncio
async def test_items_of_a_job_name_earlier_ones() -> None:
    with Swarm(peers=2) as swarm:
        config = Config(bootstrap=swarm.bootstrap, swarm_key=swarm.key, profile="local", roles=())
        async with asyncio.timeout(60), Node(config, owner=OWNER) as node:
            job = await node.submit(plus_one, [1, ResultOf(0), ResultOf(1)])
            assert await job.gather(30) == [2, 3, 4]
            late = await node.submit(plus_one, [ResultOf(0)])
            with pytest.raises(UsageError, match="not submitted yet"):
                await late.gather(30)


@pytest.mark.asyncio
async def test_the_stewards_go_on_with_a_job_whose_submitter_left(tmp_path: Path) -> None:
    with Swarm(peers=3) as swarm:
        where = Meeting(tuple(swarm.bootstrap), swarm.key, "the test")
        async with asyncio.timeout(90), joined(where, {"XDG_STATE_HOME": str(tmp_path)}) as overlay:
            submission = await Submission.open(overlay, OWNER, Options(), project(plus_one), granting=False, gather=3)
            top = submission.submit(after, (0.3, 1), {})
            blob = submission.submit(large, (LARGE_BYTES,), {})
            left, right = submission.submit(plus_one, (top,), {}), submission.submit(total, ([top, 10],), {})
            submission.submit(total, ([left, right],), {})
            submission.submit(size_of, (blob,), {})
            submission.submit(plus_one, (submission.submit(fails, ("there",), {}),), {})
            await submission.close()
            await submission.kept(30)
            await submission.hand_over()
            job_id = submission.id
            submission.forget()
        config = Config(bootstrap=swarm.bootstrap, swarm_key=swarm.key, profile="local", roles=())
        async with asyncio.timeout(60), Node(config, owner=OWNER) as node:
            job = await node.fetch(job_id)
            found = {result.index: result async for result in job.results(50)}
    assert len(found[1].unwrap()) == LARGE_BYTES
    assert [found[index].value for index in (0, 2, 3, 4, 5)] == [1, 2, 11, 13, LARGE_BYTES]
    assert isinstance(found[7].error, LookupError) and str(found[7].error) == "there"
