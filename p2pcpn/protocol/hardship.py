"""Hardship: tasks that wait and that no participant may have.

What died wherever it ran, or has an input that nobody could use, waits ``PATIENCE_S`` for a peer that has not seen it,
then ends with what befell it. What was only declined, or would have to go to peers that fail at everything, waits on:
its owner is told, every ``STALL_S``, what the peers said.
"""

from __future__ import annotations

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import events
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.effects import Effect, Notify
from p2pcpn.protocol.ledger import RESTING, WAITING
from p2pcpn.wire import pages

# How long a task that nobody may have waits for new claims before it ends with what befell it.
PATIENCE_S = 1.0
STALL_S = 5.0
# What is remembered of peers' words, 300 bytes each.
DECLINED_MAX = 1024


class Hardship:
    """See the module. ``declined`` maps a peer to why it declined tasks."""

    __slots__ = ("declined", "_job", "_book", "_patience_at", "_stalled_at")

    def __init__(self, job: bytes, book: Book) -> None:
        self.declined: dict[NodeId, str] = {}
        self._job = job
        self._book = book
        self._patience_at: float | None = None
        self._stalled_at: float | None = None

    def decline(self, peer: NodeId, why: str, now: float) -> None:
        """A peer declined tasks."""
        self.declined[peer] = why
        if len(self.declined) > DECLINED_MAX:
            del self.declined[next(iter(self.declined))]
        if self._stalled_at is None:
            self._stalled_at = now + STALL_S

    def watch(self, now: float) -> None:
        """Something died, or a peer left: look, soon, whether somebody may still run what died, and what waits."""
        if self._stalled_at is None and self._book.blame.shut():
            self._stalled_at = now + STALL_S
        if self._patience_at is None and self._book.ledger.troubles:
            self._patience_at = now + PATIENCE_S

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        if self._patience_at is None or self._stalled_at is None:
            return self._patience_at if self._stalled_at is None else self._stalled_at
        return min(self._patience_at, self._stalled_at)

    def expire(self, now: float) -> list[Effect]:
        """End what has waited long enough; say what stalls."""
        effects: list[Effect] = []
        if self._patience_at is not None and now >= self._patience_at:
            self._patience_at = None
            effects += self._lose_patience(now)
        if self._stalled_at is not None and now >= self._stalled_at:
            self._stalled_at = None
            effects += self._stall(now)
        return effects

    def _lose_patience(self, now: float) -> list[Effect]:
        ledger, peers = self._book.ledger, self._book.participants.peers
        effects: list[Effect] = []
        soonest: float | None = None
        for index, trouble in list(ledger.troubles.items()):
            if not (trouble.deaths or trouble.unusable):
                continue
            if ledger.states[index] == RESTING:
                soonest = now + PATIENCE_S
            if ledger.states[index] != WAITING:
                continue
            barred = ledger.barred_from(index)
            if any(peer not in barred for peer in peers):
                trouble.since = now  # somebody may still run it
            if now < trouble.since + PATIENCE_S:
                soonest = min(soonest or now + PATIENCE_S, trouble.since + PATIENCE_S)
                continue
            if not trouble.deaths:
                effects.append(self.unusable(index))
                continue
            signal, code = next(reversed(trouble.deaths.values()))
            text = pages.death_text(signal, code)
            self._book.fail([(index, 1)], f"died: {text}")
            effects.append(Notify(events.GaveUp(self._job, [index], text, True, signal, code)))
        self._patience_at = soonest
        return effects

    def unusable(self, index: int) -> Effect:
        """A waiting task ends, for nobody can use an input of it."""
        said = self._book.ledger.troubles[index].unusable
        asked = "a peer" if len(said) == 1 else f"{len(said)} peers"
        text = f"an input of the task cannot be used, {asked} found: {next(reversed(said.values()))}"
        self._book.fail([(index, 1)], text)
        return Notify(events.GaveUp(self._job, [index], text))

    def unreachable(self, index: int, why: str) -> Effect:
        """A waiting task ends, for nobody has an input of it."""
        tries = self._book.ledger.troubles[index].unreachable
        text = f"an input of the task could not be had, {tries} times: {why}"
        self._book.fail([(index, 1)], text)
        return Notify(events.GaveUp(self._job, [index], text))

    def _stall(self, now: float) -> list[Effect]:
        ledger, peers, blame = self._book.ledger, self._book.participants.peers, self._book.blame
        shut = {each.peer: f"{each.why} ({each.failures} failures in a row)" for each in blame.shut()}
        if not (ledger.waiting or ledger.resting) or not (self.declined or shut):
            return []
        self._stalled_at = now + STALL_S
        if self._book.leases.live or any(ledger.waits_for(peer) for peer in peers if peer not in shut):
            return []
        return [Notify(events.Stalled(self._job, tuple(sorted({**self.declined, **shut}.items()))))]
