"""Turns: whose tasks a worker process gets next, and how many at a time.

A process is handed some milliseconds of work: enough to hide the hand-over and to report several results at once,
less and less of it when little is queued. While tasks are not long, a second batch waits at each busy process, so that
none idles between two; tasks that are long, or of unknown length, are handed over only to a process that is free. Whose
job is next the owners' shares say (``shares``); a job that waits for a free process is not overtaken. What was handed
over behind a task that turns out long is cut off (``recalls``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.protocol.shares import Shares
from p2pcpn.protocol.spans import Span, merged, outside, total
from p2pcpn.protocol.work import LeaseTaken, Piece, Work
from p2pcpn.wire.pages import Print

# What a process gets at least, where there is so much; and at most, where twice as much is queued for each slot.
HAND_OVER_S = 0.005
HAND_OVER_S_MAX = 0.045
# Blobs that a batch of several tasks comes with, at most: four arguments of 1 MiB with their seals are opened in a
# millisecond, and two such batches are half of what a process keeps mapped.
HAND_OVER_BYTES = (4 << 20) + (64 << 10)
# Below this task length a second batch waits at each worker process, so that it never idles between two: the gap would
# be a millisecond or two.
DOUBLE_BELOW_S = 0.1
# A task is told of as started once it has run for so long: shorter ones are over before anybody could look.
STARTED_AFTER_S = 0.05
TASK_S_MIN = 1e-6


@dataclass(slots=True, eq=False)
class Batch:
    """A batch in a worker process. ``done`` positions are over; ``at`` is the one that was running when last looked."""

    number: int
    work: Work
    lease: LeaseTaken
    first: int
    count: int
    short: bool
    since: float
    piece: Piece
    done: int = 0
    at: int = 0
    told: int = -1
    killed: bool = False
    cutting: bool = False  # the runtime was asked for what has not started
    revoked: set[int] = field(default_factory=set)
    prints: list[Print] = field(default_factory=list)
    printed_bytes: int = 0


class Turns:
    """Pieces that wait, batches that run, and who is next. ``slots`` is how many processes run at a time."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.batches: dict[int, Batch] = {}
        self.queued = 0
        self.queued_bytes = 0
        self.shares = Shares()
        self._short = 0
        self._number = 0

    @property
    def running(self) -> int:
        """Worker processes that have a batch."""
        return min(len(self.batches), self.slots)

    def add(self, work: Work, pieces: list[Piece]) -> None:
        """These pieces wait for their turn."""
        if len(pieces) == 1:
            piece = pieces[0]
            work.queue.append(piece)
            self._count(work, len(piece.arguments), piece.size_bytes)
            self.shares.line_up(work)
            return
        work.queue.extend(pieces)
        self._queued(work, pieces)

    def put_back(self, work: Work, piece: Piece) -> None:
        """This piece waits again, before all others of its job."""
        work.queue.appendleft(piece)
        self._queued(work, [piece])

    def _queued(self, work: Work, pieces: list[Piece]) -> None:
        self._count(work, sum(len(p.arguments) for p in pieces), sum(p.size_bytes for p in pieces))
        self.shares.line_up(work)

    def _count(self, work: Work, tasks: int, size_bytes: int) -> None:
        work.queued += tasks
        work.queued_bytes += size_bytes
        self.queued += tasks
        self.queued_bytes += size_bytes

    # --- what runs next --------------------------------------------------------------------------------------------

    def next(self, now: float) -> tuple[Batch, Piece] | None:
        """The batch to hand over now, if there is one and room for it."""
        if not self.queued:
            self.shares.in_turn(now)
            return None
        work = self._chosen(now)
        if work is None:
            return None
        piece = self._take(work)
        self._number += 1
        batch = Batch(self._number, work, piece.lease, piece.first, len(piece.arguments), _is_short(work), now, piece)
        self.batches[self._number] = batch
        self._short += batch.short
        work.running += 1
        self.shares.began(work, batch.number, batch.count * (work.task_s or 0.0), now)
        return batch, piece

    def _chosen(self, now: float) -> Work | None:
        work = self.shares.next(now, self._bound)
        if work is None:
            return None
        if _is_short(work):
            # Two short batches share a process.
            room = len(self.batches) - self._short + (self._short + 2) // 2 <= self.slots
        else:
            room = len(self.batches) < self.slots
        return work if room else None

    def _bound(self, work: Work) -> int:
        """How many batches of a job may be with worker processes: they may all run at once."""
        return work.slots * 2 if _is_short(work) and work.slots >= self.slots else work.slots

    def _take(self, work: Work) -> Piece:
        piece = work.queue.popleft()
        size = piece.within(HAND_OVER_BYTES, self._size(work))
        before = piece.size_bytes
        if len(piece.arguments) > size:
            rest = piece.cut(size, len(piece.arguments))
            work.queue.appendleft(rest)
            piece = piece.cut(0, size)
            before -= rest.size_bytes
        self._count(work, -len(piece.arguments), -before)
        return piece

    @staticmethod
    def _size(work: Work) -> int:
        """How many tasks to hand over: what is queued is spread over all our slots before one gets a second share."""
        if work.task_s is None:
            return 1
        task_s, share = max(work.task_s, TASK_S_MIN), -(-work.queued // work.slots)
        size = max(int(HAND_OVER_S / task_s), min(int(HAND_OVER_S_MAX / task_s), share // 2))
        return max(1, min(size, share, limits.PAGE_TASKS_MAX))

    # --- what became of it -------------------------------------------------------------------------------------------

    def ran(self, batch: Batch, count: int, ran_s: float, position: int, now: float) -> None:
        """``count`` tasks took ``ran_s`` seconds together, and the batch is over up to ``position``."""
        batch.done = position
        self.shares.ran(batch.work, batch.number, ran_s, now)
        batch.work.task_s = batch.work.typical.ran(count, ran_s)
        if position >= batch.count:
            self.over(batch)

    def lost(self, batch: Batch, now: float) -> None:
        """What its process did since it last reported has no result, and was its owner's turn all the same."""
        self.shares.ran(batch.work, batch.number, max(0.0, now - batch.since), now)

    def over(self, batch: Batch) -> None:
        """The batch has left its process."""
        del self.batches[batch.number]
        self._short -= batch.short
        batch.work.running -= 1
        self.shares.over(batch.work, batch.number)

    # --- what is taken back ------------------------------------------------------------------------------------------

    def drop(self, work: Work, gone: list[Span], of: bytes) -> list[tuple[LeaseTaken, int]]:
        """Take tasks under leases of grantor ``of`` out of the queue; returns how many of which lease.

        ``gone`` is merged.
        """
        dropped: list[tuple[LeaseTaken, int]] = []
        kept: list[Piece] = []
        for piece in work.queue:
            count = len(piece.arguments)
            left = outside([(piece.first, count)], gone) if piece.lease.grantor.id == of else [(piece.first, count)]
            if left == [(piece.first, count)]:
                kept.append(piece)
                continue
            parts = [piece.cut(first - piece.first, first - piece.first + held) for first, held in left]
            kept += parts
            missing = count - sum(held for _, held in left)
            dropped.append((piece.lease, missing))
            self._count(work, -missing, sum(part.size_bytes for part in parts) - piece.size_bytes)
        if dropped:
            work.queue.clear()
            work.queue.extend(kept)
            self.shares.line_up(work)
        return dropped

    def recall(self, work: Work, count: int, of: bytes) -> list[Piece]:
        """At most ``count`` tasks under leases of grantor ``of``, those that would run last, which wait no longer."""
        taken: list[Piece] = []
        kept: list[Piece] = []
        while work.queue and count:
            piece = work.queue.pop()
            if piece.lease.grantor.id != of:
                kept.append(piece)
                continue
            before, size = len(piece.arguments), piece.size_bytes
            if before > count:
                rest = piece.cut(0, before - count)
                work.queue.append(rest)
                piece = piece.cut(before - count, before)
                size -= rest.size_bytes
            count -= len(piece.arguments)
            self._count(work, -len(piece.arguments), -size)
            taken.append(piece)
        work.queue.extend(reversed(kept))
        self.shares.line_up(work)
        return taken

    def cut(self, batch: Batch, count: int) -> tuple[list[Piece], int]:
        """A batch ends before position ``count``: the pieces that were behind it, and how many tasks were revoked."""
        assert batch.done <= count < batch.count, "a batch was cut beyond its end"
        gone = merged([(batch.first + position, 1) for position in batch.revoked if position >= count])
        left = outside([(batch.first + count, batch.count - count)], gone)
        batch.count = count
        if batch.done == count:
            self.over(batch)
        return [batch.piece.cut(first - batch.first, first - batch.first + held) for first, held in left], total(gone)

    def clear(self, work: Work) -> list[Piece]:
        """All pieces of a job that wait, which do so no longer."""
        pieces = list(work.queue)
        work.queue.clear()
        self._count(work, -work.queued, -work.queued_bytes)
        self.shares.line_up(work)
        return pieces

    # --- what runs ---------------------------------------------------------------------------------------------------

    @property
    def untold(self) -> bool:
        """Whether a task may begin in one of the batches that run, and be told of."""
        return any(batch.told + 1 < batch.count for batch in self.batches.values())

    def started(self, positions: dict[int, int], now: float) -> list[tuple[Batch, int]]:
        """Batches whose running task has run for a while and was not told of, and its index."""
        found: list[tuple[Batch, int]] = []
        for number, position in sorted(positions.items()):
            batch = self.batches.get(number)
            if batch is None or not batch.done <= position < batch.count:
                continue
            if position != batch.at:
                batch.at, batch.since = position, now
            elif position > batch.told and now >= batch.since + STARTED_AFTER_S:
                batch.told = position
                found.append((batch, batch.first + position))
        return found


def _is_short(work: Work) -> bool:
    return work.task_s is not None and work.task_s < DOUBLE_BELOW_S
