"""Passing on: one job on its way to one peer: the owner's words, segments of tasks where any is open, and the logs.

One message at a time, and the next when that peer says that the one before is on its disk: so it costs neither side
more than one segment of memory, and never more of the network than the other's disk takes.
"""

from __future__ import annotations

from collections.abc import Iterator

from p2pcpn import limits
from p2pcpn.protocol.effects import Commit, Effect, Tell, TellLog, TellSegment
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import JobKept

# A segment of 4 MiB, and the blobs that its results name.
TAKE_WAIT_S = 60.0


def held(kept: Kept) -> JobKept:
    """What this peer has of a job, as others are told it."""
    words = (*kept.authority.handovers, *(word for word in (kept.close, kept.cancel, kept.pause) if word is not None))
    newest = sorted(((epoch, bytes(node), log.kept[0]) for (node, epoch), log in kept.logs.items()), reverse=True)
    logs = [(node, epoch, count) for epoch, node, count in newest[: limits.RECOUNTED_LOGS_MAX]]
    return JobKept(len(words), len(kept.segments), logs)


def needs_segments(kept: Kept) -> bool:
    """Whether anybody may ask for the tasks of a job again: to run what is open, or to add others."""
    return kept.cancel is None and (kept.close is None or kept.is_open)


def covers(theirs: JobKept | None, mine: JobKept, *, segments: bool) -> bool:
    """Whether somebody has all of a job that we have; ``segments``: its tasks, too."""
    if theirs == mine:
        return True
    if theirs is None or theirs.words < mine.words or (segments and theirs.segments < mine.segments):
        return False
    there = _counts(theirs)
    return all(there.get((grantor, epoch), 0) >= count for grantor, epoch, count in mine.logs)


def lacking(theirs: JobKept | None, mine: JobKept) -> int:
    """How many segments of logs somebody would have to be brought."""
    there = _counts(theirs)
    return sum(max(0, count - there.get((grantor, epoch), 0)) for grantor, epoch, count in mine.logs)


def _counts(theirs: JobKept | None) -> dict[tuple[bytes, int], int]:
    """How many segments of each log somebody has."""
    return {} if theirs is None else {(grantor, epoch): count for grantor, epoch, count in theirs.logs}


class Passing:
    """See the module. ``theirs`` is what ``heir`` said that it has; ``brought`` counts what it took since."""

    def __init__(self, heir: Contact, kept: Kept, theirs: JobKept | None) -> None:
        self.heir = heir
        self.kept = kept
        self.request = 0
        self.until_s = 0.0
        self.brought = 0
        self._steps = self._all(theirs)

    def next(self, request: int, wall: float, now: float) -> list[Effect]:
        """The next message, which ``request`` numbers; none when all is there."""
        step = next(self._steps, None)
        if step is None:
            return []
        self.request, self.until_s = request, now + TAKE_WAIT_S
        job = self.kept.authority.job
        if isinstance(step, int):
            told: Effect = TellSegment(self.heir, request, job, step)
        elif step:
            told = TellLog(self.heir, request, job, *step)
        else:
            return [Tell(self.heir, self.kept.entrust(request, wall))]
        return [Commit((), (told,))]  # behind all that is being written: it may be on its way to the disk

    def _all(self, theirs: JobKept | None) -> Iterator[int | tuple[bytes, int, int] | tuple[()]]:
        """The words (nothing), numbers of segments, and (grantor, epoch, number) of log segments."""
        kept = self.kept
        if theirs is None or theirs.words < held(kept).words:
            yield ()
        if needs_segments(kept):
            yield from range(0 if theirs is None else theirs.segments, len(kept.segments))
        there = _counts(theirs)
        for (node, epoch), log in sorted(kept.logs.items(), key=lambda each: (each[0][1], each[0][0])):
            for number in range(there.get((bytes(node), epoch), 0), log.kept[0]):
                yield bytes(node), epoch, number
