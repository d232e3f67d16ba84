"""Checkpoints of a job at its grantor: the newest state of each open task, for whoever runs it next.

States are bytes that nobody here looks into. They come sealed under a lease's key and go sealed under the next one's.
What they take is bounded: where there is no room the oldest go, and those tasks begin anew when their peers are lost.
"""

from __future__ import annotations

from collections import OrderedDict

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.ledger import SETTLED, Ledger
from p2pcpn.protocol.spans import Span, covers
from p2pcpn.wire.messages import Checkpoint, Resume
from p2pcpn.wire.sealing import checkpoint_key, resume_key, seal, unseal

# Ended tasks' states are swept out each time so many more have come.
SWEEP_EACH = 64
# What a state takes beside its bytes: the object, its number and its place among the others.
ENTRY_BYTES = 64


class Checkpoints:
    """See the module. ``taken`` counts states that came, ``handed`` those that went to another run."""

    __slots__ = ("_job", "_ledger", "_states", "_bytes", "_number", "taken", "handed")

    def __init__(self, job: bytes, ledger: Ledger) -> None:
        self._job = job
        self._ledger = ledger
        self._states: OrderedDict[int, bytes] = OrderedDict()  # the newest last
        self._bytes = 0
        self._number = 0
        self.taken = 0
        self.handed = 0

    def __len__(self) -> int:
        return len(self._states)

    def take(self, message: Checkpoint, result_key: bytes, spans: list[Span]) -> None:
        """A state, under a lease of ``spans`` whose results are closed with ``result_key``.

        Raises :class:`PeerError` for one that does not open, or is of a task that is not in ``spans``.
        """
        if not covers(spans, [(message.index, 1)]):
            raise PeerError("a checkpoint of a task that was not leased to this peer")
        self.put(message.index, unseal(checkpoint_key(result_key), message.number, message.sealed))
        self.taken += 1
        if not self.taken % SWEEP_EACH:
            states = self._ledger.states
            for index in [index for index in self._states if states[index] >= SETTLED]:
                self._drop(index)

    def put(self, index: int, state: bytes) -> None:
        """The newest state of a task, from wherever it came."""
        self._drop(index)
        self._states[index] = state
        self._bytes += len(state) + ENTRY_BYTES
        while self._bytes > limits.CHECKPOINTS_BYTES_MAX:
            self._drop(next(iter(self._states)))

    def _drop(self, index: int) -> None:
        state = self._states.pop(index, None)
        if state is not None:
            self._bytes -= len(state) + ENTRY_BYTES

    def open(self, index: int) -> bool:
        """Whether a state of that task is of use: there is such a task, and it has not ended."""
        return index < self._ledger.total and self._ledger.states[index] < SETTLED

    def of(self, index: int) -> bytes | None:
        """The newest state of a task that is open, if any."""
        return self._states.get(index) if self.open(index) else None

    def ahead_of(self, token: int, result_key: bytes, spans: list[Span]) -> list[Resume]:
        """What is said ahead of a lease of ``spans``: the states of its tasks."""
        if not self._states:
            return []
        found: list[Resume] = []
        for index in [index for index in self._states if covers(spans, [(index, 1)])]:
            self._number += 1
            sealed = seal(resume_key(result_key, index), self._number, self._states[index])
            found.append(Resume(self._job, token, index, self._number, sealed))
        self.handed += len(found)
        return found
