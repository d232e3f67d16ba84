"""The one timer of a node: set to the machines' earliest deadline, re-armed in one place, once a turn of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Deadlines closer to each other than this are one, and a new one is looked at so late: asking every machine for its
# deadline costs as much as handling a message, and none of them means anything to the millisecond. One that is further
# away than this when it is looked at is met when it comes.
NEAR_S = 8e-3
AGAIN_S = 0.25


class Timer:
    """Calls ``due(now)`` when ``deadline()`` has come; :meth:`arm` says that the deadline may have changed.

    ``mishap(where, error)`` hears of what ``due`` raised; it is called again a moment later.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadline: Callable[[], float | None],
        due: Callable[[float], None],
        mishap: Callable[[str, Exception], None],
    ) -> None:
        self._loop = loop
        self._deadline = deadline
        self._due = due
        self._mishap = mishap
        self._handle: asyncio.TimerHandle | None = None
        self._at = 0.0
        self._arming = False
        self._closed = False

    def arm(self) -> None:
        """Look at the deadline again, soon: once, however much happens until then."""
        if not self._arming and not self._closed:
            self._arming = True
            self._loop.call_later(NEAR_S, self._set)

    def _set(self) -> None:
        self._arming = False
        if self._closed:
            return
        at = self._deadline()
        if self._handle is not None:
            if at is not None and abs(self._at - at) < NEAR_S:
                return
            self._handle.cancel()
            self._handle = None
        if at is not None:
            self._at = at
            self._handle = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._handle = None
        try:
            # The loop's clock may stand a hair before the deadline it was asked for.
            self._due(max(self._loop.time(), self._at))
        except Exception as error:
            self._mishap("a deadline", error)
            # It is still due, and would be at once: a loop that does nothing else serves nobody.
            self._at = self._loop.time() + AGAIN_S
            self._handle = self._loop.call_at(self._at, self._fire)
            return
        self.arm()

    def close(self) -> None:
        """Call nobody any more."""
        self._closed = True
        if self._handle is not None:
            self._handle.cancel()
