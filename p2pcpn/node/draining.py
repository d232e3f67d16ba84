"""Draining: a node finishes what it runs, hands on what it keeps, and leaves; until it has left, it may stay after all.

::

    staying ──begin──> finishing ──idle──> handing over ──> leaving
       ^──────────────── undo ─────────────────┘

``finishing`` waits for tasks and for their results to be on somebody's disk, as long as the owner said.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from p2pcpn.node.bequest import Bequest
from p2pcpn.node.upkeep import HAND_OVER_S

if TYPE_CHECKING:
    from p2pcpn.node.overlay import Overlay

log = logging.getLogger("p2pcpn.node")

DRAIN_S: Final = 600.0
LOOK_S: Final = 0.05
# Results are offered to a grantor that is gone, and to the stewards in turn, every few seconds.
SETTLE_S: Final = 20.0
# Whoever watches asks several times a second: the last word is kept for it so long.
TOLD_S: Final = 1.0


class Draining:
    """See the module. ``stop`` is set when everything is done that can be done before the node leaves."""

    def __init__(self, overlay: Overlay, stop: asyncio.Event) -> None:
        self._overlay = overlay
        self._stop = stop
        self._task: asyncio.Task[None] | None = None
        self._bequest = Bequest(overlay)
        self._told = asyncio.Event()
        self._watched = self._careful = False
        self.state = "staying"
        self.behind: dict[str, int] = {}  # what stays undone: tasks, results, jobs, sections
        self.until = 0.0

    @property
    def possible(self) -> bool:
        """Whether the node runs: before that there is nothing to finish."""
        return hasattr(self._overlay, "udp")

    def begin(self, timeout_s: float = DRAIN_S, *, careful: bool = False) -> None:
        """Begin to leave, within about ``timeout_s``. Said again, the newer time counts.

        ``careful``: stay after all where this node would be the last to have something.
        """
        if self._stop.is_set():
            return
        self.until, self._careful = self._overlay.loop.time() + timeout_s, careful
        if self._task is None:
            log.info("draining, for %g s at most", timeout_s)
            self.state, self._overlay.depot.leaving = "finishing", True
            self._overlay.follow(self._overlay.peer.presence.drain(self._overlay.loop.time()))
            self._task = self._overlay.spawn(self._run())

    def undo(self) -> bool:
        """Stay after all; false where nothing was begun, or it is too late."""
        if self._task is None or self.state == "leaving":
            return False
        log.info("not draining any more")
        self._task.cancel()
        self._task, self.state, self.behind = None, "staying", {}
        self._overlay.depot.leaving = False
        self._overlay.follow(self._overlay.peer.presence.stay(self._overlay.loop.time()))
        return True

    def watched(self) -> dict[str, Any]:
        """How far it is, for somebody who asks until we are gone, and must not miss the last word."""
        self._watched = True
        if self.state == "leaving":
            self._told.set()
        return self.progress()

    def progress(self) -> dict[str, Any]:
        """How far it is."""
        worker = self._overlay.peer.worker
        return {
            "state": self.state, "running": worker.running, "unsettled": worker.unsettled,
            "jobs": self._bequest.left, "sections": len(self._overlay.upkeep.missed), "behind": dict(self.behind),
            "left_s": round(max(0.0, self.until - self._overlay.loop.time()), 1),
        }  # fmt: skip

    async def _run(self) -> None:
        """All steps; one that raises is left out, for whoever waits for this node to leave waits no less for it."""
        try:
            await self._steps()
        except Exception:
            log.exception("draining: a step failed, the node leaves without it")
            self.behind, self.state = self._found(), "leaving"
            self._stop.set()

    def _found(self) -> dict[str, int]:
        """What would stay undone."""
        worker, upkeep = self._overlay.peer.worker, self._overlay.upkeep
        found = {
            "tasks": worker.running, "results": worker.unsettled, "jobs": self._bequest.short,
            "sections": len(upkeep.missed),
        }  # fmt: skip
        return {what: count for what, count in found.items() if count}

    async def _steps(self) -> None:
        overlay, worker = self._overlay, self._overlay.peer.worker
        await self._over(lambda: not worker.running or overlay.loop.time() >= self.until)
        self._bequest.acknowledge()
        settled_by = min(self.until, overlay.loop.time() + SETTLE_S)
        await self._over(lambda: not worker.unsettled or overlay.loop.time() >= settled_by)
        self.state = "handing over"
        rest_s = max(HAND_OVER_S, self.until - overlay.loop.time())
        try:
            async with asyncio.timeout(rest_s):
                await self._bequest.hand_over()
        except TimeoutError:
            log.warning("not every job could be handed over within %g s", rest_s)
        await overlay.upkeep.hand_over(max(HAND_OVER_S, self.until - overlay.loop.time()))
        alone = worker.running or worker.unsettled or self._bequest.alone or overlay.upkeep.alone
        if self._careful and alone:
            overlay.loop.call_soon(self.undo)
            return
        self.behind, self.state = self._found(), "leaving"
        if self._watched:
            try:
                async with asyncio.timeout(TOLD_S):
                    await self._told.wait()
            except TimeoutError:
                pass  # whoever watched has gone
        self._stop.set()

    @staticmethod
    async def _over(true: Callable[[], bool]) -> None:
        while True:
            if true():
                return
            await asyncio.sleep(LOOK_S)
