"""Hooks: a swarm is scaled by its owner's own commands, which start and drain peers wherever those run.

What waits and who idles is asked of one node, which hears the swarm's offers and adverts. Environment variables tell a
command what is wanted; what it does about it, and how long that takes, is its own.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from p2pcpn.client.scaling import Scaler, Seen
from p2pcpn.client.swarm import check_scaling
from p2pcpn.errors import P2pcpnError
from p2pcpn.node.control import ask
from p2pcpn.protocol.scaling import Bounds, Scale

# A virtual machine takes so long to come up, with some to spare; until then it counts as one that is there.
COMING_S: Final = 180.0


class HookCrowd:
    """The compute peers that the node behind ``control`` has heard of; ``up`` and ``down`` are shell commands."""

    def __init__(
        self,
        control: Path,
        up: str,
        down: str,
        *,
        coming_s: float = COMING_S,
        env: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._up = up
        self._down = down
        self._coming_s = coming_s
        self._env = env
        self._clock = clock
        self._expected = 0
        self._until = 0.0
        self._addresses: dict[str, str] = {}

    def look(self) -> Sequence[Seen]:
        """Those that are there, the longest known first, and those that are on their way. Raises
        :class:`Unreachable` where the node does not answer."""
        load = ask(self._control, "load")
        rows = [row for row in ask(self._control, "peers")["peers"] if "compute" in row["roles"]]
        addresses = {row["id"]: row["address"] for row in rows}
        known = [node for node in self._addresses if node in addresses]
        known += [node for node in addresses if node not in self._addresses]
        self._addresses = {node: addresses[node] for node in known}
        by_id = {row["id"]: row for row in rows}
        found = []
        for node in known:
            row = by_id[node]
            running = load["running"] if row["own"] else row["slots"] - row["slots_free"]
            queued = load["queued"] + load["unsettled"] if row["own"] else 0
            found.append(Seen(node, row["slots"], running, queued, load["wanted"], row["draining"]))
        missing = self._expected - len(found) if self._clock() < self._until else 0
        slots = max((peer.slots for peer in found), default=1)
        return found + [Seen(f"coming {n}", slots, slots, 0, load["wanted"]) for n in range(missing)]

    def grow(self, count: int, wanted: int) -> None:
        """Run ``up``. Raises :class:`P2pcpnError` where it fails."""
        self._run(self._up, wanted, P2PCPN_ADD=str(count))
        self._expected, self._until = wanted, self._clock() + self._coming_s

    def drain(self, names: Sequence[int | str], wanted: int) -> None:
        """Run ``down``. Raises :class:`P2pcpnError` where it fails."""
        self._expected = 0
        nodes = [str(name) for name in names]
        addresses = " ".join(self._addresses.get(node, "") for node in nodes)
        self._run(self._down, wanted, P2PCPN_DRAIN=" ".join(nodes), P2PCPN_DRAIN_ADDRESSES=addresses)

    def _run(self, command: str, wanted: int, **words: str) -> None:
        told = {**self._env, "P2PCPN_PEERS": str(len(self._addresses)), "P2PCPN_WANTED": str(wanted), **words}
        code = subprocess.run(["/bin/sh", "-c", command], env=told, stdin=subprocess.DEVNULL, check=False).returncode
        if code:
            raise P2pcpnError(f"{command!r} ended with {code}; it is run again when it is wanted again")


def watch(
    control: Path, commands: tuple[str, str], bounds: tuple[int, int, float], coming_s: float,
    say: Callable[[str], object],
) -> None:  # fmt: skip
    """Scale the swarm of the node behind ``control`` by ``commands`` (up, down) for ever, and ``say`` what is done.

    ``bounds``: least and most peers, and the idle time in seconds. Raises :class:`UsageError` for bounds that cannot
    be, :class:`Unreachable` where no node answers at first.
    """
    check_scaling(*bounds)
    crowd = HookCrowd(control, *commands, coming_s=coming_s)
    crowd.look()
    Scaler(Scale(Bounds(*bounds)), crowd, say=say).run(threading.Event())
