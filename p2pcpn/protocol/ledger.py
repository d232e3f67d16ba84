"""The ledger of a job: in which state each index is, which wait, and which have been unlucky.

Two structures of a byte and a span, so that a million tasks cost a megabyte and a batch is taken or given back by slices:
``states`` is one byte an index; ``_waiting`` holds spans that are not leased, never across a page. Only an index that died or
was declined somewhere has an object of its own (:class:`Trouble`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from p2pcpn.identity.keys import NodeId

Span = tuple[int, int]  # (first index, count)

WAITING = 0
LEASED = 1
SETTLED = 2
FAILED = 3
CANCELLED = 4


@dataclass(slots=True)
class Trouble:
    """What befell one task: where it died and how, who must not get it again, how often its peer was lost."""

    deaths: dict[NodeId, tuple[int | None, int | None]] = field(default_factory=dict)
    excluded: set[NodeId] = field(default_factory=set)
    losses: int = 0
    since: float = 0.0


class Ledger:
    """States of the indices ``0 … total-1``; grows by :meth:`extend`, shrinks never."""

    __slots__ = ("_waiting", "states", "troubles", "troubled_waiting", "waiting")

    def __init__(self) -> None:
        self.states = bytearray()
        self._waiting: deque[Span] = deque()
        self.waiting = 0  # indices in _waiting
        self.troubles: dict[int, Trouble] = {}
        # Waiting indices with a trouble are kept apart: few, and each asks who may have it.
        self.troubled_waiting: dict[int, None] = {}

    @property
    def total(self) -> int:
        return len(self.states)

    @property
    def leased(self) -> int:
        return self.states.count(LEASED)

    @property
    def open(self) -> int:
        """Indices that are neither settled, failed nor cancelled."""
        return self.states.count(WAITING) + self.states.count(LEASED)

    def extend(self, count: int) -> None:
        """``count`` new waiting indices: one page."""
        self._waiting.append((len(self.states), count))
        self.states.extend(bytes(count))
        self.waiting += count

    def settled_already(self, spans: list[Span]) -> None:
        """Take over what an earlier epoch settled."""
        for first, count in spans:
            self.states[first : first + count] = bytes([SETTLED]) * count
        self._rebuild()

    def take(self, count: int, peer: NodeId) -> list[Span]:
        """At most ``count`` waiting indices for ``peer``, now leased. Never one that the peer is excluded from."""
        spans: list[Span] = []
        for index in [i for i in self.troubled_waiting if peer not in self.troubles[i].excluded][:count]:
            del self.troubled_waiting[index]
            spans.append((index, 1))
            count -= 1
        while count > 0 and self._waiting:
            first, held = self._waiting[0]
            if held <= count:
                self._waiting.popleft()
                spans.append((first, held))
                count -= held
            else:
                self._waiting[0] = (first + count, held - count)
                spans.append((first, count))
                count = 0
        taken = 0
        for first, held in spans:
            self.states[first : first + held] = bytes([LEASED]) * held
            taken += held
        self.waiting -= taken
        return spans

    def give_back(self, spans: list[Span]) -> int:
        """Leased indices wait again, first in the line; returns how many did. Others of ``spans`` stay as they are."""
        back = 0
        for first, count in reversed(spans):
            for run_first, run_count in self._runs(first, count, LEASED):
                self.states[run_first : run_first + run_count] = bytes(run_count)
                self._queue(run_first, run_count)
                back += run_count
        return back

    def settle(self, spans: list[Span]) -> list[Span]:
        """Mark what is open among ``spans`` as settled; returns those spans: the ones that this settles."""
        return self._end(spans, SETTLED)

    def fail(self, spans: list[Span]) -> list[Span]:
        return self._end(spans, FAILED)

    def cancel(self, spans: list[Span]) -> list[Span]:
        return self._end(spans, CANCELLED)

    def trouble(self, index: int, now: float) -> Trouble:
        """The trouble of ``index``, made when there was none."""
        found = self.troubles.get(index)
        if found is None:
            found = self.troubles[index] = Trouble(since=now)
            if self.states[index] == WAITING:
                self._rebuild()
        return found

    def waits_for(self, peer: NodeId) -> int:
        """How many waiting indices ``peer`` may have."""
        if not self.troubled_waiting:
            return self.waiting
        barred = sum(1 for index in self.troubled_waiting if peer in self.troubles[index].excluded)
        return self.waiting - barred

    def _end(self, spans: list[Span], state: int) -> list[Span]:
        ended: list[Span] = []
        waited = False
        for first, count in spans:
            if first + count > len(self.states):
                continue
            if self.states.count(LEASED, first, first + count) == count:
                runs = [(first, count)]
            else:
                runs = sorted(self._runs(first, count, WAITING) + self._runs(first, count, LEASED))
                waited = waited or self.states.count(WAITING, first, first + count) > 0
            for run_first, run_count in runs:
                self.states[run_first : run_first + run_count] = bytes([state]) * run_count
            ended += runs
        if self.troubles:
            for first, count in ended:
                for index in range(first, first + count):
                    self.troubles.pop(index, None)
        if waited:
            self._rebuild()
        return ended

    def _runs(self, first: int, count: int, state: int) -> list[Span]:
        """The runs within (first, count) whose indices are all in ``state``."""
        runs: list[Span] = []
        end = min(first + count, len(self.states))
        byte = bytes([state])
        at = self.states.find(byte, first, end)
        while at >= 0:
            stop = at
            while stop < end and self.states[stop] == state:
                stop += 1
            runs.append((at, stop - at))
            at = self.states.find(byte, stop, end)
        return runs

    def _queue(self, first: int, count: int) -> None:
        self.waiting += count
        if not self.troubles:
            self._waiting.appendleft((first, count))
            return
        plain: list[int] = []
        for index in range(first, first + count):
            if index in self.troubles:
                self.troubled_waiting[index] = None
            else:
                plain.append(index)
        for index in reversed(plain):
            self._waiting.appendleft((index, 1))

    def _rebuild(self) -> None:
        """Drop from the line what no longer waits. Rare (cancel, late results): a pass over what waits is fine."""
        spans = list(self._waiting) + [(index, 1) for index in self.troubled_waiting]
        self._waiting.clear()
        self.troubled_waiting.clear()
        self.waiting = 0
        for first, count in spans:
            for run_first, run_count in self._runs(first, count, WAITING):
                for index in range(run_first, run_first + run_count):
                    if index in self.troubles:
                        self.troubled_waiting[index] = None
                plain = [i for i in range(run_first, run_first + run_count) if i not in self.troubles]
                if len(plain) == run_count:
                    self._waiting.append((run_first, run_count))
                else:
                    self._waiting.extend((index, 1) for index in plain)
                self.waiting += run_count
