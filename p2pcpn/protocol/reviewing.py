"""Reviewing: whoever grants a job looks through its logs again when another's has come, for results made of losers.

On the two sides of a partition grantors of two epochs may settle a task twice. Whoever took the result that lost has to
be run again, and it is the grantor of the newest epoch that sees to it: a steward, to which the other's log is brought
once they see each other again. In its epoch those tasks are settled, and nothing is settled twice in one epoch; so it
begins its next one, in which they are open. What runs while a log comes may have taken a result that loses by it, and
is settled after that look: so once all has ended it looks again, until there was nothing new between two looks. Of jobs
whose tasks take nothing from each other nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pcpn.protocol.effects import Commit, Effect, Review
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.ledger import SETTLED

# A log comes in segments, ten a second: they are looked through together.
REVIEW_S = 1.0
# Lots of jobs in which something may yet be found, the newest.
UNSURE_MAX = 1024


class Reviewing:
    """See the module."""

    __slots__ = ("_due", "_unsure")

    def __init__(self) -> None:
        self._due: dict[bytes, float] = {}  # job -> when its logs are looked through
        self._unsure: dict[tuple[bytes, int], None] = {}  # lots that ran while logs came, and have not ended since

    def __len__(self) -> int:
        return len(self._due)

    def begun(self, grantor: Grantor) -> None:
        """``grantor`` took over: with what logs say here now, and with what workers had run before."""
        if grantor.book.dependencies.used:
            self._unsure[grantor.job, grantor.book.lot] = None
            if len(self._unsure) > UNSURE_MAX:
                del self._unsure[next(iter(self._unsure))]

    def appended(self, grantor: Grantor, now: float) -> None:
        """A segment of another's log is kept here, of a job that ``grantor`` grants."""
        if grantor.book.dependencies.used:
            self._due.setdefault(grantor.job, now + REVIEW_S)
            self.begun(grantor)

    def logged(self, grantor: Grantor, now: float) -> None:
        """A segment of the log of ``grantor`` itself is on its disk, the last perhaps of what there is to do."""
        lot = grantor.job, grantor.book.lot
        if lot in self._unsure and not grantor.ledger.open and grantor.log.empty:
            del self._unsure[lot]
            self._due.setdefault(grantor.job, now + REVIEW_S)

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        return min(self._due.values(), default=None)

    def expire(self, now: float) -> list[Effect]:
        """Look through what is due, behind all that is being written."""
        jobs = [job for job, due in self._due.items() if due <= now]
        for job in jobs:
            del self._due[job]
        return [Commit((), (Review(job),)) for job in jobs]

    @staticmethod
    def needed(grantor: Grantor, stale: Sequence[int]) -> bool:
        """Whether tasks of which no result counts, as the logs say, have ended in the epoch of ``grantor``."""
        states = grantor.ledger.states
        return any(index < len(states) and states[index] == SETTLED for index in stale)
