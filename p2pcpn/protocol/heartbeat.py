"""Heartbeat: a grantor's sign of life to the stewards, who take the job over when it does not come.

It is due every few seconds while tasks are open, and once more when none is: a job of which nothing is left to grant
needs no grantor. Whoever granted before and may not know that it does so no more is told, now and then, until it
answers.
"""

from __future__ import annotations

from p2pcpn.identity.keys import NodeId
from p2pcpn.wire.addresses import Contact

# A steward waits for more than two of them (succession.SILENT_S). Five messages of 80 bytes each.
BEAT_S = 2.0
# The grantor before us may be paused or cut off for long, and so may stewards that were given up: they are told with
# every fifth.
FAR_BEATS = 5


class Heartbeat:
    """See the module. ``beating``: whether anybody would take the job over."""

    __slots__ = ("beating", "deposed", "_last", "_said", "_beats", "_request")

    def __init__(self, now: float, *, beating: bool) -> None:
        self.beating = beating
        self.deposed: Contact | None = None  # who granted before and has not answered
        self._last = now
        self._said = (0, 0)
        self._beats = 0
        self._request = 0

    def depose(self, before: Contact, request: int) -> None:
        """``before`` granted until now: it is told in ``request``."""
        self.deposed, self._request = before, request

    def answered(self, node: NodeId, request: int) -> None:
        """Whoever was told knows."""
        if self.deposed is not None and self.deposed.id == node and request == self._request:
            self.deposed = None

    def deadline(self, tasks: int, left: int) -> float | None:
        """When the next one is due; of ``tasks`` tasks ``left`` are open."""
        if not self.beating or (not left and self._said == (tasks, 0)):
            return None
        return self._last + BEAT_S

    def due(self, tasks: int, left: int, now: float, *, last: bool = False) -> bool:
        """Whether one is said now. ``last``: nothing will be open any more, and that is said at once."""
        at = self.deadline(tasks, left)
        if at is None or (now < at and not (last and self._said != (tasks, left))):
            return False
        self._last, self._said = now, (tasks, left)
        self._beats += 1
        return True

    @property
    def far(self) -> bool:
        """Whether this one is for those, too, who may not be there."""
        return not self._beats % FAR_BEATS

    @property
    def told(self) -> tuple[Contact, int] | None:
        """Who is told with this one that it grants no more, and the request's number."""
        if self.deposed is None or not self.far:
            return None
        return self.deposed, self._request
