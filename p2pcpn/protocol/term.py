"""A job's term: when its deadline passes, and when an open job that nobody adds to ends by itself.

Neither needs clocks that agree. The spec states durations, and whoever passes a job on says how old it is by then.
"""

from __future__ import annotations

import math

from p2pcpn.wire.statements import Spec

# A grantor that is not the owner's node gives it so long to close the job itself, with a signature.
OWNERS_TURN_S = 10.0


class Term:
    """The term of one job at its grantor: a job that is ``age_s`` old ``now``. ``owners``: it is the owner's node.

    ``due`` is when its deadline passes, ``lapses`` when it ends by itself where it is still open then.
    """

    __slots__ = ("due", "lapses", "_began", "_now", "_ttl_s")

    def __init__(self, spec: Spec, age_s: float, now: float, *, owners: bool) -> None:
        self._began = now - age_s
        self._now = now
        self.due = self._began + spec.deadline_s if spec.deadline_s else math.inf
        self._ttl_s = spec.ttl_s + (0.0 if owners else OWNERS_TURN_S) if spec.ttl_s else math.inf
        self.lapses = now + self._ttl_s

    @property
    def age_s(self) -> float:
        """How old the job was when its grantor last did something."""
        return max(0.0, self._now - self._began)

    def passes(self, now: float) -> None:
        """It is ``now``."""
        self._now = now

    def extended(self, now: float) -> None:
        """A task was added."""
        self.lapses = now + self._ttl_s
