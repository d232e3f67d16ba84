"""Draining: a node performs what ``protocol/departure.py`` decides: it finishes, hands on what it keeps, and leaves."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from p2pcpn.node.bequest import Bequest
from p2pcpn.protocol import departure as d

if TYPE_CHECKING:
    from p2pcpn.node.overlay import Overlay

log = logging.getLogger("p2pcpn.node")

DRAIN_S: Final = 600.0


class Draining:
    """See the module. ``stop`` is set when everything is done that can be done before the node leaves."""

    def __init__(self, overlay: Overlay, stop: asyncio.Event) -> None:
        self._overlay = overlay
        self._stop = stop
        self._bequest = Bequest(overlay)
        self._machine = d.Departure()
        self._wake = asyncio.Event()
        self._run_by: asyncio.Task[None] | None = None
        self._handing: asyncio.Task[None] | None = None

    @property
    def possible(self) -> bool:
        """Whether the node runs: before that there is nothing to finish."""
        return hasattr(self._overlay, "udp")

    @property
    def state(self) -> str:
        """``staying``, ``finishing``, ``handing over`` or ``leaving``."""
        return self._machine.stage.word

    @property
    def behind(self) -> dict[str, int]:
        """What stays undone: tasks, results, jobs, sections."""
        return self._machine.behind

    def begin(self, timeout_s: float = DRAIN_S, *, careful: bool = False) -> None:
        """Begin to leave, within about ``timeout_s``. Said again, the newer time counts.

        ``careful``: stay after all where this node would be the last to have something.
        """
        if self._stop.is_set():
            return
        steps = self._machine.begin(timeout_s, self._now, careful=careful)
        if steps:
            log.info("draining, for %g s at most", timeout_s)
        self._perform(steps)
        if self._run_by is None or self._run_by.done():
            self._run_by = self._overlay.spawn(self._run())

    def undo(self) -> bool:
        """Stay after all; false where nothing was begun, or it is too late."""
        steps = self._machine.undo()
        self._perform(steps)
        return bool(steps)

    def watched(self) -> dict[str, Any]:
        """How far it is, for somebody who asks until we are gone, and must not miss the last word."""
        self._machine.watch(self._now)
        self._wake.set()
        return self.progress()

    def progress(self) -> dict[str, Any]:
        """How far it is."""
        worker = self._overlay.peer.worker
        sections = len(self._overlay.upkeep.missed)
        return {
            "state": self.state, "running": worker.running, "unsettled": worker.unsettled,
            "jobs": self._bequest.machine.left, "sections": sections, "behind": dict(self.behind),
            "left_s": round(max(0.0, self._machine.until_s - self._now), 1),
        }  # fmt: skip

    @property
    def _now(self) -> float:
        return self._overlay.loop.time()

    def _undone(self) -> d.Undone:
        worker, upkeep, jobs = self._overlay.peer.worker, self._overlay.upkeep, self._bequest.machine
        return d.Undone(
            worker.running, worker.unsettled, jobs.short, len(upkeep.missed), jobs.alone + len(upkeep.alone),
            jobs.orphans,
        )  # fmt: skip

    # --- what is performed -------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Ask the machine when it is due, until it stays or has gone."""
        while (due_s := self._machine.deadline()) is not None:
            self._wake.clear()
            try:
                async with asyncio.timeout(max(0.0, due_s - self._now)):
                    await self._wake.wait()
            except TimeoutError:
                self._perform(self._machine.expire(self._undone(), self._now))

    def _perform(self, steps: Sequence[d.Step]) -> None:
        """Perform steps, and those that follow from one that cannot be performed."""
        left = deque(steps)
        while left:
            try:
                self._do(left.popleft())
            except Exception:
                log.exception("draining: a step failed, the node goes on without it")
                left += self._machine.failed(self._undone(), self._now)
        if self._handing is not None and self._machine.stage not in d.HANDING_OVER:
            self._handing.cancel()
            self._handing = None
        self._wake.set()

    def _do(self, step: d.Step) -> None:
        overlay = self._overlay
        match step:
            case d.Drain():
                overlay.depot.leaving = True
                overlay.follow(overlay.peer.presence.drain(self._now))
            case d.Acknowledge():
                self._bequest.acknowledge()
            case d.HandOver():
                if self._handing is not None:
                    self._handing.cancel()
                    log.warning("not everything could be handed over in time")
                self._handing = overlay.spawn(self._hand_over(step))
            case d.Stay():
                log.info("not draining any more")
                overlay.depot.leaving = False
                overlay.follow(overlay.peer.presence.stay(self._now))
            case d.Go():
                self._stop.set()

    async def _hand_over(self, step: d.HandOver) -> None:
        """Until it is done, or another step comes and this is cancelled."""
        try:
            if step.what is d.Stage.JOBS:
                await self._bequest.hand_over()
            else:
                await self._overlay.upkeep.hand_over(None)
        except Exception:
            log.exception("draining: the node goes on without handing over %s", step.what.name.lower())
        self._handing = None
        self._perform(self._machine.handed_over(step.turn, self._undone(), self._now))
