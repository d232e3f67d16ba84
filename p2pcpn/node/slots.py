"""Slots that follow the load: a node within bounds of its owner's runs more at a time while tasks queue and cores idle.

How many there should be is decided by ``protocol/scaling.py``. What a grantor is told is the most there may be, so that
tasks come to wait here; what the swarm is told is how many there are.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from p2pcpn.metrics.machine import cores
from p2pcpn.protocol.scaling import Bounds, Load, Scale

if TYPE_CHECKING:
    from p2pcpn.node.overlay import Overlay

log = logging.getLogger("p2pcpn.node")

LOOK_S: Final = 0.25
# A process costs 2 ms to start and 10 MB to keep.
IDLE_S: Final = 30.0


class Slots:
    """See the module. ``least`` to ``most`` of them; nothing is done where both are the same."""

    def __init__(self, overlay: Overlay, least: int, most: int) -> None:
        self._overlay = overlay
        self._cores = cores()
        self._scale = Scale(Bounds(least, most, IDLE_S))

    async def run(self) -> None:
        """Look several times a second."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """As many slots as there should be now."""
        overlay = self._overlay
        worker, now = overlay.peer.worker, overlay.loop.time()
        # Cores that neither others' processes nor our own tasks use.
        idle = int(self._cores * (1.0 - overlay.peer.announcement.load) + 0.5) - worker.running
        waiting = 0 if worker.leaving else min(worker.queued, max(idle, 0))
        wanted = self._scale.observe(Load(overlay.slots, overlay.slots, worker.running, waiting), now)
        if wanted != overlay.slots:
            self._resize(wanted, now)

    def _resize(self, slots: int, now: float) -> None:
        overlay = self._overlay
        log.info("%d slots become %d", overlay.slots, slots)
        overlay.slots = slots
        if overlay.runs.runtime is not None:
            overlay.runs.runtime.resize(slots)
        overlay.follow(overlay.peer.worker.resize(slots, now))
        overlay.follow(overlay.peer.advertised(overlay.peer.announcement.resized(slots, now)))
