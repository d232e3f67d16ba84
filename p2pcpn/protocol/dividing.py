"""Dividing: when who submitted a hybrid job has enough of granting it alone, and gives what it has not leased away.

Two things show it. It serves as many peers as it should: each holds a session, of which a node has
:data:`p2pcpn.limits.SESSIONS_MAX`, and whoever claims beyond them gets nothing, however much waits. Or it is loaded:
what it has to do by the clock it does late, again and again. A job of which little is left is not divided: to read it
and to find peers takes the stewards a round trip or two, in which who is there has something to do.

What is decided here is told to the program, for the owner alone can divide a job.
"""

from __future__ import annotations

# For each slot that is filled so many tasks wait: it is worth the while.
WAITING_A_SLOT = 2
# A loaded grantor gives nothing away of what it leases in a moment.
WAITING_MIN = 1024
# So late, so often in a row and for so long: not one slow look, nor a machine that slept.
LATE_S = 0.1
LATE_LOOKS = 8
LATE_FOR_S = 2.0
# Who said so and is not heard says so again.
AGAIN_S = 5.0


class Dividing:
    """See the module: of a job that is granted to at most ``peers_max`` peers by one; with none it is never divided."""

    __slots__ = ("peers_max", "_again_at", "_late", "_late_since")

    def __init__(self, peers_max: int) -> None:
        self.peers_max = peers_max
        self._again_at = float("-inf")
        self._late = 0  # looks in a row
        self._late_since = 0.0

    def looked(self, late_s: float, now: float) -> None:
        """What was due by the clock is done now, so late."""
        if late_s < LATE_S:
            self._late = 0
            return
        if not self._late:
            self._late_since = now - late_s
        self._late += 1

    def due(self, *, peers: int, slots: int, waiting: int, more: bool, stewards: int, now: float) -> bool:
        """Whether the job is to be divided, which is said once for a while.

        ``peers`` have claimed it, ``slots`` are filled, ``waiting`` tasks wait, ``more`` may come; ``stewards`` live.
        """
        if not self.peers_max or stewards < 2 or not waiting or now < self._again_at:
            return False
        crowded = peers >= self.peers_max and (more or waiting >= WAITING_A_SLOT * slots)
        loaded = self._late >= LATE_LOOKS and now - self._late_since >= LATE_FOR_S
        if not crowded and not (loaded and waiting >= max(WAITING_MIN, WAITING_A_SLOT * slots)):
            return False
        self._again_at = now + AGAIN_S
        return True
