"""Kept logs: how far a grantor's settlement log is held here, and whether the next segment belongs to it.

Segments are chained by the digest of the header before. They may come out of order; one that contradicts another of the
same number is its grantor's lie, and what is on disk stays as it was. What is being written counts as held, so that its
successor can come, and not as kept: the disk may refuse it, or a blob that it names not be had.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.protocol.spans import total
from p2pcpn.wire.statements import LogHeader

# The last segments by digest: one that was lost with its answer comes again soon after.
RECENT = 64


@dataclass(frozen=True, slots=True)
class Ahead:
    """A segment that came before its predecessor."""

    name: bytes
    previous: bytes
    settled: int  # by the log, this segment included
    count: int  # by this segment alone


@dataclass(slots=True)
class Log:
    """How far a grantor's log is held here: ``count`` segments without a gap, the last header's digest, its total."""

    count: int = 0
    writing: dict[int, int] = field(default_factory=dict)  # what is not on disk yet, and how many indices it settles
    last: bytes = NOTHING
    settled: int = 0
    ahead: dict[int, Ahead] = field(default_factory=dict)
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=RECENT))

    def has(self, number: int, name: bytes) -> bool:
        """Whether the segment ``number`` is held. Raises :class:`PeerError` where another one of that number is."""
        if number in self.ahead:
            known: bytes | None = self.ahead[number].name
        elif self.count - len(self.recent) <= number < self.count:
            known = self.recent[number - self.count]
        else:
            return number < self.count
        if known != name:
            raise PeerError("a grantor says two things in one place of its log")
        return True

    def forgotten(self, number: int) -> bool:
        """Whether that segment was held so long ago that nothing tells it from another one."""
        return number < self.count - len(self.recent)

    @property
    def kept(self) -> tuple[int, int]:
        """How many segments are on disk without a gap, and how many indices the held ones on disk settle."""
        missing = sum(count for number, count in self.writing.items() if number < self.count)
        return min(self.count, min(self.writing, default=self.count)), self.settled - missing

    def far(self, number: int) -> bool:
        """Whether too much is missing before that segment, or one that could not be told from another any more."""
        return number >= min(self.count + limits.LOG_AHEAD_MAX, min(self.writing, default=number) + RECENT)

    def written(self, number: int) -> None:
        """That segment is on disk."""
        self.writing.pop(number, None)

    def write(self, said: LogHeader, name: bytes) -> None:
        """:meth:`add` a segment that is on its way to the disk."""
        self.add(said, name)
        if said.number < self.count or said.number in self.ahead:
            self.writing[said.number] = total(said.spans)

    def add(self, said: LogHeader, name: bytes) -> None:
        """Take a segment that is not held yet. Raises :class:`PeerError` for one that follows on another, or counts
        what is settled in another way than its spans and those before it do."""
        taken = Ahead(name, said.previous, said.settled, total(said.spans))
        if said.number == self.count and not self._follows(taken):
            raise PeerError("a log segment does not follow on the one before it")
        self.ahead[said.number] = taken
        while (following := self.ahead.pop(self.count, None)) is not None and self._follows(following):
            self.count += 1
            self.last, self.settled = following.name, following.settled
            self.recent.append(following.name)

    def _follows(self, taken: Ahead) -> bool:
        return taken.previous == self.last and taken.settled == self.settled + taken.count
