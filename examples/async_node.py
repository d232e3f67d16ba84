"""A peer inside an asyncio program: it joins a swarm, submits a job, and takes results as they come."""

from __future__ import annotations

import asyncio

from p2pcpn import Config, Node, Swarm


def cube(number: int) -> int:
    return number**3


async def main(bootstrap: list[str], swarm_key: str) -> None:
    # roles=(): this node only submits. Leave it out, and the node computes and stores for others too.
    config = Config(profile="local", bootstrap=bootstrap, swarm_key=swarm_key, roles=())
    async with Node(config) as node:
        job = await node.submit(cube, range(10))
        async for result in job.results(timeout=30):
            print(f"task {result.index} gave {result.value}")
        again = await node.fetch(job.id)  # any peer, later, with the owner's key
        print(sum(await again.gather(timeout=30)))


if __name__ == "__main__":
    with Swarm(peers=2) as swarm:
        asyncio.run(main(swarm.bootstrap, swarm.key))
