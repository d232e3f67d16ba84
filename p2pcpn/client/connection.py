"""How a verb of the command line finds a peer of its swarm, and joins for as long as it takes.

In this order: addresses that were named (flags, then the environment), the node that runs on this machine (its control
socket says where it is and which swarm it belongs to), the swarm that ``p2pcpn swarm up`` started last.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from p2pcpn.client.keys import trusted_keys
from p2pcpn.config import Config, data_home, state_home
from p2pcpn.errors import P2pcpnError, Unreachable
from p2pcpn.identity.files import write_private
from p2pcpn.node.control import ask, control_path
from p2pcpn.node.loop import new_loop
from p2pcpn.node.overlay import Overlay

T = TypeVar("T")

JOIN_WAIT_S = 5.0
NODE_NOTE = "node.json"
SWARM_NOTE = "swarm.json"
_LOOPBACK = ("127.", "localhost:", "[::1]:")


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where to meet a swarm: addresses, its key, and in words who named them."""

    bootstrap: tuple[str, ...]
    swarm_key: str | bytes | None
    source: str

    @property
    def local(self) -> bool:
        """Whether every address is this machine's own."""
        return all(address.startswith(_LOOPBACK) for address in self.bootstrap)


def meeting(bootstrap: Sequence[str], swarm_key: str | None, env: Mapping[str, str]) -> Meeting:
    """Where to meet the swarm. Raises :class:`Unreachable` where nothing names a peer."""
    named = Config.from_env(env, bootstrap=list(bootstrap), swarm_key=swarm_key)
    if named.bootstrap:
        source = "--bootstrap" if bootstrap else "P2PCPN_BOOTSTRAP"
        return Meeting(tuple(named.bootstrap), named.swarm_key, source)
    found = local_node(env)
    if found is not None:
        return Meeting(tuple(found["bootstrap"]), named.swarm_key or found["swarm_key"], "the node on this machine")
    swarm = read_note(SWARM_NOTE, env)
    if swarm is not None:
        return Meeting(tuple(swarm["bootstrap"]), named.swarm_key or swarm["swarm_key"], "the last p2pcpn swarm up")
    raise Unreachable(
        "there is no peer to talk to: start one with p2pcpn swarm up or p2pcpn node, or name one with "
        "--bootstrap HOST:PORT"
    )


def local_node(env: Mapping[str, str]) -> dict[str, Any] | None:
    """What the node that runs on this machine says of itself; ``None`` where none answers."""
    for path in node_sockets(env):
        try:
            return ask(path, "status")
        except P2pcpnError:
            continue
    return None


def node_sockets(env: Mapping[str, str]) -> list[Path]:
    """Where a node of this user may listen: in the usual data directory, and in that of the one started last."""
    paths = [control_path(node_data_dir(env))]
    note = read_note(NODE_NOTE, env)
    if note is not None:
        paths.append(Path(note["control"]))
    return list(dict.fromkeys(paths))


def node_data_dir(env: Mapping[str, str]) -> Path:
    """Where ``p2pcpn node`` keeps its identity and its data when no other place is named."""
    return data_home(env) / "node"


# --- Notes: what running peers leave word of --------------------------------------------------------------------------


def write_note(name: str, value: Mapping[str, Any], env: Mapping[str, str]) -> None:
    """Leave word in a private file. Raises :class:`~p2pcpn.errors.StoreError`."""
    write_private(state_home(env) / name, json.dumps(value, indent=1) + "\n")


def read_note(name: str, env: Mapping[str, str]) -> dict[str, Any] | None:
    """A note that was left; ``None`` where there is none that can be read."""
    path = state_home(env) / name
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def remove_note(name: str, env: Mapping[str, str]) -> None:
    """Nothing is left to say."""
    (state_home(env) / name).unlink(missing_ok=True)


# --- Joining ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def joined(where: Meeting, env: Mapping[str, str], *, wait_s: float = JOIN_WAIT_S) -> AsyncIterator[Overlay]:
    """A client peer (no roles) in the swarm, for the length of the block.

    Raises :class:`Unreachable` when no peer answers within ``wait_s``.
    """
    config = Config(
        bootstrap=where.bootstrap, swarm_key=where.swarm_key, roles=(), durable=False, trust=tuple(trusted_keys(env)),
        profile="local" if where.local else "public",
    )  # fmt: skip
    overlay = Overlay(config)
    try:
        await overlay.start()
        await overlay.wait_known(wait_s)
        yield overlay
    finally:
        await overlay.close()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a verb's coroutine to its end, in the quickest loop there is."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(coroutine)
