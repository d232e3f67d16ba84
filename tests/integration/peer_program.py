"""One peer as a program that does what lines of JSON ask: ``peer_program.py ADDRESS BOOTSTRAP ROLES``.

Each answer is one line. ``["status"]``, ``["put", salt, value]`` (the key), ``["get", key]``, ``["map", count]``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from p2pcpn import Executor
from p2pcpn.config import Config
from p2pcpn.node.overlay import Overlay

KEY = "22" * 32


async def answer(overlay: Overlay, word: str, *words: Any) -> Any:
    if word == "put":
        salt, value = words
        done = await overlay.put_record(overlay.keypair, salt.encode(), value.encode(), 3600.0)
        return [done.key.hex(), len(done.holders)]
    if word == "get":
        found = await overlay.get_record(bytes.fromhex(words[0]))
        return None if found.record is None else found.record.value.decode()
    if word == "map":
        return await asyncio.to_thread(mapped, "{}:{}".format(*overlay.address), words[0])
    peer = overlay.peer
    return {
        "id": overlay.id.hex(),
        "reach": peer.reachability.reach.value,
        "roles": peer.roles,
        "table": [known.id.hex() for known in peer.dht.table.contacts()],
        "held": len(peer.dht.storage),
        "roles_of": {
            listed.advert.contact.id.hex(): listed.advert.roles for listed in peer.directory.listed(overlay.loop.time())
        },
        "ran": overlay.peer.worker.running,
    }


def mapped(bootstrap: str, count: int) -> list[int]:
    with Executor(bootstrap=[bootstrap], swarm_key=KEY) as executor:
        return list(executor.map(abs, range(-count, 0), timeout=60))


async def main(listen: str, bootstrap: str, roles: str) -> None:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    config = Config(
        listen=listen, bootstrap=bootstrap, swarm_key=KEY, roles=roles.split(","), cpus=1, durable=False
    )  # fmt: skip
    async with Overlay(config) as overlay:
        while line := await lines.readline():
            print(json.dumps(await answer(overlay, *json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
