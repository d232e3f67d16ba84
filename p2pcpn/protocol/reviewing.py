"""Reviewing: whoever grants a job looks through its logs again when another's has come, for results made of losers.

On the two sides of a partition grantors of two epochs may settle a task twice. Whoever took the result that lost has to
be run again, and it is the grantor of the newest epoch that sees to it: a steward, to which the other's log is brought
once they see each other again. In its epoch those tasks are settled, and nothing is settled twice in one epoch; so it
begins its next one, in which they are open. Of jobs whose tasks take nothing from each other nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pcpn.protocol.effects import Commit, Effect, Review
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.ledger import SETTLED

# A log comes in segments, ten a second: they are looked through together.
REVIEW_S = 1.0


class Reviewing:
    """See the module."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[bytes, float] = {}  # job -> when its logs are looked through

    def __len__(self) -> int:
        return len(self._due)

    def appended(self, grantor: Grantor, now: float) -> None:
        """A segment of another's log is kept here, of a job that ``grantor`` grants."""
        if grantor.book.dependencies.used:
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
