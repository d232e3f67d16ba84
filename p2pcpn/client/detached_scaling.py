"""Scaling the swarm that ``p2pcpn swarm up`` left running, in a process of its own that ends when the swarm is gone."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Final

from p2pcpn.client import detached_swarm
from p2pcpn.client.detached_swarm import LocalSwarm
from p2pcpn.client.growing import DRAIN_S, seen
from p2pcpn.client.scaling import Scaler, Seen
from p2pcpn.errors import P2pcpnError
from p2pcpn.protocol.scaling import Bounds, Scale

log = logging.getLogger("p2pcpn.scaling")

FORMAT: Final = "%(asctime)s %(message)s"


class DetachedCrowd:
    """The peers of the swarm with this key; ``stop`` is set when another one, or none, runs."""

    def __init__(self, env: Mapping[str, str], key: str, stop: threading.Event) -> None:
        self._env = env
        self._key = key
        self._stop = stop

    def look(self) -> Sequence[Seen]:
        """Those that answer, in the order in which they came."""
        swarm = self._swarm()
        found = [] if swarm is None else [seen(peer.n, peer.data_dir) for peer in swarm.peers]
        return [peer for peer in found if peer is not None]

    def _swarm(self) -> LocalSwarm | None:
        swarm = detached_swarm.last_swarm(self._env)
        if swarm is None or swarm.swarm_key != self._key:
            self._stop.set()
            return None
        return swarm

    def grow(self, count: int, wanted: int) -> None:
        """Add so many."""
        if self._swarm() is not None:
            detached_swarm.add(count, self._env)

    def drain(self, names: Sequence[int | str], wanted: int) -> None:
        """Ask these to leave."""
        for name in names:
            threading.Thread(target=self._drain, args=(int(name),), daemon=True).start()

    def _drain(self, n: int) -> None:
        try:
            detached_swarm.drain(n, self._env, DRAIN_S, careful=True)
        except P2pcpnError as error:
            log.info("peer %d: %s", n, error)


def keep_scaled(env: Mapping[str, str] = os.environ) -> None:
    """Scale the swarm that runs, as it was started, until it is gone."""
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    swarm = detached_swarm.last_swarm(env)
    if swarm is None or swarm.scale is None:
        return
    stop = threading.Event()
    Scaler(Scale(Bounds(*swarm.scale)), DetachedCrowd(env, swarm.swarm_key, stop)).run(stop)
