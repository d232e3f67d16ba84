"""Checkpoints: a task whose peer is killed goes on where its last state was, on another peer."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import p2pcpn
from p2pcpn import Config, Node, Swarm, UsageError
from p2pcpn.client.project import project
from p2pcpn.client.submission import Options, Submission
from p2pcpn.identity.keys import Keypair, node_id
from p2pcpn.limits import CHECKPOINT_BYTES_MAX

WAIT_S = 60.0
STEP_S = 0.05
STEPS = 60


def counter(folder: Path) -> Callable[[int], tuple[int, int]]:
    """A task that counts to ``STEPS`` and leaves a state at each step; returns where it began, and how many runs."""
    text = str(folder)

    def ancestors() -> list[int]:
        found = [os.getpid()]
        while found[-1] > 1:
            with open(f"/proc/{found[-1]}/stat") as file:
                found.append(int(file.read().rsplit(")", 1)[1].split()[1]))
        return found

    def count(number: int) -> tuple[int, int]:
        began, runs = p2pcpn.restored((0, 0))
        for step in range(began, STEPS):
            p2pcpn.checkpoint((step + 1, runs + 1))
            with open(f"{text}/{number}", "w") as file:
                file.write(f"{step + 1} {' '.join(map(str, ancestors()))}")
            time.sleep(STEP_S)
        return began, runs + 1

    return count


def submitting(order: dict[str, Any]) -> None:
    """The program that submits one counting task and waits; it is there to be killed."""

    async def main() -> None:
        config = Config(
            profile="local", bootstrap=order["bootstrap"], swarm_key=order["swarm_key"], roles=(), durable=False
        )
        async with Node(config, owner=Keypair(bytes.fromhex(order["owner"]))) as node:
            job = await node.submit(counter(Path(order["folder"])), [0], hedge=False)
            print(job.id, flush=True)
            await job.gather()

    asyncio.run(main())


def far(folder: Path, number: int) -> tuple[int, set[int]]:
    """How far task ``number`` is, and the processes above it."""
    try:
        step, *above = (folder / str(number)).read_text().split()
    except (FileNotFoundError, ValueError):
        return 0, set()
    return int(step), set(map(int, above))


def kill_who_runs(swarm: Swarm, folder: Path, number: int) -> int:
    """Wait until the task is half way, then SIGKILL its peer; returns how far it was."""
    end = time.monotonic() + WAIT_S
    while (found := far(folder, number))[0] < STEPS // 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    peers = [peer.index for peer in swarm.peers if peer.pid in found[1]]
    assert len(peers) == 1, "the peer that runs the task is one of the swarm's"
    swarm.kill(peers[0])
    return far(folder, number)[0]


def test_a_killed_task_goes_on_from_its_last_state_on_another_peer(tmp_path: Path) -> None:
    with Swarm(peers=3) as swarm, swarm.executor(key=Keypair(os.urandom(32)), hedge=False) as executor:
        future = executor.submit(counter(tmp_path), 0)
        killed_at = kill_who_runs(swarm, tmp_path, 0)
        began, runs = future.result(WAIT_S)
        # One state a half second leaves: at least ten steps, and a few more for the way.
        assert killed_at - 20 <= began <= killed_at and began >= STEPS // 6
        assert runs == 2


def test_a_task_that_nobody_killed_begins_at_the_beginning() -> None:
    def first(step: int) -> tuple[object, object]:
        before = p2pcpn.restored("nothing")
        p2pcpn.checkpoint(["step", step])
        return before, p2pcpn.restored()

    def large() -> None:
        p2pcpn.checkpoint(bytes(CHECKPOINT_BYTES_MAX))

    with Swarm(peers=2) as swarm, swarm.executor(key=Keypair(os.urandom(32))) as executor:
        found = [executor.submit(first, step).result(WAIT_S) for step in range(3)]
        assert found == [("nothing", ["step", step]) for step in range(3)]
        with pytest.raises(UsageError, match="a checkpoint of"):
            executor.submit(large).result(WAIT_S)


@pytest.mark.asyncio
async def test_a_detached_job_goes_on_from_its_last_state_too(tmp_path: Path) -> None:
    owner = Keypair(os.urandom(32))
    count = counter(tmp_path)
    with Swarm(peers=4) as swarm:
        config = Config(profile="local", bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), durable=False)
        async with Node(config, owner=owner) as node:
            job = await Submission.open(node.overlay, owner, Options(hedge=False), project(count), granting=False)
            for number in range(4):
                job.submit(count, (number,), {})
            await job.close()
            await job.kept(WAIT_S)
            grantor = node_id(await job.hand_over()).hex()
            job.forget()
            victim = await asyncio.to_thread(_somebody_else, swarm, tmp_path, grantor)
            killed_at = await asyncio.to_thread(kill_who_runs, swarm, tmp_path, victim)
            results = await (await node.fetch(job.id)).gather(WAIT_S)
    began, runs = results[victim]
    assert runs == 2 and killed_at - 20 <= began <= killed_at and began >= STEPS // 6
    assert [results[number] for number in range(4) if number != victim] == [(0, 1)] * 3


@pytest.mark.asyncio
async def test_a_task_goes_on_under_the_steward_that_took_over_when_its_peer_and_its_grantor_die_together(
    tmp_path: Path,
) -> None:
    seed = os.urandom(32)
    with Swarm(peers=4) as swarm:
        order = {
            "bootstrap": swarm.bootstrap, "swarm_key": swarm.key, "owner": seed.hex(), "folder": str(tmp_path),
        }  # fmt: skip
        words = [sys.executable, __file__, json.dumps(order)]
        program = await asyncio.to_thread(subprocess.Popen, words, stdout=subprocess.PIPE, text=True)
        try:
            assert program.stdout is not None
            name = (await asyncio.to_thread(program.stdout.readline)).strip()
            killed_at = await asyncio.to_thread(kill_who_runs, swarm, tmp_path, 0)
        finally:
            program.kill()
            program.wait()
            if program.stdout is not None:
                program.stdout.close()
        config = Config(profile="local", bootstrap=swarm.bootstrap, swarm_key=swarm.key, roles=(), durable=False)
        async with Node(config, owner=Keypair(seed)) as node:
            ((began, runs),) = await (await node.fetch(name)).gather(WAIT_S)
    # A state leaves its process each half second, and its grantor each second.
    assert runs == 2 and killed_at - 40 <= began <= killed_at + 1 and began >= STEPS // 12


def _somebody_else(swarm: Swarm, folder: Path, grantor: str) -> int:
    """A task that runs on another peer than the grantor's."""
    others = {peer.pid for peer in swarm.peers if peer.id != grantor}
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        for number in range(4):
            if far(folder, number)[1] & others:
                return number
        time.sleep(0.02)
    raise AssertionError("no task runs on another peer than the grantor's")


if __name__ == "__main__":
    submitting(json.loads(sys.argv[1]))
