"""Recalls: tasks that have not started leave a peer, or a process, that others would run sooner.

A grantor recalls so many tasks of a job when somebody idles. They are taken from the end of the queue, then from behind
tasks that run for longer than a hand-over should take. The same is done when one of our own processes idles: what lies
behind a long task in another one waits for its turn again. Nothing that started is touched, so nothing runs twice.
"""

from __future__ import annotations

from collections.abc import Callable

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.effects import CutRun, Effect
from p2pcpn.protocol.leases_taken import Leases
from p2pcpn.protocol.spans import Span
from p2pcpn.protocol.turns import Batch, Turns
from p2pcpn.protocol.work import Piece, Work

# A batch that was handed over no longer ago is left alone: it may be over before anybody could take from it.
LATE_S = 0.01
WHY = "was recalled for a peer that idles"


class Recalls:
    """See the module. ``running()`` tells, per batch, the position that its worker process is at."""

    def __init__(self, turns: Turns, leases: Leases, running: Callable[[], dict[int, int]]) -> None:
        self._turns = turns
        self._leases = leases
        self._running = running
        self._owed: dict[bytes, tuple[NodeId, int]] = {}  # by job: who wants how many tasks back
        self._at: float | None = None

    def recalled(self, work: Work, count: int, grantor: NodeId, now: float) -> list[Effect]:
        """The grantor wants ``count`` tasks back: what is queued goes now, what must be cut off follows."""
        if all(lease.grantor.id != grantor for lease in work.leases.values()):
            return []  # nor does it change what those are owed whose leases we have
        pieces = self._turns.recall(work, count, grantor)
        rest = count - sum(len(piece.arguments) for piece in pieces)
        self._owed.pop(work.job, None)
        if rest and work.running:
            self._owed[work.job] = grantor, rest
        return self._return(work, pieces, now)

    def all_of(self, work: Work) -> None:
        """This peer leaves: all that has not started in its processes goes back to whoever granted it."""
        grantor = next((lease.grantor for lease in work.leases.values()), None)
        if work.running and grantor is not None:
            self._owed[work.job] = NodeId(grantor.id), limits.BATCH_TASKS_MAX

    def granted(self, work: Work) -> None:
        """The grantor has tasks to give: it wants none back."""
        self._owed.pop(work.job, None)

    def _return(self, work: Work, pieces: list[Piece], now: float) -> list[Effect]:
        effects: list[Effect] = []
        spans: dict[tuple[int, int], list[Span]] = {}
        leases = {piece.lease.key: piece.lease for piece in pieces}
        for piece in pieces:
            spans.setdefault(piece.lease.key, []).append((piece.first, len(piece.arguments)))
        for key, lease in leases.items():
            effects += self._leases.give_back(work, lease, sorted(spans[key]), WHY, now, "recalled")
        return effects

    def due(self, now: float) -> list[Effect]:
        """Ask the runtime for what lies behind long tasks, where somebody would run it sooner."""
        turns, self._at = self._turns, None
        free = len(turns.batches) < turns.slots
        if not turns.batches or not (self._owed or free):
            return []
        positions = self._running()
        effects: list[Effect] = []
        for batch in turns.batches.values():
            if batch.cutting or not self._wanted(batch, free, positions.get(batch.number)):
                continue
            late_at = batch.since + LATE_S
            if now < late_at:
                self._at = late_at if self._at is None else min(late_at, self._at)
            else:
                batch.cutting = True
                effects.append(CutRun(batch.number))
        return effects

    def _wanted(self, batch: Batch, free: bool, at: int | None) -> bool:
        work = batch.work
        if at is None:  # it waits in its process; among our own the runtime moves it
            return self._owed.get(work.job, (None, 0))[0] == batch.lease.grantor.id
        if at + 1 >= batch.count:
            return False
        if free and work.running < work.slots and not work.queue:
            return True
        return self._owed.get(work.job, (None, 0))[0] == batch.lease.grantor.id

    def cut(self, batch: Batch, count: int, now: float) -> list[Effect]:
        """The runtime ends ``batch`` before position ``count``: what was behind goes back, or waits here again."""
        work, lease = batch.work, batch.lease
        batch.cutting, batch.since = False, now
        if count >= batch.count:
            return []
        left, revoked = self._turns.cut(batch, count)
        if revoked:
            self._leases.ended(work, lease, revoked, now)
        grantor, owed = self._owed.get(work.job, (None, 0))
        back: list[Piece] = []
        while left and owed and grantor == lease.grantor.id:
            piece = left.pop()
            if len(piece.arguments) > owed:
                left.append(piece.cut(0, len(piece.arguments) - owed))
                piece = piece.cut(len(piece.arguments) - owed, len(piece.arguments))
            owed -= len(piece.arguments)
            back.append(piece)
        if back:
            del self._owed[work.job]
            if owed:
                self._owed[work.job] = NodeId(lease.grantor.id), owed
        for piece in reversed(left):
            self._turns.put_back(work, piece)
        return self._return(work, back, now)

    def over(self, work: Work) -> None:
        """A batch has left its process."""
        if not work.running:
            self._owed.pop(work.job, None)

    def deadline(self) -> float | None:
        """When :meth:`due` is due."""
        return self._at
