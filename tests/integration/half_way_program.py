"""A submitter that is killed half way: ``half_way_program.py ORDER`` brings its tasks to one steward of five, and dies.

It prints the job's id. Its first segment goes to the first steward alone; when that one answers that it is on its disk
the program kills itself with SIGKILL.
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


def kill_half_way() -> None:
    """Have the first segment reach one steward, and nobody live on after that."""
    tell, answered = Trustees.tell, Trustees.answered
    brought: dict[tuple[NodeId, int], None] = {}

    def to_one(self: Trustees, make: Callable[[int], Message], *, awaited: bool = False) -> list[Effect]:
        effects = tell(self, make, awaited=awaited)
        if not all(isinstance(effect, Tell) and isinstance(effect.message, Extend) for effect in effects):
            return effects
        first = effects[0]
        assert isinstance(first, Tell) and isinstance(first.message, Extend)
        brought[NodeId(first.to.id), first.message.request] = None
        return [first]

    def die(self: Trustees, node: NodeId, request: int) -> bool:
        if (node, request) in brought:
            os.kill(os.getpid(), signal.SIGKILL)
        return answered(self, node, request)

    Trustees.tell = to_one  # type: ignore[method-assign]
    Trustees.answered = die  # type: ignore[method-assign]


async def main(order: dict[str, Any]) -> None:
    config = Config(
        profile="local", bootstrap=order["bootstrap"], swarm_key=order["swarm_key"], roles=(), durable=False
    )  # fmt: skip
    async with Node(config, owner=Keypair(bytes.fromhex(order["owner"]))) as node:
        kill_half_way()
        calls = [(index, takes_s, order["runs"]) for index, takes_s in enumerate(order["takes_s"])]
        job = await node.submit(task, calls, **order["options"])
        print(job.id, flush=True)
        await job.gather()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
