"""Progress: how far a job is, and waiting until it is so far."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from p2pcpn.protocol import events


@dataclass(slots=True)
class Progress:
    """``replicated`` of ``total`` tasks lie on ``copies`` peers of the ``wanted``; ``kept`` is what stewards hold."""

    total: int = 0
    delivered: int = 0
    failed: int = 0
    replicated: int = 0
    copies: int = 0
    wanted: int = 0
    everybody: bool = False  # all stewards have to hold spec and tasks: each grants some
    done: bool = False
    kept: events.Kept | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def note(self, event: events.Kept | events.Replicated) -> None:
        """Stewards or holders have more on disk."""
        if isinstance(event, events.Kept):
            self.kept = event
        else:
            self.replicated, self.copies, self.done = event.replicated, event.copies, event.done
        self._changed.set()

    def changed(self) -> None:
        """Something else that may be waited for has changed."""
        self._changed.set()

    @property
    def is_kept(self) -> bool:
        """Whether spec and all tasks lie on as many stewards as copies are wanted, or on all there are."""
        kept = self.kept
        return (
            kept is not None
            and kept.tasks >= self.total
            and kept.whole >= (kept.stewards if self.everybody else min(self.wanted, kept.stewards)) > 0
        )

    async def reach(self, reached: Callable[[], bool], wait_s: float | None) -> bool:
        """Wait until ``reached()``; false when that took too long."""
        try:
            async with asyncio.timeout(wait_s):
                while not reached():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return reached()
        return True
