"""Rush: whether somebody waits for data just now. Copies and disk writes that nobody waits for let it pass.

They wait until nothing has been in a hurry for ``limits.QUIET_S``, and never longer than ``limits.LATER_S``.
"""

from __future__ import annotations

import asyncio

from p2pcpn import limits


class Rush:
    """One for a node: bulk that somebody waits for is noted by whoever sends, receives or makes it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._last = float("-inf")
        self.waiting = 0  # lines in which something that somebody waits for cannot go yet

    @property
    def now(self) -> float:
        """The time that :meth:`lets` is told of."""
        return self._loop.time()

    def note(self) -> None:
        """Somebody waits for what is being sent, received or made."""
        self._last = self._loop.time()

    def lets(self, since: float) -> bool:
        """Whether what has waited from ``since`` on may go."""
        now = self._loop.time()
        return (not self.waiting and now >= self._last + limits.QUIET_S) or now >= since + limits.LATER_S

    def overdue(self, since: float) -> bool:
        """Whether it has waited for as long as it may."""
        return self._loop.time() >= since + limits.LATER_S
