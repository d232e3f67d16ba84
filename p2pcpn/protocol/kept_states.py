"""Kept states: what running tasks of one job left, as a steward keeps it: of each the newest, until the task ends.

The states are on disk alone; here is which, and how large. They are sealed with the job's key, and nobody here looks
into them. Where there is no room the oldest go, and those tasks begin anew where worker and grantor die together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from p2pcpn import limits
from p2pcpn.protocol.effects import Write
from p2pcpn.protocol.spans import Span, covers, joined
from p2pcpn.wire.messages import States


class KeptStates:
    """See the module. ``held_bytes`` is what all of it takes on disk."""

    __slots__ = ("_job", "_kept", "held_bytes")

    def __init__(self, job: bytes) -> None:
        self._job = job
        self._kept: OrderedDict[int, tuple[int, int]] = OrderedDict()  # task -> number and bytes, the newest last
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def restore(self, index: int, number: int, sealed_bytes: int) -> None:
        """A state is on disk."""
        self._note(index, number, sealed_bytes + limits.STEWARD_ROW_BYTES)

    def take(self, message: States, fits: Callable[[int], bool]) -> list[Write]:
        """What of ``message`` is news, and what goes for it. ``fits(bytes)``: whether the owner may have so much."""
        writes: list[Write] = []
        for state in message.states:
            known = self._kept.get(state.index, (-1, 0))
            size_bytes = len(state.sealed) + limits.STEWARD_ROW_BYTES
            if state.number <= known[0] or not fits(self.held_bytes + size_bytes - known[1]):
                continue
            self._note(state.index, state.number, size_bytes)
            writes.append(Write("states", (self._job, state.index), (state.number, state.sealed)))
        while self.held_bytes > limits.CHECKPOINTS_BYTES_MAX:
            writes.append(self._drop(next(iter(self._kept))))
        return writes

    def ended(self, spans: Sequence[Span]) -> list[Write]:
        """These tasks have ended: nobody needs their states any more."""
        if not self._kept:
            return []
        held = joined(spans)
        return [self._drop(index) for index in list(self._kept) if covers(held, [(index, 1)])]

    def _note(self, index: int, number: int, size_bytes: int) -> None:
        self.held_bytes += size_bytes - self._kept.pop(index, (0, 0))[1]
        self._kept[index] = (number, size_bytes)

    def _drop(self, index: int) -> Write:
        self.held_bytes -= self._kept.pop(index)[1]
        return Write("states", (self._job, index), None)
