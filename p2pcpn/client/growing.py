"""Growing: a ``Swarm`` that adds peers while tasks queue, and drains them when they idle, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2pcpn.client.departing import control_of, drain
from p2pcpn.client.scaling import Scaler, Seen
from p2pcpn.errors import P2pcpnError, Unreachable
from p2pcpn.node.control import ask
from p2pcpn.protocol.scaling import Bounds, Scale

if TYPE_CHECKING:
    from p2pcpn.client.swarm import Swarm

log = logging.getLogger("p2pcpn.scaling")

# An idle peer has nothing to finish; results that are on their way to their holders are there in seconds.
DRAIN_S: Final = 30.0


def seen(name: int | str, data_dir: str | Path) -> Seen | None:
    """A peer on this machine as it is now; ``None`` where it does not answer."""
    try:
        load = ask(control_of(data_dir), "load")
    except Unreachable:
        return None
    waits = load["queued"] + load["unsettled"]
    return Seen(name, load["slots"], load["running"], waits, load["wanted"], load["draining"])


class OwnCrowd:
    """The peers of a ``Swarm``, which is not kept alive by this."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = weakref.ref(swarm)

    def look(self) -> Sequence[Seen]:
        """Those that answer, in the order in which they came."""
        swarm = self._swarm()
        if swarm is None:
            return []
        found = [seen(peer.index, peer.data_dir) for peer in swarm.peers if peer.alive]
        return [peer for peer in found if peer is not None]

    def grow(self, count: int, wanted: int) -> None:
        """Add so many."""
        swarm = self._swarm()
        if swarm is not None:
            swarm.add(count)

    def drain(self, names: Sequence[int | str], wanted: int) -> None:
        """Ask these to leave."""
        swarm = self._swarm()
        if swarm is not None:
            directories = [swarm.peers[int(name)].data_dir for name in names]
            drain_all(directories)


def drain_all(directories: Sequence[Path]) -> None:
    """Let idle peers leave, each by itself; who is the last to have something stays."""

    def one(directory: Path) -> None:
        try:
            drain(control_of(directory), DRAIN_S, careful=True)
        except P2pcpnError as error:
            log.info("%s: %s", directory.name, error)

    for directory in directories:
        threading.Thread(target=one, args=(directory,), name="p2pcpn-drain", daemon=True).start()


def keep_scaled(swarm: Swarm, bounds: Bounds, ended: threading.Event) -> None:
    """Scale ``swarm`` within ``bounds`` until it ``ended``."""
    scaler = Scaler(Scale(bounds), OwnCrowd(swarm))
    threading.Thread(target=scaler.run, args=(ended,), name="p2pcpn-scaling", daemon=True).start()
