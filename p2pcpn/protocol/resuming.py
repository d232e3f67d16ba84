"""Resuming: states of tasks at the peer that runs them: those that earlier runs left, and those that leave from here.

A grantor says a :class:`Resume` ahead of the lease it belongs to; it waits here, sealed, until the lease is there. What
waits is bounded for all jobs together, and the oldest goes: its task then begins anew.
"""

from __future__ import annotations

from collections import OrderedDict

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.effects import Effect, Tell
from p2pcpn.protocol.turns import Batch
from p2pcpn.protocol.work import LeaseTaken, Piece
from p2pcpn.wire.messages import Checkpoint, Resume
from p2pcpn.wire.sealing import checkpoint_key, resume_key, seal, unseal

Key = tuple[bytes, bytes, int, int]  # grantor, job, token, index


class Resuming:
    """See the module."""

    __slots__ = ("_waiting", "_bytes")

    def __init__(self) -> None:
        self._waiting: OrderedDict[Key, Resume] = OrderedDict()
        self._bytes = 0

    def said(self, sender: bytes, message: Resume) -> None:
        """A state for a task under a lease that ``sender`` is about to grant."""
        key = (sender, message.job, message.token, message.index)
        self._take(key)
        self._waiting[key] = message
        self._bytes += len(message.sealed)
        while self._bytes > limits.CHECKPOINTS_BYTES_MAX or len(self._waiting) > limits.RESUMES_MAX:
            self._take(next(iter(self._waiting)))

    def _take(self, key: Key) -> Resume | None:
        message = self._waiting.pop(key, None)
        if message is not None:
            self._bytes -= len(message.sealed)
        return message

    def forget(self, job: bytes) -> None:
        """No lease of the job is to come."""
        for key in [key for key in self._waiting if key[1] == job]:
            self._take(key)

    def granted(self, job: bytes, lease: LeaseTaken, pieces: list[Piece]) -> None:
        """The lease is here: open what was said ahead of it. What does not open is left out: its task begins anew."""
        if not self._waiting:
            return
        sender, token = lease.grantor.id, lease.token
        for key in [key for key in self._waiting if key[:3] == (sender, job, token)]:
            message = self._take(key)
            assert message is not None
            if any(piece.first <= message.index < piece.first + len(piece.arguments) for piece in pieces):
                try:
                    state = unseal(resume_key(lease.result_key, message.index), message.number, message.sealed)
                except PeerError:
                    continue
                lease.states[message.index] = state

    @staticmethod
    def states(piece: Piece) -> tuple[bytes | None, ...] | None:
        """What each task of a piece begins with; none where all begin anew."""
        states = piece.lease.states
        if not states:
            return None
        found = tuple(states.get(piece.first + position) for position in range(len(piece.arguments)))
        return found if any(state is not None for state in found) else None

    @staticmethod
    def ended(batch: Batch, begin: int, end: int) -> None:
        """The tasks at these positions have a result or go back: their states are of no use under this lease."""
        if batch.lease.states:
            for position in range(begin, end):
                batch.lease.states.pop(batch.first + position, None)

    @staticmethod
    def left(batch: Batch, position: int, state: bytes) -> list[Effect]:
        """A running task leaves a state: told to the grantor, and kept for another start of it here."""
        lease, index = batch.lease, batch.first + position
        if not batch.done <= position < batch.count or len(state) > limits.CHECKPOINT_BYTES_MAX:
            return []
        lease.states[index] = state
        lease.checkpoints += 1
        sealed = seal(checkpoint_key(lease.result_key), lease.checkpoints, state)
        return [Tell(lease.grantor, Checkpoint(batch.work.job, lease.token, index, lease.checkpoints, sealed))]
