"""Outcomes: what a batch in a worker process came to. Results become receipts; what never ran goes back.

The runtime reports positions in order and without gaps; a process that dies ends its batch, and takes with it what ran
but was not reported. A death is blamed on the task that ran, unless we killed the process ourselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import receipts
from p2pcpn.protocol.breakers import Breakers
from p2pcpn.protocol.effects import Effect, Tell
from p2pcpn.protocol.journal import Journal
from p2pcpn.protocol.leases_taken import Leases
from p2pcpn.protocol.receipts import Receipts, Value
from p2pcpn.protocol.resuming import Resuming
from p2pcpn.protocol.spans import Span
from p2pcpn.protocol.turns import Batch, Turns
from p2pcpn.protocol.work import Piece
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Death, Print, spans_of
from p2pcpn.wire.sealing import RESULT_DIGEST_BYTES, result_digest
from p2pcpn.wire.statements import Outcome

# What the runtime reports in place of an outcome: dropped before it started (its messages.DROPPED).
DROPPED = 2
SIGKILL = 9


class Outcomes:
    """Turns reports about a batch into effects. ``completed`` counts tasks that ran to a result."""

    def __init__(self, me: NodeId, turns: Turns, leases: Leases, writer: Receipts, journal: Journal) -> None:
        self._turns = turns
        self._leases = leases
        self._receipts = writer
        self._me = me
        self._journal = journal
        self.completed = 0
        self.health = Breakers()  # of this peer itself: whoever asks hears why it gets little

    def ran(
        self, batch: Batch, outcomes: bytes, values: Sequence[Value], digests: bytes, ran_s: float, now: float,
        renderings: Sequence[str] = (),
    ) -> list[Effect]:  # fmt: skip
        """The next ``len(outcomes)`` positions are over, in columns."""
        begin, end = batch.done, batch.done + len(outcomes)
        assert 0 < len(outcomes) == len(values) and end <= batch.count, "results that are none of the batch's"
        ran = [i for i, outcome in enumerate(outcomes) if outcome != DROPPED]
        back = [
            batch.first + begin + i
            for i, outcome in enumerate(outcomes)
            if outcome == DROPPED and begin + i not in batch.revoked
        ]
        revoked = len(outcomes) - len(ran) - len(back)
        Resuming.ended(batch, begin, end)
        self._turns.ran(batch, len(ran), ran_s, end, now)
        effects = self._leases.give_back(batch.work, batch.lease, spans_of(back), "was dropped unrun", now)
        self._leases.ended(batch.work, batch.lease, revoked, now)
        prints = receipts.taken_prints(batch, batch.first + end)
        if not ran:
            return effects
        self.completed += len(ran)
        self.health.succeeded(batch.work.authority.spec.runtime, self._me)
        if len(ran) < len(outcomes):
            size = RESULT_DIGEST_BYTES
            digests = b"".join(digests[i * size : (i + 1) * size] for i in ran)
            values = [values[i] for i in ran]
            renderings = [renderings[i] for i in ran] if renderings else ()
        # The process runs others' code: whatever it says but that all went well is an exception.
        stated = bytes(Outcome.RAISED if outcomes[i] else Outcome.OK for i in ran)
        spans = spans_of([batch.first + begin + i for i in ran])
        return effects + self._result(batch, spans, stated, values, digests, ran_s, prints, now, renderings)

    def died(self, batch: Batch, position: int, signal: int | None, exit_code: int | None, now: float) -> list[Effect]:
        """The process died at ``position``. All that has no result goes back uncharged, but for the task to blame."""
        position = min(max(position, batch.done), batch.count - 1)
        blamed = position not in batch.revoked and not (batch.killed and signal == SIGKILL)
        self._turns.lost(batch, now)
        effects = self._back(batch, "its worker process died", now, but=position if blamed else None)
        if not blamed:
            return effects
        self._failed(batch, f"its worker processes die ({_how(signal, exit_code)})", now)
        index = batch.first + position
        value = pages.DEATH.encode(Death(signal, exit_code))
        prints = [line for line in batch.prints if line.index == index]
        stated = result_digest(batch.lease.digest_key, value)
        return effects + self._result(batch, [(index, 1)], bytes([Outcome.DIED]), [value], stated, 0.0, prints, now)

    def refused(
        self, batch: Batch, code: str, why: str, now: float, positions: Collection[int] | None = None
    ) -> list[Effect]:
        """A batch cannot be run, for want of what the tasks at ``positions`` take (by default all of them): these go
        back with that code. Their mates wait for another turn here."""
        if code == "broken":
            self._failed(batch, why, now)
        if positions is None:
            return self._back(batch, why, now, code=code)
        self._turns.over(batch)
        left = [at for at in range(batch.done, batch.count) if at not in batch.revoked]
        back = [at for at in left if at in positions]
        for first, count in reversed(spans_of([at for at in left if at not in positions])):
            self._turns.put_back(batch.work, batch.piece.cut(first, first + count))
        for at in back:
            Resuming.ended(batch, at, at + 1)
        gone = batch.count - batch.done - len(left)
        spans = spans_of([batch.first + at for at in back])
        effects = self._leases.give_back(batch.work, batch.lease, spans, why, now, code)
        self._leases.ended(batch.work, batch.lease, gone, now)
        return effects

    def _failed(self, batch: Batch, why: str, now: float) -> None:
        self.health.failed(batch.work.authority.spec.runtime, self._me, why, now)

    def _back(self, batch: Batch, why: str, now: float, *, code: str = "late", but: int | None = None) -> list[Effect]:
        """The batch is over: what has no result goes back, except what was revoked and the position ``but``."""
        self._turns.over(batch)
        Resuming.ended(batch, batch.done, batch.count)
        left = range(batch.done, batch.count)
        back = [batch.first + i for i in left if i not in batch.revoked and i != but]
        effects = self._leases.give_back(batch.work, batch.lease, spans_of(back), why, now, code)
        self._leases.ended(batch.work, batch.lease, len(left) - len(back) - (but is not None), now)
        return effects

    def printed(self, batch: Batch, position: int, stream: int, data: bytes) -> list[Effect]:
        """A task printed: noted for its receipt, and told at once where the grantor listens."""
        if not batch.work.authority.spec.output:
            return []
        line = Print(batch.first + position, stream, data)
        receipts.note(batch, line)
        if not self._journal.listens(batch.lease.grantor):
            return []
        return [Tell(batch.lease.grantor, said) for said in receipts.outputs(batch.work, batch.lease, line)]

    def _result(
        self, batch: Batch, spans: list[Span], outcomes: bytes, values: Sequence[Value], digests: bytes, ran_s: float,
        prints: list[Print], now: float, renderings: Sequence[str] = (),
    ) -> list[Effect]:  # fmt: skip
        """One receipt: written, journalled, told."""
        work, lease = batch.work, batch.lease
        part = lease.parts
        last = lease.remaining == len(outcomes)
        message, effects, blobs = self._receipts.write(
            work, lease, spans, outcomes, values, digests, ran_s, prints, last=last, renderings=renderings,
            inputs=_taken(batch.piece, spans),
        )  # fmt: skip
        self._leases.ended(work, lease, len(outcomes), now)
        return effects + self._journal.add(work, lease, part, message, blobs, now)


def _how(signal: int | None, exit_code: int | None) -> str:
    return f"exit code {exit_code}" if signal is None else f"signal {signal}"


def _taken(piece: Piece, spans: list[Span]) -> list[tuple[int, int, bytes]]:
    """The results that the tasks in ``spans`` took: (task, input, digest)."""
    if piece.inputs is None:
        return []
    return [(index, taken, stated) for index in pages.cut(spans) for taken, stated in piece.inputs[index - piece.first]]
