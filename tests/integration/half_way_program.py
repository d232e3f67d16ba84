"""A submitter that is killed half way: ``half_way_program.py ORDER`` brings its tasks to one steward of five, and dies.

It prints the job's id. Its project's code and its segments go to the first steward alone; when that one answers that
they are on its disk the program kills itself with SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from submitter_program import task  # it stands beside this one

from p2pcpn import Config, Node
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol.effects import Effect, Tell
from p2pcpn.protocol.trustees import Trustees
from p2pcpn.wire.messages import Extend, Message
from p2pcpn.wire.statements import Segment, read


def kill_half_way(tasks: int) -> None:
    """Have all ``tasks`` reach one steward, and nobody live on after that."""
    tell, answered, send_blobs = Trustees.tell, Trustees.answered, Trustees.send_blobs
    last: dict[tuple[NodeId, int], None] = {}
    whole: dict[NodeId, None] = {}

    def to_one(self: Trustees, make: Callable[[int], Message], *, awaited: bool = False) -> list[Effect]:
        effects = tell(self, make, awaited=awaited)
        if not all(isinstance(effect, Tell) and isinstance(effect.message, Extend) for effect in effects):
            return effects
        first = effects[0]
        assert isinstance(first, Tell) and isinstance(first.message, Extend)
        said = read(first.message.segment, Segment)
        if said.first + said.count == tasks:
            last[NodeId(first.to.id), first.message.request] = None
        return [first]

    def die(self: Trustees, node: NodeId, request: int) -> bool:
        found = answered(self, node, request)
        whole.update({of: None for of, number in last if (of, number) == (node, request)})
        if node in whole and not self.all[node].unanswered:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    def blobs_to_one(self: Trustees, digests: list[bytes], copies: int, job: bytes, retention_s: float) -> list[Effect]:
        return send_blobs(self, digests, 1, job, retention_s)

    Trustees.tell = to_one  # type: ignore[method-assign]
    Trustees.send_blobs = blobs_to_one  # type: ignore[method-assign]
    Trustees.answered = die  # type: ignore[method-assign]


async def main(order: dict[str, Any]) -> None:
    config = Config(
        profile="local", bootstrap=order["bootstrap"], swarm_key=order["swarm_key"], roles=(), durable=False
    )  # fmt: skip
    async with Node(config, owner=Keypair(bytes.fromhex(order["owner"]))) as node:
        calls = [(index, takes_s, order["runs"]) for index, takes_s in enumerate(order["takes_s"])]
        kill_half_way(len(calls))
        job = await node.submit(task, calls, **order["options"])
        print(job.id, flush=True)
        await job.gather()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
