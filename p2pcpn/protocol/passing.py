"""Passing on: one job on its way to one peer: the owner's words, segments of tasks where any is open, and the logs.

One message at a time, and the next when that peer says that the one before is on its disk: so it costs neither side
more than one segment of memory, and never more of the network than the other's disk takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.protocol.effects import Commit, Effect, Tell, TellLog, TellSegment
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Entrust, JobKept

# A segment of 4 MiB, and the blobs that its results name.
TAKE_WAIT_S = 60.0

Make = Callable[[int, float], Entrust]  # by request and wall clock


@dataclass(frozen=True, slots=True)
class Parcel:
    """What of one job is to be with others: its owner's words, segments of tasks where they are needed, and logs.

    ``entrust`` makes the message that tells of it; nothing does, where only a log is here. Logs are (grantor, epoch,
    segments), the oldest epochs first.
    """

    job: bytes
    entrust: Make | None
    words: int
    segments: int
    logs: tuple[tuple[bytes, int, int], ...]

    @property
    def kept(self) -> JobKept:
        """The same, to be compared with what others have."""
        return JobKept(self.words, self.segments, list(self.logs))


def parcel(kept: Kept) -> Parcel:
    """What somebody is to have of a job that is kept here."""
    logs = sorted(((bytes(node), epoch, log.kept[0]) for (node, epoch), log in kept.logs.items()), key=_oldest)
    segments = len(kept.segments) if needs_segments(kept) else 0
    return Parcel(kept.authority.job, kept.entrust, held(kept).words, segments, tuple(logs))


def _oldest(log: tuple[bytes, int, int]) -> tuple[int, bytes]:
    return log[1], log[0]


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


def lacking(theirs: JobKept | None, mine: JobKept, *, segments: bool = False) -> int:
    """How many segments of logs somebody would have to be brought; ``segments``: those of tasks, too."""
    there = _counts(theirs)
    tasks = max(0, mine.segments - (0 if theirs is None else theirs.segments)) if segments else 0
    return tasks + sum(max(0, count - there.get((grantor, epoch), 0)) for grantor, epoch, count in mine.logs)


def _counts(theirs: JobKept | None) -> dict[tuple[bytes, int], int]:
    """How many segments of each log somebody has."""
    return {} if theirs is None else {(grantor, epoch): count for grantor, epoch, count in theirs.logs}


class Passing:
    """See the module. ``theirs`` is what ``heir`` said that it has; ``brought`` counts what it took since."""

    def __init__(self, heir: Contact, parcel: Parcel, theirs: JobKept | None) -> None:
        self.heir = heir
        self.parcel = parcel
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
        job = self.parcel.job
        if isinstance(step, int):
            told: Effect = TellSegment(self.heir, request, job, step)
        elif isinstance(step, tuple):
            told = TellLog(self.heir, request, job, *step)
        else:
            return [Tell(self.heir, step(request, wall))]
        return [Commit((), (told,))]  # behind all that is being written: it may be on its way to the disk

    def _all(self, theirs: JobKept | None) -> Iterator[Make | int | tuple[bytes, int, int]]:
        """The words, numbers of segments, and (grantor, epoch, number) of log segments."""
        mine = self.parcel
        if mine.entrust is not None and (theirs is None or theirs.words < mine.words):
            yield mine.entrust
        yield from range(0 if theirs is None else theirs.segments, mine.segments)
        there = _counts(theirs)
        for grantor, epoch, count in mine.logs:
            for number in range(there.get((grantor, epoch), 0), count):
                yield grantor, epoch, number
