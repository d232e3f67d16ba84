"""Guests: jobs of owners whom nobody here trusts. They have a part of a steward's table and of its disk, and no more.

Keys cost nothing, network groups do: guests share their part by the network group of who brought the job. A new guest
takes the place of the newest one of the group that has most, where its own has fewer; never that of a job whose owner
is trusted, or holds the swarm's key.
"""

from __future__ import annotations

from collections.abc import Callable

from p2pcpn import limits
from p2pcpn.protocol.quota import Quota

BYTES_MAX = limits.STEWARD_BYTES_MAX // limits.GUESTS_PART


class Guests:
    """See the module. Jobs by group, each in the order in which they came."""

    def __init__(self) -> None:
        self._groups: dict[bytes, dict[bytes, None]] = {}
        self.count = 0
        self.quota = Quota(BYTES_MAX, BYTES_MAX // limits.GUESTS_PART)

    def of(self, group: bytes) -> int:
        """How many jobs that group brought."""
        return len(self._groups.get(group, ()))

    def fits(self, group: bytes | None, size_bytes: int) -> bool:
        """Whether a job of ``group`` may have so much more of the disk; none is of an owner who is trusted."""
        return group is None or self.quota.fits(group, size_bytes)

    def add(self, group: bytes, job: bytes) -> None:
        """One more job of that group is kept."""
        self._groups.setdefault(group, {})[job] = None
        self.count += 1

    def remove(self, group: bytes, job: bytes) -> None:
        """It is kept no more."""
        jobs = self._groups[group]
        del jobs[job]
        self.count -= 1
        if not jobs:
            del self._groups[group]

    def leaves(self, group: bytes | None, may: Callable[[bytes], bool]) -> bytes | None:
        """The job that makes room for one of ``group``, or of an owner who is trusted (``None``); none where nobody has
        more than that group would have. ``may(job)`` says whether it can be spared at all."""
        least = 0 if group is None else self.of(group) + 1
        for _, jobs in sorted(self._groups.items(), key=lambda item: (-len(item[1]), item[0])):
            if len(jobs) <= least:
                return None
            found = next((job for job in reversed(jobs) if may(job)), None)
            if found is not None:
                return found
        return None
